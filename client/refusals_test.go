package client

import (
	"context"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// Goal: a refusal that leaves the outcome open is an attempt that may have
// happened, whatever comes after it. Method: the first attempt is refused so; then
// the session has expired, or the call ends.
func TestARefusalMayLeaveTheOutcomeOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(nil)
		defer f.end(c)
		if _, err := c.Put(t.Context(), "k", nil); err != nil {
			t.Fatal(err)
		}
		attempts, then := 0, expire
		f.set(func() {
			f.before = func(c *fakeConn, a asked) bool {
				if attempts++; attempts == 1 {
					c.refuse(a, clerkwire.Refused{Code: api.CodeLeadershipLost, Outcome: api.OutcomeUnknown})
				} else {
					then(c, a)
				}
				return true
			}
		})
		_, err := c.Append(t.Context(), "k", []byte("x"))
		wantError(t, err, api.OutcomeUnknown, ErrSessionExpired, ErrOutcomeUnknown)

		attempts, then = 0, func(c *fakeConn, a asked) { c.noLeader(a, "") }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = c.Append(ctx, "k", []byte("x"))
		wantError(t, err, api.OutcomeUnknown, ErrOutcomeUnknown, ErrNoLeader, context.DeadlineExceeded)
	})
}

// Goal: a server that names the leader is believed at once: nobody else is asked
// between. Method: the third of three servers leads, and the first says so.
func TestWhoIsToldTheLeaderGoesThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n3")
		c := f.dial(func(config *Config) { config.Endpoints = []string{"n1:1", "n2:1", "n3:1"} })
		defer f.end(c)
		all := servers{}
		all.add(0)
		if next, fresh := c.route.next(all, servers{}, servers{}, 0, 2); next != 2 || !fresh {
			t.Errorf("told of server 2, server %d is asked next, fresh %v", next, fresh)
		}
		all.add(1)
		all.add(2)
		if next, fresh := c.route.next(all, servers{}, servers{}, 1, 2); next != 2 || fresh {
			t.Errorf("when all were asked and server 2 is said to lead, server %d is asked next, fresh %v", next, fresh)
		}
	})
}

// Goal: no call is made on a connection that the server wants to end, not even
// one that found it usable a moment ago. Method: between the two the server says
// goodbye.
func TestNoCallOnAConnectionThatIsSentAway(t *testing.T) {
	c := &conn{calls: map[uint32]*call{}, sweep: time.Hour}
	if !c.usable() {
		t.Fatal("a fresh connection is not usable")
	}
	if idle := c.sendAway(); !idle || c.usable() {
		t.Errorf("sent away: idle %v, usable %v", idle, c.usable())
	}
	if number, ok := c.push(&call{}); ok {
		t.Errorf("call %d was taken", number)
	}
}
