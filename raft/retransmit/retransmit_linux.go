package retransmit

import (
	"net"
	"syscall"
)

const (
	// tcpRTOMax is TCP_RTO_MAX_MS of Linux 6.15 and later, which package syscall does not
	// know; tcpUserTimeout is TCP_USER_TIMEOUT (RFC 5482).
	tcpRTOMax      = 44
	tcpUserTimeout = 18

	// maxWait is the longest wait in milliseconds, and the shortest that the kernel takes.
	maxWait = 1000
	// maxSilence is how long bytes may stay without an acknowledgement where maxWait
	// cannot be set. The connection then ends, and its dialler makes another one, which
	// begins with short waits.
	maxSilence = 2500
)

// Bound bounds the waits of a connection, as far as the kernel can. The error says that
// the connection is none any more.
func Bound(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) {
		if syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpRTOMax, maxWait) != nil {
			// An error is of no use: keep-alive finds the dead connection, only later.
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, maxSilence)
		}
	})
}
