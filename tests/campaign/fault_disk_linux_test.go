package campaign

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"raftkv/tests/cluster"
)

// disk is an ext4 file system of its own, in a file that a loop device makes a
// disk of.
type disk struct {
	t                    *testing.T
	undo                 *undo
	image, device, mount string
	mounted              bool
}

// diskSize is that of the image, which has holes. It has room for two snapshots with a full history
// of 64 MiB each, and for a log that no snapshot can shorten for as long as a disk is full.
const diskSize = 1 << 30

// newDisk makes a disk, with an empty file system that is mounted.
func newDisk(t *testing.T, u *undo, name string) *disk {
	t.Helper()
	d := &disk{t: t, undo: u, image: filepath.Join(u.dir, name+".ext4"), mount: filepath.Join(u.dir, name)}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, diskSize), os.Mkdir(d.mount, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", d.image); err != nil {
		t.Fatal(err)
	}
	out, err := run("losetup", "--find", "--show", d.image)
	if err != nil {
		t.Skipf("NOT RUN: no loop device: %v", err)
	}
	d.device = strings.TrimSpace(out)
	u.later(func() {
		_, err := run("losetup", "--detach", d.device)
		complain(err)
	})
	u.later(func() { complain(d.unmountNow()) })
	if err := d.mountNow(); err != nil {
		t.Skipf("NOT RUN: ext4 on a loop device cannot be mounted: %v", err)
	}
	return d
}

func (d *disk) mountNow() error {
	_, err := run("mount", "-t", "ext4", d.device, d.mount)
	d.mounted = err == nil
	return err
}

// unmountNow unmounts, once all processes that had files open there are gone.
func (d *disk) unmountNow() error {
	if !d.mounted {
		return nil
	}
	err := retry(cluster.Patience, func() error {
		err := syscall.Unmount(d.mount, 0)
		if err == syscall.EINVAL { // it was unmounted by somebody else
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("unmounting %s: %w", d.mount, err)
	}
	d.mounted = false
	return nil
}

// FS_IOC_SHUTDOWN, and its flag that throws away what is not on the disk yet: the
// journal is not flushed either.
const (
	ioctlShutdown      = 0x8004587D
	shutdownNoLogFlush = 2
)

// cutPower makes the file system forget, at this moment, everything that was not
// forced to the disk: data in the page cache, and metadata whose transaction the
// journal has not committed. From then on reads may and writes do fail.
func (d *disk) cutPower() error {
	f, err := os.Open(d.mount)
	if err != nil {
		return err
	}
	defer f.Close()
	flag := uint32(shutdownNoLogFlush)
	if _, _, code := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ioctlShutdown, uintptr(unsafe.Pointer(&flag))); code != 0 {
		return fmt.Errorf("cutting the power of %s: %w", d.mount, code)
	}
	return nil
}

// needsRecovery reports whether the journal of the unmounted disk holds
// transactions that the next mount will replay.
func (d *disk) needsRecovery() (bool, error) {
	f, err := os.Open(d.device)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var field [4]byte
	const incompatible, recover = 1024 + 0x60, 0x4 // in the superblock
	if _, err := f.ReadAt(field[:], incompatible); err != nil {
		return false, err
	}
	return binary.LittleEndian.Uint32(field[:])&recover != 0, nil
}

// freeze makes every write and sync wait until the returned function is called.
func (d *disk) freeze() (thaw func(), err error) {
	thaw = d.undo.later(func() {
		if _, err := run("fsfreeze", "--unfreeze", d.mount); err != nil && !strings.Contains(err.Error(), "Invalid argument") {
			complain(err)
		}
	})
	if _, err := run("fsfreeze", "--freeze", d.mount); err != nil {
		thaw()
		return nil, err
	}
	return thaw, nil
}

// fill takes all the room there is, and again what becomes free, until the
// returned function is called.
func (d *disk) fill() (empty func(), err error) {
	name := filepath.Join(d.mount, "filler")
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	taken := d.take(f, 0)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				taken = d.take(f, taken)
			}
		}
	}()
	return d.undo.later(func() {
		close(stop)
		<-stopped
		complain(errors.Join(f.Close(), os.Remove(name)))
	}), nil
}

// take makes a file longer until the disk is full, and returns how long it is.
func (d *disk) take(f *os.File, taken int64) int64 {
	for size := int64(diskSize); size >= 4<<10; {
		if syscall.Fallocate(int(f.Fd()), 0, taken, size) != nil {
			size /= 2
			continue
		}
		taken += size
	}
	return taken
}

// free returns how many bytes can still be written.
func (d *disk) free() (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.mount, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// keepData copies what the nodes have on their disks to a directory, for somebody
// to look at: the images hold it, too, but would have to be mounted.
func keepData(dir string, disks []*disk) {
	for _, d := range disks {
		complain(keep(d.mount, filepath.Join(dir, filepath.Base(d.mount)+"-kept")))
	}
}

func keep(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.Create(target)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		return errors.Join(err, out.Close())
	})
}

// onDisks gives every node of a cluster a disk of its own.
func onDisks(t *testing.T, u *undo, c *cluster.Cluster) (disks []*disk) {
	t.Helper()
	for _, s := range c.Nodes {
		d := newDisk(t, u, s.ID)
		s.Dir = filepath.Join(d.mount, "data")
		disks = append(disks, d)
	}
	return disks
}
