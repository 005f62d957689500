package main

import (
	"testing"

	"raftkv/raft/core"
)

// How long writes stop when something breaks, in virtual time, with the figures
// of the shipped server: 10 ms ticks, elections after 300 to 600 ms.

// steady is a cluster to which nothing happens that a test does not do.
func steady(servers int) options {
	return options{
		Servers: servers, Tick: 10 * millisecond, ElectionTicks: 30, HeartbeatTicks: 5, StallTicks: 60, Patience: -1,
		Window: 64, AppendBytes: 1 << 20, ApplyBytes: 1 << 20, Uncommitted: 1 << 20, Trailing: 1 << 20,
		DelayLow: 50, DelayHigh: 300, Ordered: true, Chunk: 1 << 18,
		SaveLow: 100, SaveHigh: 400, SegmentBytes: 64 << 10, SnapshotEvery: 1000, SnapshotDelay: 1000,
		Clients: 3, Lanes: 1, Keys: 4, Think: 30 * millisecond, Mix: mix{Put: 1}, Calm: 60 * second,
	}
}

// steadyWorld starts one and lets it run until writes flow.
func steadyWorld(seed uint64, o options) *world {
	w := newWorld(seed, o, &trace{})
	for _, s := range w.servers {
		s.start()
	}
	for _, c := range w.clients {
		c.start()
	}
	w.runUntil(3*second, nil)
	return w
}

// longestPause is the longest time without an acknowledged write between two
// moments.
func (w *world) longestPause(from, to int64) int64 {
	last, longest := from, int64(0)
	for _, r := range w.oracles.clients.records {
		if r.ended != never && r.ended > from && r.ended <= to {
			longest = max(longest, r.ended-last)
			last = r.ended
		}
	}
	return max(longest, to-last)
}

// Goal: whatever link, process or disk the cluster loses, writes flow again within
// four election timeouts, as long as some majority sees each other or one server
// sees them all. Method: each kind of loss, aimed at the leader, on clusters of
// three and five, under ten seeds each.
func TestWritesFlowAgain(t *testing.T) {
	kinds := []struct {
		name  string
		least int
		do    func(n *nemesis, leader int)
	}{
		{"leader killed", 3, func(n *nemesis, l int) { n.w.servers[l].crash(crash{torn: -1}, n.w.serverDice) }},
		{"leader paused", 3, func(n *nemesis, l int) { n.pause(n.w.servers[l]) }},
		{"leader's disk hangs", 3, func(n *nemesis, l int) { n.w.servers[l].disk.hang() }},
		{"leader cut off", 3, func(n *nemesis, l int) { n.cutAll(n.around(n.w.servers[l], true, true)) }},
		{"leader cannot send", 3, func(n *nemesis, l int) { n.cutAll(n.around(n.w.servers[l], true, false)) }},
		{"leader cannot hear", 3, func(n *nemesis, l int) { n.cutAll(n.around(n.w.servers[l], false, true)) }},
		{"a follower cannot hear", 3, func(n *nemesis, l int) {
			n.cutAll(n.around(n.w.servers[(l+1)%len(n.w.servers)], false, true))
		}},
		{"leader and a follower do not see each other", 3, func(n *nemesis, l int) {
			other := (l + 1) % len(n.w.servers)
			n.cutAll([]pair{{l, other}, {other, l}})
		}},
		{"all see only one server, which does not lead", 5, func(n *nemesis, l int) {
			hub := (l + 1) % len(n.w.servers)
			var links []pair
			for i := range n.w.servers {
				for j := range n.w.servers {
					if i != j && i != hub && j != hub {
						links = append(links, pair{i, j})
					}
				}
			}
			n.cutAll(links)
		}},
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			worst := int64(0)
			for _, servers := range []int{3, 5} {
				for seed := range uint64(10) {
					if servers < k.least {
						continue
					}
					o := steady(servers)
					w := steadyWorld(seed, o)
					leader := w.nemesis.leader()
					if leader == nil {
						t.Fatalf("seed %d: nobody leads after %s", seed, clock(w.now))
					}
					k.do(w.nemesis, leader.index)
					from := w.now
					w.runUntil(from+6*second, nil)
					pause := w.longestPause(from, w.now)
					worst = max(worst, pause)
					if pause > 4*o.election() {
						t.Errorf("%d servers, seed %d: no write for %s", servers, seed, clock(pause))
					}
				}
			}
			t.Logf("no write for %d ms at most", worst/millisecond)
		})
	}
}

// Goal: a follower that was cut off for minutes and comes back unseats nobody.
// Method: one follower is cut off for three minutes and healed; the term stays,
// and the follower catches up.
func TestAFollowerThatComesBackUnseatsNobody(t *testing.T) {
	for seed := range uint64(10) {
		w := steadyWorld(seed, steady(3))
		leader := w.nemesis.leader()
		follower := w.servers[(leader.index+1)%3]
		before, elections := leader.replica.Observe(), w.counts.Elections
		mend := w.nemesis.cutAll(w.nemesis.around(follower, true, true))
		w.runUntil(w.now+180*second, nil)
		mend()
		w.runUntil(w.now+10*second, nil)
		now, caught := leader.replica.Observe(), follower.replica.Observe()
		if now.Role != core.Leader || now.Term != before.Term || w.counts.Elections != elections {
			t.Errorf("seed %d: %+v became %+v after %d elections", seed, before, now, w.counts.Elections-elections)
		}
		if caught.Term != now.Term || caught.LastIndex+1000 < now.LastIndex {
			t.Errorf("seed %d: the follower stands at %d of term %d, the leader at %d of term %d",
				seed, caught.LastIndex, caught.Term, now.LastIndex, now.Term)
		}
	}
}

// Goal: a link that comes and goes does not stop writes for long, and terms do not
// run away. Method: for a minute the leader's links to one follower, or to all,
// are cut and mended in turn; afterwards writes must flow within two election
// timeouts, and terms must have grown by no more than one in an election timeout.
func TestAFlappingLink(t *testing.T) {
	for seed := range uint64(10) {
		for _, whole := range []bool{false, true} {
			o := steady(3)
			w := steadyWorld(seed, o)
			n, leader := w.nemesis, w.nemesis.leader()
			links := n.around(leader, true, true)
			if !whole {
				links = links[:2]
			}
			term, from := leader.replica.Observe().Term, w.now
			d := newDice(seed, 77)
			for w.now < from+60*second {
				mend := n.cutAll(links)
				w.runUntil(w.now+d.between(o.election()*3/20, o.election()/2), nil)
				mend()
				w.runUntil(w.now+d.between(o.election()*3/20, o.election()/2), nil)
			}
			healed := w.now
			w.runUntil(healed+10*second, nil)
			if pause := w.longestPause(healed, w.now); pause > 2*o.election() {
				t.Errorf("seed %d, all links %v: no write for %s after the last heal", seed, whole, clock(pause))
			}
			if grown := int64(n.leader().replica.Observe().Term - term); grown > (healed-from)/o.election() {
				t.Errorf("seed %d, all links %v: the term grew by %d", seed, whole, grown)
			}
		}
	}
}
