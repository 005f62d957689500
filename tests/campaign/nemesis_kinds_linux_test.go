package campaign

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"raftkv/tests/cluster"
)

// kind is a kind of fault.
type kind struct {
	name  string
	least int // nodes that the cluster must have
	// begin does it. It returns when it has been done.
	begin func(s *site) (*injected, error)
	// hold is how long it lasts.
	hold time.Duration
	// alone: it needs no network or disk of the node's own, nor strace.
	alone bool
}

// injected is a fault that has begun.
type injected struct {
	// evidence says by what can be seen that it really happens; "" if it does not.
	// It is asked before the end.
	evidence func() string
	// end ends it. It returns when every node could serve again.
	end func() error
	// allDown: no node runs from begin's return to end's call.
	allDown bool
}

// kinds lists all kinds of faults.
func kinds() []kind { return slices.Concat(processKinds(), networkKinds(), diskKinds()) }

func processKinds() []kind {
	return []kind{
		{"kill -9 the leader", 1, func(s *site) (*injected, error) { return s.kill(s.cluster.Leader()) }, time.Second, true},
		{"kill -9 a follower", 3, func(s *site) (*injected, error) { return s.kill(s.follower()) }, time.Second, true},
		{"kill -9 all", 1, func(s *site) (*injected, error) { return s.kill(s.cluster.Nodes...) }, 0, true},
		{"kill -9 a majority", 3, func(s *site) (*injected, error) {
			some, _ := s.split(len(s.cluster.Nodes)/2+1, true)
			return s.kill(s.at(some)...)
		}, time.Second, true},
		{"kill -9 all for seconds", 1, func(s *site) (*injected, error) { return s.kill(s.cluster.Nodes...) }, 4 * time.Second, true},
		{"stop all", 1, func(s *site) (*injected, error) { return s.stop(s.cluster.Nodes...) }, 4 * time.Second, true},
		{"stop the leader", 3, func(s *site) (*injected, error) { return s.stop(s.cluster.Leader()) }, 3 * time.Second, true},
		{"stop a follower", 3, func(s *site) (*injected, error) { return s.stop(s.follower()) }, 3 * time.Second, true},
		{"stop a majority", 3, func(s *site) (*injected, error) {
			some, _ := s.split(len(s.cluster.Nodes)/2+1, true)
			return s.stop(s.at(some)...)
		}, 2 * time.Second, true},
		{"rolling restart", 3, (*site).rollingRestart, 0, true},
		{"restart with another monotonic clock", 1, (*site).otherClocks, 0, false},
		{"hand over leadership", 3, (*site).handOver, 0, true},
		{"overload", 1, (*site).overload, 3 * time.Second, true},
	}
}

// at returns the nodes at some places.
func (s *site) at(places []int) (nodes []*cluster.Node) {
	for _, i := range places {
		nodes = append(nodes, s.cluster.Nodes[i])
	}
	return nodes
}

func (s *site) kill(nodes ...*cluster.Node) (*injected, error) {
	for _, n := range nodes {
		n.Signal(syscall.SIGKILL)
	}
	for _, n := range nodes {
		<-n.Ended
	}
	return &injected{
		allDown: len(nodes) == len(s.cluster.Nodes),
		evidence: func() string {
			var said []string
			for _, n := range nodes {
				if n.Command.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					return ""
				}
				said = append(said, fmt.Sprintf("%s: %v", n.ID, n.Command.ProcessState))
			}
			return strings.Join(said, ", ")
		},
		end: func() error { return s.restart(nodes...) },
	}, nil
}

func (s *site) stop(nodes ...*cluster.Node) (*injected, error) {
	var resume []func()
	for _, n := range nodes {
		resume = append(resume, pause(n.Process, s.undo))
	}
	return &injected{
		allDown: len(nodes) == len(s.cluster.Nodes),
		evidence: func() string {
			var said []string
			for _, n := range nodes {
				if state := state(n.Process); state != "T" {
					return ""
				}
				said = append(said, n.ID+": state T")
			}
			return strings.Join(said, ", ")
		},
		end: func() error {
			for _, do := range resume {
				do()
			}
			return nil
		},
	}, nil
}

func (s *site) rollingRestart() (*injected, error) {
	var codes []string
	for _, n := range s.cluster.Nodes {
		n.Signal(syscall.SIGTERM)
		if code := n.ExitCode(cluster.Patience); code != 0 {
			return nil, fmt.Errorf("%s ended with code %d on SIGTERM: %s", n.ID, code, n.Output.Tail(1000))
		}
		codes = append(codes, n.ID+": code 0")
		if err := s.restart(n); err != nil {
			return nil, err
		}
	}
	return &injected{
		evidence: func() string { return strings.Join(codes, ", ") },
		end:      func() error { return nil },
	}, nil
}

// otherClocks kills all nodes and starts each with a monotonic clock that stands
// somewhere else by up to weeks. (The wall clock cannot be changed for one
// process alone.)
func (s *site) otherClocks() (*injected, error) {
	s.cluster.KillAll()
	var said []string
	for _, n := range s.cluster.Nodes {
		offset := fmt.Sprint(s.rand.IntN(2_000_000))
		in := n.In.Wrapper
		n.In.Wrapper = append(slices.Clone(in), "unshare", "--time", "--monotonic", offset, "--boottime", offset)
		n.Start()
		n.In.Wrapper = in
		said = append(said, n.ID+" +"+offset+" s")
	}
	s.cluster.AwaitServing()
	own, err := os.Readlink("/proc/self/ns/time")
	for _, n := range s.cluster.Nodes {
		theirs, otherErr := os.Readlink(fmt.Sprintf("/proc/%d/ns/time", n.Command.Process.Pid))
		if err != nil || otherErr != nil || theirs == own {
			said = nil
		}
	}
	return &injected{
		evidence: func() string { return strings.Join(said, ", ") },
		end:      func() error { return nil },
	}, nil
}

func (s *site) handOver() (*injected, error) {
	leader, to := s.cluster.Leader(), s.follower()
	status, _, body, err := leader.AskJSON("POST", "/v1/leader", fmt.Sprintf(`{"to":%q}`, to.ID))
	if err != nil || status != 200 {
		return nil, fmt.Errorf("handing leadership to %s: %d %v %s", to.ID, status, err, body)
	}
	return &injected{
		evidence: func() string { return fmt.Sprintf("%s to %s: %s", leader.ID, to.ID, strings.TrimSpace(body)) },
		end:      func() error { return nil },
	}, nil
}

// overload sends to every node as much as it can on many connections.
func (s *site) overload() (*injected, error) {
	var all sync.WaitGroup
	var loads []*traffic
	ctx, stop := s.cancelled()
	for _, n := range s.cluster.Nodes {
		l := &traffic{address: n.HTTP, conns: 600 / len(s.cluster.Nodes), keys: 100, value: []byte(strings.Repeat("o", 64))}
		loads = append(loads, l)
		all.Go(func() { l.run(ctx, time.Minute) })
	}
	end := s.undo.later(func() {
		stop()
		all.Wait()
	})
	return &injected{
		evidence: func() string {
			var refused, applied int64
			for _, l := range loads {
				refused, applied = refused+l.refused.Load(), applied+l.applied.Load()
			}
			if refused == 0 {
				return ""
			}
			return fmt.Sprintf("%d writes refused with 429, %d applied", refused, applied)
		},
		end: func() error { end(); return nil },
	}, nil
}

func networkKinds() []kind {
	ways := func(name string, least int, hold time.Duration, draw func(s *site) []way, rest ...string) kind {
		return kind{name, least, func(s *site) (*injected, error) { return s.cut(draw(s), rest...) }, hold, false}
	}
	everybody := func(s *site) []way {
		all, _ := s.split(len(s.cluster.Nodes), true)
		return bothWays(all, all[1:])
	}
	return []kind{
		ways("cut the leader off", 3, 3*time.Second, func(s *site) []way { return bothWays(s.split(1, true)) }),
		ways("cut a follower off", 3, 3*time.Second, func(s *site) []way { return bothWays(s.split(1, false)) }),
		ways("leader cannot be heard", 3, 3*time.Second, func(s *site) []way { return oneWay(s.split(1, true)) }),
		ways("leader hears nobody", 3, 3*time.Second, func(s *site) []way {
			leader, rest := s.split(1, true)
			return oneWay(rest, leader)
		}),
		ways("follower hears nobody", 3, 3*time.Second, func(s *site) []way {
			follower, rest := s.split(1, false)
			return oneWay(rest, follower)
		}),
		ways("leader and a follower do not see each other", 3, 3*time.Second, func(s *site) []way {
			pair, _ := s.split(2, true)
			return bothWays(pair[:1], pair[1:])
		}),
		ways("leader in the minority", 5, 3*time.Second, func(s *site) []way { return bothWays(s.split(2, true)) }),
		ways("all see only one follower", 5, 3*time.Second, func(s *site) []way {
			_, rest := s.split(1, false)
			return bothWays(rest, rest)
		}),
		ways("nobody sees anybody", 3, 2*time.Second, everybody),
		ways("a fifth of all packets lost", 3, 3*time.Second, everybody, "-m", "statistic", "--mode", "random", "--probability", "0.2", "-j", "DROP"),
		ways("connections reset", 3, 500*time.Millisecond, everybody, "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"),
		{"leader's links flap", 3, (*site).flap, 3 * time.Second, false},
		{"a follower's link is slow", 3, (*site).slowLink, 4 * time.Second, false},
	}
}

func (s *site) cut(ways []way, rest ...string) (*injected, error) {
	c, err := s.network.cutWays(ways, rest...)
	if err != nil {
		return nil, err
	}
	return &injected{
		evidence: func() string {
			if hit := c.hit(); hit > 0 {
				return fmt.Sprintf("%d packets on %d ways", hit, len(ways))
			}
			return ""
		},
		end: func() error { c.mend(); return nil },
	}, nil
}

// flap cuts the leader off and lets it be again, in turn, each time for a part of
// an election timeout.
func (s *site) flap() (*injected, error) {
	ways := bothWays(s.split(1, true))
	ctx, stop := s.cancelled()
	var flapping sync.WaitGroup
	var hit, cuts int
	var failed error
	draw := func() time.Duration {
		return electionTimeout/4 + time.Duration(s.rand.Int64N(int64(electionTimeout/2)))
	}
	flapping.Go(func() {
		for ctx.Err() == nil {
			c, err := s.network.cutWays(ways)
			if err != nil {
				failed = err
				return
			}
			cluster.Sleep(ctx, draw())
			hit += c.hit()
			cuts++
			c.mend()
			cluster.Sleep(ctx, draw())
		}
	})
	end := sync.OnceFunc(func() { stop(); flapping.Wait() })
	return &injected{
		evidence: func() string {
			end()
			if hit == 0 {
				return ""
			}
			return fmt.Sprintf("%d cuts, %d packets", cuts, hit)
		},
		end: func() error { end(); return failed },
	}, nil
}

// slowLink lets little through to and from a follower.
func (s *site) slowLink() (*injected, error) {
	follower := s.follower()
	slow, err := s.network.slow(follower.Place(), 512)
	if err != nil {
		return nil, err
	}
	return &injected{
		evidence: func() string {
			if late := slow.late(); late > 0 {
				return fmt.Sprintf("%s: %d packets had to wait or were dropped", follower.ID, late)
			}
			return ""
		},
		end: func() error { slow.mend(); return nil },
	}, nil
}
