package port

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// A load balancer that passes TCP on hides where its clients come from. It may say so in a
// header before the first byte of a connection (the PROXY protocol, versions 1 and 2). From
// the proxies that the operator names the header is required; from all others it is no header,
// but a request that cannot be read. The address in it counts for limits and for the audit. It
// is never taken for this machine, and no right follows from it.

const (
	// proxyLimit bounds the time for the header.
	proxyLimit = 3 * time.Second
	// maxProxyPending bounds the connections whose headers are awaited at one time.
	maxProxyPending = 1024
	// maxProxyV1 is the length of the longest header of version 1, and maxProxyV2 that of
	// the longest rest of version 2 that is taken, in bytes: addresses and what proxies add.
	maxProxyV1 = 107
	maxProxyV2 = 4 << 10
)

// proxyV2 begins a header of version 2.
const proxyV2 = "\r\n\r\n\x00\r\nQUIT\n"

var errProxyHeader = errors.New("the connection does not begin with a header of the PROXY protocol, though it comes from a proxy that --proxy-protocol-from names")

// readProxyHeader reads a header and not a byte more. The address is invalid where the proxy
// says that the connection is its own, or does not know whose it is.
func readProxyHeader(r io.Reader) (from netip.AddrPort, err error) {
	var begun [len(proxyV2)]byte // shorter than the shortest header of version 1
	if _, err := io.ReadFull(r, begun[:]); err != nil {
		return from, err
	}
	if string(begun[:]) == proxyV2 {
		return readProxyV2(r)
	}
	if !strings.HasPrefix(string(begun[:]), "PROXY ") {
		return from, errProxyHeader
	}
	line := begun[:]
	for one := make([]byte, 1); line[len(line)-1] != '\n'; line = append(line, one[0]) {
		if len(line) == maxProxyV1 {
			return from, errProxyHeader
		}
		if _, err := io.ReadFull(r, one); err != nil {
			return from, err
		}
	}
	return parseProxyV1(string(line))
}

// parseProxyV1 reads a line such as "PROXY TCP4 192.0.2.1 192.0.2.9 51034 8701\r\n".
func parseProxyV1(line string) (from netip.AddrPort, err error) {
	text, ended := strings.CutSuffix(line, "\r\n")
	fields := strings.Split(text, " ")
	if !ended || len(fields) < 2 {
		return from, errProxyHeader
	}
	if fields[1] == "UNKNOWN" {
		return from, nil
	}
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return from, errProxyHeader
	}
	ip, err := netip.ParseAddr(fields[2])
	number, known := ParseNumber(fields[4])
	if err != nil || !known || number > 65535 || ip.Is4() != (fields[1] == "TCP4") || ip.Zone() != "" {
		return from, errProxyHeader
	}
	return netip.AddrPortFrom(ip, uint16(number)), nil
}

// readProxyV2 reads what follows the beginning of a header of version 2: the version and the
// command, the family, a length, the addresses, and what proxies add, which is passed over.
func readProxyV2(r io.Reader) (from netip.AddrPort, err error) {
	var fixed [4]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return from, err
	}
	const (
		version, local, proxied = 0x2, 0x0, 0x1
		tcp4, tcp6              = 0x11, 0x21
	)
	length, command := int(binary.BigEndian.Uint16(fixed[2:])), fixed[0]&0xf
	if fixed[0]>>4 != version || command > proxied || length > maxProxyV2 {
		return from, errProxyHeader
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(r, rest); err != nil || command == local {
		return from, err
	}
	switch {
	case fixed[1] == tcp4 && length >= 12:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(rest[:4])), binary.BigEndian.Uint16(rest[8:])), nil
	case fixed[1] == tcp6 && length >= 36:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(rest[:16])), binary.BigEndian.Uint16(rest[32:])), nil
	case fixed[1] == 0: // not said
		return from, nil
	}
	return from, errProxyHeader
}

// ParseProxies reads a list of networks, such as 10.0.0.7,10.1.0.0/16, from which headers of
// the PROXY protocol are required.
func ParseProxies(list string) (all []netip.Prefix, err error) {
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if ip, bad := netip.ParseAddr(part); bad == nil && ip.Zone() == "" {
			p, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		switch {
		case err != nil || p.Addr().Is4In6():
			return nil, fmt.Errorf("%.60q is neither an address nor a network such as 10.0.0.0/24", part)
		case p.Bits() == 0:
			return nil, fmt.Errorf("%q is every address, and everybody could say to be anybody; name the proxies alone", part)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// proxied is a listener whose connections from proxies have their clients' addresses.
type proxied struct {
	net.Listener
	from    []netip.Prefix
	logger  *slog.Logger
	failed  *ThrottledLog
	pending chan struct{}
	next    chan accepted
	once    sync.Once
	begin   sync.Once
	closed  chan struct{}

	mu      sync.Mutex // guards the field below
	waiting map[net.Conn]bool
}

type accepted struct {
	conn net.Conn
	err  error
}

// FromProxies returns a listener that requires a header of connections from these networks,
// and looks for none on others; l itself if there are no such networks. A header is awaited
// beside the accepting, so that a proxy which says nothing holds up nobody.
func FromProxies(l net.Listener, from []netip.Prefix, logger *slog.Logger) net.Listener {
	if len(from) == 0 {
		return l
	}
	return &proxied{
		Listener: l, from: from, logger: logger, failed: NewThrottledLog(logger),
		pending: make(chan struct{}, maxProxyPending), next: make(chan accepted), closed: make(chan struct{}), waiting: map[net.Conn]bool{},
	}
}

// Accept implements net.Listener.
func (p *proxied) Accept() (net.Conn, error) {
	p.begin.Do(func() { go p.run() })
	select {
	case a := <-p.next:
		return a.conn, a.err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// run accepts until the listener is closed or its error does not pass.
func (p *proxied) run() {
	for {
		conn, err := p.Listener.Accept()
		switch {
		case err != nil:
			if !p.give(accepted{err: err}) || !IsShortage(err) {
				return
			}
		case !p.isProxy(conn):
			if !p.give(accepted{conn: conn}) {
				return
			}
		default:
			p.await(conn)
		}
	}
}

// give hands a connection or an error to Accept; false: the listener was closed.
func (p *proxied) give(a accepted) bool {
	select {
	case p.next <- a:
		return true
	case <-p.closed:
		if a.conn != nil {
			a.conn.Close()
		}
		return false
	}
}

// isProxy reports whether a connection comes from one of the networks.
func (p *proxied) isProxy(conn net.Conn) bool {
	ip := addressOf(conn)
	return slices.ContainsFunc(p.from, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// await reads a connection's header in a goroutine of its own.
func (p *proxied) await(conn net.Conn) {
	select {
	case p.pending <- struct{}{}:
	default:
		p.failed.Warn("connections from proxies are closed: too many of them have not sent their headers", "limit", maxProxyPending)
		conn.Close()
		return
	}
	p.mu.Lock()
	p.waiting[conn] = true
	p.mu.Unlock()
	go func() {
		defer func() {
			p.mu.Lock()
			delete(p.waiting, conn)
			p.mu.Unlock()
			<-p.pending
		}()
		_ = conn.SetReadDeadline(time.Now().Add(proxyLimit)) // what fails here fails in the read
		from, err := readProxyHeader(conn)
		if err == nil {
			err = conn.SetReadDeadline(time.Time{})
		}
		if err != nil {
			p.failed.Warn("a connection from a proxy is closed", "proxy", conn.RemoteAddr().String(), "cause", err)
			conn.Close()
			return
		}
		if !from.IsValid() {
			from = netip.AddrPortFrom(addressOf(conn), 0)
		}
		p.give(accepted{conn: &proxiedConn{conn, net.TCPAddrFromAddrPort(elsewhere(from))}})
	}()
}

// elsewhere is an address that is not this machine's. What came through a proxy did not come
// from here, whatever it says.
func elsewhere(from netip.AddrPort) netip.AddrPort {
	ip := from.Addr().Unmap()
	switch {
	case !ip.IsLoopback():
	case ip.Is4():
		ip = netip.IPv4Unspecified()
	default:
		ip = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(ip, from.Port())
}

// proxiedConn is a connection whose client is not the one that made it.
type proxiedConn struct {
	net.Conn
	client net.Addr
}

// RemoteAddr implements net.Conn.
func (c *proxiedConn) RemoteAddr() net.Addr { return c.client }

// CloseWrite lets net/http end a connection without a reset.
func (c *proxiedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements net.Listener, and ends the connections whose headers are awaited. It may be
// called again.
func (p *proxied) Close() error {
	p.once.Do(func() { close(p.closed) })
	err := p.Listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.waiting { // any order will do
		conn.Close()
	}
	return err
}
