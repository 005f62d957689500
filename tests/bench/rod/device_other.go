//go:build !linux

package rod

// deviceOf knows no device on this platform.
func deviceOf(string) (major, minor int, known bool) { return 0, 0, false }
