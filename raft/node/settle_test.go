package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/core"
	"raftkv/tests/virtual"
)

// settlingDisk is a Storage that has something to do behind its last write.
type settlingDisk struct {
	disk
	refuses error // what Settle returns

	moments        sync.Mutex // guards the fields below
	saved, settled []time.Time
}

func (d *settlingDisk) Save(w *core.Write) error {
	d.note(&d.saved)
	return d.disk.Save(w)
}

func (d *settlingDisk) Settle() error {
	d.note(&d.settled)
	return d.refuses
}

func (d *settlingDisk) note(at *[]time.Time) {
	d.moments.Lock()
	defer d.moments.Unlock()
	*at = append(*at, time.Now())
}

// when returns the moments of Save and Settle so far.
func (d *settlingDisk) when() (saved, settled []time.Time) {
	d.moments.Lock()
	defer d.moments.Unlock()
	return slices.Clone(d.saved), slices.Clone(d.settled)
}

// pass lets time pass, and waits until what is due by then has been done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// startAlone starts a node that is its whole cluster and waits until it leads.
func startAlone(d Storage, m *machine) *Node {
	n := Start(Config{
		TickInterval: 10 * time.Millisecond,
		Core:         core.Config{ID: "n1", Peers: []core.ID{"n1"}, ElectionTicks: 30, HeartbeatTicks: 5, Noop: true, Rand: rand.New(rand.NewPCG(1, 3))},
	}, core.State{}, d, link{&network{}, "n1"}, m)
	pass(time.Second)
	return n
}

// Goal: what a storage does behind its last write is done once, soon after it, and
// never stands between a write and its acknowledgement, nor between two writes under
// load. Method: on a clock of the test's own, a node alone gets a command every three
// milliseconds, and then none; the moments of Save and Settle are compared.
func TestAStorageSettlesBehindItsLastWrite(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		d, m := &settlingDisk{}, &machine{}
		n := startAlone(d, m)
		_, before := d.when()
		for i := range 30 {
			saved, _ := d.when()
			propose(n, fmt.Sprint(i))
			pass(3 * time.Millisecond)
			if now, _ := d.when(); len(now) == len(saved) || len(m.commands()) != i+1 {
				t.Fatalf("void: command %d was not saved and applied within its 3 ms", i)
			}
		}
		if _, settled := d.when(); len(settled) != len(before) {
			t.Errorf("it settled %d times while writes came", len(settled)-len(before))
		}
		pass(time.Second)
		saved, settled := d.when()
		last, settled := saved[len(saved)-1], settled[len(before):]
		if len(settled) != 1 || settled[0].Sub(last) != settleAfter {
			t.Errorf("the last write was at %v, and it settled at %v", last, settled)
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
	virtual.Time(t, func(t *testing.T) {
		d := &settlingDisk{refuses: errors.New("the disk is gone")}
		n := startAlone(d, &machine{})
		if err := n.Wait(); !errors.Is(err, d.refuses) {
			t.Errorf("the node ended with %v", err)
		}
	})
}
