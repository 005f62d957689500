package core

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"raftkv/tests/explore"
)

// A world of the explorer (tests/explore) is a few servers of the shipped core, their
// disks, the calls on their way, and what must be remembered to judge what comes. It
// does in every order what cluster_test.go does in one.
//
//	explore_world_test.go    the world, and how its parts change
//	explore_actions_test.go  what may happen next
//	explore_key_test.go      which worlds are equal
//	explore_fields_test.go   the same for a struct, field by field
//	explore_clone_test.go    the copy of a core
//	explore_oracles_test.go  the promises
//	explore_script_test.go   a way as a script of testdata
//	explore_test.go          bounds, and the counts they give
//
// No clock runs: whatever a timer may bring about may happen at any time. That is more
// than can happen, so what holds here holds with clocks, too.

// bounds say what a world has, and how often something may happen in it.
type bounds struct {
	name    string
	servers int
	terms   uint64 // no server campaigns for a later term
	limit   budget // how often each kind of thing may happen

	async       bool // a write takes time; else it is saved in the moment it is made
	fifo        bool // messages of one connection arrive in their order; else in any
	preVote     bool
	checkQuorum bool
	noop        bool
	stall       bool // Config.StallTicks is set: questions travel apart from entries
	single      bool // a message carries one entry

	silent bool // leaders send no heartbeats but the first

	// Reductions that are left out. None of them may change a verdict.
	named    bool // servers that differ in their names alone differ
	keepDead bool // answers that can change nothing any more stay on their way
	rawRoles bool // what has no meaning in a server's role is compared all the same
}

// budget counts what may still happen. A world's is part of its state.
type budget struct {
	entries   uint8 // commands proposed
	timeouts  uint8 // campaigns; unbounded means that only bounds.terms ends them
	losses    uint8 // calls whose caller is told that they were lost
	copies    uint8 // requests that arrive twice
	cuts      uint8 // power cuts
	snapshots uint8
	reads     uint8
	transfers uint8
	wipes     uint8 // disks lost
	checks    uint8 // quorum checks of leaders
}

const unbounded = 255

// maxServers bounds the size of a world.
const maxServers = 4

// exWorld is one state. It never changes once it is made; its parts are shared with
// the worlds before and after it.
type exWorld struct {
	bounds  *exBounds
	nodes   [maxServers]*exNode
	flight  []*exItem // messages on their way, in the order in which they left
	left    budget
	leaders [8]uint8   // leaders[t] is 1 + the place of the leader of term t; 0 if there was none
	chosen  []exChoice // chosen[i] was committed at index i+1
	floors  []exFloor  // reads that have not ended, and what they must see
	former  []exFormer // disks that were lost: what they held may have been counted
	serial  uint32     // of the last message that was made
	fault   error      // the promise that the step to this world broke

	owned [maxServers]bool  // nodes made for this world, while it is being made
	saves [maxServers]uint8 // writes saved on the last step
}

// exFormer is a disk that a server has lost.
type exFormer struct {
	server int
	log    []position
}

// exBounds are bounds and what follows from them.
type exBounds struct {
	bounds
	ids     []ID
	configs []Config
	renames [][]uint8 // every way to name the servers anew: renames[p][i] is the new place of server i
}

// exNode is one server in a world.
type exNode struct {
	core    *Raft
	disk    State
	writing *Write
	waiting []exWaiting   // requests that were delivered and not answered
	keys    []explore.Key // of all of this, under every renaming
}

// exWaiting is a request that a server has, under the tag it was given there.
type exWaiting struct {
	tag  Tag
	item *exItem
}

// exItem is a call on its way, or its answer on the way back.
type exItem struct {
	call     Call
	from, to uint8 // places of the caller and of the server that is asked
	serial   uint32
	exchange uint32      // serial of the first: copies of a request belong to one call
	reply    Reply       // nil while it is the request
	orphan   bool        // nobody waits for the answer
	content  explore.Key // of the request and the reply, without what the caller keeps of them
}

// exChoice is a committed entry: its term and sum, and the term of the server that
// first took it for committed.
type exChoice struct {
	term, by uint64
	sum      uint32
}

// exFloor is a read and what was committed when it was asked.
type exFloor struct {
	tag   Tag
	floor uint64
}

// sameDraw is the chance of an explored core: no timer runs, so a draw means nothing.
type sameDraw struct{}

func (sameDraw) Uint64() uint64 { return 0x5555555555555555 }

// newExWorld returns the first world within bounds: fresh servers.
func newExWorld(b bounds) *exWorld {
	w := &exWorld{bounds: &exBounds{bounds: b}, left: b.limit}
	for i := range b.servers {
		w.bounds.ids = append(w.bounds.ids, ID(fmt.Sprint(i+1)))
	}
	w.bounds.renames = renamings(b.servers)
	if b.named {
		w.bounds.renames = w.bounds.renames[:1]
	}
	for i, id := range w.bounds.ids {
		c := Config{
			ID: id, Peers: w.bounds.ids, ElectionTicks: 10, HeartbeatTicks: 2, BatchBytes: 1,
			PreVote: b.preVote, CheckQuorum: b.checkQuorum, Noop: b.noop, Rand: rand.New(sameDraw{}),
		}
		if b.stall {
			c.StallTicks = 100
		}
		if b.single {
			c.MaxAppendBytes = 1
		}
		w.bounds.configs = append(w.bounds.configs, c)
		w.nodes[i] = &exNode{core: New(c, State{})}
		w.nodes[i].keys = w.nodeKeys(i)
	}
	return w
}

// renamings returns every order of n places, the identity first.
func renamings(n int) (all [][]uint8) {
	var extend func(done []uint8)
	extend = func(done []uint8) {
		if len(done) == n {
			all = append(all, slices.Clone(done))
			return
		}
		for i := range uint8(n) {
			if !slices.Contains(done, i) {
				extend(append(done, i))
			}
		}
	}
	extend(nil)
	return all
}

// place returns the place of a server, -1 for None.
func (w *exWorld) place(id ID) int {
	if id == None {
		return -1
	}
	return int(id[0] - '1')
}

// next returns a copy of the world, to be changed into the one after it.
func (w *exWorld) next() *exWorld {
	n := *w
	n.owned, n.saves = [maxServers]bool{}, [maxServers]uint8{}
	n.flight = slices.Clone(w.flight)
	return &n
}

// own returns a node that may be changed.
func (w *exWorld) own(i int) *exNode {
	if !w.owned[i] {
		n := *w.nodes[i]
		n.core = n.core.clone()
		n.waiting = slices.Clone(n.waiting)
		w.nodes[i], w.owned[i] = &n, true
	}
	return w.nodes[i]
}

// failf records the first broken promise.
func (w *exWorld) failf(format string, args ...any) {
	if w.fault == nil {
		w.fault = fmt.Errorf(format, args...)
	}
}

// input does something to a server and takes what became ready of it.
func (w *exWorld) input(i int, do func(*Raft)) {
	n := w.own(i)
	before := n.core.Observe()
	do(n.core)
	w.flush(i, before)
}

// flush takes everything that a server has ready. A batch is applied at once, and a
// write is saved at once unless it takes time.
func (w *exWorld) flush(i int, before Observed) {
	n := w.nodes[i]
	for w.fault == nil {
		ready := n.core.Ready()
		for _, call := range ready.Calls {
			w.judgeCall(i, call)
			w.serial++
			m := &exItem{call: call, from: uint8(i), to: uint8(w.place(call.To)), serial: w.serial, exchange: w.serial}
			m.content = m.hash()
			w.flight = append(w.flight, m)
		}
		for _, a := range ready.Answers {
			w.answered(i, a)
		}
		for _, id := range ready.Forgot {
			w.failf("%s accuses %s of having forgotten something", w.bounds.ids[i], id)
		}
		for _, done := range ready.Reads {
			w.judgeRead(i, done)
		}
		if ready.Write != nil {
			n.writing = ready.Write
		}
		now := n.core.Observe()
		w.judgeState(i, before, now)
		before = now
		switch {
		case ready.Apply != nil:
			w.judgeBatch(i, ready.Apply)
			n.core.Applied(ready.Apply.Last())
		case n.writing != nil && !w.bounds.async:
			w.save(i)
		default:
			return
		}
	}
}

// answered sends an answer on its way back.
func (w *exWorld) answered(i int, a Answer) {
	n := w.nodes[i]
	k := slices.IndexFunc(n.waiting, func(x exWaiting) bool { return x.tag == a.Tag })
	if k < 0 {
		w.failf("%s answered tag %d, which is not waiting", w.bounds.ids[i], a.Tag)
		return
	}
	m := *n.waiting[k].item
	n.waiting = slices.Delete(n.waiting, k, k+1)
	if a.Reply == nil {
		w.returned(&m, nil)
		return
	}
	w.judgeAnswer(i, &m, a.Reply)
	m.reply = a.Reply
	m.content = m.hash()
	w.flight = append(w.flight, &m)
}

// returned tells a caller how its call ended, once.
func (w *exWorld) returned(m *exItem, reply Reply) {
	if m.orphan {
		return
	}
	w.abandon(func(other *exItem) bool { return other.exchange == m.exchange })
	w.input(int(m.from), func(r *Raft) { r.Returned(m.call, reply) })
}

// abandon makes orphans of messages: nobody waits for their answers any more.
func (w *exWorld) abandon(fits func(*exItem) bool) {
	alone := func(m *exItem) *exItem {
		orphan := *m
		orphan.orphan = true
		return &orphan
	}
	for k, m := range w.flight {
		if !m.orphan && fits(m) {
			w.flight[k] = alone(m)
		}
	}
	for i := range w.bounds.servers {
		for k, x := range w.nodes[i].waiting {
			if !x.item.orphan && fits(x.item) {
				w.own(i).waiting[k].item = alone(x.item)
			}
		}
	}
}

// take removes a message from those on their way and returns it.
func (w *exWorld) take(serial uint32, answer bool) *exItem {
	k := slices.IndexFunc(w.flight, func(m *exItem) bool { return m.serial == serial && m.reply != nil == answer })
	m := w.flight[k]
	w.flight = slices.Delete(w.flight, k, k+1)
	return m
}

// deliver hands a message over.
func (w *exWorld) deliver(m *exItem) {
	if m.reply != nil {
		w.returned(m, m.reply)
		return
	}
	w.serial++
	tag := Tag(w.serial)
	n := w.own(int(m.to))
	n.waiting = append(n.waiting, exWaiting{tag, m})
	w.input(int(m.to), func(r *Raft) { r.Receive(tag, w.bounds.ids[m.from], m.call.Request) })
}

// save completes the outstanding write.
func (w *exWorld) save(i int) {
	n := w.nodes[i]
	seq := n.writing.Seq
	w.saves[i]++
	w.write(i)
	n.core.Saved(seq)
}

// write puts the outstanding write on the disk and tells nobody.
func (w *exWorld) write(i int) {
	n := w.nodes[i]
	x, d := n.writing, &n.disk
	n.writing = nil
	w.judgeWrite(i, d, x)
	d.Term, d.VotedFor, d.Rejoining = x.Term, x.VotedFor, x.Rejoining
	if x.Snapshot != nil {
		forgotten := min(x.Snapshot.Index-d.Snapshot.Index, uint64(len(d.Entries)))
		d.Entries = d.Entries[forgotten:]
		d.Snapshot = *x.Snapshot
	}
	if x.From != 0 {
		kept := d.Entries[:x.From-1-d.Snapshot.Index]
		d.Entries = append(slices.Clip(kept), x.Entries...)
	}
}

// restart ends a server and brings it up again with a disk. Nobody waits for the
// answers to its calls, and the requests that it had are lost.
func (w *exWorld) restart(i int, disk State) {
	w.own(i)
	w.abandon(func(m *exItem) bool { return int(m.from) == i })
	n := &exNode{core: New(w.bounds.configs[i], disk), disk: disk}
	w.nodes[i] = n
	w.flush(i, n.core.Observe())
}
