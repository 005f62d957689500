package core

import (
	"math/rand/v2"
	"testing"
)

func TestSmoke(t *testing.T) {
	for _, full := range []bool{false, true} {
		c := newCluster(t, 3, func(c *Config) { c.PreVote, c.CheckQuorum, c.Noop = full, full, full })
		c.elect("1")
		for i := range 5 {
			_ = i
			c.propose("1", "x")
		}
		c.settle(nil)
		c.tick("1", 2)
		c.settle(nil)
		for _, id := range c.ids {
			t.Log(id, len(c.applied[id]), c.servers[id].Status())
		}
	}
}

func TestChaos(t *testing.T) {
	for seed := range uint64(1000) {
		rng := rand.New(rand.NewPCG(seed, 7))
		full := seed%2 == 0
		n := 1 + rng.IntN(5)
		c := newCluster(t, n, func(c *Config) {
			c.PreVote, c.CheckQuorum, c.Noop = full, full, full
			c.Rand = rand.New(rand.NewPCG(seed, rng.Uint64()))
		})
		chosen := map[uint64]Entry{}
		verified := map[ID]int{}
		count := 0
		for range 4000 {
			id := c.ids[rng.IntN(n)]
			switch rng.IntN(20) {
			case 0, 1, 2:
				c.tick(id, 1)
			case 3:
				if _, _, err := c.servers[id].Propose([]byte{byte(rng.IntN(256)), byte(rng.IntN(256))}); err == nil {
					count++
				}
				c.flush(id)
			case 4:
				if rng.IntN(20) == 0 {
					c.restart(id)
					verified[id] = 0
				}
			case 5:
				if rng.IntN(4) == 0 && len(c.flight) > 0 {
					i := rng.IntN(len(c.flight))
					m := c.flight[i]
					c.flight = append(c.flight[:i:i], c.flight[i+1:]...)
					c.servers[m.from].Returned(m.call, nil)
					c.flush(m.from)
				}
			case 6:
				if rng.IntN(30) == 0 {
					c.servers[id].Suspect(c.ids[rng.IntN(n)])
				}
			case 7, 8, 9:
				c.save(id)
			default:
				if len(c.flight) > 0 {
					c.deliver(rng.IntN(min(len(c.flight), 4)))
				}
			}
			for ; verified[id] < len(c.applied[id]); verified[id]++ {
				e := c.applied[id][verified[id]]
				if old, ok := chosen[e.Index]; ok && (old.Term != e.Term || string(old.Data) != string(e.Data)) {
					t.Fatalf("seed %d: %v then %v", seed, old, e)
				}
				chosen[e.Index] = e
			}
		}
		for i := range 200 {
			for _, id := range c.ids {
				c.tick(id, 1)
				c.settle(nil)
				if i == 100 && c.servers[id].role == Leader {
					c.propose(id, "last")
				}
			}
		}
		for _, id := range c.ids {
			if s := c.servers[id].Status(); s.LastApplied != s.LastIndex {
				t.Fatalf("seed %d not converged: %+v", seed, s)
			}
		}
		if seed < 6 {
			t.Log(seed, n, count, len(chosen), c.servers["1"].currentTerm)
		}
	}
}
