package rod

import "syscall"

// deviceOf returns the numbers of the block device that holds a directory.
func deviceOf(dir string) (major, minor int, known bool) {
	var stat syscall.Stat_t
	if err := syscall.Stat(dir, &stat); err != nil {
		return 0, 0, false
	}
	// The layout of dev_t in the kernel's interface; see makedev(3).
	dev := stat.Dev
	return int(dev>>8&0xfff | dev>>32&^0xfff), int(dev&0xff | dev>>12&^0xff), true
}
