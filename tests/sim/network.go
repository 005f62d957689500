package main

import (
	"io"
	"slices"

	"raftkv/raft/core"
)

// network carries calls and replies between servers: late, twice, out of order,
// or not at all.
type network struct {
	w     *world
	dice  dice
	links [maxServers][maxServers]link // by sender and receiver
	flips int                          // faults that change bits of frames
}

// link is one direction between two servers.
type link struct {
	cuts   int   // faults that cut it
	clogs  int   // faults that hold up what is sent on it
	slow   int64 // factor by which delays are longer; 0 as 1
	free   int64 // ordered: when the last message arrives
	held   []held
	broken uint64 // how often its connection was reset
	met    met    // which processes have said hello on it
}

// held is a message that a clogged link holds.
type held struct {
	arrive happening
	lost   happening
}

func newNetwork(w *world) *network {
	return &network{w: w, dice: newDice(w.seed, streamNetwork)}
}

// delay draws how long a message takes.
func (n *network) delay(l *link) int64 {
	o := &n.w.options
	d := n.dice.between(o.DelayLow, o.DelayHigh)
	if !n.w.healed && n.dice.chance(o.Tail) {
		d *= n.dice.between(2, 50)
	}
	d *= max(1, l.slow)
	if o.Ordered {
		d = max(d, l.free-n.w.now)
		l.free = n.w.now + d
	}
	return d
}

// carry brings something from one server to another, or loses it; then lost
// happens unless losses are silent.
func (n *network) carry(from, to int, arrive, lost happening) {
	w, l := n.w, &n.links[from][to]
	w.counts.Messages++
	switch {
	case l.cuts > 0 || !w.healed && n.dice.chance(w.options.Loss):
		w.counts.LostMessages++
		n.lose(lost)
	case l.clogs > 0:
		w.counts.HeldUp++
		l.held = append(l.held, held{arrive, lost})
	default:
		w.after(n.delay(l), arrive)
	}
}

// behind is how long what was sent so far still holds up what is sent now, on
// links that keep their order.
func (n *network) behind() int64 {
	last := n.w.now
	for i := range n.links {
		for j := range n.links[i] {
			last = max(last, n.links[i][j].free)
		}
	}
	return last - n.w.now
}

// lose makes a loss known, if it is to be.
func (n *network) lose(lost happening) {
	o := &n.w.options
	if !o.SilentLoss {
		n.w.after(n.dice.between(o.DelayLow, 4*o.DelayHigh), lost)
	}
}

// unclog lets out what a link held up, unless something else holds it up still.
func (n *network) unclog(from, to int) {
	l := &n.links[from][to]
	l.clogs--
	if l.clogs > 0 {
		return
	}
	waiting := l.held
	l.held = nil
	for _, m := range waiting {
		n.w.after(n.delay(l), m.arrive)
	}
}

// reset breaks the connections between two servers: what is under way either
// way is lost.
func (n *network) reset(a, b int) {
	for _, l := range []*link{&n.links[a][b], &n.links[b][a]} {
		l.broken++
		for _, m := range l.held {
			n.lose(m.lost)
		}
		l.held = nil
	}
}

// rpc is one call under way. It happens when the request arrives, which may be
// more than once.
type rpc struct {
	n        *network
	from, to *server
	life     int // of the caller
	call     core.Call
	broken   uint64 // see link.broken, when it was sent
	answered bool
	over     bool      // its end was told
	file     io.Closer // the snapshot that it sends, if any
}

// send makes a call and brings its end back to the life that made it.
func (n *network) send(s *server, call core.Call) {
	w := n.w
	r := &rpc{n: n, from: s, to: w.server(call.To), life: s.life, call: call}
	r.broken = n.links[s.index][r.to.index].broken
	_, install := call.Request.(*core.InstallSnapshot)
	again := !w.healed && n.dice.chance(w.options.Duplicate)
	if install && !w.options.Labs {
		n.transfer(r)
		if again {
			w.counts.Duplicates++
			w.after(n.dice.between(0, 20*w.options.DelayHigh), then(func() {
				if s.alive(r.life) && !r.over {
					n.transfer(r)
				}
			}))
		}
		return
	}
	n.carry(s.index, r.to.index, r, (*loss)(r))
	if again {
		w.counts.Duplicates++
		w.after(n.dice.between(0, 20*w.options.DelayHigh), r)
	}
}

// happen is the arrival of the request.
func (r *rpc) happen() {
	n := r.n
	if r.broken != n.links[r.from.index][r.to.index].broken {
		n.lose((*loss)(r))
		return
	}
	if !r.to.up || !n.meets(r.from, r.to, r.life) {
		n.carry(r.to.index, r.from.index, (*loss)(r), (*loss)(r))
		return
	}
	if n.flips > 0 && n.flipped(r) || n.w.flipped && stale(r.call.Request) {
		n.carry(r.to.index, r.from.index, (*loss)(r), (*loss)(r)) // the connection ends
		return
	}
	r.to.input(r.deliver)
}

// stale reports whether an entry of a request changed in the sender's memory after
// the request was sent. A real request was encoded by then.
func stale(request core.Request) bool {
	req, ok := request.(*core.AppendEntries)
	return ok && core.Intact(req.Entries, "sent") != nil
}

// flipped reports whether a frame under way is damaged, and found to be. It
// encodes the entries as peers do, changes a bit, and decodes them.
func (n *network) flipped(r *rpc) bool {
	w := n.w
	req, ok := r.call.Request.(*core.AppendEntries)
	if !ok || len(req.Entries) == 0 || w.healed || !n.dice.chance(0.2) {
		return false
	}
	w.counts.FlippedFrames++
	b := core.EncodeEntries(nil, req.Entries)
	bit := n.dice.IntN(8 * len(b))
	b[bit/8] ^= 1 << (bit % 8)
	entries, err := core.DecodeEntries(b, req.Entries[0].Index, len(req.Entries))
	if err == nil {
		w.fail("damage", "a frame of %s with entries from %d has bit %d changed, and was believed: %v", r.from.id, req.Entries[0].Index, bit, entries)
	}
	return true
}

// deliver hands the request over.
func (r *rpc) deliver() {
	to, life := r.to, r.to.life
	to.open(r)
	to.receive(r.from, r.call, func(reply core.Reply) {
		r.answered = true
		if to.alive(life) {
			b := &back{r, reply, r.n.links[to.index][r.from.index].broken}
			r.n.carry(to.index, r.from.index, b, (*loss)(r))
		}
	})
}

// open takes note of a call that a server is to answer.
func (s *server) open(r *rpc) {
	if len(s.calls) >= 64 {
		s.calls = slices.DeleteFunc(s.calls, func(r *rpc) bool { return r.answered || r.over })
	}
	s.calls = append(s.calls, r)
}

// died loses the calls that a server will never answer.
func (n *network) died(s *server) {
	for _, r := range s.calls {
		if !r.answered && !r.over {
			n.lose((*loss)(r))
		}
	}
	s.calls = nil
}

// back is a reply under way.
type back struct {
	rpc    *rpc
	reply  core.Reply
	broken uint64
}

// happen is the arrival of the reply.
func (b *back) happen() {
	r := b.rpc
	if b.broken != r.n.links[r.to.index][r.from.index].broken {
		r.n.lose((*loss)(r))
		return
	}
	r.end(b.reply)
}

// loss is an rpc whose caller is to learn that it was lost.
type loss rpc

func (l *loss) happen() { (*rpc)(l).end(nil) }

// end tells the caller how its call ended, once.
func (r *rpc) end(reply core.Reply) {
	if r.over || !r.from.alive(r.life) {
		return
	}
	r.over = true
	if r.file != nil {
		r.file.Close()
		if reply == nil {
			r.n.w.counts.TransfersCut++
		}
	}
	r.from.input(func() { r.from.returned(r.to, r.call, reply) })
}
