package raft_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/raft"
	"raftkv/tests/virtual"
)

var staggeredStarts = flag.Int("staggered", 60, "starts per row of TestStaggeredStarts")

// slowEnd calls a server after a delay each way, once all are connected.
type slowEnd struct {
	server    *atomic.Pointer[raft.Raft]
	connected *atomic.Bool
	delay     func() time.Duration
}

func (e slowEnd) Call(method string, args, reply interface{}) bool {
	time.Sleep(e.delay())
	rf := e.server.Load()
	if rf == nil || !e.connected.Load() {
		return false
	}
	switch method {
	case "Raft.RequestVote":
		rf.RequestVote(args.(*raft.RequestVoteArgs), reply.(*raft.RequestVoteReply))
	case "Raft.AppendEntries":
		rf.AppendEntries(args.(*raft.AppendEntriesArgs), reply.(*raft.AppendEntriesReply))
	}
	time.Sleep(e.delay())
	return e.connected.Load()
}

// firstCommand starts three servers one after the other, connects them when all
// are up, and reports whether the first command that a leader takes is agreed on
// within the two seconds that the suites allow.
func firstCommand(gap, latency time.Duration, seed uint64) bool {
	dice := rand.New(rand.NewPCG(seed, 1))
	var delays [1 << 12]time.Duration // drawn ahead, for many goroutines
	for i := range delays {
		delays[i] = time.Duration(dice.Int64N(int64(latency) + 1))
	}
	var next atomic.Uint64
	var connected atomic.Bool
	var servers [3]atomic.Pointer[raft.Raft]
	applied := make(chan int, 100)
	var all []*raft.Raft
	for i := range servers {
		ends := make([]slowEnd, len(servers))
		for j := range ends {
			ends[j] = slowEnd{&servers[j], &connected, func() time.Duration { return delays[next.Add(1)%uint64(len(delays))] }}
		}
		applyCh := make(chan raft.ApplyMsg)
		rf := raft.Make(ends, i, raft.MakePersister(), applyCh)
		servers[i].Store(rf)
		all = append(all, rf)
		go func() {
			for msg := range applyCh {
				applied <- msg.CommandIndex
			}
		}()
		time.Sleep(gap)
	}
	connected.Store(true)
	defer func() {
		for _, rf := range all {
			rf.Kill()
		}
	}()
	for range 200 {
		for _, rf := range all {
			if _, _, leads := rf.Start(101); leads {
				limit := time.After(2 * time.Second)
				for range all {
					select {
					case <-applied:
					case <-limit:
						return false
					}
				}
				return true
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

// Goal: the first command is agreed on, also if the servers were started one after
// the other: a server that was alone for a while does not depose the first leader.
// Method: starts in virtual time, half a second apart, at three latencies.
func TestStaggeredStarts(t *testing.T) {
	for _, latency := range []time.Duration{0, 10 * time.Millisecond, 40 * time.Millisecond} {
		t.Run(fmt.Sprint(latency), func(t *testing.T) {
			failed := 0
			for seed := range uint64(*staggeredStarts) {
				virtual.Time(t, func(t *testing.T) {
					if !firstCommand(500*time.Millisecond, latency, seed) {
						failed++
					}
					time.Sleep(time.Minute) // pending calls end
				})
			}
			t.Logf("the first command failed in %d of %d starts", failed, *staggeredStarts)
			if failed > 0 {
				t.Error("the first command failed")
			}
		})
	}
}
