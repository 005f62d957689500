package kvserver

import (
	"strings"
	"testing"
	"testing/synctest"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// Goal: a command of a later version in the log ends the node before anything of
// it is applied, with a sentence that names the number, the index and the remedy;
// what stands before it is applied and answered, and nothing behind it is. Method:
// each kind of unknown number between two commands in one batch, and alone.
func TestACommandOfALaterVersionEndsTheNode(t *testing.T) {
	known := putCommand("k", "v")
	for says, change := range map[string]func([]byte) []byte{
		"version of a command 2": func(b []byte) []byte { b[0] = 2; return b },
		"operation 6":            func(b []byte) []byte { b[1] = 6; return b },
		"operation 80":           func(b []byte) []byte { b[1] = 0x50; return b },
		"flag 256":               func(b []byte) []byte { return append([]byte{1, 2, 0x80, 0x02}, b[3:]...) },
		"condition 9": func([]byte) []byte {
			return kv.EncodeCommand(kv.Command{Op: kv.OpPut, Key: []byte("k"), Condition: kv.Condition{Kind: 9}})
		},
	} {
		for _, alone := range []bool{true, false} {
			inBubble(t, func(t *testing.T) {
				s, log := newServer(t, nil)
				s.mu.Lock() // so that what follows comes as one batch
				log.deliver(putCommand("before", "1"))
				if alone {
					s.mu.Unlock()
					synctest.Wait()
					s.mu.Lock()
				}
				log.deliver(change(append([]byte(nil), known...)))
				log.deliver(putCommand("behind", "1"))
				s.mu.Unlock()
				synctest.Wait()
				err := log.failed()
				if err == nil || !strings.Contains(err.Error(), says+";") ||
					!strings.Contains(err.Error(), "at index 2") || !strings.Contains(err.Error(), "upgrade this node") {
					t.Errorf("%s: the node was ended with %v", says, err)
				}
				if stored(s, "before") != "1" || stored(s, "k") != "(none)" || stored(s, "behind") != "(none)" || s.store.AppliedIndex() != 1 {
					t.Errorf("%s: the store stands at %d, k is %q", says, s.store.AppliedIndex(), stored(s, "k"))
				}
				if !s.stopping() {
					t.Errorf("%s: the server goes on", says)
				}
				wantProblem(t, ask(s, "PUT", "/v1/kv/k", "next"), 503, api.CodeStopping, api.OutcomeNotApplied)
			})
		}
	}
}

// Goal: no door proposes what would stop the servers that apply it. Method: a
// command of each unknown kind is launched; it is refused as not applied and never
// comes to the log.
func TestNothingOfALaterVersionIsProposed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		for _, c := range []kv.Command{
			{Op: 0, Key: []byte("k")}, {Op: 6, Key: []byte("k")}, {Op: 255},
			{Op: kv.OpPut, Key: []byte("k"), Condition: kv.Condition{Kind: 5}},
		} {
			if _, err := s.propose(t.Context(), c); failure.KindOf(err).Outcome != api.OutcomeNotApplied {
				t.Errorf("%+v: %v", c, err)
			}
		}
		if n := log.attempts(); n != 0 || log.failed() != nil {
			t.Errorf("%d commands were proposed; the node was ended with %v", n, log.failed())
		}
	})
}
