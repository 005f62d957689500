package access

import (
	"sync"
	"sync/atomic"
	"time"

	"raftkv/kvserver/auth"
)

// uses remember when tokens were last used on this node since its start. They are no part of
// the replicated state: to write down each use would make a write of each read. So each node
// knows its own, so a question about the cluster goes to all of them.
type uses struct {
	begun time.Time

	mu sync.RWMutex // guards the field below
	at map[auth.TokenID]*atomic.Int64
}

// newUses returns uses without any.
func newUses() uses { return uses{begun: time.Now(), at: map[auth.TokenID]*atomic.Int64{}} }

// spareUses is how many tokens that are gone are remembered in addition to those of a table.
const spareUses = 64

// of returns the place where uses of a token are noted, and makes one if there is none. table is
// the newest one.
func (u *uses) of(id auth.TokenID, table func() *auth.Table) *atomic.Int64 {
	u.mu.RLock()
	at := u.at[id]
	u.mu.RUnlock()
	if at == nil {
		at = u.add(id, table)
	}
	return at
}

// note notes that a token is used now, to the second.
func note(used *atomic.Int64) {
	if seconds := time.Now().Unix(); used.Load() != seconds {
		used.Store(seconds)
	}
}

// add makes room for one more token, and forgets those that are gone if they are many.
func (u *uses) add(id auth.TokenID, table func() *auth.Table) *atomic.Int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	t := table() // not before: it has all tokens whose places are there, if they are not gone
	if len(u.at) >= len(t.Tokens())+spareUses {
		for known := range u.at { // any order will do
			if t.Token(known) == nil {
				delete(u.at, known)
			}
		}
	}
	at := u.at[id]
	if at == nil {
		at = new(atomic.Int64)
		u.at[id] = at
	}
	return at
}

// LastUse returns when a token was last used on this node, to the second. used is false if
// it was not since Since.
func (g *Gate) LastUse(id auth.TokenID) (at time.Time, used bool) {
	g.used.mu.RLock()
	seconds := g.used.at[id]
	g.used.mu.RUnlock()
	if seconds == nil {
		return time.Time{}, false
	}
	return time.Unix(seconds.Load(), 0).UTC(), true
}

// Since returns since when this node remembers the uses of tokens.
func (g *Gate) Since() time.Time { return g.used.begun.UTC().Truncate(time.Second) }
