package cluster

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/kvserver/clerkwire"
)

// Proxy stands between Clerks and one node and loses some of the node's answers:
// the requests are served, and nobody hears of it.
type Proxy struct {
	listener net.Listener
	target   string
	loses    func(clerkwire.Kind) bool // decides about each answer; used by many at once
	Passed   atomic.Int64
	Lost     atomic.Int64
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// StartProxy starts a proxy of the node that serves at target. It ends with the test.
// Many goroutines call loses at once.
func StartProxy(t *testing.T, target string, loses func(clerkwire.Kind) bool) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, loses: loses, conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Address returns the proxy's own host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

func (p *Proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.DialTimeout("tcp", p.target, time.Second)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		end := sync.OnceFunc(func() {
			client.Close()
			server.Close()
			p.mu.Lock()
			delete(p.conns, client)
			delete(p.conns, server)
			p.mu.Unlock()
		})
		p.running.Go(func() { _, _ = io.Copy(server, client); end() })
		p.running.Go(func() { p.relay(client, server); end() })
	}
}

// relay passes on the answers of one connection, but for those that it loses. What is no
// connection of a Clerk passes whole: nodes ask each other through the proxy, too.
func (p *Proxy) relay(client, server net.Conn) {
	from, to := bufio.NewReader(server), bufio.NewWriter(client)
	if status, err := from.Peek(len("HTTP/1.1 101")); err != nil || !strings.HasSuffix(string(status), " 101") {
		_, _ = io.Copy(client, from)
		return
	}
	for line := ""; strings.TrimSpace(line) != "" || line == ""; { // the head of the upgrade
		var err error
		if line, err = from.ReadString('\n'); err != nil {
			return
		}
		_, _ = to.WriteString(line)
	}
	const headerBytes = 9
	header := make([]byte, headerBytes)
	for to.Flush() == nil {
		if _, err := io.ReadFull(from, header); err != nil {
			return
		}
		var out io.Writer = to
		if p.loses(clerkwire.Kind(header[0])) {
			p.Lost.Add(1)
			out = io.Discard
		} else {
			p.Passed.Add(1)
		}
		_, _ = out.Write(header)
		if _, err := io.CopyN(out, from, int64(binary.LittleEndian.Uint32(header[5:]))); err != nil {
			return
		}
	}
}
