package main

import "raftkv/kvserver/kv"

// The ways in which servers cannot reach each other.

// cut and mend work on one direction between two servers.
func (n *network) cut(from, to int)  { n.links[from][to].cuts++ }
func (n *network) mend(from, to int) { n.links[from][to].cuts-- }

// pair is one direction between two servers.
type pair struct{ from, to int }

// cutAll cuts links and returns how to mend them.
func (n *nemesis) cutAll(links []pair) func() {
	for _, p := range links {
		n.w.network.cut(p.from, p.to)
	}
	return func() {
		for _, p := range links {
			n.w.network.mend(p.from, p.to)
		}
	}
}

// around returns the links of a server: those that it sends on, those that it
// hears on.
func (n *nemesis) around(s *server, sends, hears bool) (links []pair) {
	for i := range n.w.servers {
		if i == s.index {
			continue
		}
		if sends {
			links = append(links, pair{s.index, i})
		}
		if hears {
			links = append(links, pair{i, s.index})
		}
	}
	return links
}

func isolate(n *nemesis, _ *fault, d dice) (func(), bool) {
	return n.cutAll(n.around(n.target(d), true, true)), true
}

// usurp cuts the leader off, or pauses it, and lets everybody else notice at once:
// another leads while it still takes itself for the leader, and clients ask it.
func usurp(n *nemesis, _ *fault, d dice) (func(), bool) {
	leader := n.leader()
	if leader == nil {
		return nil, false
	}
	for _, s := range n.w.servers {
		if s != leader && s.up {
			n.w.suspectSoon(s, leader.id)
		}
	}
	if d.chance(0.3) {
		return n.pause(leader), true
	}
	return n.cutAll(n.around(leader, d.chance(0.7), true)), true
}

func mute(n *nemesis, _ *fault, d dice) (func(), bool) {
	return n.cutAll(n.around(n.target(d), true, false)), true
}

func deaf(n *nemesis, _ *fault, d dice) (func(), bool) {
	return n.cutAll(n.around(n.target(d), false, true)), true
}

// halves splits the cluster in two groups of any size, which do not hear each
// other, or only one of them the other.
func halves(n *nemesis, _ *fault, d dice) (func(), bool) {
	order := d.Perm(len(n.w.servers))
	size := 1 + d.IntN(len(order)-1)
	bothWays := d.chance(0.7)
	var links []pair
	for _, a := range order[:size] {
		for _, b := range order[size:] {
			links = append(links, pair{a, b})
			if bothWays {
				links = append(links, pair{b, a})
			}
		}
	}
	return n.cutAll(links), true
}

// partial separates two servers that everybody else sees.
func partial(n *nemesis, _ *fault, d dice) (func(), bool) {
	a := n.target(d).index
	b := (a + 1 + d.IntN(len(n.w.servers)-1)) % len(n.w.servers)
	return n.cutAll([]pair{{a, b}, {b, a}}), true
}

// chain puts the servers in a line in which only neighbours see each other.
func chain(n *nemesis, _ *fault, d dice) (func(), bool) {
	order := d.Perm(len(n.w.servers))
	var links []pair
	for i, a := range order {
		for j, b := range order {
			if j > i+1 || j < i-1 {
				links = append(links, pair{a, b})
			}
		}
	}
	return n.cutAll(links), true
}

func someLinks(n *nemesis, _ *fault, d dice) (func(), bool) {
	share := float64(d.pick(10, 30, 60)) / 100
	var links []pair
	for i := range n.w.servers {
		for j := range n.w.servers {
			if i != j && d.chance(share) {
				links = append(links, pair{i, j})
			}
		}
	}
	return n.cutAll(links), len(links) > 0
}

// outage lets nobody see anybody for up to two windows of idempotency keys, as far
// as the world lasts. What was appended before it is applied after it.
func outage(n *nemesis, f *fault, d dice) (func(), bool) {
	o := &n.w.options
	window := kv.IdempotencyWindow * millisecond / max(1, o.TimeFactor)
	f.length = max(f.length, min(d.between(window/4, 2*window), o.Faulty/4))
	var links []pair
	for i := range n.w.servers {
		for j := range n.w.servers {
			if i != j {
				links = append(links, pair{i, j})
			}
		}
	}
	return n.cutAll(links), true
}

// flap cuts and mends a server's links, or one link, in turn.
func flap(n *nemesis, f *fault, d dice) (func(), bool) {
	w := n.w
	s := n.target(d)
	links := n.around(s, true, true)
	if d.chance(0.5) {
		at := d.IntN(len(links)/2) * 2
		links = links[at : at+2]
	}
	var mend func()
	over := false
	var turn func()
	turn = func() {
		if over {
			return
		}
		if mend == nil {
			mend = n.cutAll(links)
		} else {
			mend()
			mend = nil
		}
		w.after(d.between(w.options.election()*3/20, w.options.election()), then(turn))
	}
	turn()
	f.length *= 4
	return func() {
		over = true
		if mend != nil {
			mend()
		}
	}, true
}

// clog holds up what is sent to and from a server until it ends.
func clog(n *nemesis, _ *fault, d dice) (func(), bool) {
	sends := d.chance(0.7)
	return n.clogAll(n.around(n.target(d), sends, !sends || d.chance(0.7))), true
}

func (n *nemesis) clogAll(links []pair) func() {
	for _, p := range links {
		n.w.network.links[p.from][p.to].clogs++
	}
	return func() {
		for _, p := range links {
			n.w.network.unclog(p.from, p.to)
		}
	}
}

// swizzle clogs servers and lets one after the other go, in an order of its own.
func swizzle(n *nemesis, f *fault, d dice) (func(), bool) {
	w := n.w
	order := d.Perm(len(w.servers))
	order = order[:1+d.IntN(len(order))]
	var ends []func()
	for turn, i := range order {
		free := n.clogAll(n.around(w.servers[i], true, true))
		over := false
		end := func() {
			if !over {
				over = true
				free()
			}
		}
		ends = append(ends, end)
		w.after(int64(turn+1)*f.length/int64(len(order)+1), then(end))
	}
	return all(ends), true
}

// slowLinks makes everything to and from a server take much longer.
func slowLinks(n *nemesis, _ *fault, d dice) (func(), bool) {
	links, factor := n.around(n.target(d), true, true), d.pick(5, 20, 100)
	for _, p := range links {
		n.w.network.links[p.from][p.to].slow += factor
	}
	return func() {
		for _, p := range links {
			n.w.network.links[p.from][p.to].slow -= factor
		}
	}, true
}

// reset breaks the connections between a server and another, or all others.
func reset(n *nemesis, _ *fault, d dice) (func(), bool) {
	w := n.w
	s := n.target(d)
	only := -1
	if d.chance(0.5) {
		only = (s.index + 1 + d.IntN(len(w.servers)-1)) % len(w.servers)
	}
	for _, other := range w.servers {
		if other == s || only >= 0 && other.index != only {
			continue
		}
		w.network.reset(s.index, other.index)
		if w.options.Suspects && s.up && other.up {
			w.suspectSoon(s, other.id)
			w.suspectSoon(other, s.id)
		}
	}
	return nil, true
}
