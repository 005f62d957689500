package raft_test

import (
	"time"

	"raftkv/tests/lab"
)

// Part C: servers crash and come back with what they had saved.

// restartConnected crashes a server and brings it back.
func restartConnected(c *lab.Cluster, i int) {
	c.Restart(i)
	c.Connect(i)
}

// Everybody, the leader and a follower crash in turn.
var persist1 = scenario{
	text:    "basic persistence",
	options: lab.Options{Servers: 3},
	body: func(c *lab.Cluster) {
		c.Agree(11, 3, true)
		for i := range 3 {
			c.Crash(i)
		}
		for i := range 3 {
			restartConnected(c, i)
		}
		c.Agree(12, 3, true)

		restartConnected(c, c.OneLeader())
		c.Agree(13, 3, true)

		leader := c.OneLeader()
		c.Crash(leader)
		c.Agree(14, 2, true)
		restartConnected(c, leader)
		if _, ok := c.Await(4, 3, -1); !ok { // before the next is killed
			c.Fatalf("index 4 was not delivered by all")
		}

		follower := (c.OneLeader() + 1) % 3
		c.Crash(follower)
		c.Agree(15, 2, true)
		restartConnected(c, follower)
		if index := c.Agree(16, 3, true); index != 6 {
			c.Fatalf("the sixth command got index %d", index)
		}
	},
}

// Majorities change their members with every round.
var persist2 = scenario{
	text:    "more persistence",
	options: lab.Options{Servers: 5},
	body: func(c *lab.Cluster) {
		index := 1
		for range 5 {
			c.Agree(10+index, 5, true)
			index++
			leader := c.OneLeader()
			at := func(k int) int { return (leader + k) % 5 }
			c.Disconnect(at(1))
			c.Disconnect(at(2))
			c.Agree(10+index, 3, true)
			index++
			c.Disconnect(at(0))
			c.Disconnect(at(3))
			c.Disconnect(at(4))

			restartConnected(c, at(1))
			restartConnected(c, at(2))
			c.Sleep(lab.ElectionTimeout)
			restartConnected(c, at(3))
			c.Agree(10+index, 3, true)
			index++
			c.Connect(at(4))
			c.Connect(at(0))
		}
		c.Agree(1000, 5, true)
	},
}

// A leader that crashed with a follower comes back together with a third that
// knows less.
var persist3 = scenario{
	text:    "partitioned leader and one follower crash, leader restarts",
	options: lab.Options{Servers: 3},
	body: func(c *lab.Cluster) {
		c.Agree(101, 3, true)
		leader := c.OneLeader()
		c.Disconnect((leader + 2) % 3)
		c.Agree(102, 2, true)
		c.Crash(leader)
		c.Crash((leader + 1) % 3)
		c.Connect((leader + 2) % 3)
		restartConnected(c, leader)
		c.Agree(103, 2, true)
		restartConnected(c, (leader+1)%3)
		c.Agree(104, 3, true)
	},
}

// Leaders crash soon after they took commands, some of which reached others
// (Figure 8 of the paper).
var figure8 = scenario{
	text:    "Figure 8",
	options: lab.Options{Servers: 5},
	body: func(c *lab.Cluster) {
		c.Agree(c.Command(), 1, true)
		up := 5
		for range 1000 {
			leader := -1
			for i := range 5 {
				if _, _, leads := c.Start(i, c.Command()); leads {
					leader = i
				}
			}
			if c.Rand.IntN(10) == 0 {
				c.Sleep(time.Duration(c.Rand.IntN(500)) * time.Millisecond)
			} else {
				c.Sleep(time.Duration(c.Rand.IntN(13)) * time.Millisecond)
			}
			if leader >= 0 {
				c.Crash(leader)
				up--
			}
			if up < 3 {
				if i := c.Rand.IntN(5); !c.Running(i) {
					restartConnected(c, i)
					up++
				}
			}
		}
		for i := range 5 {
			if !c.Running(i) {
				restartConnected(c, i)
			}
		}
		c.Agree(c.Command(), 5, true)
	},
}

// Many commands at a time are agreed on over a network that loses.
var unreliableAgree = scenario{
	text:    "unreliable agreement",
	options: lab.Options{Servers: 5, Unreliable: true},
	body: func(c *lab.Cluster) {
		done := make(chan struct{}, 200)
		for round := 1; round < 50; round++ {
			for k := range 4 {
				go func() {
					agreeBeside(c, 100*round+k, done)
				}()
			}
			c.Agree(round, 1, true)
		}
		c.SetUnreliable(false)
		for range 49 * 4 {
			<-done
		}
		c.Agree(100, 5, true)
	},
}

// agreeBeside is Agree for a goroutine that is not the test's own.
func agreeBeside(c *lab.Cluster, command int, done chan<- struct{}) {
	defer func() { done <- struct{}{} }()
	if _, err := c.TryAgree(command, 1, true); err != nil {
		c.Fail("%v", err)
	}
}

// Leaders are cut off at random while the network loses, delays and reorders.
var figure8Unreliable = scenario{
	text:    "Figure 8 (unreliable)",
	options: lab.Options{Servers: 5, Unreliable: true},
	body: func(c *lab.Cluster) {
		c.Agree(c.Rand.IntN(10000), 1, true)
		connected := 5
		for round := range 1000 {
			if round == 200 {
				c.SetReordering(true)
			}
			leader := -1
			for i := range 5 {
				if _, _, leads := c.Start(i, c.Rand.IntN(10000)); leads && c.Connected(i) {
					leader = i
				}
			}
			if c.Rand.IntN(10) == 0 {
				c.Sleep(time.Duration(c.Rand.IntN(500)) * time.Millisecond)
			} else {
				c.Sleep(time.Duration(c.Rand.IntN(13)) * time.Millisecond)
			}
			if leader >= 0 && c.Rand.IntN(2) == 0 {
				c.Disconnect(leader)
				connected--
			}
			if connected < 3 {
				if i := c.Rand.IntN(5); !c.Connected(i) {
					c.Connect(i)
					connected++
				}
			}
		}
		for i := range 5 {
			c.Connect(i)
		}
		c.Agree(c.Rand.IntN(10000), 5, true)
	},
}
