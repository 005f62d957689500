package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
)

// settlingDisk is a Storage that has something to do behind its last write.
type settlingDisk struct {
	disk
	saved   []time.Time
	settled []time.Time
	refuses error // what Settle returns
}

func (d *settlingDisk) Save(w *core.Write) error {
	d.saved = append(d.saved, time.Now())
	return d.disk.Save(w)
}

func (d *settlingDisk) Settle() error {
	d.settled = append(d.settled, time.Now())
	return d.refuses
}

// startAlone starts a node that is its whole cluster and waits until it leads.
func startAlone(d Storage, m *machine) *Node {
	n := Start(Config{
		TickInterval: 10 * time.Millisecond,
		Core:         core.Config{ID: "n1", Peers: []core.ID{"n1"}, ElectionTicks: 30, HeartbeatTicks: 5, Noop: true, Rand: rand.New(rand.NewPCG(1, 3))},
	}, core.State{}, d, link{&network{}, "n1"}, m)
	time.Sleep(time.Second)
	return n
}

// Goal: what a storage does behind its last write is done once, soon after it, and
// never stands between a write and its acknowledgement, nor between two writes under
// load. Method: on a clock of the test's own, a node alone gets a command every three
// milliseconds, and then none; the moments of Save and Settle are compared.
func TestAStorageSettlesBehindItsLastWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, m := &settlingDisk{}, &machine{}
		n := startAlone(d, m)
		d.settled = nil
		for i := range 30 {
			before := len(d.saved)
			propose(n, fmt.Sprint(i))
			time.Sleep(3 * time.Millisecond)
			if len(d.saved) == before || len(m.commands()) != i+1 {
				t.Fatalf("void: command %d was not saved and applied within its 3 ms", i)
			}
		}
		if len(d.settled) != 0 {
			t.Errorf("it settled %d times while writes came", len(d.settled))
		}
		time.Sleep(time.Second)
		last := d.saved[len(d.saved)-1]
		if len(d.settled) != 1 || d.settled[0].Sub(last) != settleAfter {
			t.Errorf("the last write was at %v, and it settled at %v", last, d.settled)
		}
		n.Stop()
		if err := n.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// Goal: a storage that cannot settle ends the node, as one that cannot save does.
// Method: one that refuses.
func TestAStorageThatCannotSettleEndsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &settlingDisk{refuses: errors.New("the disk is gone")}
		n := startAlone(d, &machine{})
		if err := n.Wait(); !errors.Is(err, d.refuses) {
			t.Errorf("the node ended with %v", err)
		}
	})
}
