package kv

import (
	"testing"

	"raftkv/kvserver/auth"
)

// Goal (S5, S6): the leader gives up what a lease of an identity holds or waits for though the
// identity may nothing any more; in its name it takes nothing, and what is another identity's
// it leaves alone. No command that a client asks for at another node names a caller.
// Method: the log of two workers and a holder, of which the first has lost its token.
func TestALeaderGivesBackWhatAnIdentityMayNotHave(t *testing.T) {
	w := newAuthWorld(t)
	onJobs := auth.Rule{Space: auth.Locks, Text: "jobs", Rights: auth.RightsOf(auth.Acquire, auth.Lease)}
	x, y := w.add("x", "x0000000", onJobs), w.add("y", "y0000000", onJobs)
	w.enforce()
	by := func(who auth.Author, c Command) Result {
		c.Caller = who
		return w.apply(c)
	}
	ask := func(lock string, queue bool) Command {
		return AcquireCommand(Acquire{Lock: lock, TTL: 60_000, Limit: 1, Queue: queue})
	}
	held, ofY := by(x, ask("jobs/x", false)), by(y, ask("jobs/y", false))
	waits := by(x, ask("jobs/y", true))
	if held.Status != StatusOK || ofY.Status != StatusOK || waits.Status != StatusQueued {
		t.Fatalf("void: %+v, %+v, %+v", held, ofY, waits)
	}
	w.revoke(x)
	leader, other := auth.Author{Identity: x.Identity}, auth.Author{Identity: y.Identity}
	vouched := auth.Author{Identity: auth.Vouched}
	onX := Command{Op: OpPut, Key: []byte("jobs"), Value: []byte("v")}
	for _, c := range []struct {
		what string
		by   auth.Author
		do   Command
		want Status
	}{
		{"the worker leaves the queue", x, LeaveQueue("jobs/y", waits.Lease(), true), StatusForbidden},
		{"nobody takes it out", auth.Author{}, LeaveQueue("jobs/y", waits.Lease(), true), StatusForbidden},
		{"a node's file takes it out", vouched, LeaveQueue("jobs/y", waits.Lease(), true), StatusForbidden},
		{"for another identity it is taken out", other, LeaveQueue("jobs/y", waits.Lease(), true), StatusLeaseNotFound},
		{"for another identity the lock is released", other, Release("jobs/x", held.Token()), StatusLockLost},
		{"for another identity the lease ends", other, Revoke(held.Lease()), StatusLeaseNotFound},
		{"it is taken out", leader, LeaveQueue("jobs/y", waits.Lease(), true), StatusOK},
		{"the lock is released", leader, Release("jobs/x", held.Token()), StatusOK},
		{"the lease ends", leader, Revoke(held.Lease()), StatusOK},
		{"a lock is acquired", leader, ask("jobs/z", false), StatusForbidden},
		{"a lease is granted", leader, Grant(0, 60_000, ""), StatusForbidden},
		{"a lease is kept alive", leader, KeepAlive(held.Lease()), StatusForbidden},
		{"a value is published", leader, Publish("jobs/x", held.Token(), nil), StatusForbidden},
		{"a key is put", leader, onX, StatusForbidden},
	} {
		if got := by(c.by, c.do).Status; got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	asked := Release("jobs/y", ofY.Token())
	asked.Caller = other
	if err := asked.CheckAsked(); err == nil {
		t.Error("a client may name a caller at another node")
	}
}
