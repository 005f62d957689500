package port

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"raftkv/tests/virtual"
)

// version2 is a header of version 2.
func version2(command, family byte, addresses ...byte) string {
	fixed := append([]byte(proxyV2), 0x20|command, family, 0, 0)
	binary.BigEndian.PutUint16(fixed[len(fixed)-2:], uint16(len(addresses)))
	return string(append(fixed, addresses...))
}

var (
	ofV4 = []byte{192, 0, 2, 1, 192, 0, 2, 9, 0xc7, 0x58, 0x21, 0xfd}
	ofV6 = append(append(append([]byte{}, netip.MustParseAddr("2001:db8::1").AsSlice()...), netip.MustParseAddr("2001:db8::9").AsSlice()...), 0xc7, 0x58, 0x21, 0xfd)
)

// Goal: headers of both versions are read to their last byte and not beyond, whatever pieces
// they come in; what is none is refused.
// Method: a table; each header with a request behind it, read at once and byte by byte.
func TestProxyHeadersAreRead(t *testing.T) {
	const behind = "GET / HTTP/1.1\r\n"
	for _, c := range []struct{ header, want string }{
		{"PROXY TCP4 192.0.2.1 192.0.2.9 51032 8701\r\n", "192.0.2.1:51032"}, {"PROXY TCP6 2001:db8::1 2001:db8::9 51032 8701\r\n", "[2001:db8::1]:51032"},
		{"PROXY UNKNOWN\r\n", "invalid AddrPort"}, {"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "invalid AddrPort"},
		{version2(1, 0x11, ofV4...), "192.0.2.1:51032"}, {version2(1, 0x21, ofV6...), "[2001:db8::1]:51032"}, {version2(1, 0x11, append(ofV4, make([]byte, 200)...)...), "192.0.2.1:51032"},
		{version2(0, 0), "invalid AddrPort"}, {version2(0, 0x11, ofV4...), "invalid AddrPort"}, {version2(1, 0), "invalid AddrPort"},
		{"GET /v1/kv/k HTTP/1.1\r\n", ""}, {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00", ""}, {"PROXY TCP4 192.0.2.1 192.0.2.9 51032 8701\n", ""},
		{"PROXY TCP4 2001:db8::1 192.0.2.9 1 2\r\n", ""}, {"PROXY TCP6 192.0.2.1 192.0.2.9 1 2\r\n", ""}, {"PROXY TCP4 192.0.2.1 192.0.2.9 65536 1\r\n", ""}, {"PROXY TCP4 192.0.2.1  192.0.2.9 1 1\r\n", ""},
		{"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", ""}, {"PROXY UDP4 192.0.2.1 192.0.2.9 1 2\r\n", ""}, {"PROXY " + strings.Repeat("x", 200) + "\r\n", ""}, {"PROXY TCP4 192.0.2.1 192.0.2.9 -1 2\r\n", ""},
		{version2(2, 0x11, ofV4...), ""}, {version2(1, 0x11, ofV4[:11]...), ""}, {version2(1, 0x31, make([]byte, 216)...), ""}, {version2(1, 0x11, make([]byte, maxProxyV2+1)...), ""},
		{strings.Replace(version2(1, 0x11, ofV4...), "\x21", "\x11", 1), ""},
	} {
		for _, slow := range []bool{false, true} {
			all := strings.NewReader(c.header + behind)
			r := io.Reader(all)
			if slow {
				r = iotest.OneByteReader(all)
			}
			from, err := readProxyHeader(r)
			if c.want == "" {
				if err == nil {
					t.Errorf("%q is taken: %v", c.header, from)
				}
				continue
			}
			left, _ := io.ReadAll(all)
			if err != nil || from.String() != c.want || string(left) != behind {
				t.Errorf("%q: %v, %v, and %q is left; want %s", c.header, from, err, left, c.want)
			}
		}
	}
}

// FuzzProxyHeader: no header makes the reader fail otherwise than by an error, or read more
// than the longest header has.
func FuzzProxyHeader(f *testing.F) {
	for _, seed := range []string{"PROXY TCP4 192.0.2.1 192.0.2.9 51032 8701\r\n", "PROXY UNKNOWN\r\n", version2(1, 0x11, ofV4...), version2(1, 0x21, ofV6...), version2(0, 0)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		from, err := readProxyHeader(r)
		if read := len(b) - r.Len(); read > maxProxyV2+16 || err != nil && from.IsValid() {
			t.Errorf("%d bytes were read: %v, %v", read, from, err)
		}
		if ip := elsewhere(from).Addr(); from.IsValid() && (ip.IsLoopback() || ip.Is4In6()) {
			t.Errorf("%v counts as %v", from, ip)
		}
	})
}

// Goal: the networks of proxies are read as they are meant, and all addresses are none.
func TestNetworksOfProxies(t *testing.T) {
	all, err := ParseProxies("10.0.0.7, 10.1.2.3/16,2001:db8::/32,")
	if err != nil || len(all) != 3 || all[0].String() != "10.0.0.7/32" || all[1].String() != "10.1.0.0/16" {
		t.Errorf("%v, %v", all, err)
	}
	for _, bad := range []string{"proxy", "10.0.0.0/33", "0.0.0.0/0", "::/0", "fe80::1%eth0", "::ffff:10.0.0.1"} {
		if _, err := ParseProxies(bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// madeBy is a connection that comes from an address.
type madeBy struct {
	net.Conn
	from net.Addr
}

func (c *madeBy) RemoteAddr() net.Addr { return c.from }

// Goal: a connection from a proxy has its client's address, which is never this machine's; one
// that says nothing for three seconds, or no header, is closed and holds up nobody; what
// others send is not looked at. The end of the listener ends those that wait.
// Method: connections in memory, virtual time.
func TestConnectionsFromProxiesHaveTheirClientsAddresses(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		under := &scriptedListener{next: make(chan any), closed: make(chan struct{})}
		proxies, err := ParseProxies("192.0.2.9,127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		l := FromProxies(under, proxies, slog.New(slog.DiscardHandler))
		got := make(chan net.Conn, 8)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					close(got)
					return
				}
				got <- conn
			}
		}()
		connect := func(from string) net.Conn {
			ours, theirs := net.Pipe()
			under.next <- &madeBy{theirs, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
			return ours
		}
		silent := connect("192.0.2.9:1")
		begun := time.Now()
		for _, c := range []struct{ from, sent, want string }{
			{"192.0.2.9:1", "PROXY TCP4 198.51.100.7 192.0.2.9 51034 8701\r\n", "198.51.100.7:51034"},
			{"192.0.2.9:1", "PROXY TCP4 127.0.0.1 192.0.2.9 51034 8701\r\n", "0.0.0.0:51034"}, {"192.0.2.9:1", "PROXY TCP6 ::1 ::1 51034 8701\r\n", "[::]:51034"},
			{"192.0.2.9:1", "PROXY TCP6 ::ffff:127.0.0.1 ::1 51034 8701\r\n", "0.0.0.0:51034"}, {"192.0.2.9:1", "PROXY UNKNOWN\r\n", "192.0.2.9:0"}, {"127.0.0.1:1", "PROXY UNKNOWN\r\n", "0.0.0.0:0"},
			{"198.51.100.8:7", "", "198.51.100.8:7"}, {"127.0.0.2:7", "", "127.0.0.2:7"},
		} {
			conn := connect(c.from)
			go io.WriteString(conn, c.sent+"body")
			is := <-got
			text := make([]byte, 4)
			if _, err := io.ReadFull(is, text); err != nil || is.RemoteAddr().String() != c.want || string(text) != "body" {
				t.Errorf("%q from %s: it comes from %s and says %q, %v", c.sent, c.from, is.RemoteAddr(), text, err)
			}
			is.Close()
		}
		if time.Since(begun) != 0 {
			t.Errorf("a silent proxy holds up others for %v", time.Since(begun))
		}
		bare := connect("192.0.2.9:1")
		go io.WriteString(bare, "GET / HTTP/1.1\r\n")
		if _, err := bare.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(begun) != 0 {
			t.Errorf("a request without a header: %v after %v", err, time.Since(begun))
		}
		if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(begun) != proxyLimit {
			t.Errorf("silence: %v after %v", err, time.Since(begun))
		}
		last := connect("192.0.2.9:1")
		synctest.Wait()
		l.Close()
		if _, err := last.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(begun) != proxyLimit {
			t.Errorf("behind the end of the listener: %v", err)
		}
		for range got {
		}
	})
}
