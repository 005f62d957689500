package machine

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
	"raftkv/raft/core"
)

// pieces is an Observer that notes how many entries were applied at a time, and how
// far the store was then said to be.
type pieces struct {
	unobserved
	mu   sync.Mutex
	each []int
}

func (p *pieces) Applied(entries int, _ time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.each = append(p.each, entries)
}

// puts returns a batch of puts by another server, of values of this length.
func puts(first uint64, n, length int) raft.Batch {
	command := fakelog.PutCommand("k", strings.Repeat("v", length))
	entries := make([]raft.Entry, n)
	for i := range entries {
		entries[i] = core.NewEntry(first+uint64(i), 1, core.KindCommand, command)
	}
	return raft.Batch{Batch: &core.Batch{Entries: entries}}
}

// Goal: a batch is applied in pieces, between which readers come to the store, and
// all of it is applied, in order.
// Method: batches of one entry more than a piece holds, by number and by bytes.
func TestALongBatchIsAppliedInPieces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		seen := &pieces{}
		m, log := newMachine(t, func(c *Config) { c.Observer = seen })
		log.ApplyCh <- puts(1, 2*maxApplyEntries+1, 1)
		log.ApplyCh <- puts(2*maxApplyEntries+2, 4, maxApplyBytes/2)
		synctest.Wait()
		if want := []int{maxApplyEntries, maxApplyEntries, 1, 2, 2}; !slices.Equal(seen.each, want) {
			t.Errorf("entries were applied by %v, want %v", seen.each, want)
		}
		if got, want := applied(m), uint64(2*maxApplyEntries+5); got != want || m.applied.at() != want {
			t.Errorf("the store stands at %d, and is said to stand at %d, want %d", got, m.applied.at(), want)
		}
	})
}

// Goal: every write of a batch ends with its own result, whichever piece it is in, and
// the next batch's writes do not end with those of the one before.
// Method: writes that wait until all have been proposed, and come back as one batch of
// more entries than a piece; twice.
func TestEveryWriteOfABatchEndsWithItsOwnResult(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		log := fakelog.New("n1")
		var held []raft.Entry
		m := newMachineOver(t, log, nil)
		log.Decide(func(p *raft.Proposal) {
			held = append(held, core.NewEntry(m.applied.at()+uint64(len(held))+1, 3, core.KindCommand, p.Command))
		})
		revision := uint64(0)
		for range 2 {
			const n = maxApplyEntries + 10
			ended := make([]Ending, n)
			for i := range n {
				m.ProposeAsync(kv.Command{Op: kv.OpPut, Key: []byte{byte(i), byte(i >> 8)}}, time.Now(), func(e Ending) { ended[i] = e })
			}
			log.ApplyCh <- raft.Batch{Batch: &core.Batch{Entries: held}}
			held = nil
			synctest.Wait()
			for i, e := range ended {
				if revision++; e.Err != nil || e.Result.Revision != revision {
					t.Fatalf("write %d ended with %+v, want revision %d", i, e, revision)
				}
			}
		}
	})
}

// Goal: an entry of a kind that this version does not know ends the node; it is not
// passed over.
// Method: a batch with such an entry between two puts.
func TestAnEntryOfAnUnknownKindEndsTheNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		m, log := newMachine(t, nil)
		batch := puts(1, 3, 1)
		batch.Entries[1].Kind = core.KindConfiguration + 1
		log.ApplyCh <- batch
		synctest.Wait()
		if log.Failed() == nil || applied(m) != 1 || !m.Stopping() {
			t.Errorf("the node ended with %v and stands at %d", log.Failed(), applied(m))
		}
	})
}
