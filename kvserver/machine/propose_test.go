package machine

import (
	"context"
	"errors"
	"testing"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// Goal: an end that is known is told, even when time ends at the same moment.
// Method: results, failures and the end of the context race, many times; a
// write whose end was decided first must report it.
func TestAKnownEndIsToldAlthoughTimeEndsToo(t *testing.T) {
	m, log := newMachine(t, nil)
	for i := range 500 {
		ctx, cancel := context.WithCancel(context.Background())
		log.OnPropose = func(p *raft.Proposal) {
			if i%2 == 0 {
				c, err := kv.DecodeCommand(p.Command)
				if err != nil {
					t.Error(err)
				}
				m.waiting.finish([]kv.Result{{ID: c.ID, Revision: 9}})
			} else {
				p.Failed(raft.ErrLost)
			}
			cancel()
		}
		r, err := m.Propose(ctx, kv.Command{Op: kv.OpDelete, Key: []byte("k")})
		if i%2 == 0 && (err != nil || r.Revision != 9) {
			t.Fatalf("the result was there, but the write ended with %+v, %v", r, err)
		}
		if i%2 == 1 && !errors.Is(err, failure.NoLeader) {
			t.Fatalf("the loss was certain, but the write ended with %v", err)
		}
	}
}
