package membership

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/failure"
	"raftkv/raft"
	"raftkv/raft/members"
)

var emptyConfigurations raft.Configurations

// Holds implements Holding.
func (n *fakeNode) Holds() bool {
	n.log.mu.Lock()
	defer n.log.mu.Unlock()
	return n.log.holding[n.id]
}

// SetHold implements Holding.
func (n *fakeNode) SetHold(hold bool) error {
	n.log.set(func() { n.log.holding[n.id] = hold })
	return nil
}

var errDeaf = errors.New("no answer")

// MemberHolds implements Holding.
func (n *fakeNode) MemberHolds(_ context.Context, id members.ID) (bool, error) {
	n.log.mu.Lock()
	defer n.log.mu.Unlock()
	if n.log.deaf[id] {
		return false, errDeaf
	}
	return n.log.holding[id], nil
}

// TellMember implements Holding.
func (n *fakeNode) TellMember(_ context.Context, id members.ID, hold bool) (bool, error) {
	n.log.mu.Lock()
	deaf, older, other := n.log.deaf[id], n.log.older[id], n.log.nodes[id]
	n.log.mu.Unlock()
	switch {
	case older:
		return false, ErrOlder
	case deaf:
		return false, errDeaf
	}
	return other.driver.HoldHere(hold)
}

// addStatic starts the members of a list.
func (f *fakeLog) addStatic(t *testing.T, ids ...members.ID) {
	f.static = ids
	for _, id := range ids {
		f.add(t, id, 3)
	}
}

// Goal: M19: a level that is held before there is a record does not rise, whoever leads
// and although only one member was told; that member is named; it rises soon after any
// node was asked to let it go. Method: three nodes that all know the level; one of them
// holds it from the beginning, as --hold-level makes it; leadership goes round; a follower
// lets the level go.
func TestOneMemberThatHoldsKeepsTheLevel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, false)
		defer f.close()
		f.holding["n3"] = true
		f.addStatic(t, "n1", "n2", "n3")
		for _, leader := range []members.ID{"n1", "n2", "n3", "n1"} {
			f.lead(leader)
			time.Sleep(time.Minute)
			level := f.nodes[leader].driver.Level()
			if f.entries() != 0 || !level.Hold || len(level.HeldBack) != 1 || level.HeldBack[0].ID != "n3" || !strings.Contains(level.HeldBack[0].Why, "raftkv level release") {
				t.Fatalf("%s leads: %d changes, %+v", leader, f.entries(), level)
			}
		}
		_, err := f.nodes["n2"].driver.Hold(t.Context(), false) // the record may begin meanwhile
		time.Sleep(2 * time.Second)
		if err != nil || f.record() == nil || f.record().Level != 3 {
			t.Errorf("let go: %v; the record is %+v", err, f.record())
		}
	})
}

// Goal: after the answer to hold the level does not rise; all that hear it hold; a member of
// level 2 need not. Letting go fails while a member does not hear it, and the level stays.
// What cannot be asked may hold the level, so nothing is begun before it was. Method: a
// member that at first is of level 2 and cannot be asked, and then another one that cannot.
func TestHoldAndLetGo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, false)
		defer f.close()
		f.older["n3"], f.deaf["n3"] = true, true
		f.addStatic(t, "n1", "n2", "n3")
		if recorded, err := f.nodes["n2"].driver.Hold(t.Context(), true); recorded || err != nil {
			t.Fatal(recorded, err)
		}
		f.set(func() {
			if !f.holding["n1"] || !f.holding["n2"] || f.holding["n3"] {
				t.Errorf("those that hold are %v", f.holding)
			}
			f.older["n3"], f.deaf["n3"], f.deaf["n2"] = false, false, true
		})
		time.Sleep(time.Minute)
		if _, err := f.nodes["n1"].driver.Hold(t.Context(), false); !errors.Is(err, failure.NotReachable) || !strings.Contains(failure.Detail(err), "n2 did not hear it: no answer") {
			t.Errorf("letting go without n2: %v", err)
		}
		time.Sleep(time.Minute)
		if f.entries() != 0 {
			t.Fatal("a member that cannot be asked does not keep the level")
		}
		if held := f.nodes["n1"].driver.Level().HeldBack; len(held) != 1 || !strings.Contains(held[0].Why, "did not say") {
			t.Errorf("held back by %+v", held)
		}
		f.set(func() { f.deaf["n2"] = false })
		time.Sleep(time.Minute)
		if f.entries() != 0 {
			t.Fatal("n2 does not keep the level")
		}
		if _, err := f.nodes["n1"].driver.Hold(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if f.record() == nil {
			t.Error("the level was let go and does not rise")
		}
	})
}

// Goal: holding fails where the leader does not hear it, since that may be raising the
// level; where there is a record, that says whether the level is held, and the node that
// was asked says so, also if it does not know it itself. Method: a deaf leader; then a
// record.
func TestHoldWhereItCannotBePromised(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, false)
		defer f.close()
		f.deaf["n1"], f.deaf["n2"] = true, true
		f.addStatic(t, "n1", "n2")
		if _, err := f.nodes["n2"].driver.Hold(t.Context(), true); !errors.Is(err, failure.NotReachable) {
			t.Errorf("the leader is deaf: %v", err)
		}
		r := newFakeLog(t, true, "n1", "n2")
		defer r.close()
		if recorded, err := r.nodes["n2"].driver.Hold(t.Context(), true); !recorded || err != nil || r.holding["n2"] {
			t.Errorf("with a record: %v, %v", recorded, err)
		}
		late := newFakeLog(t, false, "n1", "n2")
		defer late.close()
		time.Sleep(2 * time.Second) // n1 begins the record
		late.nodes["n2"].driver.Configured(emptyConfigurations)
		if recorded, err := late.nodes["n2"].driver.Hold(t.Context(), true); !recorded || err != nil {
			t.Errorf("with a record that n2 does not know: %v, %v", recorded, err)
		}
	})
}
