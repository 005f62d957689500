package httpd

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/raft"
)

// Goal: a linearizable read is served only from a store that has everything up
// to its index.
// Method: the log promises index 2; the store is brought there step by step.
func TestAReadWaitsUntilItsIndexIsApplied(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		log.SetLeader("n2") // reads work on followers just so
		log.Deliver(fakelog.PutCommand("k", "old"))
		log.OnRead = func(context.Context) (uint64, error) { return 3, nil }
		answered := later(func() answer { return ask(s, "GET", "/v1/kv/k", "") })
		wantSilence(t, answered)
		log.Deliver(nil)
		wantSilence(t, answered)
		log.Deliver(fakelog.PutCommand("k", "new"))
		a := <-answered
		wantStatus(t, a, 200)
		if a.body != "new" || a.header.Get(api.HeaderConsistency) != "linearizable" || a.header.Get(api.HeaderLeader) != "n2" {
			t.Errorf("read %q, header %v", a.body, a.header)
		}
	})
}

// Goal: a read without an index is never served, and says truly why; whatever
// it says, the read may be sent again.
// Method: one scripted failure of ReadIndex, or of the applier, per row.
func TestAReadThatCannotBeConfirmedIsRefused(t *testing.T) {
	cases := []struct {
		name   string
		onRead func(ctx context.Context) (uint64, error)
		status int
		code   api.Code
	}{
		{"no leader", func(context.Context) (uint64, error) { return 0, raft.ErrNotLeader }, 503, api.CodeNoLeader},
		{"some other error", func(context.Context) (uint64, error) { return 0, errors.New("lost") }, 503, api.CodeNoLeader},
		{"overloaded", func(context.Context) (uint64, error) { return 0, raft.ErrOverloaded }, 429, api.CodeOverloaded},
		{"stopped", func(context.Context) (uint64, error) { return 0, raft.ErrStopped }, 503, api.CodeStopping},
		{"no answer", func(ctx context.Context) (uint64, error) { <-ctx.Done(); return 0, ctx.Err() }, 504, api.CodeTimeout},
		{"never applied", func(context.Context) (uint64, error) { return 99, nil }, 503, api.CodeBehind},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s, log := newServer(t, nil)
				log.Deliver(fakelog.PutCommand("k", "v"))
				synctest.Wait()
				log.OnRead = c.onRead
				p := wantProblem(t, ask(s, "GET", "/v1/kv/k", ""), c.status, c.code, api.OutcomeNotApplied)
				if !p.Retryable {
					t.Error("the read is said not to be retryable")
				}
				// A stale read asks nobody and still works.
				a := ask(s, "GET", "/v1/kv/k?consistency=stale", "")
				wantStatus(t, a, 200)
				if a.body != "v" || a.header.Get(api.HeaderConsistency) != "stale" {
					t.Errorf("stale read %q, header %v", a.body, a.header)
				}
			})
		})
	}
}

// Goal: a read outlasts a short election.
// Method: ReadIndex fails for 400 ms of virtual time, then works.
func TestAReadWaitsForALeader(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		began := time.Now()
		log.OnRead = func(context.Context) (uint64, error) {
			if time.Since(began) < 400*time.Millisecond {
				return 0, raft.ErrNotLeader
			}
			return 0, nil
		}
		wantProblem(t, ask(s, "GET", "/v1/kv/k", ""), 404, api.CodeKeyNotFound, "")
	})
}

// Goal: all reads that wait for one index are woken by the batch that holds it,
// and nobody is left waiting.
// Method: a hundred reads of different indices, one write.
func TestOneBatchWakesAllReadsThatItServes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		next := uint64(0)
		log.OnRead = func(context.Context) (uint64, error) {
			log.Mu.Lock()
			defer log.Mu.Unlock()
			next++
			return 1 + next%3, nil
		}
		var all []<-chan answer
		for range 99 {
			all = append(all, later(func() answer { return ask(s, "GET", "/v1/kv/k", "") }))
		}
		synctest.Wait()
		for i := range 3 {
			log.Deliver(fakelog.PutCommand("k", "v"))
			synctest.Wait()
			served := 0
			for _, answered := range all {
				served += len(answered)
			}
			if served != 33*(i+1) {
				t.Errorf("%d reads were served once index %d was applied, want %d", served, i+1, 33*(i+1))
			}
		}
	})
}
