package clerkd

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/watch"
)

const (
	// watchRoom is how many bytes may be on their way on a connection before watches
	// wait. Answers go on being added, up to maxOutBytes. With a piece that is being
	// written and one behind it, it is 1 MiB.
	watchRoom = 512 << 10
	// signOfLife is after how long a connection with watches is sent something.
	signOfLife = time.Duration(watch.Silence) * time.Millisecond
	// slowAfter is how long a watch may have no credit.
	slowAfter = time.Minute
	// maxWatches bounds the watches on one connection, so that one Clerk does not take
	// the places of all.
	maxWatches = 1 << 14
	// maxCredit bounds what a client can have returned and not been sent.
	maxCredit = 64 << 20
)

// watches are the watches on one connection. One goroutine takes their turns: those that
// were woken, one after the other, a piece each, and those whose time has come. It begins
// with the first watch and ends with the connection. A watch whose client returns no
// credit gets no turn, so it holds up neither the others nor the answers to requests.
type watches struct {
	conn   *conn
	signal chan struct{} // holds a token when something is ready, or the end has come
	done   sync.WaitGroup

	mu       sync.Mutex // guards the fields below and those of watched that say so
	all      map[uint32]*watched
	ready    []*watched // each once
	running  bool
	stopping bool // no more watches; those there are end
	ended    bool

	// Of the goroutine:
	due  dueList
	sent time.Time
	room []byte // for a piece of the content of a turn
}

// watched is one watch.
type watched struct {
	watches        *watches
	number         uint32
	prev, keysOnly bool

	// Under watches.mu:
	w      *kvserver.Watching // nil until it is in place, and behind its end
	queued bool               // it is in ready
	left   bool               // the client wants no more of it
	credit int64
	syncs  []uint32 // requests for a bookmark without an answer, in their order
	asked  int      // how many of them the watch knows

	// Of the goroutine:
	at    time.Time // when it is due
	place int       // in due; below 0: it is not there
	dry   time.Time // since when it has no credit; zero: it has some
}

func (m *watches) set(c *conn) {
	m.conn, m.signal, m.all = c, make(chan struct{}, 1), map[uint32]*watched{}
}

// reserve takes the number of a watch that is being put in place. The error says why it
// cannot be.
func (m *watches) reserve(number uint32, asked *clerkwire.Watch) (*watched, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.all[number] != nil:
		return nil, failure.Of(failure.BadRequest, nil, "the number %d is that of another watch on this connection", number)
	case len(m.all) >= maxWatches:
		after := time.Duration(1+rand.N(8)) * time.Second
		return nil, failure.RetryAfter(failure.TooManyWatches, after, "too many watches are open on this connection (limit %d); end some, or open another connection", maxWatches)
	}
	f := &watched{watches: m, number: number, prev: asked.Prev, keysOnly: asked.KeysOnly, credit: clerkwire.FirstCredit, place: -1}
	m.all[number] = f
	return f, nil
}

// forget gives back the number of a watch that could not be put in place. Whoever asked
// for a bookmark of it is refused.
func (m *watches) forget(f *watched) {
	m.mu.Lock()
	delete(m.all, f.number)
	syncs := f.syncs
	f.w, f.syncs = nil, nil
	m.mu.Unlock()
	for _, number := range syncs {
		m.conn.refuse(number, m.conn.door.refusal(failure.Of(failure.Stopping, nil, "the watch has ended")))
	}
}

// add begins the turns of a watch that is in place. It reports false behind the end of
// the connection.
func (m *watches) add(f *watched, w *kvserver.Watching) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return false
	}
	f.w = w
	m.wakeLocked(f)
	if !m.running {
		m.running, m.sent = true, time.Now()
		m.done.Go(m.run)
	}
	return true
}

// wake gives the watch a turn. It is called with locks of others held.
func (f *watched) wake() {
	m := f.watches
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wakeLocked(f)
}

func (m *watches) wakeLocked(f *watched) {
	if f.queued || f.w == nil {
		return
	}
	f.queued = true
	m.ready = append(m.ready, f)
	m.nudge()
}

// nudge wakes the goroutine.
func (m *watches) nudge() {
	select {
	case m.signal <- struct{}{}:
	default: // it will look anyway
	}
}

// credit notes that the client has taken so many bytes of a watch. One that has ended
// needs none.
func (m *watches) credit(number uint32, bytes uint64) {
	m.change(number, func(f *watched) {
		f.credit = min(f.credit+int64(min(bytes, maxCredit)), maxCredit)
	})
}

// leave notes that the client wants no more of a watch.
func (m *watches) leave(number uint32) { m.change(number, func(f *watched) { f.left = true }) }

// sync notes that the request of a number wants a bookmark of a watch. It reports whether
// there is such a watch.
func (m *watches) sync(watch, request uint32) bool {
	return m.change(watch, func(f *watched) { f.syncs = append(f.syncs, request) })
}

// change changes something of a watch and gives it a turn.
func (m *watches) change(number uint32, do func(*watched)) (found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.all[number]
	if f == nil {
		return false
	}
	do(f)
	m.wakeLocked(f)
	return true
}

// stop ends all watches behind what was applied: the connection is to end.
func (m *watches) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopping = true
	for _, f := range m.all { // any order will do
		m.wakeLocked(f)
	}
}

// close ends the goroutine, and all watches without a word. The connection has ended, and no
// more is read from it.
func (m *watches) close() {
	m.mu.Lock()
	m.ended = true
	m.nudge()
	m.mu.Unlock()
	m.done.Wait()
	m.closeAll()
}

// run takes the turns of watches until the connection ends.
func (m *watches) run() {
	defer m.closeAll()
	timer := time.NewTimer(signOfLife)
	defer timer.Stop()
	var woken []*watched
	for {
		if woken = m.take(woken); woken == nil {
			return
		}
		for _, f := range woken {
			if !m.turn(f) {
				return
			}
		}
		for now := time.Now(); len(m.due) > 0 && !m.due[0].at.After(now); {
			if !m.turn(m.due[0]) {
				return
			}
		}
		if len(woken) > 0 {
			continue // there may be more
		}
		wait := signOfLife - time.Since(m.sent)
		if wait <= 0 {
			m.send(0, clerkwire.Changes{Content: []byte{}})
			continue
		}
		if len(m.due) > 0 {
			wait = min(wait, time.Until(m.due[0].at))
		}
		timer.Reset(wait)
		select {
		case <-m.signal:
		case <-timer.C:
		}
	}
}

// take takes the watches that are ready and leaves spare in their place; nil at the end.
func (m *watches) take(spare []*watched) []*watched {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return nil
	}
	clear(spare)
	woken := m.ready
	m.ready = spare[:0]
	if woken == nil {
		woken = []*watched{}
	}
	return woken
}

// turn lets a watch send a piece. It reports false at the end of the connection.
func (m *watches) turn(f *watched) bool {
	if !m.conn.out.AwaitRoom(watchRoom) {
		return false
	}
	m.mu.Lock()
	f.queued = false
	w, credit, left, stopping := f.w, f.credit, f.left, m.stopping
	syncs := len(f.syncs) - f.asked
	f.asked = len(f.syncs)
	m.mu.Unlock()
	switch {
	case w == nil:
		return true // it has ended meanwhile
	case left:
		m.end(f, w, clerkwire.Ended{})
		return true
	}
	for range syncs {
		w.Sync()
	}
	if credit <= 0 {
		m.turnDry(f, w, stopping)
		return true
	}
	f.dry = time.Time{}
	if stopping {
		w.Stop()
	}
	outs, more, err := w.Step()
	sent, ok := m.hand(f, outs)
	if !ok {
		return false
	}
	m.mu.Lock()
	f.credit -= sent
	m.mu.Unlock()
	switch {
	case err != nil:
		m.end(f, w, m.conn.door.endOf(err))
	case more:
		f.wake()
		m.schedule(f, time.Hour)
	default:
		m.schedule(f, w.Rest())
	}
	return true
}

// turnDry is a turn of a watch whose client takes nothing.
func (m *watches) turnDry(f *watched, w *kvserver.Watching, stopping bool) {
	if f.dry.IsZero() {
		f.dry = time.Now()
	}
	err := w.Listen()
	left := slowAfter - time.Since(f.dry)
	switch {
	case err != nil:
	case stopping || m.conn.door.server.WatchesEnd():
		err = failure.NodeStopping(nil) // the client goes on from its bookmark
	case left <= 0:
		err = w.TooSlow()
	}
	if err != nil {
		m.end(f, w, m.conn.door.endOf(err))
		return
	}
	m.schedule(f, min(w.Pause(), left))
}

// hand sends what a watch has handed out, and returns how much credit that takes. It
// reports false at the end of the connection.
func (m *watches) hand(f *watched, outs []watch.Out) (sent int64, ok bool) {
	answered := 0
	to := clerkwire.NewPieces(m.room, func(piece clerkwire.Changes) bool {
		m.send(f.number, piece)
		return !piece.More || m.conn.out.AwaitRoom(watchRoom)
	})
	for i := range outs {
		out := &outs[i]
		switch out.Kind {
		case watch.Open:
			m.send(f.number, clerkwire.Watching{StateFirst: out.Before, After: out.Revision, Revision: out.Now, Oldest: out.Oldest})
		case watch.Comment: // the connection as a whole has a sign of life
		default:
			f.addNote(to, out)
			answered += out.Syncs
		}
	}
	if sent, m.room, ok = to.Close(); !ok {
		return sent, false
	}
	if cap(m.room) > retainedContent {
		m.room = nil
	}
	m.answerSyncs(f, answered, outs)
	return sent, true
}

// retainedContent is the most memory that is kept for the content of the next turn.
const retainedContent = 256 << 10

// answerSyncs answers the first requests for a bookmark, with the last thing that was
// handed out.
func (m *watches) answerSyncs(f *watched, count int, outs []watch.Out) {
	if count == 0 {
		return
	}
	m.mu.Lock()
	syncs := f.syncs[:count:count]
	f.syncs, f.asked = f.syncs[count:], f.asked-count
	m.mu.Unlock()
	for _, number := range syncs {
		answer(m.conn, clerkwire.KindSynced, number, clerkwire.Synced{Revision: outs[len(outs)-1].Revision})
	}
}

// send sends a message of a watch.
func (m *watches) send(number uint32, message clerkwire.Message) {
	kind := clerkwire.KindChanges
	switch message.(type) {
	case clerkwire.Watching:
		kind = clerkwire.KindWatching
	case clerkwire.Ended:
		kind = clerkwire.KindEnded
	}
	m.conn.out.End(clerkwire.AppendFrame(m.conn.out.Begin(), kind, number, message))
	m.sent = time.Now()
}

// end ends a watch and says why.
func (m *watches) end(f *watched, w *kvserver.Watching, why clerkwire.Ended) {
	m.unschedule(f)
	w.Close()
	m.send(f.number, why)
	m.forget(f)
	m.conn.watch(-1)
}

// closeAll ends all watches without a word. Requests for a bookmark of them get no answer, so
// they are counted out here.
func (m *watches) closeAll() {
	m.mu.Lock()
	m.ended = true
	var open []*kvserver.Watching
	unanswered := 0
	for _, f := range m.all { // any order will do
		if f.w != nil {
			open = append(open, f.w)
		}
		unanswered += len(f.syncs)
		f.syncs = nil
	}
	m.all = map[uint32]*watched{}
	m.mu.Unlock()
	m.conn.uncount(unanswered)
	for _, w := range open { // a Close may wake a watch, which takes the lock
		w.Close()
	}
}

// schedule gives the watch a turn after some time, if it is not woken before. A turn that is
// to come earlier stays where it is, and moves when it has come: so a watch that is busy does
// not move with each of its turns.
func (m *watches) schedule(f *watched, after time.Duration) {
	now := time.Now()
	at := now.Add(after)
	switch {
	case f.place < 0:
		f.at = at
		heap.Push(&m.due, f)
	case at.Before(f.at) || !f.at.After(now):
		f.at = at
		heap.Fix(&m.due, f.place)
	}
}

func (m *watches) unschedule(f *watched) {
	if f.place >= 0 {
		heap.Remove(&m.due, f.place)
	}
}

// dueList orders watches by the time of their next turn.
type dueList []*watched

func (l dueList) Len() int           { return len(l) }
func (l dueList) Less(i, j int) bool { return l[i].at.Before(l[j].at) }
func (l dueList) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].place, l[j].place = i, j
}

// Push implements heap.Interface.
func (l *dueList) Push(x any) {
	f := x.(*watched)
	f.place = len(*l)
	*l = append(*l, f)
}

// Pop implements heap.Interface.
func (l *dueList) Pop() any {
	old := *l
	f := old[len(old)-1]
	old[len(old)-1] = nil
	*l = old[:len(old)-1]
	f.place = -1
	return f
}
