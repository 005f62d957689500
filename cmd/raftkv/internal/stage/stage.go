package stage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"raftkv/cmd/raftkv/internal/host"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// Stage is the nodes of one process, and what is done to them. All methods are safe for
// concurrent use.
type Stage struct {
	Network *Network
	// Failed, if not nil, is called when a node ends though nobody wanted it to.
	Failed func(id core.ID, err error)

	dial   Dial
	mu     sync.Mutex // held while something is done to a node; guards the fields below
	actors map[core.ID]*actor
}

// actor is one node.
type actor struct {
	id      core.ID
	disk    *Disk
	dataDir string
	config  func() (host.Config, error) // with listeners that are open

	opened  *host.Node // is to be started; nil: none is
	node    *host.Node // nil: its process does not exist
	house   *house     // the clients' connections
	end     context.CancelCauseFunc
	ended   chan struct{} // closed when the last process has ended
	release chan struct{} // lets the loop go on; nil: it runs
}

// New returns a stage without nodes. dial is how they reach each other; nil: by TCP.
func New(dial Dial) *Stage {
	if dial == nil {
		dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	return &Stage{Network: NewNetwork(), dial: dial, actors: map[core.ID]*actor{}}
}

// Add makes a node known that is to be started. config returns its configuration, with
// listeners that are open and a file system, each time that it is started.
func (s *Stage) Add(id core.ID, config func() (host.Config, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended := make(chan struct{})
	close(ended)
	s.actors[id] = &actor{id: id, config: config, ended: ended}
}

// Nodes returns the IDs of all nodes, sorted.
func (s *Stage) Nodes() (all []core.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.actors {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

// Node returns the node of a process that exists, or nil.
func (s *Stage) Node(id core.ID) *host.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.actors[id]; a != nil {
		return a.node
	}
	return nil
}

// Leader returns the node that leads the newest term, "" if nobody leads.
func (s *Stage) Leader() core.ID {
	leader, newest := core.None, uint64(0)
	for _, id := range s.Nodes() {
		if n := s.Node(id); n != nil {
			if term, leads := n.Leading(); leads && term > newest {
				leader, newest = id, term
			}
		}
	}
	return leader
}

// doing calls do with a node whose process exists, or does not, as wanted.
func (s *Stage) doing(id core.ID, exists bool, do func(a *actor) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.actors[id]
	switch {
	case a == nil:
		return fmt.Errorf("there is no node %q; choose one of %s", id, strings.Join(s.namesLocked(), ", "))
	case exists && a.node == nil:
		return fmt.Errorf("node %s does not run; start it first", id)
	case !exists && a.node != nil:
		return fmt.Errorf("node %s runs already", id)
	}
	return do(a)
}

func (s *Stage) namesLocked() (all []string) {
	for id := range s.actors {
		all = append(all, string(id))
	}
	slices.Sort(all)
	return all
}

// Open opens the data directory of a node, which Start does otherwise. It takes no part in
// the cluster yet.
func (s *Stage) Open(id core.ID) error {
	return s.doing(id, false, func(a *actor) error { return s.open(a, false) })
}

// openLimit bounds how long a node asks the others how it comes back.
const openLimit = 10 * time.Second

// open makes the node of a process that is to begin, or to come back after its disk was
// lost.
func (s *Stage) open(a *actor, rejoin bool) error {
	<-a.ended
	if a.opened != nil {
		return nil
	}
	config, err := a.config()
	if err != nil {
		return err
	}
	config.Rejoin, a.dataDir = rejoin, config.DataDir
	if a.disk == nil {
		a.disk = NewDisk(config.FS)
	}
	a.disk.Fail(nil)
	a.disk.FailSyncs(nil)
	s.Network.Know(config.Peer.Addr().String(), a.id)
	s.Network.Know(config.HTTP.Addr().String(), a.id)
	a.house = newHouse(config.HTTP)
	config.FS, config.Dial, config.HTTP = a.disk, s.Network.Dialer(a.id, s.dial), a.house
	s.Network.admit(a.id)
	ctx, cancel := context.WithTimeout(context.Background(), openLimit)
	defer cancel()
	if a.opened, err = host.NewUntil(ctx, config); err != nil {
		a.opened = nil
		s.Network.remove(a.id)
		return host.ExplainFileSystem(err)
	}
	return nil
}

// Start starts a node from its files.
func (s *Stage) Start(id core.ID) error { return s.start(id, false) }

// Rejoin starts a node whose disk was lost so that it comes back, as by serve --rejoin.
func (s *Stage) Rejoin(id core.ID) error { return s.start(id, true) }

func (s *Stage) start(id core.ID, rejoin bool) error {
	return s.doing(id, false, func(a *actor) error {
		if err := s.open(a, rejoin); err != nil {
			return err
		}
		node := a.opened
		a.opened = nil
		if err := node.Start(); err != nil {
			return err
		}
		var ctx context.Context
		ctx, a.end = context.WithCancelCause(context.Background())
		a.node, a.ended, a.release = node, make(chan struct{}), nil
		go s.serve(ctx, a, node, a.ended)
		return nil
	})
}

// serve serves a node until it ends.
func (s *Stage) serve(ctx context.Context, a *actor, node *host.Node, ended chan struct{}) {
	err := node.Serve(ctx, func() {})
	wanted := ctx.Err() != nil
	close(ended) // first: a start of the node waits for it, and has mu
	if !wanted {
		s.mu.Lock()
		if a.node == node {
			a.node = nil
			s.Network.remove(a.id)
		}
		s.mu.Unlock()
	}
	if !wanted && s.Failed != nil {
		s.Failed(a.id, err)
	}
}

// Kill ends a node as the end of its process does: nothing is put in order, and nothing
// more reaches the disk or anybody.
func (s *Stage) Kill(id core.ID) error {
	return s.doing(id, true, func(a *actor) error {
		a.disk.Fail(errKilled)
		s.Network.remove(id)
		a.house.evict()
		a.leave(host.ErrKilled)
		return nil
	})
}

// errStopped is the cause of the end of a node that ends in order.
var errStopped = errors.New("the node was asked to stop")

// Stop asks a node to end in order, and returns when it has.
func (s *Stage) Stop(id core.ID) error {
	var ended chan struct{}
	err := s.doing(id, true, func(a *actor) error {
		ended = a.ended
		a.leave(errStopped)
		return nil
	})
	if err != nil {
		return err
	}
	<-ended
	s.Network.remove(id)
	return nil
}

// leave ends a process for a cause.
func (a *actor) leave(cause error) {
	a.goOn()
	a.disk.Go()
	a.disk.Slow(0)
	a.end(cause)
	a.node = nil
}

func (a *actor) goOn() {
	if a.release != nil {
		close(a.release)
		a.release = nil
	}
}

// Pause keeps a node's loop from running, as if its process was stopped.
func (s *Stage) Pause(id core.ID) error {
	return s.doing(id, true, func(a *actor) error {
		if a.release != nil {
			return fmt.Errorf("node %s is paused already", id)
		}
		a.release = make(chan struct{})
		a.node.Hold(a.release)
		return nil
	})
}

// GoOn ends Pause.
func (s *Stage) GoOn(id core.ID) error {
	return s.doing(id, true, func(a *actor) error { a.goOn(); return nil })
}

// Lose empties the disk of a node that does not run. A majority of all nodes must run, and
// must have what was acknowledged.
func (s *Stage) Lose(id core.ID) error {
	return s.doing(id, false, func(a *actor) error {
		whole := 0
		for _, other := range s.actors { // any order will do
			if other.node != nil && !other.node.ComesBack() {
				whole++
			}
		}
		if 2*whole <= len(s.actors) {
			return fmt.Errorf("%d of %d nodes run and have all their data, and that is no majority: what was acknowledged might be lost with the disk of %s; start others first", whole, len(s.actors), id)
		}
		if a.disk == nil || a.opened != nil {
			return fmt.Errorf("node %s has not run yet, so its disk is not known", id)
		}
		<-a.ended
		return empty(a.disk.FS, a.dataDir)
	})
}

// empty removes everything in a directory.
func empty(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if fsys.Remove(path) == nil {
			continue // a file
		}
		if err := empty(fsys, path); err != nil {
			return err
		}
		if err := fsys.Remove(path); err != nil {
			return err
		}
	}
	return fsys.SyncDir(dir)
}

// Disk calls do with the disk of a node that runs.
func (s *Stage) Disk(id core.ID, do func(d *Disk)) error {
	return s.doing(id, true, func(a *actor) error { do(a.disk); return nil })
}

// CutOff cuts all ways between a node and the others.
func (s *Stage) CutOff(id core.ID) error {
	for _, other := range s.Nodes() {
		s.Network.Shut(id, other)
		s.Network.Shut(other, id)
	}
	return nil
}

// State says how a node is, in a few words.
func (s *Stage) State(id core.ID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.actors[id]
	switch {
	case a == nil || a.node == nil:
		return "gone"
	case a.release != nil:
		return "paused"
	case a.disk.State() != "":
		return "its disk " + a.disk.State()
	}
	return "runs"
}

// End ends all nodes: in order, or at once.
func (s *Stage) End(inOrder bool) {
	s.Network.OpenAll()
	var all sync.WaitGroup
	for _, id := range s.Nodes() {
		all.Go(func() {
			if !inOrder {
				_ = s.Kill(id) // it may be gone already
			} else {
				_ = s.Stop(id)
			}
		})
	}
	all.Wait()
	for _, id := range s.Nodes() {
		s.mu.Lock()
		a := s.actors[id]
		if a.opened != nil {
			a.opened.Close() // nothing was written
			a.opened = nil
		}
		ended := a.ended
		s.mu.Unlock()
		<-ended
	}
}
