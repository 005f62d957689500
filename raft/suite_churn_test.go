package raft_test

import (
	"slices"
	"sync/atomic"
	"time"

	"raftkv/tests/lab"
)

// Clients submit all the time while servers come and go: what a client saw
// committed must still be there at the end.
var (
	reliableChurn = scenario{
		text:    "churn",
		options: lab.Options{Servers: 5},
		body:    churn,
	}
	unreliableChurn = scenario{
		text:    "unreliable churn",
		options: lab.Options{Servers: 5, Unreliable: true},
		body:    churn,
	}
)

func churn(c *lab.Cluster) {
	const clients = 3
	var stop atomic.Bool
	committed := make(chan []int, clients)
	for k := range clients {
		go func() { committed <- churnClient(c, k, &stop) }()
	}
	for range 20 {
		if c.Rand.IntN(10) < 2 {
			c.Disconnect(c.Rand.IntN(5))
		}
		if c.Rand.IntN(10) < 5 {
			i := c.Rand.IntN(5)
			if !c.Running(i) {
				c.Restart(i)
			}
			c.Connect(i)
		}
		if c.Rand.IntN(10) < 2 {
			if i := c.Rand.IntN(5); c.Running(i) {
				c.Crash(i)
			}
		}
		c.Sleep(700 * time.Millisecond)
	}
	c.Sleep(lab.ElectionTimeout)
	c.SetUnreliable(false)
	for i := range 5 {
		if !c.Running(i) {
			c.Restart(i)
		}
		c.Connect(i)
	}
	stop.Store(true)
	seen := []int{}
	for range clients {
		seen = append(seen, <-committed...)
	}
	c.Sleep(lab.ElectionTimeout)

	last := c.Agree(c.Command(), 5, true)
	log := []int{}
	for index := 1; index <= last; index++ {
		command, ok := c.Await(index, 5, -1)
		value, isInt := command.(int)
		if !ok || !isInt {
			c.Fatalf("index %d holds %v, which nobody submitted", index, command)
		}
		log = append(log, value)
	}
	slices.Sort(log)
	for _, value := range seen {
		if _, found := slices.BinarySearch(log, value); !found {
			c.Fatalf("%d was committed and is gone", value)
		}
	}
}

// churnClient submits until it is told to stop and returns what it saw
// committed. Every round takes ten milliseconds at least: with a stale leader
// that takes everything, and an index that was committed long ago, it would
// otherwise fill the log without end.
func churnClient(c *lab.Cluster, k int, stop *atomic.Bool) []int {
	seen := []int{}
	for !stop.Load() {
		command := c.Command()
		index := -1
		for i := range c.Servers() {
			if at, _, leads := c.Start(i, command); leads {
				index = at
			}
		}
		if index < 0 {
			time.Sleep(time.Duration(79+17*k) * time.Millisecond)
			continue
		}
		for _, pause := range []int{10, 20, 50, 100, 200} {
			time.Sleep(time.Duration(pause) * time.Millisecond)
			if n, what := c.Committed(index); n > 0 {
				if what == command {
					seen = append(seen, command)
				}
				break
			}
		}
	}
	return seen
}
