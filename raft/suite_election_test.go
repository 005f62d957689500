package raft_test

import (
	"time"

	"raftkv/tests/lab"
)

// Part A: leaders come, and go when they are cut off.

// A leader appears and stays while nothing happens.
var initialElection = scenario{
	text:    "initial election",
	options: lab.Options{Servers: 3},
	body: func(c *lab.Cluster) {
		c.OneLeader()
		c.Sleep(50 * time.Millisecond) // the others hear of it
		before := c.SameTerm()
		if before < 1 {
			c.Fatalf("term %d, but the first election is held in term 1 at least", before)
		}
		c.Sleep(2 * lab.ElectionTimeout)
		if after := c.SameTerm(); after != before {
			c.Fatalf("the term rose from %d to %d though nothing failed", before, after)
		}
		c.OneLeader()
	},
}

// A leader that is cut off is replaced, and bows to its successor when it is
// back. Without a majority nobody leads.
var reElection = scenario{
	text:    "election after network failure",
	options: lab.Options{Servers: 3},
	body: func(c *lab.Cluster) {
		first := c.OneLeader()
		c.Disconnect(first)
		c.OneLeader()

		c.Connect(first)
		second := c.OneLeader()

		other := (second + 1) % 3
		c.Disconnect(second)
		c.Disconnect(other)
		c.Sleep(2 * lab.ElectionTimeout)
		c.NoLeader()

		c.Connect(other)
		c.OneLeader()
		c.Connect(second)
		c.OneLeader()
	},
}

// Any three of seven servers may be away and a leader is found.
var manyElections = scenario{
	text:    "multiple elections",
	options: lab.Options{Servers: 7},
	body: func(c *lab.Cluster) {
		c.OneLeader()
		for range 9 {
			away := [3]int{c.Rand.IntN(7), c.Rand.IntN(7), c.Rand.IntN(7)}
			for _, i := range away {
				c.Disconnect(i)
			}
			c.OneLeader()
			for _, i := range away {
				c.Connect(i)
			}
		}
		c.OneLeader()
	},
}
