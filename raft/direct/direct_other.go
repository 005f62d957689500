//go:build !linux || race

package direct

import "net"

// own says whether Of returns connections of its own.
const own = false

// Of returns c: this system has no such calls, or the race detector must see what the
// network orders, which it does for the calls of package net.
func Of(c net.Conn) net.Conn { return c }

// TCP returns c if it is a TCP connection of package net, else nil.
func TCP(c net.Conn) *net.TCPConn {
	tcp, _ := c.(*net.TCPConn)
	return tcp
}
