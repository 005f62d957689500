package port

import (
	"net/http"
	"time"
)

const (
	// bodyGrace and bodyRate bound how long a body may take, in either direction: a
	// client has bodyGrace plus one second per bodyRate bytes. For a request it is
	// less; see Conn.hasten.
	bodyGrace = time.Minute
	bodyRate  = 64 << 10 // bytes per second
)

// bodyTime returns how long a body of this length may take.
func bodyTime(grace time.Duration, bytes int) time.Duration {
	return grace + time.Duration(bytes)*time.Second/bodyRate
}

// AllowReading gives the client time to send more of a body that began to be read
// at a certain time, of which this number of bytes has come.
func (p *Port) AllowReading(w http.ResponseWriter, r *http.Request, began time.Time, received int) {
	// What serves in tests without a connection has no deadlines.
	_ = http.NewResponseController(w).SetReadDeadline(began.Add(bodyTime(p.config.BodyGrace, received) - Of(r).hasten(p.config.BodyGrace)))
}

// AllowWriting gives the client time to take an answer of this length, in bytes.
func (p *Port) AllowWriting(w http.ResponseWriter, length int) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bodyTime(p.config.AnswerGrace, length)))
}

// SetReadDeadline sets a deadline, and an earlier one for a header; see hasten.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	inHeader := c.recording && c.phase.Load() == int32(phaseReceiving)
	c.mu.Unlock()
	if inHeader && !t.IsZero() {
		t = t.Add(-c.hasten(time.Until(t)))
	}
	return c.Conn.SetReadDeadline(t)
}

// hasten returns how much to shorten a deadline of d for this connection: a random
// part, up to half, drawn once when it connects. Spreading the deadlines keeps
// thousands of slow clients from timing out, and reconnecting, at the same moment.
//
// Where places are short, two thirds of the rest go, too. Otherwise time is given
// freely: to end a connection and to take the one that comes in its place costs
// about as much as half a minute of a byte a second.
func (c *Conn) hasten(d time.Duration) time.Duration {
	if c == nil || d <= 0 {
		return 0
	}
	left := c.spread(d)
	if c.port.short() {
		left /= 3
	}
	return d - left
}

// spread returns a part of d, at least half, that was drawn when the connection came:
// thousands that came at the same moment do not end at the same moment.
func (c *Conn) spread(d time.Duration) time.Duration { return d - time.Duration(c.haste*float64(d)/2) }

// short reports whether more than three in four places are taken.
func (p *Port) short() bool { return p.count.Load()*4 > int64(p.config.MaxConnections)*3 }
