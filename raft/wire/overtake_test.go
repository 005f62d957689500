package wire

import (
	"math/rand/v2"
	"testing"
	"time"

	"raftkv/raft/core"
)

// heartbeat is a call without entries, and append one with an entry, in a term of its
// own.
func heartbeat(term uint64) core.Request { return &core.AppendEntries{Term: term, LeaderID: "n1"} }
func entries(term uint64) core.Request {
	return &core.AppendEntries{Term: term, LeaderID: "n1", Entries: []core.Entry{core.NewEntry(1, 1, core.KindCommand, []byte("x"))}}
}

// Goal: a follower whose disk holds up the answers to entries is heard all the
// same, and nothing else changes its order. Method: real servers; the receiver
// keeps its answers; the heartbeat's call ends while all older ones wait, also behind
// another kind of call it does not; then all the others end, each with its own.
func TestTheAnswerToAHeartbeatOvertakesThoseToEntries(t *testing.T) {
	type held struct {
		term   uint64
		answer func(core.Reply)
	}
	requests := make(chan held, 10)
	l1, l2 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	addrs := map[core.ID]string{"n1": l1.Addr().String(), "n2": l2.Addr().String()}
	start(t, "n2", l2, addrs, nil, &recorder{respond: func(_ core.ID, request core.Request, answer func(core.Reply)) {
		requests <- held{callTerm(request), answer}
	}})
	n1 := start(t, "n1", l1, addrs, nil, nil)
	connected(t, n1, 1)
	o := newOutcomes()
	send := func(request core.Request) held {
		n1.Send(core.Call{To: "n2", Request: request}, o.done)
		select {
		case h := <-requests:
			return h
		case <-time.After(patience):
			t.Fatalf("%T did not arrive", request)
			return held{}
		}
	}
	ended := func(what string, n int) {
		t.Helper()
		eventually(t, what, func() bool { return o.count() == n })
	}
	reply := func(h held) { h.answer(&core.AppendEntriesReply{Term: h.term, Success: true}) }

	first, second, third := send(entries(1)), send(entries(2)), send(heartbeat(3))
	reply(third)
	ended("the heartbeat's call ends first", 1)
	reply(second) // not before the first
	fourth := send(heartbeat(4))
	reply(fourth)
	ended("the next heartbeat's call, too", 2)
	if st := n1.Stats().Total; st.CallsInFlight != 2 {
		t.Fatalf("%d calls in flight, not the two with entries", st.CallsInFlight)
	}
	reply(first)
	ended("the entries' calls end", 4)

	entry, other, last := send(entries(5)), send(&core.TimeoutNow{Term: 6, LeaderID: "n1"}), send(heartbeat(7))
	reply(last)
	entry.answer(nil) // lost, but in its place
	ended("the lost call", 5)
	other.answer(&core.TimeoutNowReply{Term: 6})
	ended("all calls", 7)
	o.once(t, 7)
	for i, want := range []uint64{3, 4, 1, 2, 5, 6, 7} {
		if o.terms[i] != want || want != 5 && o.reply[want] != want {
			t.Fatalf("the calls ended in the order %v with %v", o.terms, o.reply)
		}
	}
	if st := n1.Stats().Total; o.countLost() != 1 || st.CallsInFlight != 0 || st.Connects != 1 {
		t.Fatalf("%d lost, %d in flight, %d connects", o.countLost(), st.CallsInFlight, st.Connects)
	}
}

// Goal: whatever the order in which answers are ready, each call ends once and
// with its own. Method: 2,000 calls of all kinds, answered in an order drawn at
// random among those that are open.
func TestAnswersInAnyOrderReachTheirCalls(t *testing.T) {
	const n = 2000
	type held struct {
		request core.Request
		answer  func(core.Reply)
	}
	requests := make(chan held, n)
	l1, l2 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	addrs := map[core.ID]string{"n1": l1.Addr().String(), "n2": l2.Addr().String()}
	start(t, "n2", l2, addrs, nil, &recorder{respond: func(_ core.ID, request core.Request, answer func(core.Reply)) {
		requests <- held{request, answer}
	}})
	n1 := start(t, "n1", l1, addrs, nil, nil)
	connected(t, n1, 1)
	dice := rand.New(rand.NewPCG(1, 2))
	o := newOutcomes()
	var open []held
	for term := uint64(1); term <= n || len(open) > 0; {
		// Answers may be on their way still, or wait for that of an earlier call, and a call
		// beyond the limit of those in flight (MaxCalls, 1024) is lost.
		room := n1.Stats().Total.CallsInFlight < 900
		if term <= n && len(open) < 100 && room && dice.IntN(2) == 0 {
			request := []core.Request{heartbeat(term), entries(term), entries(term), &core.TimeoutNow{Term: term, LeaderID: "n1"}}[dice.IntN(4)]
			n1.Send(core.Call{To: "n2", Request: request}, o.done)
			select {
			case h := <-requests:
				open = append(open, h)
			case <-time.After(patience):
				t.Fatalf("call %d did not arrive; %d have ended, %d of them lost; %+v", term, o.count(), o.countLost(), n1.Stats().Total)
			}
			term++
		} else if len(open) > 0 {
			i := dice.IntN(len(open))
			h := open[i]
			open = append(open[:i], open[i+1:]...)
			if _, ok := h.request.(*core.TimeoutNow); ok {
				h.answer(&core.TimeoutNowReply{Term: callTerm(h.request)})
			} else {
				h.answer(&core.AppendEntriesReply{Term: callTerm(h.request), Success: true})
			}
		}
	}
	eventually(t, "all calls are done", func() bool { return o.count() == n })
	o.once(t, n)
	for term := uint64(1); term <= n; term++ {
		if o.reply[term] != term {
			t.Fatalf("call %d got the answer of %d", term, o.reply[term])
		}
	}
}

// Goal: an answer that claims to overtake what it cannot ends the connection.
// Method: a raw peer has entries, a heartbeat, a TimeoutNow and a heartbeat to answer, and
// answers with each false claim.
func TestFalseClaimsToOvertakeEndTheConnection(t *testing.T) {
	e := newEncoder()
	claim := func(older uint64) []byte {
		return e.frame(nil, kindOvertakes, &overtakes{older}, headerBytes+maxSmallBody)
	}
	reply := e.reply(nil, &core.AppendEntriesReply{Term: 2, Success: true})
	for name, b := range map[string][]byte{
		"none":                append(claim(0), reply...),
		"more than there are": append(claim(4), reply...),
		"very many":           append(claim(1<<63), reply...),
		"a heartbeat's":       append(claim(2), e.reply(nil, &core.TimeoutNowReply{Term: 3})...),
		"another kind's":      append(claim(3), reply...),
		"twice":               append(append(claim(1), claim(1)...), reply...),
		"by another kind":     append(claim(1), e.reply(nil, &core.TimeoutNowReply{Term: 3})...),
		"of another shape":    frameOf(kindOvertakes, []byte{0x91, 0xc3}),
	} {
		l2 := listen(t, "127.0.0.1:0")
		n1 := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n2": l2.Addr().String()}, nil, nil)
		n2 := acceptRaw(t, l2, "n2")
		eventually(t, "the connection", func() bool { return n1.Stats().Total.Connected })
		o := newOutcomes()
		for _, request := range []core.Request{entries(1), heartbeat(2), &core.TimeoutNow{Term: 3, LeaderID: "n1"}, heartbeat(4)} {
			n1.Send(core.Call{To: "n2", Request: request}, o.done)
			if _, _, err := n2.frames.next(requestFrames); err != nil {
				t.Fatal(err)
			}
		}
		n2.write(t, b)
		eventually(t, name+": all calls are done", func() bool { return o.count() == 4 })
		eventually(t, name+": counted", func() bool { return n1.Stats().Total.Malformed == 1 })
		if o.once(t, 4); o.countLost() != 4 {
			t.Errorf("%s: %d calls lost", name, o.countLost())
		}
		n1.Close()
	}
}
