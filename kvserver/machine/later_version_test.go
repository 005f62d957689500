package machine

import (
	"strings"
	"testing"
	"testing/synctest"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
)

// Goal: a command of a later version in the log ends the node before anything of
// it is applied, with a sentence that names the number, the index and the remedy;
// what stands before it is applied and answered, and nothing behind it is. Method:
// each kind of unknown number between two commands in one batch, and alone.
func TestACommandOfALaterVersionEndsTheNode(t *testing.T) {
	known := fakelog.PutCommand("k", "v")
	for says, change := range map[string]func([]byte) []byte{
		"version of a command 2": func(b []byte) []byte { b[0] = 2; return b },
		"operation 23":           func(b []byte) []byte { b[1] = 23; return b },
		"operation 80":           func(b []byte) []byte { b[1] = 0x50; return b },
		"flag 16384":             func(b []byte) []byte { return append([]byte{1, 2, 0x80, 0x80, 0x01}, b[3:]...) },
		"condition 9": func([]byte) []byte {
			return kv.EncodeCommand(kv.Command{Op: kv.OpPut, Key: []byte("k"), Condition: kv.Condition{Kind: 9}})
		},
	} {
		for _, alone := range []bool{true, false} {
			inBubble(t, func(t *testing.T) {
				m, log := newMachine(t, nil)
				m.mu.Lock() // so that what follows comes as one batch
				log.Deliver(fakelog.PutCommand("before", "1"))
				if alone {
					m.mu.Unlock()
					synctest.Wait()
					m.mu.Lock()
				}
				log.Deliver(change(append([]byte(nil), known...)))
				log.Deliver(fakelog.PutCommand("behind", "1"))
				m.mu.Unlock()
				synctest.Wait()
				err := log.Failed()
				if err == nil || !strings.Contains(err.Error(), says+";") ||
					!strings.Contains(err.Error(), "at index 2") || !strings.Contains(err.Error(), "upgrade this node") {
					t.Errorf("%s: the node was ended with %v", says, err)
				}
				if stored(m, "before") != "1" || stored(m, "k") != "(none)" || stored(m, "behind") != "(none)" || applied(m) != 1 {
					t.Errorf("%s: the store stands at %d, k is %q", says, applied(m), stored(m, "k"))
				}
				if !m.Stopping() {
					t.Errorf("%s: the server goes on", says)
				}
			})
		}
	}
}

// Goal: no door proposes what would stop the servers that apply it. Method: a
// command of each unknown kind is launched; it is refused as not applied and never
// comes to the log.
func TestNothingOfALaterVersionIsProposed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, nil)
		for _, c := range []kv.Command{
			{Op: 0, Key: []byte("k")}, {Op: 6, Key: []byte("k")}, {Op: 255},
			{Op: kv.OpPut, Key: []byte("k"), Condition: kv.Condition{Kind: 5}},
		} {
			if _, err := m.Propose(t.Context(), c); failure.KindOf(err).Outcome != api.OutcomeNotApplied {
				t.Errorf("%+v: %v", c, err)
			}
		}
		if n := log.Attempts(); n != 0 || log.Failed() != nil {
			t.Errorf("%d commands were proposed; the node was ended with %v", n, log.Failed())
		}
	})
}
