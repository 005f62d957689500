package campaign

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/client/verify"
	"raftkv/kvserver/api"
	"raftkv/tests/cluster"
)

var (
	membersFor  = flag.Duration("members", 0, "for how long the campaign of members runs; 0: three actions")
	membersSeed = flag.Uint64("members.seed", 1, "what the campaign of members draws from")
)

const (
	membersClients = 8
	membersKeys    = 5
	membersRate    = 400
	// membersSearch bounds the search for an order of one history.
	membersSearch = time.Minute
	// membersTimeout is the election timeout of serve, by which the promises measure lulls, and
	// membersSlack is what else a write may take: a client that finds the new leader, and disks.
	membersTimeout = 300 * time.Millisecond
	membersSlack   = 700 * time.Millisecond
)

// membersCampaign is a cluster whose members come and go under checked load.
type membersCampaign struct {
	*membersSite
	rand  *rand.Rand
	clerk *client.Clerk // was given the address of the first node alone

	mu    sync.Mutex // guards the fields below
	last  time.Time  // of the newest acknowledged write
	acks  int
	lulls map[string]time.Duration // the longest time without an acknowledged write, by action
	lull  time.Duration            // of the present one
	late  time.Duration            // by which a process that does nothing was late meanwhile
	doing string

	mends []time.Duration   // from the mend of a cut until ten writes were acknowledged
	terms map[uint64]string // the node that was seen to lead

	held map[string]int // how often a promise was put to the test and held
	did  map[string]int
}

// Goal: M1, M2, M3, M6, M7, M9, M10, M12, M13, M14, M15, M16, M22, M23, M24: while nodes join,
// are removed, dead ones among them and leaders, lose their disks, get new addresses, are
// killed, stopped and cut off, one way or both, the answers of all clients stay linearizable,
// the Clerk that was given one address goes on without an error when that is gone, and each
// change does what it promises: no promotion and no removal of a leader stops writes for more than
// an election timeout, and no killed leader or mended cut for more than four, the slowness of
// machine and clients aside (membersSlack); old directories that are started aside are turned
// away; what was committed is there when all were killed at once; and all nodes find each other
// at new addresses. The figures say
// how often each promise was put to the test; one that never was makes the run void.
// Method: processes; actions drawn at random, one after the other, each under load whose
// history is checked; after each the cluster must be whole again within a minute. In make
// test there are three of them, with kill -9 in each. Cuts need root: then each node stands in
// a network namespace of its own, and packets between two of them are dropped.
func TestCampaignOfMembers(t *testing.T) {
	c := &membersCampaign{
		membersSite: newMembersSite(t), rand: rand.New(rand.NewPCG(*membersSeed, 0)),
		held: map[string]int{}, did: map[string]int{}, lulls: map[string]time.Duration{}, terms: map[uint64]string{},
	}
	if *membersFor > 0 {
		c.cuttable()
	}
	c.begin()
	given := c.nodes[0].http
	defer c.dial(given)()
	uid := c.members().UID
	operations, end := 0, time.Now().Add(*membersFor)
	actions, short := c.actions(), *membersFor == 0
	if short {
		actions = slices.DeleteFunc(actions, func(a membersAction) bool {
			return !slices.Contains([]string{"kill a leader", "remove a dead", "lost disk"}, a.name)
		})
	}
	for n := 0; (time.Now().Before(end) || short && n < len(actions)) && !t.Failed(); n++ {
		a := actions[n%len(actions)] // each once, then at random
		if n >= len(actions) {
			a = actions[c.rand.IntN(len(actions))]
		}
		operations += c.under(n, a)
		if is := c.members(); is.UID != uid || is.Generation != 1 {
			t.Errorf("the cluster is %s of generation %d, and was %s", is.UID, is.Generation, uid)
		}
		c.held["M16"]++
		c.agree()
	}
	if !slices.ContainsFunc(c.nodes, func(n *membersNode) bool { return n.http == given }) {
		c.held["M22"]++
	}
	if !short && !t.Failed() { // nobody is where the Clerk knows it any more
		c.moveAll(c.nodes...)
		c.whole()
		c.agree()
		c.held["M15"]++
	}
	t.Logf("%d changes of the members, the leader's own not counted", c.made)
	if *membersFor >= 20*time.Minute && c.made < 200 {
		t.Errorf("void: %d changes in %v", c.made, *membersFor)
	}
	t.Logf("%d operations, linearizable; actions %v", operations, c.did)
	for _, name := range slices.Sorted(maps.Keys(c.lulls)) {
		t.Logf("%-14s longest time without an acknowledged write %v", name, c.lulls[name].Round(time.Millisecond))
	}
	t.Log(c.reportCuts())
	for _, promise := range membersPromises {
		switch held := c.held[promise.name]; {
		case promise.elsewhere != "":
			t.Logf("%-4s is held by %s", promise.name, promise.elsewhere)
		case held == 0 && !short:
			t.Errorf("void: %s was never put to the test", promise.name)
		default:
			t.Logf("%-4s was put to the test %d times and held", promise.name, held)
		}
	}
}

// membersPromises are all promises of the contract about members. Those without another place
// are put to the test by the campaign.
var membersPromises = []struct{ name, elsewhere string }{
	{"M1", ""}, {"M2", ""}, {"M3", ""},
	{"M4", "the simulator and raft/core (paper, figure10, figure11)"},
	{"M5", "kvserver/membership (a change goes on without its request)"},
	{"M6", ""}, {"M7", ""},
	{"M8", "the simulator and raft/core (a learner counts in nothing)"},
	{"M9", ""}, {"M10", ""},
	{"M11", ""},
	{"M12", ""}, {"M13", ""}, {"M14", ""}, {"M15", ""}, {"M16", ""},
	{"M17", "raft/core (config_in_snapshot) and the tests of snapshot restore"},
	{"M18", "cmd/raftkv/internal/recovery"},
	{"M19", "the campaign upgrade"},
	{"M20", "raft/levels, raft/members and tests/compat"},
	{"M21", "kvserver/membership (the autopilot agrees with a plain model)"},
	{"M22", ""}, {"M23", ""}, {"M24", ""},
}

// agree wants that all nodes go by the same configuration, and that of no term two leaders
// were ever seen.
func (c *membersCampaign) agree() {
	c.t.Helper()
	want := c.members()
	for _, n := range c.nodes {
		cluster.Eventually(c.t, cluster.Patience, func() error {
			if is, err := c.version(n); err != nil || is < want.Version {
				return fmt.Errorf("%s goes by version %d, and the leader by %d (%v)", n.id, is, want.Version, err)
			}
			return nil
		})
		var is api.Status
		status, body := c.askOne(n, "GET", "/v1/status")
		if err := json.Unmarshal([]byte(body), &is); status != 200 || err != nil {
			c.t.Errorf("the status of %s: %d %v", n.id, status, err)
			continue
		}
		if is.Role != "leader" {
			continue
		}
		if before, led := c.terms[is.Term]; led && before != n.id {
			c.t.Errorf("%s and %s both lead in term %d", before, n.id, is.Term)
		}
		c.terms[is.Term] = n.id
	}
	c.held["M1"]++
}

// dial makes a Clerk that is given one address, and waits until it has asked there where
// clients are served. It returns what ends it.
func (c *membersCampaign) dial(given string) (end func()) {
	c.t.Helper()
	var dials atomic.Int32
	clerk, err := client.Dial(c.t.Context(), client.Config{
		Endpoints: []string{given},
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.clerk = clerk
	cluster.Eventually(c.t, cluster.Patience, func() error {
		if dials.Load() < 2 {
			return errors.New("the Clerk has not asked for addresses")
		}
		return nil
	})
	return clerk.Close
}

// under does one thing under load and judges what the clients heard. It returns how many
// operations were made.
func (c *membersCampaign) under(n int, a membersAction) int {
	c.t.Helper()
	driving, stop := context.WithCancel(c.t.Context())
	defer stop()
	done := make(chan *verify.History, 1)
	c.mu.Lock()
	c.doing, c.last, c.lull, c.late = a.name, time.Now(), 0, 0
	c.mu.Unlock()
	go watchLateness(driving, &c.mu, &c.late)
	go func() {
		done <- verify.Run(driving, []*client.Clerk{c.clerk}, verify.Config{
			Clients: membersClients, Keys: membersKeys, Duration: time.Hour, Timeout: cluster.Patience, Rate: membersRate,
			Prefix: fmt.Sprintf("a%d/", n), Answered: c.answered,
		})
	}()
	begun := time.Now()
	c.flows()
	a.do()
	c.whole()
	c.flows()
	c.did[a.name]++
	c.judgeLull(a)
	stop()
	history := <-done
	finding := history.Check(membersSearch, nil)
	c.t.Logf("%3d %-14s %d members, %d operations %s in %v", n, a.name, len(c.nodes), history.Size(), finding.Verdict, time.Since(begun).Round(100*time.Millisecond))
	if finding.Verdict != verify.Linearizable {
		c.t.Errorf("%s: key %s: %s %s", a.name, finding.Key, finding.Verdict, finding.Stale)
	}
	c.held["M2"]++
	c.held["M24"]++ // its reads are in the history, too
	return history.Size()
}

// answered notes how long no write was acknowledged.
func (c *membersCampaign) answered(a verify.Answer) {
	if a.Outcome == verify.Failed || a.Outcome == verify.Unknown {
		c.t.Errorf("%s: a %s of the Clerk ended as %s after %v: %v", c.doing, a.Call, a.Outcome, a.Answered.Sub(a.Called).Round(time.Millisecond), a.Err)
	}
	if a.Outcome != verify.Done || !isWrite(a.Call) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acks++
	c.lull = max(c.lull, a.Answered.Sub(c.last))
	c.lulls[c.doing] = max(c.lulls[c.doing], c.lull)
	c.last = a.Answered
}

// watchLateness measures how late a process that does nothing comes to its turn, until ctx ends,
// and keeps the longest time in late, under mu: the nodes are as late as it is.
func watchLateness(ctx context.Context, mu *sync.Mutex, late *time.Duration) {
	const pause = 5 * time.Millisecond
	for ctx.Err() == nil {
		begun := time.Now()
		time.Sleep(pause)
		mu.Lock()
		*late = max(*late, time.Since(begun)-pause)
		mu.Unlock()
	}
}

// judgeLull wants that writes stopped for no longer than an action's promise says.
func (c *membersCampaign) judgeLull(a membersAction) {
	if a.promise == "" || *membersFor == 0 { // where other tests run, everything takes its time
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := time.Duration(a.timeouts)*membersTimeout + membersSlack + 10*c.late
	if c.lull > limit {
		c.t.Errorf("%s: no write was acknowledged for %v; %s allows %d election timeouts, with all else %v", a.name, c.lull.Round(time.Millisecond), a.promise, a.timeouts, limit.Round(time.Millisecond))
		return
	}
	c.held[a.promise]++
}

// flows waits until ten writes more are acknowledged.
func (c *membersCampaign) flows() {
	c.t.Helper()
	count := func() int { c.mu.Lock(); defer c.mu.Unlock(); return c.acks }
	begun := count()
	cluster.Eventually(c.t, cluster.Patience, func() error {
		if n := count() - begun; n < 10 {
			return fmt.Errorf("%d writes were acknowledged", n)
		}
		return nil
	})
}

// membersAction is something that is done to the members.
type membersAction struct {
	name string
	do   func()
	// promise says for how many election timeouts writes may stop meanwhile; "": none does.
	promise  string
	timeouts int
}

// actions returns all of them, in an order in which each finds the members that it needs.
func (c *membersCampaign) actions() []membersAction {
	some := c.some
	does := func(name string, do func()) membersAction { return membersAction{name: name, do: do} }
	return append([]membersAction{
		{"join", func() {
			if len(c.nodes) >= 5 {
				c.leave(some(), false)
			}
			c.join()
		}, "M11", 1},
		does("all are killed", c.killAll),
		{"kill a leader", func() { n := c.leader(); n.process.Kill(); c.flows(); c.start(n) }, "M23", 4},
		does("remove", func() { c.leave(some(), false) }),
		does("new addresses", func() { c.moveAll(some()); c.held["M15"]++ }),
		{"remove leader", func() { c.leave(c.leader(), false) }, "M13", 1},
		does("lost disk", func() {
			n := some()
			n.process.Kill()
			old := c.wipe(n)
			c.start(n)
			c.whole()
			c.held["M10"]++
			if *membersFor > 0 { // make test has a test of its own for it
				c.startAside(n, old)
				c.held["M14"]++
			}
		}),
		does("remove a dead", func() { c.leave(some(), true); c.held["M10"]++ }),
		does("stopped", func() { c.pause(some(), time.Second+time.Duration(c.rand.Int64N(int64(2*time.Second)))) }),
		does("move the first", func() { c.moveAll(c.nodes[0]); c.held["M15"]++ }),
		does("all but one move", func() { c.moveAll(c.without(some())...); c.held["M15"]++ }),
	}, c.cuts()...)
}

// killAll kills all nodes at once, behind a change or in the middle of one, and wants that each
// goes by no older configuration than before when it is started again (M3).
func (c *membersCampaign) killAll() {
	c.t.Helper()
	if c.rand.IntN(2) == 0 {
		c.grow()
	}
	known := map[*membersNode]uint64{}
	for _, n := range c.nodes {
		if v, err := c.version(n); err == nil { // one that joins does not know it yet
			known[n] = v
		}
	}
	for _, n := range c.nodes {
		n.process.Kill()
	}
	for _, n := range c.nodes {
		c.start(n)
	}
	for n, before := range known {
		var is uint64
		cluster.Eventually(c.t, cluster.Patience, func() (err error) { is, err = c.version(n); return err })
		if is < before {
			c.t.Errorf("%s goes by version %d when it is started, and went by %d before", n.id, is, before)
		}
	}
	c.held["M3"]++
}

// version returns by which configuration a node goes.
func (c *membersCampaign) version(n *membersNode) (uint64, error) {
	var is api.Members
	status, body := c.askOne(n, "GET", "/v1/members?consistency=stale")
	if err := json.Unmarshal([]byte(body), &is); status != 200 || err != nil {
		return 0, fmt.Errorf("the members as %s knows them: %d %w", n.id, status, err)
	}
	return is.Version, nil
}

// grow adds a node, unless there are five.
func (c *membersCampaign) grow() {
	if len(c.nodes) < 5 {
		c.join()
	}
}

// leave removes a node, dead or alive, after another has come if there would be too few.
// Before that, a change whose condition is false and one that would cost the majority are
// refused; afterwards the same change is asked for again.
func (c *membersCampaign) leave(n *membersNode, dead bool) {
	c.t.Helper()
	if len(c.nodes) <= 3 {
		c.join()
	}
	if dead {
		n.process.Kill()
		c.cannotLose(n)
	}
	version := c.members().Version
	if status, body := c.change("DELETE", "/v1/members/"+n.id, "If-Match", `"1"`); status != 412 || c.members().Version != version {
		c.t.Errorf("a removal whose If-Match is false: %d %s", status, body)
	}
	c.held["M7"]++
	id := fmt.Sprintf("remove-%s", n.id)
	cluster.Eventually(c.t, cluster.Patience, func() error {
		switch status, body := c.change("DELETE", "/v1/members/"+n.id, "Idempotency-Key", id); status {
		case 200:
			return nil
		case 0, 202, 409, 503, 504: // another change has not ended, there is no leader, or it was lost from sight
			return fmt.Errorf("removing %s: %d %s", n.id, status, body)
		default:
			c.t.Fatalf("removing %s: %d %s", n.id, status, body)
			return nil
		}
	})
	c.made++
	c.nodes = c.without(n)
	c.leavePlace(n)
	removed := time.Now()
	if !dead {
		if code := n.process.ExitCode(cluster.Patience); code != 6 || time.Since(removed) > 5*time.Second {
			c.t.Errorf("%s was removed and ended with code %d after %v", n.id, code, time.Since(removed))
		}
		c.held["M12"]++
	}
	version = c.members().Version
	if status, body := c.change("DELETE", "/v1/members/"+n.id, "Idempotency-Key", id); status != 200 || c.members().Version < version {
		c.t.Errorf("the same removal again: %d %s", status, body)
	}
	c.held["M6"]++
}

// cannotLose wants the removal of healthy nodes refused that would leave no majority, while
// one is dead.
func (c *membersCampaign) cannotLose(dead *membersNode) {
	c.t.Helper()
	var others []string
	for _, n := range c.nodes {
		if n != dead {
			others = append(others, n.id)
		}
	}
	cluster.Eventually(c.t, cluster.Patience, func() error {
		status, body := c.plan(others[1:])
		if status != 409 {
			return fmt.Errorf("removing %v while %s is dead: %d %s", others[1:], dead.id, status, body)
		}
		return nil
	})
	c.held["M9"]++
}
