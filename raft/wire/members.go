package wire

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/levels"
)

// A transport begins with the list of servers in its Config. From the first record of
// members in the log on it follows the configuration, while it runs (SetMembers).
//
// A server also takes messages from servers that its own configuration does not name:
// it may lag behind, and its vote or its disk may be what the change needs that made
// them members (§6, thesis 4.2.2). Such a guest names the uid and the generation of
// this cluster. Only a directory that a committed configuration has removed is turned
// away.

// servers are those with which this one talks, and what it knows of the configuration.
// It is replaced as a whole and never changed.
type servers struct {
	version    uint64 // index of the newest configuration; 0: the list of Config
	committed  uint64 // index of the newest committed configuration; 0: none is known
	generation uint64 // 0: not known
	level      uint32 // of the cluster; 0: not known, and so the lowest
	members    map[core.ID]*peer
	guests     map[core.ID]*peer // not among members
	leaves     map[core.ID]bool  // those among members that the change under way removes
	removed    map[directory]uint64
}

// directory names a data directory that a server has, or had.
type directory struct {
	id          core.ID
	incarnation identity.Incarnation
}

// directoryOf returns the directory of a hello's sender.
func directoryOf(h *hello) directory {
	d := directory{id: h.From}
	copy(d.incarnation[:], h.Incarnation)
	return d
}

// maxGuests bounds the guests that were never members. leaveTime is how long a server
// that was one is still dialled: the leader sends it the entries that tell it that it
// was removed.
const (
	maxGuests = 16
	leaveTime = 10 * time.Second
)

// now returns the servers with which this one talks at the moment.
func (t *Transport) now() *servers { return t.servers.Load() }

// listed returns the servers of Config.
func (t *Transport) listed() *servers {
	s := &servers{members: make(map[core.ID]*peer, len(t.config.Peers)), guests: map[core.ID]*peer{}}
	for id, addr := range t.config.Peers {
		s.members[id] = t.newPeer(id, addr)
	}
	return s
}

// peer returns what is kept of a server, nil if there is no such member or guest.
func (s *servers) peer(id core.ID) *peer {
	if p := s.members[id]; p != nil {
		return p
	}
	return s.guests[id]
}

// stays reports whether a peer is a member and is to remain one.
func (s *servers) stays(p *peer) bool { return s.members[p.id] == p && !s.leaves[p.id] }

// sorted returns the members in the order of their IDs.
func (s *servers) sorted() []*peer {
	all := make([]*peer, 0, len(s.members))
	for _, id := range slices.Sorted(maps.Keys(s.members)) {
		all = append(all, s.members[id])
	}
	return all
}

// Members is what a transport goes by from the first record of members on.
type Members struct {
	// Version is the index of the newest configuration in the log, and Generation its
	// generation. Committed is the index of the newest committed one; 0: none is known.
	Version, Generation, Committed uint64
	// Level is the level of the cluster: that of the newest committed configuration. A
	// server that cannot work at it is turned down.
	Level uint32
	// Peers are all servers of the newest configuration but this one.
	Peers map[core.ID]Peer
	// Removed are the data directories that the newest committed configuration has
	// removed, each with the index of the entry that did. They are turned down.
	Removed map[RemovedDirectory]uint64
}

// Peer is a server of a configuration.
type Peer struct {
	Address     string               // of its peer port; "": not known
	Incarnation identity.Incarnation // of its data directory; zero: any is taken
	Leaves      bool                 // the change under way removes it
}

// RemovedDirectory names a data directory that was removed.
type RemovedDirectory struct {
	ID          core.ID
	Incarnation identity.Incarnation
}

// SetMembers lets this server talk to those of a configuration: it dials those that are
// new, and goes on for a while with those that have gone. Connections with another directory than
// the one that a configuration names end. Members without a version are what a server is told
// that has no configuration yet: they do nothing to one that has. SetMembers may be called by
// any goroutine, also before Start. The caller must not change m afterwards.
func (t *Transport) SetMembers(m Members) {
	for _, p := range t.setMembers(&m) {
		t.endLives(p, identity.Use{})
	}
}

// setMembers is SetMembers, and returns the peers that are connected from another directory
// than the one that counts now.
func (t *Transport) setMembers(m *Members) (replaced []*peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.now()
	if t.closed || m.Version == 0 && before.version != 0 {
		return nil
	}
	next := &servers{
		version: m.Version, generation: m.Generation, committed: m.Committed, level: m.Level,
		members: make(map[core.ID]*peer, len(m.Peers)), guests: maps.Clone(before.guests),
		removed: make(map[directory]uint64, len(m.Removed)), leaves: make(map[core.ID]bool),
	}
	for d, index := range m.Removed {
		next.removed[directory{d.ID, d.Incarnation}] = index
	}
	for _, id := range slices.Sorted(maps.Keys(m.Peers)) {
		p := before.peer(id)
		if p == nil {
			p = t.newPeer(id, "")
		}
		if address := m.Peers[id].Address; address != "" && address != p.address() {
			p.addr.Store(&address)
			p.nudge()
		}
		p.pinned = m.Peers[id].Incarnation
		if none := (identity.Incarnation{}); p.pinned != none && p.use.Incarnation != none && p.use.Incarnation != p.pinned {
			replaced = append(replaced, p)
		}
		next.members[id] = p
		next.leaves[id] = m.Peers[id].Leaves
		delete(next.guests, id)
	}
	for id, p := range before.members {
		if next.members[id] == nil {
			next.guests[id] = p
			t.work.Go(func() { t.seeOff(p) })
		}
	}
	t.servers.Store(next)
	if t.started {
		for _, p := range next.sorted() {
			t.startDialling(p)
		}
	}
	return replaced
}

// startDialling gives a peer its dialler, once. t.mu must be held.
func (t *Transport) startDialling(p *peer) {
	if !p.dialled {
		p.dialled = true
		t.work.Go(func() { t.dial(p) })
	}
}

// seeOff is the goroutine that ends all connections with a server some time after it
// was removed, unless it has come back meanwhile.
func (t *Transport) seeOff(p *peer) {
	timer := time.NewTimer(leaveTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
		return
	}
	t.mu.Lock()
	now := t.now()
	gone := now.guests[p.id] == p
	if gone {
		next := *now
		next.guests = maps.Clone(now.guests)
		delete(next.guests, p.id)
		t.servers.Store(&next)
	}
	t.mu.Unlock()
	if !gone {
		return
	}
	p.cancel()
	if out := p.out.Load(); out != nil {
		out.fail(errRemoved)
	}
	t.endLives(p, identity.Use{})
}

// expect returns the peer that a hello's sender is: a member, or a guest. A guest that
// is new takes its place at once. nil: the sender is none of them, or there are too many
// guests.
func (t *Transport) expect(h *hello) *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if p := now.peer(h.From); p != nil {
		return p
	}
	ours := t.UID()
	sameCluster := ours != (core.UID{}) && h.uid() == ours && h.Generation != 0 &&
		(h.Generation == now.generation || now.generation == 0 && t.config.Joining)
	if t.closed || !sameCluster || h.From == t.config.ID || h.From == core.None {
		return nil
	}
	next := *now
	next.guests = make(map[core.ID]*peer, len(now.guests)+1)
	for id, p := range now.guests {
		if p.dialled || p.in != nil || p.receiving != nil {
			next.guests[id] = p
		}
	}
	if len(next.guests) >= maxGuests {
		t.log.note(slog.LevelWarn, "guests", "too many servers that are no members want to talk to this one", "peer", string(h.From), "limit", maxGuests)
		return nil
	}
	p := t.newPeer(h.From, "")
	next.guests[h.From] = p
	t.servers.Store(&next)
	return p
}

// Shown is what a server has said of itself in its last hello.
type Shown struct {
	ID          core.ID
	ClusterID   string
	UID         core.UID // of its cluster; zero: it knows none
	Generation  uint64   // of the configuration; 0: there is none
	Version     uint64   // index of the newest configuration in its log; 0: there is none
	Incarnation identity.Incarnation
	Levels      levels.Range
	Build       string
	ClientTLS   bool      // its client port speaks TLS
	Addresses   []Address // those that it named; the one for clients is among them
}

// Address returns the address with a name, "" if the server named none.
func (s *Shown) Address(name string) string {
	for _, a := range s.Addresses {
		if a.Name == name {
			return a.Address
		}
	}
	return ""
}

// shown returns what a hello says. Levels that no program has are none.
func (h *hello) shown() Shown {
	s := Shown{
		ID: h.From, ClusterID: h.ClusterID, UID: h.uid(), Generation: h.Generation, Version: h.ConfigVer,
		Incarnation: directoryOf(h).incarnation, Build: h.Build, ClientTLS: h.ClientTLS,
	}
	if h.LevelMax < 1<<32 {
		s.Levels = levels.Range{Min: uint32(h.LevelMin), Max: uint32(h.LevelMax)}
	}
	s.Addresses, _ = unpackAddresses(h.Addresses) // checked by helloContent
	if h.ClientAddr != "" && s.Address(AddressHTTP) == "" {
		s.Addresses = append(s.Addresses, Address{AddressHTTP, h.ClientAddr})
	}
	return s
}

// Shown returns what a member or guest has shown in its last hello to this process, and
// whether there was one.
func (t *Transport) Shown(id core.ID) (Shown, bool) {
	if p := t.now().peer(id); p != nil {
		if s := p.shown.Load(); s != nil {
			return *s, true
		}
	}
	return Shown{}, false
}

// Ask connects to an address and returns what the server there says of itself, whoever
// it is. Neither side takes note of the other. The error says that nobody answered, or
// not as a server of this cluster.
func (t *Transport) Ask(ctx context.Context, address string) (Shown, error) {
	ctx, cancel := context.WithTimeout(ctx, t.config.DialTimeout)
	defer cancel()
	return t.ask(ctx, address, func(*stranger, *hello) error { return nil })
}

// ask is Ask, and then does more on the same connection.
func (t *Transport) ask(ctx context.Context, address string, more func(*stranger, *hello) error) (Shown, error) {
	conn, err := t.config.Dial(ctx, address)
	if err != nil {
		return Shown{}, err
	}
	conn = t.line(conn)
	defer conn.Close()
	s, err := t.newStranger(conn, kindHello, answerBuffer)
	if err != nil {
		return Shown{}, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := t.secureOutbound(conn, core.None); err != nil {
		return Shown{}, err
	}
	if err := s.say(t.ownHello(core.None)); err != nil {
		return Shown{}, err
	}
	h, err := s.hear(greetingFrames)
	if err == nil {
		err = t.bound(conn, &h)
	}
	if err == nil {
		err = t.judgeAnybody(&h)
	}
	if err == nil {
		err = more(s, &h)
	}
	if err != nil {
		return Shown{}, err
	}
	return h.shown(), nil
}

// AnswerOnly answers the question which server is there, and turns everybody else away without a
// word, until ctx ends. It is for a server that does not know yet how it begins, in place of
// Start, and takes no note of anybody. It leaves the listener open for another transport;
// until it returns it uses that one's deadline, which a *net.TCPListener has.
func (t *Transport) AnswerOnly(ctx context.Context) {
	listener, ok := t.config.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok {
		<-ctx.Done()
		return
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = listener.SetDeadline(time.Unix(1, 0))
	})
	room := make(chan struct{}, t.config.MaxStrangers)
	var all sync.WaitGroup
	for ctx.Err() == nil {
		conn, err := t.config.Listener.Accept()
		switch {
		case err == nil:
			room <- struct{}{}
			all.Go(func() {
				defer func() { <-room }()
				t.answerOne(ctx, conn)
			})
		case errors.Is(err, net.ErrClosed):
			stop()
			all.Wait()
			return
		case ctx.Err() == nil:
			time.Sleep(acceptPause)
		}
	}
	all.Wait()
	<-ended
	_ = listener.SetDeadline(time.Time{})
}

// answerOne answers one connection, if its hello is for nobody in particular.
func (t *Transport) answerOne(ctx context.Context, conn net.Conn) {
	conn = t.line(conn)
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	s, err := t.newStranger(conn, kindHello, answerBuffer)
	if err == nil {
		err = t.secureInbound(conn)
	}
	if err != nil {
		return
	}
	h, err := s.hear(strangerFrames)
	if err == nil {
		err = t.bound(conn, &h)
	}
	if err == nil && h.To == core.None {
		_ = t.answerAnybody(s, &h) // its error only says which answer was given
	}
}
