package core

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"raftkv/tests/explore"
)

// script tells a way from the first world as a script of testdata, in which every
// message that was ever sent is still there.
func (b bounds) script(way []exAction) string {
	b.keepDead = true
	w := newExWorld(b)
	var lines []string
	tell := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	first := fmt.Sprintf("new %d", b.servers)
	for _, option := range []struct {
		on   bool
		text string
	}{{b.noop, " noop"}, {b.preVote, " prevote"}, {b.checkQuorum, " checkquorum"}, {b.stall, " stall 100"}, {b.single, " bytes 1"}} {
		if option.on {
			first += option.text
		}
	}
	tell("%s", first)
	for _, a := range way {
		tell("%s", w.line(a))
		if a.kind == exCut || a.kind == exCutKept {
			tell("restart %d", a.server+1)
		}
		w = w.Do(a)
		if !b.async { // the world has saved in the same moment
			for i := range b.servers {
				for range w.saves[i] {
					tell("save %d", i+1)
				}
			}
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// line tells an action in a world as a line of a script.
func (w *exWorld) line(a exAction) string {
	server, to := a.server+1, a.to+1
	words := map[exKind]string{
		exSave: "save", exTimeout: "campaign", exPropose: "propose", exAgain: "again", exCut: "crash", exCutKept: "crash",
		exUnheard: "unheard", exCheck: "check", exCompact: "compact", exRead: "read", exTick: "late", exWipe: "wipe",
	}
	switch a.kind {
	case exHeartbeat:
		return fmt.Sprintf("heartbeat %d->%d", server, to)
	case exTransfer:
		return fmt.Sprintf("transfer %d %d", server, to)
	case exPropose:
		return fmt.Sprintf("propose %d x", server)
	case exCutKept:
		return fmt.Sprintf("crash %d written", server)
	case exDeliver, exCopy, exTell:
		return w.messageLine(a)
	}
	return fmt.Sprintf("%s %d", words[a.kind], server)
}

// messageLine tells what happens to a message. Requests and answers that go from one
// server to another are counted together there.
func (w *exWorld) messageLine(a exAction) string {
	way := func(m *exItem) [2]uint8 {
		if m.reply != nil {
			return [2]uint8{m.to, m.from}
		}
		return [2]uint8{m.from, m.to}
	}
	at := slices.IndexFunc(w.flight, func(m *exItem) bool { return m.serial == a.serial && m.reply != nil == a.answer })
	this := way(w.flight[at])
	number := 1
	for _, m := range w.flight[:at] {
		if way(m) == this {
			number++
		}
	}
	line := fmt.Sprintf("deliver %d->%d", this[0]+1, this[1]+1)
	if number > 1 {
		line += fmt.Sprintf(" %d", number)
	}
	switch {
	case a.kind == exCopy:
		line += " copy"
	case a.kind == exTell && a.answer:
		line += " drop"
	case a.kind == exTell:
		line += " told"
	}
	return line
}

// Goal: what the explorer finds is no invention of its own: every way through its
// worlds is a script, and the script ends in the same state (testdata's language runs
// on another harness, with oracles of its own). Method: ways drawn at random, with
// everything that may happen, through all kinds of bounds.
func TestExploreWaysAreScripts(t *testing.T) {
	all := budget{entries: 2, timeouts: 4, losses: 2, copies: 1, cuts: 2, snapshots: 1, reads: 2, transfers: 1, wipes: 1, checks: 1}
	few := all
	few.wipes, few.snapshots = 0, 0
	kinds := map[exKind]int{}
	for n, b := range []bounds{
		{limit: few}, {limit: few, async: true}, {limit: few, async: true, fifo: true}, {limit: all, async: true, noop: true},
		{limit: all, async: true, noop: true, preVote: true, checkQuorum: true}, {limit: all, noop: true, preVote: true, checkQuorum: true, stall: true},
	} {
		b.servers, b.terms = 3, 3
		random := rand.New(rand.NewPCG(1, uint64(n)))
		for range 60 {
			w := newExWorld(b)
			var way []exAction
			for range 80 {
				actions := w.Actions(nil)
				if len(actions) == 0 {
					break
				}
				a := actions[random.IntN(len(actions))]
				if a.kind >= exCopy && a.kind != exTick && random.IntN(4) > 0 { // what has a budget would come first
					continue
				}
				kinds[a.kind]++
				way = append(way, a)
				if w = w.Do(a); w.fault != nil {
					break
				}
			}
			comparesWithScript(t, b, way, w)
			if t.Failed() {
				return
			}
		}
	}
	for kind := range exKinds {
		if kinds[kind] == 0 {
			t.Errorf("no way had an action of kind %d", kind)
		}
	}
}

// comparesWithScript runs a way as a script and compares where it ends.
func comparesWithScript(t *testing.T, b bounds, way []exAction, w *exWorld) {
	text := b.script(way)
	s := &script{}
	for line := range strings.Lines(text) {
		if err := s.guarded(strings.TrimSpace(line)); err != nil {
			t.Fatalf("%s: %v\nin\n%s", line, err, text)
		}
	}
	if w.fault != nil {
		t.Fatalf("%v in\n%s", w.fault, text)
	}
	for i, server := range s.servers {
		mine := w.nodes[i]
		x, y := mine.core.clone(), server.core.clone()
		for k := range x.asking { // tags are the driver's, and there are two of them
			x.asking[k] = y.asking[k]
		}
		var a, c explore.Hash
		addAll(&a, raftFields, x)
		addAll(&c, raftFields, y)
		addAll(&a, stateFields, &mine.disk)
		addAll(&c, stateFields, &server.disk)
		if a.Sum() != c.Sum() || x.votedFor != y.votedFor || x.leader != y.leader || x.saved != y.saved || x.generation != y.generation || mine.disk.VotedFor != server.disk.VotedFor {
			t.Fatalf("server %s is in another state:\n%+v\n%+v\nthan after the script\n%+v\n%+v\n%s", server.id, x.Observe(), mine.disk, y.Observe(), server.disk, text)
		}
	}
}
