package raft_test

import (
	"raftkv/tests/lab"
)

// Part D: services take snapshots, and logs forget what they cover.

// stateLimit bounds what a server may store in addition to its snapshot, in
// bytes.
const stateLimit = 2000

// away is the fate of the server that misses a round.
type away int

const (
	nobody away = iota
	cutOff
	crashed
)

var (
	snapshotBasic             = snapshotScenario("snapshots basic", nobody, false)
	snapshotInstall           = snapshotScenario("install snapshots (disconnect)", cutOff, false)
	snapshotInstallUnreliable = snapshotScenario("install snapshots (disconnect+unreliable)", cutOff, true)
	snapshotInstallCrash      = snapshotScenario("install snapshots (crash)", crashed, false)
	snapshotInstallUnCrash    = snapshotScenario("install snapshots (unreliable+crash)", crashed, true)
)

// snapshotScenario misses a server in each of thirty rounds, every third time
// the leader, and wants it to catch up by the others' snapshots.
func snapshotScenario(text string, missing away, unreliable bool) scenario {
	return scenario{
		text:    text,
		options: lab.Options{Servers: 3, Unreliable: unreliable, Snapshots: true},
		body: func(c *lab.Cluster) {
			c.Agree(c.Command(), 3, true)
			leader := c.OneLeader()
			for round := range 30 {
				victim, sender := (leader+1)%3, leader
				if round%3 == 1 {
					victim, sender = leader, (leader+1)%3
				}
				switch missing {
				case cutOff:
					c.Disconnect(victim)
					c.Agree(c.Command(), 2, true)
				case crashed:
					c.Crash(victim)
					c.Agree(c.Command(), 2, true)
				}
				for range 5 + c.Rand.IntN(10) {
					c.Start(sender, c.Command())
				}
				if missing == nobody { // everybody must be able to forget
					c.Agree(c.Command(), 3, true)
				} else {
					c.Agree(c.Command(), 2, true)
				}
				if n := c.StateBytes(); n >= stateLimit {
					c.Fatalf("a server stores %d bytes beside its snapshot; less than %d was due", n, stateLimit)
				}
				switch missing {
				case cutOff:
					c.Connect(victim)
				case crashed:
					restartConnected(c, victim)
				default:
					continue
				}
				c.Agree(c.Command(), 3, true)
				leader = c.OneLeader()
			}
		},
	}
}

// All crash at once, again and again, and lose nothing.
var snapshotAllCrash = scenario{
	text:    "crash and restart all servers",
	options: lab.Options{Servers: 3, Snapshots: true},
	body: func(c *lab.Cluster) {
		c.Agree(c.Command(), 3, true)
		for range 5 {
			for range 5 + c.Rand.IntN(10) {
				c.Agree(c.Command(), 3, true)
			}
			before := c.Agree(c.Command(), 3, true)
			restartAll(c)
			if after := c.Agree(c.Command(), 3, true); after < before+1 {
				c.Fatalf("index %d was agreed on before all crashed, index %d after", before, after)
			}
		}
	},
}

// A snapshot survives a run in which only the log was saved.
var snapshotInit = scenario{
	text:    "snapshot initialization after crash",
	options: lab.Options{Servers: 3, Snapshots: true},
	body: func(c *lab.Cluster) {
		for range 11 { // past the first snapshot
			c.Agree(c.Command(), 3, true)
		}
		restartAll(c)
		c.Agree(c.Command(), 3, true)
		restartAll(c)
		c.Agree(c.Command(), 3, true)
	},
}

func restartAll(c *lab.Cluster) {
	for i := range c.Servers() {
		c.Crash(i)
	}
	for i := range c.Servers() {
		restartConnected(c, i)
	}
}
