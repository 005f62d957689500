//go:build !linux

package retransmit

import "net"

// Bound does nothing: this system has no such setting.
func Bound(*net.TCPConn) error { return nil }
