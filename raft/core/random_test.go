package core

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"raftkv/raft/members"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this one seed of TestRandomRuns and print all that happens")
	seedsFlag = flag.Int("seeds", 0, "how many seeds TestRandomRuns runs, from 1 on; 0 for 1000, or 200 under the race detector")
)

// steps is how long a random run lasts before everything calms down.
const steps = 5000

// Goal: no sequence of loss, duplication, reordering, partitions, slow disks and
// crashes makes servers break a property of Figure 3 or a promise, and when the
// trouble ends they agree (Figure 3; the oracles are in oracles_test.go).
// Method: a seed draws a cluster and its troubles; every step is watched; then
// a calm phase must converge. A run in which nothing happened proves nothing, so
// what happened is counted.
func TestRandomRuns(t *testing.T) {
	if *seedFlag != 0 {
		t.Logf("seed %d: %+v", *seedFlag, drawTroubles(*seedFlag))
		if _, err := randomRun(*seedFlag, t.Logf); err != nil {
			t.Fatal(err)
		}
		return
	}
	var total tally
	n := seeds()
	for seed := uint64(1); seed <= uint64(n); seed++ {
		happened, err := randomRun(seed, nil)
		if err != nil {
			t.Fatalf("seed %d: %v\nreplay it with: go test ./raft/core -run TestRandomRuns -v -seed %d", seed, err, seed)
		}
		total.add(happened)
	}
	t.Logf("%d seeds: %+v", n, total)
	least := tally{commits: 30, elections: 2, crashes: 6, losses: 20, copies: 10, reads: 15}
	if total.commits < n*least.commits || total.elections < n*least.elections ||
		total.truncations < n/3 || total.crashes < n*least.crashes || total.losses < n*least.losses ||
		total.installs < n/2 || total.stalls < n/10 || total.wanted < n/30 || total.wipes < n/3 || total.rejoined < n/4 || total.parted < n/4 || total.copies < n*least.copies || total.reads < n*least.reads {
		t.Fatalf("too little happened for this to mean anything: %+v, want %+v per seed", total, least)
	}
}

// seeds returns how many seeds to run. There is nothing to race in the core: the
// race detector only makes it slow.
func seeds() int {
	if *seedsFlag > 0 {
		return *seedsFlag
	}
	if build, ok := debug.ReadBuildInfo(); ok && slices.Contains(build.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 200
	}
	return 1000
}

// Goal: the same seed is the same run, or a failure could not be replayed.
// Method: some seeds twice, comparing all that happened.
func TestRandomRuns_RepeatExactly(t *testing.T) {
	for seed := uint64(1); seed <= 10; seed++ {
		var traces [2]strings.Builder
		for i := range traces {
			if _, err := randomRun(seed, func(format string, args ...any) { fmt.Fprintf(&traces[i], format+"\n", args...) }); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if a, b := traces[0].String(), traces[1].String(); a != b || len(a) < 1000 {
			t.Fatalf("seed %d: two runs differ: %s", seed, firstDifference(a, b))
		}
	}
}

// tally counts what happened in a run.
type tally struct {
	commits, elections, truncations, crashes, losses, copies, reads, installs, stalls, wanted, wipes, rejoined, parted int
	memberTally
}

func (t *tally) add(o tally) {
	t.commits += o.commits
	t.elections += o.elections
	t.truncations += o.truncations
	t.crashes += o.crashes
	t.losses += o.losses
	t.copies += o.copies
	t.reads += o.reads
	t.installs += o.installs
	t.stalls += o.stalls
	t.wanted += o.wanted
	t.wipes += o.wipes
	t.rejoined += o.rejoined
	t.parted += o.parted
	t.memberTally.add(o.memberTally)
}

// troubles is what a seed draws. Chances are in percent.
type troubles struct {
	servers                    int
	noop, preVote, checkQuorum bool
	appendBytes, window        int
	batch                      int
	applyBytes, uncommitted    int
	loss, copies               int // of messages
	reorder                    int // how many others a message may overtake
	crash, cut                 int // per hundred steps
	disk                       int // chance that a chosen disk finishes its write
	compact                    int // chance that a snapshot is taken when work is done
	prompt                     int // ticks; see Config.PromptTicks
	trailing                   int // bytes; see Config.TrailingBytes
	stall                      int // ticks; see Config.StallTicks
	commit                     int // ticks; see Config.CommitTicks. 0: the disk does not keep the commit index
	slow, lazy                 bool
	wipe                       int // percent of the crashes in which the disk is lost
	writeBytes                 int // see Config.MaxWriteBytes
	follower, unapplied        int // bytes; see Config.FollowerBytes, Config.MaxUnappliedBytes
	founders                   int // servers that begin; the others join. 0: all, and nothing changes
	changes                    int // chance that work is a change of the members
	more                       int // steps, in addition to those of all runs
}

func drawTroubles(seed uint64) troubles {
	chance := rand.New(rand.NewPCG(seed, 1))
	limit := func(value int) int { return chance.IntN(2) * value }
	server := seed%2 == 0 // the options of the server, or those of the labs
	mixed := seed%8 == 0
	option := func() bool { return server != (mixed && chance.IntN(2) == 0) }
	return troubles{
		servers: []int{1, 2, 3, 3, 3, 4, 5, 5, 5, 7}[chance.IntN(10)],
		noop:    option(), preVote: option(), checkQuorum: option(),
		appendBytes: limit(one * (1 + chance.IntN(4))), window: limit(1 + chance.IntN(4)),
		applyBytes: limit(one * (1 + chance.IntN(4))), uncommitted: limit(one * (4 + chance.IntN(20))),
		loss: limit(1 + chance.IntN(25)), copies: limit(1 + chance.IntN(25)), reorder: 1 + chance.IntN(8),
		crash: chance.IntN(3), cut: chance.IntN(3), disk: 20 + chance.IntN(80),
		compact: limit(1 + chance.IntN(20)), prompt: limit(1),
		slow: chance.IntN(2) == 0, lazy: chance.IntN(2) == 0,
		wipe:     limit(10 + chance.IntN(60)),
		trailing: limit(one * (1 + chance.IntN(10))), stall: limit(3 + chance.IntN(20)),
		commit:     limit(1 + chance.IntN(30)),
		writeBytes: limit(one * (1 + chance.IntN(5))),
		follower:   limit(one * (1 + chance.IntN(20))), unapplied: limit(one * (1 + chance.IntN(10))),
		batch: chance.IntN(2), // 1 holds nothing back
	}
}

// chaos is a cluster in trouble.
type chaos struct {
	*cluster
	drawn    troubles
	chance   *rand.Rand
	happened tally
	commands int
	doomed   *server // loses its disk after some steps; see part
	doomedIn int
}

// randomRun runs one seed and returns the first thing an oracle objects to.
func randomRun(seed uint64, note func(string, ...any)) (happened tally, err error) {
	return drawTroubles(seed).run(seed, note)
}

// run runs a seed in these troubles.
func (drawn troubles) run(seed uint64, note func(string, ...any)) (happened tally, err error) {
	x := &chaos{drawn: drawn, chance: rand.New(rand.NewPCG(seed, 2))}
	x.cluster = newCluster(x.drawn.servers, func(c *Config) {
		c.Noop, c.PreVote, c.CheckQuorum = x.drawn.noop, x.drawn.preVote, x.drawn.checkQuorum
		c.MaxAppendBytes, c.Window, c.MaxApplyBytes, c.MaxUncommittedBytes = x.drawn.appendBytes, x.drawn.window, x.drawn.applyBytes, x.drawn.uncommitted
		c.BatchBytes = x.drawn.batch
		c.PromptTicks, c.PromptStart = x.drawn.prompt, x.drawn.prompt > 0
		c.TrailingBytes, c.StallTicks = x.drawn.trailing, x.drawn.stall
		c.MaxWriteBytes, c.FollowerBytes, c.MaxUnappliedBytes = x.drawn.writeBytes, x.drawn.follower, x.drawn.unapplied
		c.NewUID, c.CommitTicks = UID{c.ID[0]}, x.drawn.commit
		c.Rand = rand.New(rand.NewPCG(seed, uint64(c.ID[0])))
		if x.drawn.founders > 0 {
			c.Peers = membersFrom(x.drawn.founders, c.ID)
		}
	})
	x.note = note
	x.slow, x.lazy = x.drawn.slow, x.drawn.lazy
	defer func() {
		if broken := recover(); broken != nil {
			err = fmt.Errorf("the core stopped itself: %v\n%s", broken, debug.Stack())
		}
	}()
	for step := 0; step < steps+x.drawn.more && x.fault == nil; step++ {
		x.step()
	}
	x.calm()
	x.happened.commits = len(x.oracles.chosen)
	x.happened.elections = x.oracles.elections
	x.happened.truncations = x.oracles.truncations
	x.happened.reads = x.oracles.reads
	x.happened.installs = x.oracles.installs
	x.happened.stalls = x.oracles.stalls
	x.happened.rejoined = x.oracles.rejoined
	x.happened.memberTally = x.oracles.memberTally
	return x.happened, x.fault
}

func (x *chaos) percent(p int) bool { return x.chance.IntN(100) < p }

// step does one thing to one server.
func (x *chaos) step() {
	if x.doomedIn > 0 {
		x.doom()
	}
	s := x.servers[x.chance.IntN(x.drawn.servers)]
	if s.core == nil {
		if x.percent(20) {
			x.start(s)
			x.notef("%s starts", s.id)
		}
		return
	}
	switch action := x.chance.IntN(40); {
	case action < 8:
		x.input(s, (*Raft).Tick)
	case action < 12:
		x.work(s)
	case action < 13:
		if x.doomedIn == 0 {
			x.hurt(s)
		}
	case action < 18:
		if x.percent(x.drawn.disk) {
			x.save(s)
		}
	case action < 19:
		x.apply(s)
	case action < 22:
		x.flush(s)
	default:
		x.message()
	}
}

// work asks something of a server, a leader if it finds one.
func (x *chaos) work(s *server) {
	for _, other := range x.servers {
		if other.core != nil && other.core.role == Leader && x.percent(60) {
			s = other
		}
	}
	switch {
	case s.core.snapshotWanted() && x.percent(50):
		x.happened.wanted++
		x.compact(s)
	case x.percent(x.drawn.compact):
		x.compact(s)
	}
	if x.drawn.changes > 0 && x.percent(x.drawn.changes) {
		x.change(s)
		return
	}
	switch x.chance.IntN(8) {
	case 0, 1:
		_, _ = x.read(s.id)
	case 2:
		if x.percent(10) {
			x.input(s, func(r *Raft) { _ = r.Transfer(None) })
		}
	case 3:
		if x.percent(10) {
			x.input(s, func(r *Raft) { r.Suspect(r.leader) })
		}
	default:
		x.commands++
		_, _ = x.propose(s.id, fmt.Sprint(x.commands))
	}
}

// hurt crashes a server or changes which servers can talk to each other.
func (x *chaos) hurt(s *server) {
	switch {
	case x.percent(10 * x.drawn.crash):
		x.happened.crashes++
		if x.mayLoseDisk(s) && x.percent(x.drawn.wipe) {
			x.wipe(s, x.percent(50))
			x.notef("%s loses its disk", s.id)
			x.happened.wipes++
			break
		}
		x.crash(s, x.percent(50))
		x.notef("%s crashes", s.id)
	case x.percent(x.drawn.wipe/6) && len(x.servers) > 2:
		x.part(s)
	case x.percent(15 * x.drawn.cut):
		for _, other := range x.servers {
			x.cut[[2]ID{s.id, other.id}] = x.percent(70)
			x.cut[[2]ID{other.id, s.id}] = x.percent(70)
		}
		x.notef("%s is cut off", s.id)
	case x.percent(25):
		clear(x.cut)
	}
}

// part keeps two servers from seeing each other for a while, at the end of which
// another one loses its disk: the two may tell it different things.
func (x *chaos) part(doomed *server) {
	var pair []*server
	for _, i := range x.chance.Perm(len(x.servers)) {
		if other := x.servers[i]; other != doomed && len(pair) < 2 {
			pair = append(pair, other)
		}
	}
	clear(x.cut)
	x.cut[[2]ID{pair[0].id, pair[1].id}] = true
	x.cut[[2]ID{pair[1].id, pair[0].id}] = true
	x.doomed, x.doomedIn = doomed, 1+x.chance.IntN(1000)
	x.notef("%s and %s do not see each other", pair[0].id, pair[1].id)
}

// doom lets the server lose its disk that was chosen for it, when it is time.
func (x *chaos) doom() {
	if x.doomedIn--; x.doomedIn == 0 && x.mayLoseDisk(x.doomed) {
		x.wipe(x.doomed, x.percent(50))
		x.happened.parted++
		x.notef("%s loses its disk", x.doomed.id)
	}
}

// mayLoseDisk says whether enough full members are left without s.
func (x *chaos) mayLoseDisk(s *server) bool {
	full := 0
	for _, other := range x.servers {
		if other != s && !other.disk.Rejoining.On {
			full++
		}
	}
	return full >= members.Majority(x.drawn.servers)
}

// message delivers one of the oldest, or does worse to it.
func (x *chaos) message() {
	if len(x.flight) == 0 {
		return
	}
	m := x.flight[x.chance.IntN(min(len(x.flight), x.drawn.reorder))]
	switch {
	case x.percent(x.drawn.loss):
		x.take(m)
		x.happened.losses++
		if x.percent(50) {
			x.lost(m)
		}
	case m.reply == nil && x.percent(x.drawn.copies) && x.core(m.to) != nil && !x.cut[[2]ID{m.from, m.to}]:
		x.happened.copies++
		x.request(m)
	default:
		x.deliver(m)
	}
}

// calm ends all trouble: everybody must come to agree, on a command of a leader
// of now too, within some election timeouts.
func (x *chaos) calm() {
	clear(x.cut)
	x.slow, x.lazy = false, false
	for _, s := range x.servers {
		if s.core == nil {
			x.start(s)
		}
		x.apply(s)
		x.flush(s)
	}
	for range 400 {
		if x.fault != nil || x.agreed() {
			return
		}
		for _, s := range x.servers {
			x.input(s, (*Raft).Tick)
		}
		x.settle()
		for _, s := range x.servers {
			if s.core.snapshotWanted() {
				x.happened.wanted++
				x.compact(s)
			}
			if s.core.role == Leader && !s.core.committedInTerm() && s.core.log.lastTerm() != s.core.currentTerm {
				_, _ = x.propose(s.id, "calm")
			}
		}
	}
	x.failf("no agreement after the trouble: %v", x.cluster)
}

// agreed reports whether everybody has applied everything, and all the same.
func (x *chaos) agreed() bool {
	leaders := 0
	all := x.remaining()
	first := all[0].core
	for _, s := range all {
		r := s.core
		if r.role == Leader {
			leaders++
		}
		if r.rejoining.On || r.lastApplied != r.log.lastIndex() || r.lastApplied != first.lastApplied || r.currentTerm != first.currentTerm {
			return false
		}
	}
	return leaders == 1 && first.committedInTerm() && !first.configuration.Joint
}

// String is a line per server.
func (c *cluster) String() string {
	text := ""
	for _, s := range c.servers {
		if s.core != nil {
			text += fmt.Sprintf("\n%+v", s.core.Observe())
		}
	}
	return text
}
