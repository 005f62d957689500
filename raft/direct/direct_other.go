//go:build !linux

package direct

import "net"

// Of returns c: this system has no such calls.
func Of(c net.Conn) net.Conn { return c }

// TCP returns c if it is a TCP connection of package net, else nil.
func TCP(c net.Conn) *net.TCPConn {
	tcp, _ := c.(*net.TCPConn)
	return tcp
}
