package clerkd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/client"
	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// attemptEnd is what becomes of an attempt at a write in the log.
type attemptEnd struct {
	name   string
	chosen bool  // at once
	late   bool  // after the call has ended, if it is still to come
	cut    bool  // the connection dies before the answer
	failed error // what consensus says of it
}

// firstEnds are all ends of the first attempt, secondEnds those of the ones behind it.
var (
	firstEnds = []attemptEnd{
		{name: "done", chosen: true}, {name: "done, answer lost", chosen: true, cut: true},
		{name: "never chosen, answer lost", cut: true}, {name: "chosen late, answer lost", late: true, cut: true},
		{name: "not the leader", failed: raft.ErrNotLeader}, {name: "lost", failed: raft.ErrLost}, {name: "transferring", failed: raft.ErrTransferring},
		{name: "overloaded", failed: raft.ErrOverloaded}, {name: "too large", failed: raft.ErrTooLarge},
		{name: "unknown, was done", chosen: true, failed: raft.ErrUnknown}, {name: "unknown, comes late", late: true, failed: raft.ErrUnknown},
	}
	secondEnds = []attemptEnd{
		{name: "done", chosen: true}, {name: "overloaded", failed: raft.ErrOverloaded}, {name: "not the leader", failed: raft.ErrNotLeader},
		{name: "never chosen"}, {name: "chosen late", late: true},
	}
)

// between is what happens to the call's session between two attempts.
var between = map[string]func(s *testServer, log *fakelog.Log, call kv.SessionCall){
	"nothing": func(*testServer, *fakelog.Log, kv.SessionCall) {},
	"forgotten": func(s *testServer, log *fakelog.Log, _ kv.SessionCall) {
		open := kv.EncodeCommand(kv.Command{Op: kv.OpOpenSession})
		for i := range kv.MaxSessions {
			if log.Deliver(open); i%1000 == 0 { // the log's channel must not be full
				_ = s.Machine().AwaitApplied(context.Background(), log.Status().LastIndex)
			}
		}
	},
	"moved on": func(_ *testServer, log *fakelog.Log, call kv.SessionCall) {
		call.Seq++
		log.Deliver(kv.EncodeCommand(kv.Command{Op: kv.OpPut, Session: call, Key: []byte("other"), Value: []byte("v")}))
	},
}

// Goal: what the Clerk tells its caller of a write is true of the store, whatever
// ends the attempts have: success means once, "not applied" means never, now or
// later, and "unknown" at most once.
// Method: the real server and the real Clerk over a log that does what the table
// says: the ends of the first attempt x the session afterwards x the ends of the
// further attempts. The write is an append, so that the value counts. What was
// held back comes at last.
func TestWhatAClerkSaysOfAWriteIsTrue(t *testing.T) {
	said := map[string]int{}
	for _, first := range firstEnds {
		for session, happens := range between {
			for _, second := range secondEnds {
				name := fmt.Sprintf("%s, session %s, then %s", first.name, session, second.name)
				inBubble(t, func(t *testing.T) {
					told, times := oneWrite(t, first, happens, second)
					said[told]++
					switch {
					case told == "applied" && times != 1, told == string(api.OutcomeNotApplied) && times != 0, times > 1:
						t.Errorf("%s: said to be %s, and happened %d times", name, told, times)
					}
				})
			}
		}
	}
	t.Logf("said: %v", said)
	for _, outcome := range []api.Outcome{api.OutcomeApplied, api.OutcomeNotApplied, api.OutcomeUnknown} {
		if said[string(outcome)] == 0 {
			t.Errorf("no row ended as %s", outcome)
		}
	}
}

// oneWrite makes one append through a Clerk and returns what the Clerk said and
// how many times it happened.
func oneWrite(t *testing.T, first attemptEnd, happens func(*testServer, *fakelog.Log, kv.SessionCall), second attemptEnd) (told string, times int) {
	s, log := newServer(t, func(c *settings) { c.RequestTimeout = 2 * time.Second })
	network := servePipes(t, s)
	c, err := client.Dial(t.Context(), client.Config{Endpoints: []string{"kv:1"}, Dial: network.Dial, AttemptTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var mu sync.Mutex // guards late and attempts
	var late [][]byte
	attempts := 0
	log.OnPropose = func(p *raft.Proposal) {
		mu.Lock()
		defer mu.Unlock()
		command, err := kv.DecodeCommand(p.Command)
		if err != nil || command.Op != kv.OpAppend {
			log.Choose(p)
			return
		}
		end := second
		if attempts++; attempts == 1 {
			end = first
		}
		log.Place(p)
		if end.cut {
			network.Cut()
		}
		if end.chosen {
			log.Deliver(p.Command)
		}
		if end.late {
			late = append(late, p.Command)
		}
		if end.failed != nil {
			p.Failed(end.failed)
		}
		if attempts == 1 {
			happens(s, log, command.Session)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = c.Append(ctx, "k", []byte("x"))
	mu.Lock()
	held := late
	mu.Unlock()
	for _, command := range held {
		log.Deliver(command)
	}
	synctest.Wait()
	if got := stored(s, "k"); got != "(none)" {
		times = len(got)
	}
	if err == nil {
		return string(api.OutcomeApplied), times
	}
	var failed *client.Error
	if !errors.As(err, &failed) {
		t.Fatalf("the Clerk returned %v", err)
	}
	time.Sleep(5 * time.Second) // the server forgets what was held
	return string(failed.Outcome), times
}
