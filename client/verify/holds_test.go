package verify

import (
	"context"
	"strings"
	"testing"
	"time"

	"raftkv/client"
)

// heldStory is three grants of a lock, the second of which ends with its lease, and what is
// written under them, as a watch brings them.
type heldStory struct {
	*holds
	events []client.WatchEvent
}

func lockChange(op, reason string, token uint64, lease int64) client.Change {
	return client.Change{Op: op, Reason: reason, Holder: &client.Holder{Lock: "p/l0", Token: token, Lease: lease}}
}

func granted(token uint64, lease int64) client.WatchEvent {
	return changed(token, lockChange(client.ChangeGranted, "", token, lease))
}

func putUnder(revision uint64, value string) client.WatchEvent {
	return changed(revision, client.Change{Op: client.ChangePut, Key: "p/l0", Item: client.Item{Key: "p/l0", Value: []byte(value)}})
}

func newHeldStory() *heldStory {
	h := &heldStory{holds: newHolds()}
	h.events = []client.WatchEvent{
		granted(11, 1), putUnder(12, "11 1 a"), putUnder(13, "11 2 b"),
		changed(14, lockChange(client.ChangeReleased, client.ReasonReleased, 11, 1)),
		granted(15, 2), putUnder(16, "15 3 c"),
		changed(17, lockChange(client.ChangeReleased, client.ReasonExpired, 15, 2)),
		granted(18, 3), {Kind: client.Progress, Revision: 19},
	}
	ended, end := context.WithCancel(context.Background())
	end()
	h.got(&believer{hold{"p/l0", 11, 1}, ended})
	h.wrote("11 1 a", Done, 11, false)
	h.wrote("11 2 b", Unknown, 11, false)
	h.released(11)
	h.got(&believer{hold{"p/l0", 15, 2}, ended})
	h.wrote("15 3 c", Done, 15, false)
	h.wrote("15 4 d", Refused, 15, true)
	h.wrote("15 4 e", Unknown, 15, false)
	h.got(&believer{hold{"p/l0", 18, 3}, context.Background()})
	return h
}

func (h *heldStory) tell() Report {
	for i := range h.events {
		h.take(h.events[i].Revision, h.events[i].Changes)
	}
	return h.judge()
}

// Goal: whatever two holders of a lock would look like is found, with the promise that is
// broken (K1, K2, K3, K5, K7, K8, K9), and what may happen is not. Method: three grants of a
// lock with one thing wrong about them.
func TestWhatHoldersMayNotSee(t *testing.T) {
	if r := newHeldStory().tell(); r.Verdict != Kept || r.Counts["grants"] != 3 || r.Counts["events"] != 8 {
		t.Fatalf("the story as it is: %+v", r)
	}
	alive := context.Background()
	insert := func(h *heldStory, at int, e client.WatchEvent) {
		h.events = append(h.events[:at:at], append([]client.WatchEvent{e}, h.events[at:]...)...)
	}
	for name, c := range map[string]struct {
		change func(h *heldStory)
		says   string // "": nothing
	}{
		"two in the log":              {func(h *heldStory) { h.events = append(h.events[:6:6], h.events[7:]...) }, "(K1)"},
		"an old token":                {func(h *heldStory) { h.events[7] = changed(18, lockChange(client.ChangeGranted, "", 14, 3)) }, "(K2)"},
		"the same token again":        {func(h *heldStory) { h.events = append(h.events, h.events[7]) }, "(K1)"},
		"a dead holder":               {func(h *heldStory) { h.events[7] = granted(18, 2) }, "(K3)"},
		"a later write of an earlier": {func(h *heldStory) { insert(h, 8, putUnder(19, "15 4 e")) }, "(K5)"},
		"a write of nobody's turn":    {func(h *heldStory) { insert(h, 7, putUnder(17, "15 4 e")) }, "(K5)"},
		"a refused write":             {func(h *heldStory) { insert(h, 6, putUnder(17, "15 4 d")) }, "was refused (K5)"},
		"an unknown write":            {func(h *heldStory) { insert(h, 6, putUnder(17, "15 4 e")) }, ""},
		"a write twice":               {func(h *heldStory) { insert(h, 3, putUnder(14, "11 2 b")) }, "once more"},
		"a write of nobody":           {func(h *heldStory) { insert(h, 3, putUnder(14, "11 3 z")) }, "nobody made"},
		"a write on an old read":      {func(h *heldStory) { h.wrote("18 3 f", Done, 18, false); insert(h, 8, putUnder(19, "18 3 f")) }, "not alone"},
		"a write that is not there":   {func(h *heldStory) { h.events = append(h.events[:5:5], h.events[6:]...) }, "not in the log"},
		"refused though it holds":     {func(h *heldStory) { h.wrote("18 4 f", Refused, 18, true) }, "it holds the lock"},
		"a grant that is not there":   {func(h *heldStory) { h.got(&believer{hold{"p/l1", 19, 4}, alive}) }, "(K8)"},
		"a grant of another lease":    {func(h *heldStory) { h.events[7] = granted(18, 4) }, "(K8)"},
		"an end of nobody":            {func(h *heldStory) { h.events = append(h.events, h.events[6]) }, "(K8)"},
		"released, and expired":       {func(h *heldStory) { h.released(15) }, "(K8)"},
		"cut short":                   {func(h *heldStory) { h.missing("the watch has ended"); h.events = h.events[:5] }, ""},
		"two who believe":             {func(h *heldStory) { h.got(&believer{hold{"p/l0", 18, 3}, alive}) }, "(K9)"},
		"two, but without processor": {func(h *heldStory) {
			h.pulse.beat(time.Now().Add(-time.Second))
			h.got(&believer{hold{"p/l0", 18, 3}, alive})
		}, ""},
		"a holder is fenced off":  {func(h *heldStory) { h.fencedOff(&believer{hold{"p/l0", 18, 3}, alive}) }, "(K2, K9)"},
		"refused, and has it":     {func(h *heldStory) { h.refusedFor(4); h.grantedLater(4) }, "(K7)"},
		"refused, and given back": {func(h *heldStory) { h.refusedFor(4); h.grantedLater(4); h.endedLater(4) }, ""},
		"another value is shown": {func(h *heldStory) {
			insert(h, 8, changed(19, lockChange(client.ChangeGranted, client.ReasonPublished, 18, 3)))
		}, ""},
	} {
		h := newHeldStory()
		c.change(h)
		r := h.tell()
		if text := strings.Join(r.Faults, "\n"); (c.says != "") != (r.Verdict == Broken) || !strings.Contains(text, c.says) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// grantedLater lets a lease have another lock, at the end.
func (h *heldStory) grantedLater(lease int64) {
	h.events = append(h.events, changed(30, client.Change{Op: client.ChangeGranted, Holder: &client.Holder{Lock: "p/l1", Token: 30, Lease: lease}}))
}

// endedLater lets it give that back.
func (h *heldStory) endedLater(lease int64) {
	h.events = append(h.events, changed(31, client.Change{Op: client.ChangeReleased, Reason: client.ReasonReleased, Holder: &client.Holder{Lock: "p/l1", Token: 30, Lease: lease}}))
}

// Goal: a program that got no processor is known not to have had it, as long as holders may
// believe for longer because of that. Method: beats at times of the test's own.
func TestThePulseOfAProgram(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	var p pulse
	for ms := 0; ms <= 200; ms += 10 {
		p.beat(at(ms))
	}
	if p.slow(at(270)) || !p.slow(at(290)) {
		t.Errorf("slow between two beats: %v, and %v", p.slow(at(270)), p.slow(at(290)))
	}
	p.beat(at(300))
	if !p.slow(at(301)) || !p.slow(at(300+2999)) {
		t.Error("a late beat is forgotten")
	}
	for ms := 310; ms < 4000; ms += 10 {
		p.beat(at(ms))
	}
	if p.slow(at(4000)) {
		t.Error("a late beat is never forgotten")
	}
}
