package client

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// Goal: Dial waits for a server, and says why there is none.
func TestDial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		f.down = map[string]bool{"n1": true, "n2": true, "n3": true}
		time.AfterFunc(5*time.Second, func() { f.set(func() { f.down["n2"] = false }) })
		begun := time.Now()
		c := f.dial(nil)
		if took := time.Since(begun); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("after %v", took)
		}
		f.end(c)
		f.set(func() { f.down["n2"] = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := Dial(ctx, Config{Endpoints: []string{"n1:1"}, Dial: f.connect})
		wantError(t, err, api.OutcomeNotApplied, ErrNoLeader, context.DeadlineExceeded)
	})
	for name, config := range map[string]Config{
		"no endpoint":          {},
		"no port":              {Endpoints: []string{"host"}},
		"TLS":                  {Endpoints: []string{"https://host:1"}},
		"too many writes":      {Endpoints: []string{"h:1"}, MaxWrites: 1025},
		"too many connections": {Endpoints: []string{"h:1"}, Connections: 257},
		"a negative time":      {Endpoints: []string{"h:1"}, DialTimeout: -1},
	} {
		if _, err := Dial(t.Context(), config); err == nil {
			t.Errorf("%s is let through", name)
		}
	}
}

// Goal: a server that goes away is left in order: pending calls are answered, and
// new calls go elsewhere.
func TestGoodbye(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		f.store["k"] = Item{Value: []byte("v")}
		release := make(chan struct{})
		f.before = func(c *fakeConn, a asked) bool {
			if a.kind != clerkwire.KindPut || c.server != "n1" {
				return false
			}
			sendFrame(c, clerkwire.KindGoodbye, 0, clerkwire.Empty{})
			f.served.Go(func() { <-release; c.answer(a) })
			return true
		}
		c := f.dial(nil)
		defer f.end(c)
		var call sync.WaitGroup
		call.Go(func() {
			if _, err := c.Put(t.Context(), "k", nil); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		f.set(func() { f.closed["n1"] = true })
		if _, err := c.Get(t.Context(), "k", Stale()); err != nil {
			t.Error(err)
		}
		for _, a := range f.requests(clerkwire.KindGet) {
			if a.server == "n1" {
				t.Error("a server was asked that had said goodbye")
			}
		}
		close(release)
		call.Wait()
		synctest.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		for conn := range f.conns {
			if conn.server == "n1" {
				t.Error("the connection is kept after the last answer")
			}
		}
	})
}

// Goal: a Clerk that met one cluster never talks to another, where its session
// would be somebody else's.
func TestServersOfAnotherCluster(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n3")
		f.clusters["n2"] = "c2"
		c := f.dial(nil)
		defer f.end(c)
		for range 10 {
			if _, err := c.Put(t.Context(), "k", nil); err != nil {
				t.Error(err)
			}
			if _, err := c.Get(t.Context(), "k", Stale()); err != nil {
				t.Error(err)
			}
		}
		for _, a := range f.asked {
			if a.server == "n2" {
				t.Fatal("a server of another cluster was asked")
			}
		}
	})
}

// Goal: a leader that is no endpoint is found by the address that others give,
// but only when all endpoints are known to be other nodes: behind a proxy or
// another network the address may be nobody's, or somebody else's.
func TestALeaderThatIsNoEndpoint(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n3")
		f.before = func(c *fakeConn, a asked) bool {
			if c.server == "n3" || a.get.Consistency == clerkwire.Stale {
				return false
			}
			c.refuse(a, clerkwire.Refused{Code: api.CodeNoLeader, Outcome: api.OutcomeNotApplied, Retryable: true, Leader: "n3", LeaderAddr: "n3:1"})
			return true
		}
		c := f.dial(func(config *Config) { config.Endpoints = []string{"n1:1", "n2:1"} })
		defer f.end(c)
		if _, err := c.Put(t.Context(), "k", []byte("x")); err != nil || f.value("k") != "x" {
			t.Error(err)
		}
		if n := len(*c.serverList.Load()); n != 3 || f.dials["n3"] != 1 {
			t.Errorf("%d servers are known", n)
		}
		met := map[string]bool{}
		for _, a := range f.asked {
			if a.server == "n3" && len(met) < 2 {
				t.Error("the address was believed before all endpoints were met")
			}
			met[a.server] = true
		}
	})
}

// Goal: a leader that is no endpoint is found though another endpoint can never be
// met: it is down, or belongs to another cluster. Method: an endpoint that follows
// and one of either kind, in either order; the leader is named by the follower.
func TestALeaderIsFoundWhileAnotherEndpointIsDown(t *testing.T) {
	for _, endpoints := range [][]string{{"n1:1", "n2:1"}, {"n2:1", "n1:1"}} {
		for _, kind := range []string{"down", "another cluster"} {
			bubble(t, func(t *testing.T) {
				f := newFakeCluster(t, "n3")
				if kind == "down" {
					f.down["n2"] = true
				} else {
					f.clusters["n2"] = "c2"
				}
				f.before = func(c *fakeConn, a asked) bool {
					if c.server == "n3" {
						return false
					}
					c.refuse(a, clerkwire.Refused{Code: api.CodeNoLeader, Outcome: api.OutcomeNotApplied, Retryable: true, Leader: "n3", LeaderAddr: "n3:1"})
					return true
				}
				if kind != "down" && endpoints[0] == "n2:1" {
					return // the first server that is met decides the cluster
				}
				c := f.dial(func(config *Config) { config.Endpoints = endpoints })
				defer f.end(c)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if _, err := c.Put(ctx, "k", []byte("x")); err != nil || f.value("k") != "x" {
					t.Errorf("%v, %s: %v", endpoints, kind, err)
				}
			})
		}
	}
}

// Goal: what answers but is no server of the store, or sends what is not the
// protocol, is left for another server.
func TestStrangers(t *testing.T) {
	for name, say := range map[string]string{
		"nothing":         "",
		"not HTTP":        "220 smtp ready\r\n",
		"a web server":    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"another upgrade": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"no clerks now":   "HTTP/1.1 503 Service Unavailable\r\nKv-Error: stopping; outcome=not_applied\r\nContent-Length: 0\r\n\r\n",
		"a silent server": "wait",
		"garbage": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + clerkwire.Protocol2 +
			"\r\nKv-Node: n1\r\nKv-Cluster: c1\r\n\r\ngarbage garbage garbage",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFakeCluster(t, "n2")
				var strangers sync.WaitGroup
				c := f.dial(func(config *Config) {
					config.Dial = func(ctx context.Context, address string) (net.Conn, error) {
						if address != "n1:1" {
							return f.connect(ctx, address)
						}
						here, there := net.Pipe()
						strangers.Go(func() {
							there.Read(make([]byte, 4096))
							if say == "wait" {
								there.Read(make([]byte, 1)) // until the client gives up
							}
							there.Write([]byte(say))
							there.Close()
						})
						return here, nil
					}
				})
				begun := time.Now()
				if _, err := c.Put(t.Context(), "k", []byte("x")); err != nil || f.value("k") != "x" {
					t.Error(err)
				}
				if took := time.Since(begun); took > 5*time.Second {
					t.Errorf("it took %v", took)
				}
				f.end(c)
				strangers.Wait()
			})
		})
	}
}

// Goal: an answer of the wrong kind ends the connection, not the call.
func TestAnswersOfTheWrongKind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		wrong := true
		f.before = func(c *fakeConn, a asked) bool {
			if a.kind != clerkwire.KindGet || !wrong {
				return false
			}
			wrong = false
			sendFrame(c, clerkwire.KindListed, a.number, clerkwire.Listed{})
			return true
		}
		f.store["k"] = Item{Value: []byte("v")}
		c := f.dial(nil)
		defer f.end(c)
		if item, err := c.Get(t.Context(), "k"); err != nil || string(item.Value) != "v" {
			t.Errorf("%+v, %v", item, err)
		}
		synctest.Wait()
	})
}

// Goal: when servers come and go, connections are made again, one at a time.
func TestReconnecting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(nil)
		defer f.end(c)
		for i := range 10 {
			if _, err := c.Append(t.Context(), "k", []byte("x")); err != nil {
				t.Error(err)
			}
			f.kill("n1")
			if i%2 == 0 {
				f.set(func() { f.leader = "n2" })
				if _, err := c.Append(t.Context(), "k", []byte("y")); err != nil {
					t.Error(err)
				}
			}
			f.set(func() { f.down["n1"], f.leader = false, "n1" })
			var calls sync.WaitGroup
			before := f.dials["n1"]
			for range 10 {
				calls.Go(func() {
					if _, err := c.Append(t.Context(), "k", []byte("z")); err != nil {
						t.Error(err)
					}
				})
			}
			calls.Wait()
			if n := f.dials["n1"] - before; n > 1 {
				t.Errorf("%d connections were made where one is needed", n)
			}
		}
		if n := len(f.value("k")); n != 10+5+100 {
			t.Errorf("%d appends happened", n)
		}
	})
}

// lingering is a connection whose Close takes a second after it has closed.
type lingering struct {
	net.Conn
	closing *atomic.Int32 // pending
}

func (l lingering) Close() error {
	l.closing.Add(1)
	defer l.closing.Add(-1)
	err := l.Conn.Close()
	time.Sleep(time.Second)
	return err
}

// Goal: Close leaves no goroutine behind, not even one that is just ending a
// connection. Method: connections whose Close lingers behind what the reader
// sees; when the Clerk is closed, none may be in it.
func TestCloseWaitsForTheEndOfConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		var closing atomic.Int32
		c := f.dial(func(config *Config) {
			config.Dial = func(ctx context.Context, address string) (net.Conn, error) {
				conn, err := f.connect(ctx, address)
				return lingering{conn, &closing}, err
			}
		})
		if _, err := c.Put(t.Context(), "k", []byte("v")); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if n := closing.Load(); n != 0 {
			t.Errorf("%d connections are still being closed", n)
		}
		f.served.Wait()
	})
}
