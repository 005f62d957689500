package httpd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/membership"
	"raftkv/raft"
	"raftkv/raft/members"
)

// changing is the log of n1, the only voter, whose record can be changed. A change is
// appended at once, and committed and applied when the test says so.
type changing struct {
	*fakelog.Log
	driver *membership.Driver

	mu        sync.Mutex
	committed members.Version
	newest    members.Version
	chosen    func()
}

func newChanging(t *testing.T, change func(*settings)) (*testServer, *changing) {
	t.Helper()
	first := members.First(members.UID{7}, 3, []members.ID{"n1"})
	first.Stamp(1)
	c := &changing{Log: fakelog.New("n1"), newest: members.Version{Index: 1, Record: &first}}
	c.committed = c.newest
	c.driver = membership.New(membership.Config{
		Self: "n1", Level: 3, Consensus: c, Static: []membership.Static{{ID: "n1", Peer: "n1:1"}}, ElectionTimeout: 300 * time.Millisecond,
		Shown: func(members.ID) *membership.Shown { return nil },
	})
	c.tell()
	c.Deliver(nil)
	s := newServerOver(t, c.Log, func(config *settings) {
		config.Membership = c.driver
		if change != nil {
			change(config)
		}
	})
	return s, c
}

// tell tells the driver the configurations. c.mu is held, or nobody else knows c.
func (c *changing) tell() {
	c.driver.Configured(raft.Configurations{Newest: c.newest, Committed: c.committed})
}

// Reconfigure implements membership.Consensus.
func (c *changing) Reconfigure(r *raft.Reconfiguration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, err := members.Next(c.newest.Record.Configuration(), c.newest.Record, r.Wanted)
	if err != nil {
		r.Failed(err)
		return
	}
	index := c.Status().LastIndex + 1
	next.Stamp(index)
	c.newest, c.chosen = members.Version{Index: index, Record: &next}, r.Chosen
	c.tell()
	r.Placed(index, 3)
}

// commit commits what was appended.
func (c *changing) commit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.committed = c.newest
	c.tell()
	c.chosen()
}

// Goal: a change of the members is answered 200 when its last entry is committed and applied at
// the leader, also long after other requests must have ended; 202 with the place where to ask
// when ?wait is over, 30 s if it is not given, and when the node lets go those that wait; and 504
// unknown where this node does not lead any more and the change is not committed. Method: virtual
// time, and a log that commits and applies when the test says so.
func TestAChangeIsWaitedFor(t *testing.T) {
	begin := func(s *testServer, query string) (<-chan answer, func() time.Duration) {
		began := time.Now()
		answered := later(func() answer {
			return ask(s, "POST", "/v1/members"+query, `{"wanted":5}`, "Content-Type", api.MediaJSON, "Idempotency-Key", "c1")
		})
		return answered, func() time.Duration { return time.Since(began) }
	}
	under := func(t *testing.T, s *testServer, a answer) {
		t.Helper()
		wantStatus(t, a, 202)
		if at := a.header.Get("Location"); at != "/v1/members/changes/c1" {
			t.Errorf("the change goes on at %q", at)
		}
		if a := ask(s, "GET", "/v1/members/changes/c1", ""); a.status != 200 || !hasState(a, api.ChangeFinal) {
			t.Errorf("it is said to be %s", a.body)
		}
	}
	for name, test := range map[string]func(t *testing.T, s *testServer, c *changing){
		"it ends, and is applied later": func(t *testing.T, s *testServer, c *changing) {
			answered, took := begin(s, "?wait=2m")
			time.Sleep(45 * time.Second)
			c.commit()
			time.Sleep(5 * time.Second)
			wantSilence(t, answered)
			if a := ask(s, "GET", "/v1/members/changes/c1", ""); !hasState(a, api.ChangeFinal) {
				t.Errorf("before it is applied it is said to be %s", a.body)
			}
			c.Deliver(nil)
			a := <-answered
			wantStatus(t, a, 200)
			if took() != 50*time.Second || !hasState(a, api.ChangeDone) {
				t.Errorf("after %v: %s", took(), a.body)
			}
			if a := ask(s, "GET", "/v1/members/changes/c1", ""); !hasState(a, api.ChangeDone) {
				t.Errorf("in the end it is said to be %s", a.body)
			}
		},
		"it does not end in 30 s": func(t *testing.T, s *testServer, c *changing) {
			answered, took := begin(s, "")
			under(t, s, <-answered)
			if took() < 30*time.Second || took() > 31*time.Second {
				t.Errorf("waited for %v", took())
			}
		},
		"nothing is waited for": func(t *testing.T, s *testServer, c *changing) {
			answered, took := begin(s, "?wait=0s")
			under(t, s, <-answered)
			if took() > time.Second {
				t.Errorf("waited for %v", took())
			}
		},
		"it waits ten minutes at most": func(t *testing.T, s *testServer, c *changing) {
			answered, took := begin(s, "?wait=100h")
			under(t, s, <-answered)
			if took() < 10*time.Minute || took() > 10*time.Minute+time.Second {
				t.Errorf("waited for %v", took())
			}
		},
		"the node is to stop": func(t *testing.T, s *testServer, c *changing) {
			answered, took := begin(s, "")
			time.Sleep(3 * time.Second)
			s.EndWatches()
			under(t, s, <-answered)
			if took() > 4*time.Second {
				t.Errorf("waited for %v", took())
			}
		},
		"another leads": func(t *testing.T, s *testServer, c *changing) {
			answered, _ := begin(s, "?wait=20s")
			time.Sleep(3 * time.Second)
			c.SetLeader("")
			wantProblem(t, <-answered, 504, api.CodeLeadershipLost, api.OutcomeUnknown)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s, c := newChanging(t, nil)
				synctest.Wait()
				test(t, s, c)
			})
		})
	}
}

// hasState reports whether an answer says how far the change has come.
func hasState(a answer, state string) bool {
	var is api.MembersChanged
	return json.Unmarshal([]byte(a.body), &is) == nil && is.State == state
}

// Goal: a change is waited for at the leader, too, beyond the time that other requests have, when
// another node was asked; and the leader is told for how long. Method: a follower with a short
// time for requests, and a leader that answers after three times as long.
func TestAForwardedChangeIsWaitedFor(t *testing.T) {
	const limit = 100 * time.Millisecond
	asked := make(chan string, 1)
	s, c := newChanging(t, func(config *settings) {
		config.RequestTimeout = limit
		config.ClientAddr = others(t, map[string]http.HandlerFunc{"n2": func(w http.ResponseWriter, r *http.Request) {
			asked <- r.URL.RawQuery
			select {
			case <-time.After(3 * limit):
			case <-r.Context().Done():
				return
			}
			w.Header().Set(api.HeaderNode, "n2")
			fmt.Fprint(w, `{"change":"c1","state":"done"}`)
		}})
	})
	c.SetLeader("n2")
	a := ask(s, "POST", "/v1/members?wait=30s", `{"wanted":5}`, "Content-Type", api.MediaJSON, "Idempotency-Key", "c1")
	wantStatus(t, a, 200)
	if query := <-asked; query != "wait=30s" || !hasState(a, api.ChangeDone) {
		t.Errorf("the leader was asked with %q, and the answer is %s", query, a.body)
	}
}

// Goal: a client that gives its change the id of one that nodes make themselves is told so.
// Method: the change that would drop a join token.
func TestAChangeHasNoIDOfANodesOwn(t *testing.T) {
	s, _ := newServer(t, atLevel3)
	a := ask(s, "POST", "/v1/members", `{"wanted":5}`, "Content-Type", api.MediaJSON, api.HeaderIdempotencyKey, "token-abcdefgh-drop")
	if p := wantProblem(t, a, 400, api.CodeBadRequest, api.OutcomeNotApplied); !strings.Contains(p.Detail, "token-abcdefgh-drop") {
		t.Errorf("told %q", p.Detail)
	}
}
