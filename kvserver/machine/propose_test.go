package machine

import (
	"context"
	"errors"
	"testing"
	"time"

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

// Goal: a command that this node proposed in an earlier life, and that is applied now, is not
// taken for the request of this life which has the same number. Method: the first command of two
// machines in the log of the second one, that of the first machine before its own.
func TestACommandOfAnEarlierLifeIsNotOneOfThis(t *testing.T) {
	commandOf := func(t *testing.T, value string) []byte {
		m, log := newMachine(t, nil)
		mustPut(t, m, "k", value)
		return log.Proposals[0].Command
	}
	earlier := commandOf(t, "of an earlier life")
	m, log := newMachine(t, nil)
	log.OnPropose = func(p *raft.Proposal) {
		log.Deliver(earlier)
		log.Deliver(p.Command)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := m.Propose(ctx, kv.Command{Op: kv.OpPut, Key: []byte("k"), Value: []byte("of this one")})
	if err != nil || r.Revision != 2 {
		t.Errorf("the request ended with %+v, %v; want revision 2", r, err)
	}
}
