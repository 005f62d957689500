package wire

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/members"
	"raftkv/tests/virtual"
)

// endless is a file of zeros.
type endless struct{}

func (endless) ReadAt(b []byte, _ int64) (int, error) { clear(b); return len(b), nil }

// slowShelf has a large snapshot of which the peer lacks the end, and takes a given
// time to check what it has received.
type slowShelf struct {
	size, lacks int64
	check       time.Duration
	taken       atomic.Int32
}

func (s *slowShelf) SnapshotFile(core.Snapshot) (*io.SectionReader, io.Closer, error) {
	return io.NewSectionReader(endless{}, 0, s.size), io.NopCloser(nil), nil
}
func (s *slowShelf) BeginReceive(core.Snapshot, int64, [32]byte) (int64, error) {
	return s.size - s.lacks, nil
}
func (s *slowShelf) ReceiveAt([]byte, int64) error { return nil }
func (s *slowShelf) FinishReceive() error          { time.Sleep(s.check); s.taken.Add(1); return nil }
func (s *slowShelf) SnapshotMembers(core.Snapshot) (members.Version, error) {
	return members.Version{}, nil
}

// Goal: the time that a receiver has to check a snapshot grows with its size: a
// store that takes just less than that has its answer delivered, and one that takes
// just more is given up, after exactly that time. Method: states of up to 5 GiB in
// virtual time, of which only the end travels.
func TestTheTimeForACheckGrowsWithTheSize(t *testing.T) {
	const callTimeout = 5 * time.Second
	for _, size := range []int64{1 << 20, 1 << 30, 5 << 30} {
		allowance := callTimeout + time.Duration(size)*time.Second/minCheckRate
		for _, late := range []bool{false, true} {
			virtual.Time(t, func(t *testing.T) {
				network := newPipes()
				theirs := &slowShelf{size: size, lacks: 1000, check: allowance - 100*time.Millisecond}
				if late {
					theirs.check = allowance + 100*time.Millisecond
				}
				tweak := func(c *Config) { c.CallTimeout, c.Snapshots = callTimeout, theirs }
				n1 := startOn(t, network, "n1", twoOnPipes, tweak, nil)
				n2 := startOn(t, network, "n2", twoOnPipes, tweak, nil)
				time.Sleep(time.Second)
				begun, took := time.Now(), time.Duration(0)
				answered := make(chan core.Reply, 1)
				n1.Send(install("n2", 5, 7), func(_ core.Call, reply core.Reply) { took = time.Since(begun); answered <- reply })
				if reply := <-answered; (reply == nil) != late {
					t.Errorf("%d bytes, late %v: answered %v after %v", size, late, reply, took)
				}
				if late && (took < allowance || took > allowance+50*time.Millisecond) {
					t.Errorf("%d bytes: given up after %v, not %v", size, took, allowance)
				}
				time.Sleep(time.Second)
				if theirs.taken.Load() != 1 {
					t.Errorf("%d bytes, late %v: the store took %d snapshots", size, late, theirs.taken.Load())
				}
				n1.Close()
				n2.Close()
			})
		}
	}
}
