package campaign

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"raftkv/tests/cluster"
)

func diskKinds() []kind {
	return []kind{
		{"leader's disk hangs", 3, func(s *site) (*injected, error) { return s.freeze(s.cluster.Leader()) }, 3 * time.Second, false},
		{"a follower's disk hangs", 3, func(s *site) (*injected, error) { return s.freeze(s.follower()) }, 3 * time.Second, false},
		{"leader's syncs are slow", 1, func(s *site) (*injected, error) { return s.slowSyncs(s.cluster.Leader()) }, 3 * time.Second, false},
		{"leader's sync fails", 3, func(s *site) (*injected, error) { return s.failSync(s.cluster.Leader()) }, 0, false},
		{"a follower's sync fails", 3, func(s *site) (*injected, error) { return s.failSync(s.follower()) }, 0, false},
		{"a disk is full", 3, (*site).fillDisk, 0, false},
		{"power cut of all", 1, (*site).cutPower, 0, false},
	}
}

func (s *site) freeze(n *cluster.Node) (*injected, error) {
	thaw, err := s.disks[n.Place()].freeze()
	if err != nil {
		return nil, err
	}
	return &injected{
		evidence: func() string {
			if status, err := n.Status(); err == nil && status.Log.Stalled {
				return n.ID + " says that its disk hangs"
			}
			return ""
		},
		end: func() error { thaw(); return nil },
	}, nil
}

func (s *site) slowSyncs(n *cluster.Node) (*injected, error) {
	tr := trace(s.t, s.undo, n.Process, "fdatasync", "delay_exit=100000")
	return &injected{
		evidence: func() string {
			if syncs := tr.injected(); syncs > 0 {
				return fmt.Sprintf("%s: %d syncs took 100 ms longer", n.ID, syncs)
			}
			return ""
		},
		end: func() error { tr.release(); return nil },
	}, nil
}

// failSync makes one sync fail, which ends the node.
func (s *site) failSync(n *cluster.Node) (*injected, error) {
	tr := trace(s.t, s.undo, n.Process, "fdatasync", "error=EIO:when=1")
	code := n.ExitCode(cluster.Patience)
	tr.release()
	said := n.Output.Tail(1000)
	if code == 0 || !strings.Contains(said, "input/output error") {
		return nil, fmt.Errorf("%s ended with code %d after a failed sync: %s", n.ID, code, said)
	}
	return &injected{
		evidence: func() string {
			if tr.injected() == 0 {
				return ""
			}
			return fmt.Sprintf("%s: code %d", n.ID, code)
		},
		end: func() error { return s.restart(n) },
	}, nil
}

// fillDisk takes all room from a node and writes until it needs some.
func (s *site) fillDisk() (*injected, error) {
	n := s.cluster.Nodes[s.rand.IntN(len(s.cluster.Nodes))]
	empty, err := s.disks[n.Place()].fill()
	if err != nil {
		return nil, err
	}
	b := &ballast{}
	b.begin(s.cluster.Others(n))
	code := n.ExitCode(cluster.Patience)
	b.end()
	free, err := s.disks[n.Place()].free()
	said := n.Output.Tail(1000)
	if code == 0 || err != nil || !strings.Contains(said, "no space left on device") {
		return nil, fmt.Errorf("%s ended with code %d on a full disk (%v): %s", n.ID, code, err, said)
	}
	return &injected{
		evidence: func() string {
			return fmt.Sprintf("%s: %d bytes free; code %d after %d puts of 128 KiB", n.ID, free, code, b.puts)
		},
		end: func() error {
			empty()
			if err := s.restart(n); err != nil {
				return err
			}
			b.verify(s.t, n)
			return nil
		},
	}, nil
}

// cutPower cuts the power of all nodes at once and starts them again.
func (s *site) cutPower() (*injected, error) {
	var cutting sync.WaitGroup
	errs := make([]error, len(s.disks))
	for i, d := range s.disks {
		cutting.Go(func() { errs[i] = d.cutPower() })
	}
	cutting.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	s.cluster.KillAll()
	replayed := 0
	for _, d := range s.disks {
		if err := d.unmountNow(); err != nil {
			return nil, err
		}
		needed, err := d.needsRecovery()
		if err != nil {
			return nil, err
		}
		if needed {
			replayed++
		}
		if err := d.mountNow(); err != nil {
			return nil, err
		}
	}
	return &injected{
		evidence: func() string {
			if replayed == 0 {
				return ""
			}
			return fmt.Sprintf("%d of %d journals had to be replayed", replayed, len(s.disks))
		},
		end: func() error { return s.restart(s.cluster.Nodes...) },
	}, nil
}
