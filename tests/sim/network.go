package main

import "raftkv/raft/core"

// network carries calls and replies between servers: late, twice, out of
// order, or not at all.
type network struct {
	w    *world
	cut  map[pair]bool  // who is not heard by whom; looked up, never walked
	free map[pair]int64 // ordered: when the last message of a pair arrives
}

type pair struct{ from, to core.ID }

func newNetwork(w *world) *network {
	return &network{w: w, cut: map[pair]bool{}, free: map[pair]int64{}}
}

// delay draws how long a message takes.
func (n *network) delay(p pair) int64 {
	w := n.w
	d := w.between(w.options.delayLow, w.options.delayHigh)
	if !w.healed && w.chance(w.options.tail) {
		d *= w.between(2, 50)
	}
	if w.options.ordered {
		d = max(d, n.free[p]-w.now)
		n.free[p] = w.now + d
	}
	return d
}

// carry brings something from one server to another, or loses it.
func (n *network) carry(from, to core.ID, arrive func(), lost func()) {
	w, p := n.w, pair{from, to}
	w.counts.Messages++
	if n.cut[p] || !w.healed && w.chance(w.options.loss) {
		w.counts.LostMessages++
		if !w.options.silentLoss {
			w.after(w.between(w.options.delayLow, 4*w.options.delayHigh), lost)
		}
		return
	}
	w.after(n.delay(p), arrive)
}

// send makes a call of one server's life and brings its end back to that life.
func (n *network) send(s *server, call core.Call) {
	w, life := n.w, s.life
	over := false
	end := func(reply core.Reply) {
		if !over && s.alive(life) {
			over = true
			s.input(func() { s.returned(call, reply) })
		}
	}
	lost := func() { end(nil) }
	deliver := func() {
		to := w.server(call.To)
		if !to.up {
			n.carry(call.To, s.id, lost, lost)
			return
		}
		toLife := to.life
		to.input(func() {
			to.receive(s.id, call, func(reply core.Reply) {
				if to.alive(toLife) {
					n.carry(call.To, s.id, func() { end(reply) }, lost)
				}
			})
		})
	}
	n.carry(s.id, call.To, deliver, lost)
	if !w.healed && w.chance(w.options.duplicate) {
		w.counts.Duplicates++
		w.after(w.between(0, 20*w.options.delayHigh), deliver)
	}
}

// recut draws new cuts: none, one server alone, two halves, one-way links, or
// two servers that do not see each other while others see both.
func (n *network) recut() {
	w := n.w
	clear(n.cut)
	ids := make([]core.ID, len(w.servers))
	for i, s := range w.servers {
		ids[i] = s.id
	}
	w.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	separate := func(a, b core.ID, bothWays bool) {
		n.cut[pair{a, b}] = true
		if bothWays {
			n.cut[pair{b, a}] = true
		}
	}
	shape := w.rng.IntN(5)
	switch shape {
	case 1, 2: // a group of any size is cut off, one way or both
		size := 1 + w.rng.IntN(len(ids))
		bothWays := shape == 1
		for _, a := range ids[:size] {
			for _, b := range ids[size:] {
				separate(a, b, bothWays)
			}
		}
	case 3: // a partial partition
		if len(ids) > 2 {
			separate(ids[0], ids[1], true)
		}
	case 4: // single directed links
		for _, a := range ids {
			for _, b := range ids {
				if a != b && w.chance(0.2) {
					separate(a, b, false)
				}
			}
		}
	}
	w.counts.Cuts++
	w.event("net", "cut shape %d over %v", shape, ids)
}
