package httpd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/port"
	"raftkv/raft"
)

// roadStep is a write at a follower.
type roadStep struct {
	method, target, body string
	header               []string
	status               int
	fail                 error // what the leader's log makes of it; nil: it is chosen
	placed               bool  // and was placed before
}

// roadSteps has every answer that the log, the store and the leader's checks can give,
// with and without conditions and idempotency keys.
func roadSteps() []roadStep {
	const key = "/v1/kv/a%2Fb//..%00%ff/"
	once := []string{api.HeaderIdempotencyKey, "once"}
	guarded := []string{api.HeaderIdempotencyKey, "guarded", "If-None-Match", "*"}
	steps := []roadStep{
		{"PUT", key, "v1", nil, 201, nil, false},
		{"PUT", key, "v2", nil, 200, nil, false},
		{"PUT", key, "", nil, 200, nil, false},
		{"POST", key + "?op=append", "+more", nil, 200, nil, false},
		{"PUT", key, "v3", []string{"If-Match", `"4"`}, 200, nil, false},
		{"PUT", key, "v4", []string{"If-Match", `"4"`}, 412, nil, false},
		{"PUT", key + "?cas=0", "v4", nil, 412, nil, false},
		{"DELETE", "/v1/kv/none", "", []string{"If-Match", "*"}, 412, nil, false},
		{"DELETE", "/v1/kv/none", "", nil, 204, nil, false},
		{"PUT", "/v1/kv/k", "v", once, 201, nil, false},
		{"PUT", "/v1/kv/k", "v", once, 201, nil, false},
		{"PUT", "/v1/kv/k", "w", once, 422, nil, false},
		{"PUT", "/v1/kv/k", "v", guarded, 412, nil, false},
		{"PUT", "/v1/kv/k", "v", guarded, 412, nil, false},
		{"DELETE", "/v1/kv/k", "", []string{api.HeaderIdempotencyKey, `"gone"`}, 204, nil, false},
		{"DELETE", "/v1/kv/k", "", []string{api.HeaderIdempotencyKey, "gone"}, 204, nil, false},
		{"POST", key + "?op=append", strings.Repeat("x", 999), nil, 413, nil, false},           // with what is there
		{"PUT", key, strings.Repeat("x", 1001), nil, 413, nil, false},                          // the leader's own limit
		{"PUT", "/v1/kv/full", strings.Repeat("x", 900), nil, 201, nil, false},                 //
		{"PUT", "/v1/kv/fuller", strings.Repeat("x", 900), nil, 507, nil, false},               //
		{"DELETE", "/v1/kv/full", "", []string{api.HeaderRequestID, "named"}, 204, nil, false}, //
	}
	for _, header := range [][]string{nil, {api.HeaderIdempotencyKey, "repeatable"}} {
		steps = append(steps,
			roadStep{"PUT", "/v1/kv/l", "v", header, 429, raft.ErrOverloaded, false},
			roadStep{"PUT", "/v1/kv/l", "v", header, 413, raft.ErrTooLarge, false},
			roadStep{"PUT", "/v1/kv/l", "v", header, 504, raft.ErrUnknown, true},
			roadStep{"DELETE", "/v1/kv/l", "", header, 504, raft.ErrStopped, true},
			roadStep{"PUT", "/v1/kv/l", "v", header, 500, errors.New("nobody knows"), true})
	}
	return steps
}

// answersTo returns what the steps are answered with, one after the other, by a leader
// that is new.
func answersTo(t *testing.T, steps []roadStep, frames bool) (all []answer) {
	p := newPairWith(t, func(c *settings) {
		c.frames = frames
		if c.NodeID == "n2" {
			c.MaxValueBytes, c.MaxStoreBytes = 1000, 1500
		}
	})
	for i, step := range steps {
		p.leaderLog.Decide(func(proposal *raft.Proposal) {
			if step.placed {
				p.leaderLog.Place(proposal)
			}
			if step.fail != nil {
				proposal.Failed(step.fail)
				return
			}
			p.leaderLog.Choose(proposal)
		})
		header := append([]string{api.HeaderRequestID, fmt.Sprint("step-", i)}, step.header...)
		a := send(t, step.method, p.url+step.target, step.body, header...)
		if a.status != step.status || a.header.Get(api.HeaderNode) != "n2" {
			t.Errorf("step %d, %s %s: answered %d by %q, want %d\n%s", i, step.method, step.target, a.status, a.header.Get(api.HeaderNode), step.status, a.body)
		}
		a.header.Del("Date")
		all = append(all, a)
	}
	if n := p.followerLog.Attempts(); n != 0 {
		t.Errorf("the follower proposed %d commands itself", n)
	}
	if n := p.reached.Load(); frames && n != 1 {
		t.Errorf("%d requests of HTTP came to the leader, want the upgrade alone", n)
	}
	if frames {
		p.leaderLog.Decide(nil)
		// Another door recognises what came as a command.
		a := ask(p.leader, "PUT", "/v1/kv/k", "v", api.HeaderIdempotencyKey, "once")
		if a.status != 201 || a.header.Get(api.HeaderIdempotencyReplayed) != "true" {
			t.Errorf("at the leader the same request is answered %d with %v", a.status, a.header)
		}
	}
	return all
}

// Goal: a client cannot tell on which road its write went to the leader: status,
// headers and body are the same, byte by byte.
// Method: the same writes over each road, at leaders that begin alike.
func TestBothRoadsAnswerAlike(t *testing.T) {
	steps := roadSteps()
	overHTTP, asCommands := answersTo(t, steps, false), answersTo(t, steps, true)
	for i, step := range steps {
		a, b := overHTTP[i], asCommands[i]
		if a.status != b.status || a.body != b.body || !maps.EqualFunc(a.header, b.header, slices.Equal) {
			t.Errorf("step %d, %s %s:\n%d %v\n%s\nas a command\n%d %v\n%s", i, step.method, step.target, a.status, a.header, a.body, b.status, b.header, b.body)
		}
	}
}

// Goal: nothing that a node forwards as a command is sent twice, and what has no answer
// is unknown: the connection ends, nobody answers in time, or this node stops.
// Method: a leader that takes the command and does not answer in each of these ways.
func TestAForwardedCommandWithoutAnAnswerIsUnknown(t *testing.T) {
	f := newFrameLeader(t, func(int, kv.Command) *reply { return nil })
	s, _ := newFollowerOf(t, f.address, byFrames)
	wantProblem(t, ask(s, "PUT", "/v1/kv/k", "v"), 504, api.CodeLeadershipLost, api.OutcomeUnknown)
	wantProblem(t, ask(s, "DELETE", "/v1/kv/k", "", api.HeaderIdempotencyKey, "once"), 504, api.CodeLeadershipLost, api.OutcomeUnknown)

	answered := make(chan *reply)
	defer close(answered)
	has := make(chan bool, 1)
	silent := newFrameLeader(t, func(int, kv.Command) *reply { has <- true; return <-answered })
	s, _ = newFollowerOf(t, silent.address, func(c *settings) { c.frames, c.LeaderWait = true, time.Minute })
	late := later(func() answer { return ask(s, "PUT", "/v1/kv/k", "v") })
	<-has
	s.Close()
	wantProblem(t, <-late, 504, api.CodeStopping, api.OutcomeUnknown)

	silent = newFrameLeader(t, func(int, kv.Command) *reply { has <- true; return <-answered })
	s, _ = newFollowerOf(t, silent.address, func(c *settings) { c.frames, c.LeaderWait, c.RequestTimeout = true, time.Minute, 2*time.Second })
	late = later(func() answer { return ask(s, "PUT", "/v1/kv/k", "v") })
	<-has
	wantProblem(t, <-late, 504, api.CodeTimeout, api.OutcomeUnknown)
	for i, l := range []*frameLeader{f, silent} {
		if commands, others := l.got(); len(commands) != 2-i || others != 0 {
			t.Errorf("leader %d got %d commands and %d requests of HTTP", i, len(commands), others)
		}
	}
}

// Goal: an answer that is none leaves the outcome unknown. Method: answers of another
// kind of content, and one with a status that no result can have.
func TestAnAnswerThatCannotBeReadLeavesTheOutcomeUnknown(t *testing.T) {
	for _, said := range []*reply{
		{clerkwire.KindForwarded, clerkwire.Empty{}}, {clerkwire.KindRefused, clerkwire.Empty{}},
		{clerkwire.KindGot, clerkwire.Got{}}, {clerkwire.KindForwarded, clerkwire.Forwarded{Node: "n2", Status: 256}},
	} {
		f := newFrameLeader(t, func(int, kv.Command) *reply { return said })
		s, _ := newFollowerOf(t, f.address, byFrames)
		wantProblem(t, ask(s, "PUT", "/v1/kv/k", "v"), 504, api.CodeLeadershipLost, api.OutcomeUnknown)
		if commands, _ := f.got(); len(commands) != 1 {
			t.Errorf("%+v: the command was sent %d times", said, len(commands))
		}
	}
}

// Goal: a status of a later version is passed on as a refusal that promises nothing.
func TestAStatusOfALaterVersionPromisesNothing(t *testing.T) {
	f := newFrameLeader(t, func(int, kv.Command) *reply {
		return &reply{clerkwire.KindForwarded, clerkwire.Forwarded{Node: "n2", Leader: "n2", Term: 3, Status: 200, Detail: "the lease is gone"}}
	})
	s, _ := newFollowerOf(t, f.address, byFrames)
	p := wantProblem(t, ask(s, "PUT", "/v1/kv/k", "v"), 500, api.CodeInternal, api.OutcomeUnknown)
	if p.Detail != "the lease is gone" {
		t.Errorf("it says %q", p.Detail)
	}
}

// Goal: writes go over HTTP to a leader of an earlier release, to a node of
// another name than expected, and when they are long; the question whether they must is not asked
// for each. Method: leaders that answer the upgrade like v0.1.0, and with another name.
func TestOtherLeadersAndLongValuesGetHTTP(t *testing.T) {
	for name, spoil := range map[string]func(w http.ResponseWriter, next http.Handler, r *http.Request){
		"v0.1.0": func(w http.ResponseWriter, _ http.Handler, _ *http.Request) {
			w.Header().Set(api.HeaderNode, "n2")
			fmt.Fprintln(w, clerkwire.Protocol)
		},
		"another protocol": func(w http.ResponseWriter, next http.Handler, r *http.Request) {
			r.Header.Set("Upgrade", clerkwire.Protocol)
			next.ServeHTTP(w, r)
		},
		"another cluster": func(w http.ResponseWriter, next http.Handler, r *http.Request) {
			r.Header.Set(api.HeaderCluster, "c2")
			next.ServeHTTP(w, r)
		},
	} {
		p := newPairWith(t, byFrames)
		var upgrades atomic.Int64
		old := httptest.NewUnstartedServer(nil)
		old.Config = port.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == clerkwire.Path {
				upgrades.Add(1)
				spoil(w, p.leader.Handler(), r)
				return
			}
			p.leader.Handler().ServeHTTP(w, r)
		}))
		old.Start()
		p.address.Store(old.Listener.Addr().String())
		for i := range 10 {
			if a := ask(p.follower, "POST", "/v1/kv/k?op=append", "x"); a.status != 200 || a.header.Get(api.HeaderNode) != "n2" {
				t.Errorf("%s: write %d was answered %d by %q", name, i, a.status, a.header.Get(api.HeaderNode))
			}
		}
		if got := stored(p.leader, "k"); got != "xxxxxxxxxx" {
			t.Errorf("%s: the leader has %q", name, got)
		}
		if n := upgrades.Load(); n < 1 || n > 3 {
			t.Errorf("%s: the leader was asked %d times for the upgrade", name, n)
		}
		p.follower.Close()
		old.Close()
	}
	p := newPairWith(t, byFrames)
	long := strings.Repeat("x", clerkwire.MaxForwardBody-api.MaxKeyBytes)
	for i, value := range []string{long, long + strings.Repeat("x", 2*api.MaxKeyBytes), ""} {
		wantStatus(t, ask(p.follower, "PUT", fmt.Sprint("/v1/kv/", i), value), 201)
		if got := stored(p.leader, fmt.Sprint(i)); got != value {
			t.Errorf("value %d came with %d of %d bytes", i, len(got), len(value))
		}
	}
	if n := p.reached.Load(); n != 2 {
		t.Errorf("%d requests of HTTP came to the leader, want the upgrade and one write", n)
	}
}

// Goal: all that come at once go over one connection, and none waits for another.
// Method: more writes than a node has connections to a leader over HTTP, which the
// leader holds until all are there.
func TestManyCommandsShareOneConnection(t *testing.T) {
	p := newPairWith(t, byFrames)
	const writes = DefaultPeerConnections + 100
	held := make(chan *raft.Proposal, writes)
	p.leaderLog.Decide(func(proposal *raft.Proposal) { held <- proposal })
	first := later(func() answer { return ask(p.follower, "PUT", "/v1/kv/first", "v") })
	p.leaderLog.Choose(<-held)
	wantStatus(t, <-first, 201)
	answered := make(chan answer, writes)
	for i := range writes {
		go func() { answered <- ask(p.follower, "PUT", fmt.Sprint("/v1/kv/", i), "v") }()
	}
	var came []*raft.Proposal
	for len(came) < writes {
		came = append(came, <-held)
	}
	for _, proposal := range came {
		p.leaderLog.Choose(proposal)
	}
	for range writes {
		wantStatus(t, <-answered, 201)
	}
	if n := p.connected.Load(); n != 1 {
		t.Errorf("%d connections came to the leader", n)
	}
}

// Goal: a leader that stops answers the commands that it has, and what comes later goes
// to the next leader. Method: the leader says goodbye while it holds a command; then
// another one leads.
func TestALeaderThatStopsAnswersWhatItHas(t *testing.T) {
	p := newPairWith(t, byFrames)
	held := p.leaderLog.Held()
	first := later(func() answer { return ask(p.follower, "PUT", "/v1/kv/first", "v") })
	proposal := <-held
	p.leaderLog.SetLeader("n3")
	next := newFrameLeader(t, func(int, kv.Command) *reply { return done() })
	p.address.Store(next.address)
	drained := make(chan bool, 1)
	go func() { drained <- p.leader.clerks.Drain(context.Background()) }()
	wantStatus(t, ask(p.follower, "PUT", "/v1/kv/second", "v"), 200)
	p.leaderLog.Deliver(proposal.Command)
	wantStatus(t, <-first, 201)
	if !<-drained {
		t.Error("the leader did not come to its end")
	}
}

// Goal: a node that moved is found at its new address, and a connection that ended is
// made again. Method: the leader's port is another; then all connections are cut.
func TestAForwarderFindsTheLeaderAgain(t *testing.T) {
	first := newFrameLeader(t, func(int, kv.Command) *reply { return done() })
	second := newFrameLeader(t, func(int, kv.Command) *reply { return done() })
	var address atomic.Value
	address.Store(first.address)
	s, _ := newFollowerOf(t, "", func(c *settings) {
		c.frames, c.LeaderWait = true, time.Minute
		c.ClientAddr = func(string) string { return address.Load().(string) }
	})
	wantStatus(t, ask(s, "PUT", "/v1/kv/k", "v"), 200)
	address.Store(second.address)
	wantStatus(t, ask(s, "PUT", "/v1/kv/k", "v"), 200)
	second.cut()
	for again := false; !again; {
		a := ask(s, "PUT", "/v1/kv/k", "v") // the follower may not have noticed yet
		if again = a.status == 200; !again {
			wantProblem(t, a, 504, api.CodeLeadershipLost, api.OutcomeUnknown)
		}
	}
	if commands, others := first.got(); len(commands) != 1 || others != 0 {
		t.Errorf("the first got %d commands, %d requests", len(commands), others)
	}
	if second.greeted != 2 {
		t.Errorf("the second was greeted %d times", second.greeted)
	}
}
