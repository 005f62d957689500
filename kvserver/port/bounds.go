package port

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	// loopbackReserve is how many of the places are for connections from this
	// machine, so that its operator is never locked out.
	loopbackReserve = 64
	// evictionAge is how long a connection must have kept the server waiting
	// before it makes room for another: many honest clients that come at once must
	// not drive each other out.
	evictionAge = time.Second
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
	if stranger && p.strangers >= max(p.config.MaxConnections/strangersShare, 1) && p.config.Strict != nil && p.config.Strict() && !p.evictLocked(true) {
		p.refused++
		return nil
	}
	places := p.config.MaxConnections
	if stranger {
		places -= min(loopbackReserve, p.config.MaxConnections/2)
	}
	if len(p.all) >= places && !p.evictLocked(false) {
		p.refused++
		return nil
	}
	c := &Conn{Conn: conn, raw: conn, port: p, ip: ip, stranger: stranger, recording: true, haste: rand.Float64()}
	if stranger {
		p.strangers++
	}
	c.enter(phaseReceiving)
	p.all[c] = true
	p.count.Store(int64(len(p.all)))
	p.perIP[ip]++
	return c
}

// evictLocked closes some connections whose clients keep the server waiting and
// reports whether there were any: one in sixteen at once, so that looking for
// them costs little for each. With strangers set it closes connections of strangers only.
func (p *Port) evictLocked(strangers bool) bool {
	type candidate struct {
		conn  *Conn
		since int64
	}
	for _, waitsFor := range []phase{phaseReceiving, phaseIdle} {
		var candidates []candidate
		before := p.now() - int64(evictionAge)
		for c := range p.all {
			if since := c.since.Load(); phase(c.phase.Load()) == waitsFor && since < before && !c.atGate.Load() && (c.stranger || !strangers) {
				candidates = append(candidates, candidate{c, since})
			}
		}
		if len(candidates) == 0 {
			continue
		}
		slices.SortFunc(candidates, func(a, b candidate) int { return int(min(max(a.since-b.since, -1), 1)) })
		for _, c := range candidates[:max(1, min(len(candidates), len(p.all)/16))] {
			p.forgetLocked(c.conn)
			p.evicted++
			c.conn.raw.Close()
		}
		return true
	}
	return false
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
	if c.stranger {
		c.stranger = false
		p.strangers--
	}
}

func addressOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
