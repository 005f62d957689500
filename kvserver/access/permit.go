package access

import (
	"time"

	"raftkv/kvserver/auth"
)

// Permit is what a caller was let in for that lasts: a stream, a watch, a backup. It is
// asked for again as the table of identities changes. It belongs to one goroutine.
type Permit struct {
	gate  *Gate
	who   *Caller
	right auth.Right
	spans []auth.Range
	table *auth.Table // by which it was decided last; nil: not at all
	asked time.Time
	lost  error
}

// permitEvery is how often a permit is decided anew though the table is the same: the
// token may have expired.
const permitEvery = time.Second

// Permit returns a permit for a right on ranges, all of which must be granted. Nothing is
// decided yet.
func (g *Gate) Permit(who *Caller, right auth.Right, spans ...auth.Range) *Permit {
	return &Permit{gate: g, who: who, right: right, spans: spans}
}

// Still decides whether the caller may have what it was let in for, now. The error is one
// of Gate.Allow; once there was one, it stays.
func (p *Permit) Still() error {
	t := p.gate.config.Table()
	if p.lost != nil || t == p.table && (t.State() == auth.Off || time.Since(p.asked) < permitEvery) {
		return p.lost
	}
	p.table, p.asked = t, time.Now()
	for _, span := range p.spans {
		if p.lost = p.gate.Allow(p.who, p.right, span); p.lost != nil {
			break
		}
	}
	return p.lost
}
