package port

import (
	"math/rand/v2"
	"net"
	"net/netip"
)

const (
	// loopbackReserve is how many of the places are for connections from this
	// machine, so that its operator is never locked out.
	loopbackReserve = 64
	// strangersShare is which part of the places may be those of strangers where that is
	// bounded: one in this number.
	strangersShare = 4
)

// take gives a connection a place, or returns nil.
func (p *Port) take(conn net.Conn) *Conn {
	ip := addressOf(conn)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.config.MaxPerIP > 0 && !ip.IsLoopback() && p.perIP[ip] >= p.config.MaxPerIP {
		p.refused++
		return nil
	}
	// The strangers' share comes first: nobody makes room for one that gets no place.
	stranger := !ip.IsLoopback()
	if stranger && p.strangers.Load() >= p.strangersPlaces() && p.isStrict() && !p.evictLocked(&p.waitingStrangers) {
		p.refused++
		return nil
	}
	places := p.config.MaxConnections
	if stranger {
		places -= min(loopbackReserve, p.config.MaxConnections/2)
	}
	if len(p.all) >= places && !p.evictLocked(&p.waiting) {
		p.refused++
		return nil
	}
	c := &Conn{Conn: conn, raw: conn, port: p, ip: ip, recording: true, haste: rand.Float64()}
	if p.config.TLS != nil {
		c.gone = make(chan struct{})
	}
	if stranger {
		c.stranger.Store(true)
		p.strangers.Add(1)
	}
	c.enter(phaseReceiving)
	p.all[c] = true
	p.count.Store(int64(len(p.all)))
	p.perIP[ip]++
	return c
}

func (p *Port) forget(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgetLocked(c)
}

// forgetLocked frees a connection's place, once.
func (p *Port) forgetLocked(c *Conn) {
	if !p.all[c] {
		return
	}
	delete(p.all, c)
	p.knownLocked(c)
	p.count.Store(int64(len(p.all)))
	if p.perIP[c.ip]--; p.perIP[c.ip] == 0 {
		delete(p.perIP, c.ip)
	}
}

// known notes that a connection is no stranger's any more.
func (p *Port) known(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.knownLocked(c)
}

func (p *Port) knownLocked(c *Conn) {
	if c.stranger.CompareAndSwap(true, false) {
		p.strangers.Add(-1)
	}
}

// strangersPlaces is how many places strangers may have where they are bounded.
func (p *Port) strangersPlaces() int64 { return int64(max(p.config.MaxConnections/strangersShare, 1)) }

// isStrict reports whether strangers are bounded.
func (p *Port) isStrict() bool { return p.config.Strict != nil && p.config.Strict() }

// MustEnd reports whether the connection must end with the answer that is about to be sent: it
// is a stranger's, and of the places of strangers more than three in four are taken. A stranger
// that asks once a second for what needs no token would keep its place for ever, since no
// client keeps the server waiting for long enough to be closed for another.
func (c *Conn) MustEnd() bool {
	if c == nil || !c.stranger.Load() {
		return false
	}
	p := c.port
	return p.strangers.Load()*4 > p.strangersPlaces()*3 && p.isStrict()
}

func addressOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
