package access

import (
	"maps"
	"slices"
	"time"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
)

// Allow decides whether a caller may use a right on a range, by the table as it is
// now. While identities are enforced, an error of kind failure.Unauthenticated says that
// the caller is not or no longer known, one of kind failure.Denied that no rule grants
// it. It names the right and the range, and nothing that the store holds; see LackOf.
func (g *Gate) Allow(c *Caller, right auth.Right, r auth.Range) error {
	t := g.config.Table()
	if t.State() == auth.Off {
		return nil
	}
	right = r.Right(right)
	i := c.present(t)
	if i != nil && c.token != nil {
		note(c.used) // on a Clerk's connection nobody authenticates again
	}
	if g.allows(t, i, right, r) {
		return nil
	}
	if t.State() == auth.Observing {
		g.wouldDeny(c, right)
		return nil
	}
	if i == nil {
		return unknownBy(t, &Lack{right, r})
	}
	return failure.Of(failure.Denied, &Lack{right, r}, "the identity %s needs the right %s for %s", c.name, right, r)
}

// Grants reports whether a decision of Allow certainly still holds, without deciding again. by
// is the table as it was before that call of Allow. If false, ask Allow again.
func (g *Gate) Grants(c *Caller, by *auth.Table) bool {
	return g.config.Table() == by && (c.token == nil || c.token.Expires == 0)
}

// Refuse returns the error for a caller that lacks a right on the system.
func (g *Gate) Refuse(c *Caller, right auth.Right) error {
	if t := g.config.Table(); c.present(t) == nil {
		return unknownBy(t, nil)
	}
	return failure.Of(failure.Denied, nil, "the identity %s needs the right %s for %s", c.name, right, auth.Range{})
}

// Holds reports whether a caller has a right on the system, whatever the state.
func (g *Gate) Holds(c *Caller, right auth.Right) bool {
	i := c.present(g.config.Table())
	return i != nil && i.Allows(right, auth.Range{})
}

// allows decides for an identity, nil for nobody.
func (g *Gate) allows(t *auth.Table, i *auth.Identity, right auth.Right, r auth.Range) bool {
	switch {
	case right == auth.Open:
		return true
	case i != nil:
		return i.Allows(right, r)
	case right == auth.Known:
		return false
	}
	anonymous := t.Named(auth.Anonymous)
	return anonymous != nil && anonymous.Allows(right, r)
}

// present returns the caller's identity by a table, nil if it is nobody or its token is
// not good any more.
func (c *Caller) present(t *auth.Table) *auth.Identity {
	switch {
	case c.identity == nil:
		return nil
	case c.token == nil: // of this node's file, which does not change
		return c.identity
	case c.table == t && !(c.token.Expires != 0 && t.Expired(c.token, now())):
		return c.identity
	}
	if k := t.Token(c.token.ID); k == nil || k.Hash != c.token.Hash { // another one may have its id
		return nil
	}
	return t.Still(c.token.ID, now())
}

// logEvery is how often one identity is logged for one right.
const logEvery = time.Minute

// wouldDeny notes that a request is served only because nothing is enforced yet.
func (g *Gate) wouldDeny(c *Caller, right auth.Right) {
	g.config.Observer.WouldDeny(right)
	name := c.name
	if name == "" {
		name = auth.Anonymous
	}
	if g.firstOfLate(name + " " + right.String()) {
		g.config.Logger.Warn("a request was served that will be refused once identities are enforced", "identity", name, "right", right.String())
	}
}

// firstOfLate reports whether a thing was not logged for a while.
func (g *Gate) firstOfLate(what string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := time.Now()
	if last, known := g.logged[what]; known && at.Sub(last) < logEvery {
		return false
	}
	if len(g.logged) > maxLogged {
		clear(g.logged)
	}
	g.logged[what] = at
	return true
}

// WouldDeny returns what was served on this node of late and would be refused if
// identities were enforced, as "identity right", in order.
func (g *Gate) WouldDeny() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Sorted(maps.Keys(g.logged))
}

// maxLogged bounds what is remembered of the log.
const maxLogged = 4096
