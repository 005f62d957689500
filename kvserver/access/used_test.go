package access

import (
	"testing"
	"time"

	"raftkv/kvserver/auth"
	"raftkv/tests/virtual"
)

// Goal: a node knows to the second when each token was last used on it, also where a
// connection authenticates once and goes on for long; what it remembers is bounded by the
// tokens that there are. Method: one table, virtual time; then many tokens come and go.
func TestTheLastUseOfATokenIsKnown(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		var table *auth.Table
		index := uint64(0)
		do := func(c auth.Change) {
			t.Helper()
			index++
			next, err := table.Apply(index, auth.Author{Identity: auth.Vouched}, &c)
			if err != nil {
				t.Fatal(err)
			}
			table = next
		}
		create := func(name, id string) (auth.TokenID, string) {
			parsed, _ := auth.ParseTokenID(id)
			token := auth.MakeToken(parsed, [auth.SecretBytes]byte{1})
			do(auth.Change{Action: auth.CreateToken, Name: name, Token: &auth.Token{ID: parsed, Hash: auth.HashOf(token.Reveal())}})
			return parsed, token.Reveal()
		}
		do(auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "svc", Rules: []auth.Rule{{Rights: auth.RightsOf(auth.Admin)}}}})
		id, token := create("svc", "token000")
		g := New(Config{Table: func() *auth.Table { return table }})
		if _, used := g.LastUse(id); used || time.Since(g.Since()) > time.Second {
			t.Errorf("used before any use, since %v", g.Since())
		}
		who, err := g.AuthenticateToken(token)
		if err != nil {
			t.Fatal(err)
		}
		do(auth.Change{Action: auth.SetState, State: auth.Enforcing})
		for _, use := range []func() error{
			func() error { _, err := g.AuthenticateToken(token); return err },
			func() error { return g.Allow(&who, auth.Status, auth.Range{}) },
		} {
			time.Sleep(time.Hour)
			if err := use(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
			if at, used := g.LastUse(id); !used || time.Since(at) < time.Minute || time.Since(at) > time.Minute+time.Second {
				t.Errorf("the last use is %v ago", time.Since(at))
			}
		}
		if _, err := g.AuthenticateToken(token[:len(token)-1] + "0"); err == nil {
			t.Error("a wrong token is taken")
		}
		for i := range 3 * spareUses {
			name := []byte("gone0000")
			name[6], name[7] = byte('A'+i/26), byte('a'+i%26)
			other, text := create("svc", string(name))
			if _, err := g.AuthenticateToken(text); err != nil {
				t.Fatal(err)
			}
			do(auth.Change{Action: auth.RevokeToken, Token: &auth.Token{ID: other}})
		}
		if n := len(g.used.at); n > spareUses+2 {
			t.Errorf("%d tokens are remembered, and there is 1", n)
		}
	})
}
