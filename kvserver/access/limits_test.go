package access

import (
	"testing"
	"time"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/tests/virtual"
)

// Goal (S16): whoever waits as long as a refusal says is let in, if nobody else has used what
// is there. Method: rates at which the time to wait is no number of whole seconds, for requests,
// for bytes whose number is known before, and for bytes that are counted behind.
func TestWhoeverWaitsAsLongAsToldIsLetIn(t *testing.T) {
	for name, c := range map[string]struct {
		limits auth.Limits
		use    func(g *Gate, who *Caller) error
	}{
		"requests": {auth.Limits{RequestsPerSecond: 3}, func(g *Gate, who *Caller) error { return g.Enter(who, 0) }},
		"bytes":    {auth.Limits{BytesPerSecond: 1000}, func(g *Gate, who *Caller) error { return g.Enter(who, 700) }},
		"bytes while others are owed": {auth.Limits{BytesPerSecond: 1000}, func(g *Gate, who *Caller) error {
			err := g.Enter(who, 700)
			if err == nil {
				_ = g.Charge(who, 1550) // they count though they are too many
			}
			return err
		}},
		"bytes that are not known before": {auth.Limits{BytesPerSecond: 1000}, func(g *Gate, who *Caller) error {
			err := g.Charge(who, 0)
			if err == nil {
				_ = g.Charge(who, 1400)
			}
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Time(t, func(t *testing.T) {
				table, err := (*auth.Table)(nil).Apply(1, auth.Author{Identity: auth.Vouched}, &auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: auth.Anonymous, Limits: c.limits}})
				if err != nil {
					t.Fatal(err)
				}
				g, who := New(Config{Table: func() *auth.Table { return table }}), &Caller{}
				refused := 0
				for range 40 {
					err := c.use(g, who)
					if err == nil {
						time.Sleep(130 * time.Millisecond)
						continue
					}
					refused++
					time.Sleep(failure.RetryIn(err))
					if err := c.use(g, who); err != nil {
						t.Fatalf("refused after %v: %v", failure.RetryIn(err), err)
					}
				}
				if refused == 0 {
					t.Error("void: nothing was refused")
				}
			})
		})
	}
}
