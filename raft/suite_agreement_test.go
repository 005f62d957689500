package raft_test

import (
	"time"

	"raftkv/tests/lab"
)

// Part B: commands are agreed on while a majority is there, and only then.

// Three commands get the indices 1 to 3, and nothing is committed before.
var basicAgree = scenario{
	text:    "basic agreement",
	options: lab.Options{Servers: 3},
	body: func(c *lab.Cluster) {
		for index := 1; index <= 3; index++ {
			c.Uncommitted(index)
			agreeAt(c, index, index*100, 3)
		}
	},
}

// agreeAt has a command agreed on, at once, by n servers at a given index.
func agreeAt(c *lab.Cluster, index int, command interface{}, n int) {
	if got := c.Agree(command, n, false); got != index {
		c.Fatalf("the command got index %d, not %d", got, index)
	}
}

// A large command crosses the network about once per follower.
var rpcBytes = scenario{
	text:    "RPC byte count",
	options: lab.Options{Servers: 3},
	body: func(c *lab.Cluster) {
		agreeAt(c, 1, 99, 3)
		before := c.Bytes()
		sent := int64(0)
		for index := 2; index <= 11; index++ {
			command := c.Text(5000)
			agreeAt(c, index, command, 3)
			sent += int64(len(command))
		}
		limit := 3*sent + 50000
		if got := c.Bytes() - before; got > limit {
			c.Fatalf("%d bytes on the network for %d bytes of commands, more than %d", got, sent, limit)
		}
	},
}

// The last two servers agree when one follower is lost; the last one commits
// nothing when both are.
var followerFailure = scenario{
	text:    "test progressive failure of followers",
	options: lab.Options{Servers: 3},
	body: func(c *lab.Cluster) {
		agreeAt(c, 1, 101, 3)
		first := c.OneLeader()
		c.Disconnect((first + 1) % 3)
		agreeAt(c, 2, 102, 2)
		c.Sleep(lab.ElectionTimeout)
		agreeAt(c, 3, 103, 2)

		leader := c.OneLeader()
		c.Disconnect((leader + 1) % 3)
		c.Disconnect((leader + 2) % 3)
		index, _, leads := c.Start(leader, 104)
		if !leads || index != 4 {
			c.Fatalf("the leader answered index %d, leads %v; index 4 was due", index, leads)
		}
		c.Sleep(2 * lab.ElectionTimeout)
		c.Uncommitted(4)
	},
}

// Agreement goes on after a leader is lost, and ends when the next one is.
var leaderFailure = scenario{
	text:    "test failure of leaders",
	options: lab.Options{Servers: 3},
	body: func(c *lab.Cluster) {
		agreeAt(c, 1, 101, 3)
		c.Disconnect(c.OneLeader())
		agreeAt(c, 2, 102, 2)
		c.Sleep(lab.ElectionTimeout)
		agreeAt(c, 3, 103, 2)

		c.Disconnect(c.OneLeader())
		for i := range 3 {
			c.Start(i, 104)
		}
		c.Sleep(2 * lab.ElectionTimeout)
		c.Uncommitted(4)
	},
}

// A follower that was away catches up.
var failAgree = scenario{
	text:    "agreement after follower reconnects",
	options: lab.Options{Servers: 3},
	body: func(c *lab.Cluster) {
		c.Agree(101, 3, false)
		away := (c.OneLeader() + 1) % 3
		c.Disconnect(away)
		c.Agree(102, 2, false)
		c.Agree(103, 2, false)
		c.Sleep(lab.ElectionTimeout)
		c.Agree(104, 2, false)
		c.Agree(105, 2, false)

		c.Connect(away)
		c.Agree(106, 3, true)
		c.Sleep(lab.ElectionTimeout)
		c.Agree(107, 3, true)
	},
}

// Two of five commit nothing, and what they took may be replaced.
var failNoAgree = scenario{
	text:    "no agreement if too many followers disconnect",
	options: lab.Options{Servers: 5},
	body: func(c *lab.Cluster) {
		c.Agree(10, 5, false)
		leader := c.OneLeader()
		for k := 1; k <= 3; k++ {
			c.Disconnect((leader + k) % 5)
		}
		index, _, leads := c.Start(leader, 20)
		if !leads || index != 2 {
			c.Fatalf("the leader answered index %d, leads %v; index 2 was due", index, leads)
		}
		c.Sleep(2 * lab.ElectionTimeout)
		c.Uncommitted(index)

		for k := 1; k <= 3; k++ {
			c.Connect((leader + k) % 5)
		}
		// The other majority may have elected somebody without index 2.
		index, _, leads = c.Start(c.OneLeader(), 30)
		if !leads || index < 2 || index > 3 {
			c.Fatalf("the leader answered index %d, leads %v; index 2 or 3 was due", index, leads)
		}
		c.Agree(1000, 5, true)
	},
}

// Commands that are started at the same moment all find their place.
var concurrentStarts = scenario{
	text:    "concurrent Start()s",
	options: lab.Options{Servers: 3},
	body: func(c *lab.Cluster) {
		for try := range 5 {
			if try > 0 {
				c.Sleep(3 * time.Second)
			}
			if startTogether(c) {
				return
			}
		}
		c.Fatalf("the term changed too often")
	},
}

// startTogether is false if the leader changed on the way.
func startTogether(c *lab.Cluster) bool {
	leader := c.OneLeader()
	_, term, leads := c.Start(leader, 1)
	if !leads {
		return false
	}
	const together = 5
	indices := make(chan int, together)
	for k := range together {
		go func() {
			index, at, leads := c.Start(leader, 100+k)
			if !leads || at != term {
				index = -1
			}
			indices <- index
		}()
	}
	missing := map[interface{}]bool{}
	placed := []int{}
	for k := range together {
		missing[100+k] = true
		placed = append(placed, <-indices)
	}
	for i := range c.Servers() {
		if at, _ := c.State(i); at != term {
			return false
		}
	}
	for _, index := range placed {
		if index < 0 {
			return false
		}
		command, ok := c.Await(index, c.Servers(), term)
		if !ok {
			return false
		}
		delete(missing, command)
	}
	if len(missing) > 0 {
		c.Fatalf("commands %v are at none of the indices %v that Start returned", missing, placed)
	}
	return true
}

// An old leader with entries nobody else has takes over what was agreed on
// without it.
var rejoin = scenario{
	text:    "rejoin of partitioned leader",
	options: lab.Options{Servers: 3},
	body: func(c *lab.Cluster) {
		c.Agree(101, 3, true)
		first := c.OneLeader()
		c.Disconnect(first)
		for command := 102; command <= 104; command++ {
			c.Start(first, command)
		}
		c.Agree(103, 2, true)

		second := c.OneLeader()
		c.Disconnect(second)
		c.Connect(first)
		c.Agree(104, 2, true)

		c.Connect(second)
		c.Agree(105, 3, true)
	},
}

// Logs that went apart by fifty entries, more than once, are made the same
// within the time of one agreement.
var backup = scenario{
	text:    "leader backs up quickly over incorrect follower logs",
	options: lab.Options{Servers: 5},
	body: func(c *lab.Cluster) {
		c.Agree(c.Command(), 5, true)

		// The leader and one follower take entries that come to nothing.
		first := c.OneLeader()
		c.Disconnect((first + 2) % 5)
		c.Disconnect((first + 3) % 5)
		c.Disconnect((first + 4) % 5)
		startFifty(c, first)
		c.Sleep(lab.ElectionTimeout / 2)
		c.Disconnect(first)
		c.Disconnect((first + 1) % 5)

		// The other three agree on fifty.
		c.Connect((first + 2) % 5)
		c.Connect((first + 3) % 5)
		c.Connect((first + 4) % 5)
		agreeFifty(c)

		// One of the three is left out; the leader and the third take entries
		// that come to nothing.
		second := c.OneLeader()
		other := (first + 2) % 5
		if other == second {
			other = (second + 1) % 5
		}
		c.Disconnect(other)
		startFifty(c, second)
		c.Sleep(lab.ElectionTimeout / 2)

		// The first two, with the one left out, must follow the fifty.
		for i := range 5 {
			c.Disconnect(i)
		}
		c.Connect(first)
		c.Connect((first + 1) % 5)
		c.Connect(other)
		agreeFifty(c)

		for i := range 5 {
			c.Connect(i)
		}
		c.Agree(c.Command(), 5, true)
	},
}

func startFifty(c *lab.Cluster, leader int) {
	for range 50 {
		c.Start(leader, c.Command())
	}
}

func agreeFifty(c *lab.Cluster) {
	for range 50 {
		c.Agree(c.Command(), 3, true)
	}
}

// Elections, agreement and idleness cost few RPCs.
var count = scenario{
	text:    "RPC counts aren't too high",
	options: lab.Options{Servers: 3},
	body: func(c *lab.Cluster) {
		leader := c.OneLeader()
		if n := c.Requests(); n < 1 || n > 30 {
			c.Fatalf("%d RPCs to elect the first leader; 1 to 30 are in order", n)
		}
		for try := range 5 {
			if try > 0 {
				c.Sleep(3 * time.Second)
				leader = c.OneLeader()
			}
			if countAgreement(c, leader) {
				before := c.Requests()
				c.Sleep(lab.ElectionTimeout)
				if n := c.Requests() - before; n > 3*20 {
					c.Fatalf("%d RPCs in a second without work, more than 60", n)
				}
				return
			}
		}
		c.Fatalf("the term changed too often")
	},
}

// countAgreement counts the RPCs of twelve commands; false if the leader
// changed on the way.
func countAgreement(c *lab.Cluster, leader int) bool {
	const counted = 10
	before := c.Requests()
	first, term, leads := c.Start(leader, 1)
	if !leads {
		return false
	}
	commands := []int{}
	for k := 1; k < counted+2; k++ {
		command := c.Command()
		commands = append(commands, command)
		index, at, leads := c.Start(leader, command)
		if !leads || at != term {
			return false
		}
		if index != first+k {
			c.Fatalf("the command after index %d got index %d", first+k-1, index)
		}
	}
	for k := 1; k <= counted; k++ {
		command, ok := c.Await(first+k, c.Servers(), term)
		if !ok {
			return false
		}
		if command != commands[k-1] {
			c.Fatalf("index %d holds %v, not %v", first+k, command, commands[k-1])
		}
	}
	for i := range c.Servers() {
		if at, _ := c.State(i); at != term {
			return false
		}
	}
	if n, limit := c.Requests()-before, (counted+1+3)*3; n > limit {
		c.Fatalf("%d RPCs for %d entries, more than %d", n, counted+2, limit)
	}
	return true
}

// A service that takes its time holds up neither elections nor agreement: the
// applyCh is no part of consensus.
var slowService = scenario{
	text:    "slow services",
	options: lab.Options{Servers: 3},
	body: func(c *lab.Cluster) {
		agreeAt(c, 1, 101, 3)
		leader := c.OneLeader()
		term := c.SameTerm()
		for k, slow := range []int{leader, (leader + 1) % 3} {
			c.Hold(slow)
			for _, command := range []int{200 + k, 300 + k, 400 + k} {
				index, _, leads := c.Start(leader, command)
				if !leads {
					c.Fatalf("the leader took no command")
				}
				c.Await(index, 2, -1) // by the two others
			}
			c.Sleep(3 * lab.ElectionTimeout)
			if after := c.SameTerm(); after != term {
				c.Fatalf("the term rose from %d to %d while the service on server %d took nothing", term, after, slow)
			}
			before := time.Now()
			c.Start(leader, 500+k)
			if took := time.Since(before); took > lab.ElectionTimeout/2 {
				c.Fatalf("Start took %v while the service on server %d took nothing", took, slow)
			}
			c.Release(slow)
			c.Agree(600+k, 3, false)
		}
	},
}
