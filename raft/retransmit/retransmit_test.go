package retransmit

import (
	"net"
	"runtime"
	"syscall"
	"testing"
)

// Goal: the kernel of this machine takes one of the two settings.
// Method: a connection over loopback; the options are read back.
func TestTheKernelTakesABound(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has these settings")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tcp := conn.(*net.TCPConn)
	if err := Bound(tcp); err != nil {
		t.Fatal(err)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var wait, silence int
	_ = raw.Control(func(fd uintptr) {
		wait, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 44)
		silence, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 18)
	})
	if wait != 1000 && silence != 2500 {
		t.Errorf("the longest wait is %d ms and the longest silence %d ms; one of them must be bounded by 1000 or 2500", wait, silence)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if Bound(tcp) == nil {
		t.Error("a closed connection was bounded")
	}
}
