package memory

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/node"
	"raftkv/tests/virtual"
)

var flips = flag.Int("flips", 500, "in how many clusters TestAFlippedBitIsNeverApplied flips a bit")

// stages are the places where an entry is held. Each flip happens on the goroutine
// that owns the memory at that moment, and before the entry was handed out for
// applying there: what is flipped behind that last comparison cannot be noticed.
var stages = []string{
	"proposed", // on the leader, before it is sent or written
	"sent",     // on the leader, on its way to a peer; this is its log's memory, too
	"wire",     // between the two, in the encoding
	"held",     // on a follower that has written it and does not know that it is committed
	"written",  // on any server, on its way to the disk
}

// Goal: one flipped bit in a log entry is never applied by anybody, neither where it
// was flipped nor anywhere else. Whoever finds it in its own memory ends with a
// sentence that says so; whoever finds it in a message refuses the message. The
// others go on, and a server that ended comes back from its disk with everything.
// Method: three real nodes on real logs; one bit of one entry, in its data, kind or
// checksum, at each stage in turn and at a random moment; then restart whoever ended
// and compare what everybody applied with what was proposed.
func TestAFlippedBitIsNeverApplied(t *testing.T) {
	runs := *flips
	outcomes := map[string]int{}
	for seed := range runs {
		virtual.Time(t, func(t *testing.T) {
			r := newRun(t, uint64(seed), stages[seed%len(stages)])
			outcomes[r.stage+": "+r.play()]++
		})
		if t.Failed() {
			t.Fatalf("seed %d, at stage %q", seed, stages[seed%len(stages)])
		}
	}
	t.Logf("%v", outcomes)
	for _, stage := range stages {
		found := outcomes[stage+": the server ended"] + outcomes[stage+": the message was refused"]
		if found < runs/len(stages)/2 {
			t.Errorf("at stage %q %d of %d flips were found", stage, found, runs/len(stages))
		}
	}
}

// run is one cluster with one flip.
type run struct {
	t       *testing.T
	dice    *rand.Rand
	stage   string
	victim  core.ID // whose memory it is; nobody's on the wire
	count   int     // how many chances to flip are passed over first
	servers map[core.ID]*server

	mu      sync.Mutex // guards what follows, dice and count
	flipped bool
	refused int // messages that did not decode
}

const commands = 12

func newRun(t *testing.T, seed uint64, stage string) *run {
	r := &run{t: t, dice: rand.New(rand.NewPCG(seed, 5)), stage: stage, servers: map[core.ID]*server{}}
	r.count = r.dice.IntN(commands / 2)
	for _, id := range []core.ID{"n1", "n2", "n3"} {
		r.servers[id] = newServer(r, id)
	}
	for _, s := range r.servers {
		s.start()
	}
	return r
}

// play proposes, waits, restarts whoever ended and says how the flip was found.
func (r *run) play() string {
	defer r.stop()
	var want []string
	for i := range commands {
		command := fmt.Sprintf("command %d %s", i, strings.Repeat("x", r.dice.IntN(300)))
		want = append(want, command)
		r.propose([]byte(command))
	}
	time.Sleep(2 * time.Second)
	outcome := r.outcome()
	time.Sleep(5 * time.Second)
	for id, s := range r.servers {
		got := s.commands()
		for i, command := range got {
			if i < len(want) && command != want[i] {
				r.t.Errorf("%s applied %q, proposed was %q", id, command, want[i])
			}
		}
		if len(got) != len(want) {
			r.t.Errorf("%s applied %d of %d commands", id, len(got), len(want))
		}
	}
	return outcome
}

// outcome says how the flip was found, and restarts the servers that ended.
func (r *run) outcome() string {
	outcome := "nobody met it"
	if r.refused > 0 {
		outcome = "the message was refused"
	}
	for id, s := range r.servers {
		select {
		case <-s.node.Stopping():
		default:
			continue
		}
		err := s.node.Wait()
		var damage *core.DamageError
		if !errors.As(err, &damage) || !strings.Contains(err.Error(), "this machine's memory is damaged") || id != r.victim {
			r.t.Errorf("%s ended with %v, the bit was flipped on %q", id, err, r.victim)
		}
		outcome = "the server ended"
		s.start()
	}
	return outcome
}

// propose gives a command to whoever leads, until it is taken: one after the other,
// so that their order is known.
func (r *run) propose(command []byte) {
	for range 3000 {
		for _, s := range r.servers {
			if s.node.Status().Role != core.Leader {
				continue
			}
			placed := make(chan bool, 2)
			own := bytes.Clone(command) // the core keeps it
			s.node.Propose(&node.Proposal{
				Command: own,
				Placed: func(index, _ uint64) {
					r.maybe("proposed", s.id, func() { flipByte(own, r.dice) })
					placed <- true
				},
				Failed: func(error) { placed <- false },
			})
			if <-placed && s.awaits(string(command)) {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.t.Error("nobody takes a command")
}

// maybe flips a bit if that is to happen now, at this stage, on this server.
func (r *run) maybe(stage string, id core.ID, flip func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flipped || r.stage != stage {
		return
	}
	if r.count--; r.count < 0 {
		r.flipped, r.victim = true, id
		flip()
	}
}

// carry takes a request to its receiver as the wire does; false if it is lost.
func (r *run) carry(from core.ID, request core.Request) (core.Request, bool) {
	m, ok := request.(*core.AppendEntries)
	if !ok || len(m.Entries) == 0 {
		return request, true
	}
	for i := range m.Entries {
		if e := &m.Entries[i]; e.Index > m.LeaderCommit {
			r.maybe("sent", from, func() { r.flip(e) })
		}
	}
	b := core.EncodeEntries(nil, m.Entries)
	r.maybe("wire", core.None, func() { flipByte(b, r.dice) })
	entries, err := core.DecodeEntries(b, m.PrevLogIndex+1, len(m.Entries))
	if err != nil {
		r.mu.Lock()
		r.refused++
		r.mu.Unlock()
		return nil, false
	}
	carried := *m
	carried.Entries = entries
	return &carried, true
}

// flip flips a bit of an entry: of its data, if it has any, or sometimes of its kind
// or its checksum.
func (r *run) flip(e *core.Entry) {
	switch which := r.dice.IntN(8); {
	case which == 0:
		e.Kind ^= core.Kind(1 << r.dice.IntN(8))
	case which == 1 || len(e.Data) == 0:
		e.Sum ^= 1 << r.dice.IntN(32)
	default:
		flipByte(e.Data, r.dice)
	}
}

func flipByte(b []byte, dice *rand.Rand) { b[dice.IntN(len(b))] ^= 1 << dice.IntN(8) }

func (r *run) stop() {
	for _, s := range r.servers {
		s.node.Stop()
	}
	for id, s := range r.servers {
		if err := s.node.Wait(); err != nil {
			r.t.Errorf("%s: %v", id, err)
		}
	}
	time.Sleep(time.Second) // what is still on its way comes to nothing
}
