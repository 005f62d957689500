package membership

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/levels"
	"raftkv/raft/members"
	"raftkv/tests/virtual"
)

const (
	fakeTimeout = 300 * time.Millisecond // election timeout
	fakeTicks   = 30
)

// fakeLog is the log of a cluster of which every member is up to date at once. One of
// them leads.
type fakeLog struct {
	mu     sync.Mutex
	leader members.ID
	term   uint64
	newest members.Version
	uid    members.UID
	// transport is what the nodes' configurations say of their connections.
	transport Transport
	nodes     map[members.ID]*fakeNode
	static    []members.ID
	silent    map[members.ID]bool
	unheard   members.ID // no other node has heard it
	behind    map[members.ID]bool
	appends   int // of changes
	// decide, if set, is asked what becomes of a change; nil commits it.
	decide func(c *raft.Reconfiguration) error
	// hold keeps joint configurations from being committed.
	hold bool
	// committed, if set, is the newest configuration that is committed.
	committed *members.Version
	// enforces: identities count.
	enforces bool
	// dialled counts how often a leader has connected to a server that is to be a member.
	dialled int
	// listens are the servers that answer at an address.
	listens map[string]Greeting
	// shows, if set, changes what the leader's status says.
	shows   func(s *raft.Status)
	holding map[members.ID]bool // those that were told to hold the level
	deaf    map[members.ID]bool // those that cannot be asked for that
	older   map[members.ID]bool // those that do not know what that is
	// refusesLead, if set, is why no node takes leadership over.
	refusesLead error
}

// fakeNode is one node of a fakeLog, with its driver.
type fakeNode struct {
	log    *fakeLog
	id     members.ID
	driver *Driver
	shown  map[members.ID]*Shown
	end    context.CancelFunc
}

// newFakeLog returns a cluster of these members, which n1 leads; the level is 3 if they
// have a record.
func newFakeLog(t *testing.T, record bool, ids ...members.ID) *fakeLog {
	return newFakeLogOver(t, Transport{}, record, ids...)
}

// newFakeLogOver returns a cluster whose nodes are connected like this.
func newFakeLogOver(t *testing.T, transport Transport, record bool, ids ...members.ID) *fakeLog {
	f := &fakeLog{transport: transport, leader: "n1", term: 1, uid: members.UID{7}, nodes: map[members.ID]*fakeNode{}, static: ids, silent: map[members.ID]bool{}, behind: map[members.ID]bool{}, listens: map[string]Greeting{}, holding: map[members.ID]bool{}, deaf: map[members.ID]bool{}, older: map[members.ID]bool{}}
	if record {
		r := members.First(f.uid, 3, ids)
		r.Stamp(2)
		f.newest = members.Version{Index: 2, Record: &r}
	}
	for _, id := range ids {
		f.add(t, id, 3)
	}
	synctest.Wait() // the leader names the directories
	return f
}

// add starts a node whose program works up to a level.
func (f *fakeLog) add(t *testing.T, id members.ID, level uint32) *fakeNode {
	n := &fakeNode{log: f, id: id, shown: map[members.ID]*Shown{}}
	var static []Static
	for _, s := range f.static {
		static = append(static, Static{ID: s, Peer: string(s) + ":1"})
	}
	n.driver = New(Config{
		Self: id, Level: level, Consensus: n, Holding: n, Static: static, ElectionTimeout: fakeTimeout, Transport: f.transport,
		Enforces: func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.enforces },
		Dial: func(_ context.Context, address string) (Greeting, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.dialled++
			if g, there := f.listens[address]; there {
				return g, nil
			}
			return Greeting{}, errors.New("connection refused")
		},
		Shown: func(of members.ID) *Shown { f.mu.Lock(); defer f.mu.Unlock(); return n.shown[of] },
	})
	f.mu.Lock()
	f.nodes[id] = n
	f.show(id, Shown{Levels: levels.Range{Min: 2, Max: level}, Build: "v1", Incarnation: incarnationOf(id)})
	for other := range f.nodes {
		n.shown[other] = f.nodes[other].shown[other]
	}
	f.mu.Unlock()
	var ctx context.Context
	ctx, n.end = context.WithCancel(t.Context())
	go n.driver.Run(ctx)
	f.tell()
	return n
}

func incarnationOf(id members.ID) (i members.Incarnation) {
	copy(i[:], "incarnation "+string(id))
	return i
}

// show lets all nodes hear what one says of itself. f.mu is held.
func (f *fakeLog) show(id members.ID, s Shown) {
	for _, n := range f.nodes {
		if id == f.unheard && n.id != id {
			continue
		}
		n.shown[id] = &s
	}
}

func (f *fakeLog) close() {
	for _, n := range f.nodes {
		n.end()
	}
	synctest.Wait()
}

// Status implements Consensus.
func (n *fakeNode) Status() *raft.Status {
	f := n.log
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &raft.Status{Contacts: map[core.ID]time.Time{}}
	s.ID, s.Term, s.Leader, s.UID, s.LastIndex = n.id, f.term, f.leader, f.uid, 100
	s.Role = core.Follower
	if f.leader != n.id {
		return s
	}
	s.Role = core.Leader
	c := members.Static(f.static)
	if f.newest.Record != nil {
		c = f.newest.Record.Configuration()
	}
	for _, p := range c.Places {
		if p.ID == n.id {
			continue
		}
		peer := raft.PeerStatus{ID: p.ID, MatchIndex: 100, Votes: p.Votes, CaughtUp: !f.behind[p.ID]}
		if f.behind[p.ID] {
			peer.MatchIndex = 50
		}
		s.Peers = append(s.Peers, peer)
		if !f.silent[p.ID] {
			s.Contacts[p.ID] = time.Now()
		}
	}
	if f.shows != nil {
		f.shows(s)
	}
	return s
}

// Transfer implements Consensus.
func (n *fakeNode) Transfer(_ context.Context, to raft.ID) error {
	if r := n.log.record(); r != nil && !slices.Contains(r.Voters(), to) {
		return errors.New("core: it is not another voter of this cluster")
	}
	if err := n.log.refusesLead; err != nil {
		return err
	}
	n.log.lead(to)
	return nil
}

// lead makes a node the leader.
func (f *fakeLog) lead(id members.ID) {
	f.mu.Lock()
	f.leader, f.term = id, f.term+1
	f.mu.Unlock()
	f.tell()
}

// Reconfigure implements Consensus.
func (n *fakeNode) Reconfigure(c *raft.Reconfiguration) {
	f := n.log
	err := f.change(n.id, c)
	f.tell()
	if err == nil {
		c.Chosen()
	} else if !errors.Is(err, errKept) {
		c.Failed(err)
	}
	f.finish()
}

// errKept says that a test decides later what becomes of a change.
var errKept = errors.New("kept")

func (f *fakeLog) change(by members.ID, c *raft.Reconfiguration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.decide != nil {
		if err := f.decide(c); err != nil {
			return err
		}
	}
	now := members.Static(f.static)
	if f.newest.Record != nil {
		now = f.newest.Record.Configuration()
	}
	switch {
	case f.leader != by:
		return raft.ErrNotLeader
	case c.From != f.newest.Index:
		return raft.ErrConfigurationChanged
	case now.Joint:
		return raft.ErrChangeInProgress
	}
	next, err := members.Next(now, f.newest.Record, c.Wanted)
	if err != nil {
		return err
	}
	f.append(next)
	c.Placed(f.newest.Index, f.term)
	return nil
}

// append puts a record into the log. f.mu is held.
func (f *fakeLog) append(r members.Record) {
	f.appends++
	index := f.newest.Index + 10
	r.Stamp(index)
	f.newest = members.Version{Index: index, Record: &r}
}

// finish commits a joint configuration, unless it is held, and appends its final one.
func (f *fakeLog) finish() {
	f.mu.Lock()
	if f.newest.Record != nil && f.newest.Record.Joint() && !f.hold {
		f.append(f.newest.Record.Final())
	}
	f.mu.Unlock()
	f.tell()
}

// tell tells every driver the configuration. What is joint and held is not committed.
func (f *fakeLog) tell() {
	f.mu.Lock()
	c := raft.Configurations{Newest: f.newest, Committed: f.newest}
	if f.committed != nil {
		c.Committed = *f.committed
	}
	if f.newest.Record != nil && f.newest.Record.Joint() {
		r := f.newest.Record.Clone()
		c.Committed = members.Version{Index: f.newest.Index - 10, Record: &r}
	}
	var all []*fakeNode
	for _, n := range f.nodes {
		all = append(all, n)
	}
	f.mu.Unlock()
	for _, n := range all {
		n.driver.Configured(c)
	}
}

// record returns the newest record.
func (f *fakeLog) record() *members.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest.Record
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, test func(t *testing.T)) { t.Helper(); virtual.Time(t, test) }

// set changes the log while nodes run on it.
func (f *fakeLog) set(change func()) { f.mu.Lock(); defer f.mu.Unlock(); change() }

// edit puts a changed record in the place of the newest one, which the nodes read, and tells
// them.
func (f *fakeLog) edit(change func(*members.Record)) {
	f.set(func() {
		r := f.newest.Record.Clone()
		change(&r)
		f.newest.Record = &r
	})
	f.tell()
}

// entries returns how many records were appended.
func (f *fakeLog) entries() int { f.mu.Lock(); defer f.mu.Unlock(); return f.appends }
