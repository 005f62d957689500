package httpd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/machine"
	"raftkv/kvserver/port"
	"raftkv/raft"
)

// trio is three servers that ask each other for their digests, over logs that
// the test delivers to: n1 leads.
type trio struct {
	servers [3]*testServer
	logs    [3]*fakelog.Log
	printed [3]*lockedBuffer

	mu        sync.Mutex
	addresses map[string]string // without those that cannot be reached
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.b.Bytes(), []byte(text))
}

func newTrio(t *testing.T) *trio {
	t.Helper()
	c := &trio{addresses: map[string]string{}}
	var listeners [3]net.Listener
	for i := range c.servers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = l
		c.addresses[c.name(i)] = l.Addr().String()
	}
	for i := range c.servers {
		c.logs[i] = fakelog.New(c.name(i))
		if i > 0 {
			c.logs[i].SetLeader("n1")
		}
		c.printed[i] = &lockedBuffer{}
		c.servers[i] = newServerOver(t, c.logs[i], func(config *settings) {
			for j := range c.servers {
				if j != i {
					config.Peers = append(config.Peers, c.name(j))
				}
			}
			config.IntegrityInterval = 5 * time.Millisecond
			config.ClientAddr = c.address
			config.Logger = slog.New(slog.NewTextHandler(c.printed[i], nil))
		})
		ts := httptest.NewUnstartedServer(nil)
		ts.Config = port.NewServer(c.servers[i].Handler())
		ts.Listener = c.servers[i].port.Listener(listeners[i])
		ts.Start()
		t.Cleanup(ts.Close)
	}
	return c
}

func (c *trio) name(i int) string { return fmt.Sprintf("n%d", i+1) }

func (c *trio) address(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addresses[id]
}

// hide makes a node one that nobody finds, until show is called.
func (c *trio) hide(i int) (show func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	address := c.addresses[c.name(i)]
	delete(c.addresses, c.name(i))
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.addresses[c.name(i)] = address
	}
}

// deliver lets every log choose a put; that of the odd one, -1 for none, has
// another value.
func (c *trio) deliver(key string, odd int) {
	for i, log := range c.logs {
		value := "right"
		if i == odd {
			value = "wrong"
		}
		log.Deliver(fakelog.PutCommand(key, value))
	}
}

// await waits until a server's last comparison had this result.
func (c *trio) await(t *testing.T, i int, what string, is func(machine.Integrity) bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !is(c.servers[i].Integrity()) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come to %q: %+v", c.name(i), what, c.servers[i].Integrity())
		}
		time.Sleep(time.Millisecond)
	}
}

func (c *trio) awaitResult(t *testing.T, i int, want machine.IntegrityResult) {
	t.Helper()
	c.await(t, i, string(want), func(seen machine.Integrity) bool { return seen.Result == want })
}

// Goal: a node whose state differs from the majority's stops serving, hands on
// the leadership and says at which index; the others go on. It makes no
// difference whether it leads. Method: three servers are fed the same log but
// for one command; each of them is the odd one in its turn.
func TestANodeThatDivergedFencesItselfAndNobodyElse(t *testing.T) {
	for odd := range 3 {
		t.Run(fmt.Sprintf("n%d", odd+1), func(t *testing.T) {
			c := newTrio(t)
			transferred := make(chan struct{}, 100)
			for i := range c.logs {
				c.deliver("a", -1)
				c.logs[i].OnTransfer = func(context.Context, raft.ID) error {
					transferred <- struct{}{}
					return raft.ErrTransferFailed
				}
			}
			for i := range c.servers {
				c.await(t, i, "ok at 3", func(seen machine.Integrity) bool { return seen.OKIndex == 3 })
			}
			held := c.logs[0].Held()
			waits := make(chan answer, 1)
			go func() { waits <- ask(c.servers[0], "PUT", "/v1/kv/waits", "x") }()
			<-held // n1 leads, so the write is under way there
			c.deliver("a", odd)
			c.awaitResult(t, odd, machine.IntegrityDiverged)
			for i, s := range c.servers {
				if i != odd {
					c.await(t, i, "ok at 4", func(seen machine.Integrity) bool { return seen.OKIndex == 4 && seen.Fault == "" })
					wantStatus(t, ask(s, "GET", "/v1/kv/a?consistency=stale", ""), 200)
					wantStatus(t, ask(s, "GET", "/readyz", ""), 200)
					continue
				}
				for _, request := range [][2]string{
					{"GET", "/v1/kv/a"}, {"GET", "/v1/kv/a?consistency=stale"}, {"PUT", "/v1/kv/a"}, {"DELETE", "/v1/kv/a"},
					{"POST", "/v1/kv/a?op=append"}, {"GET", "/v1/kv"}, {"GET", "/v1/kv?consistency=stale"}, {"GET", "/readyz"},
				} {
					wantProblem(t, ask(s, request[0], request[1], ""), 503, api.CodeDiverged, api.OutcomeNotApplied)
				}
				p := wantProblem(t, ask(s, "GET", "/readyz?verbose", ""), 503, api.CodeDiverged, api.OutcomeNotApplied)
				if last := p.Checks[len(p.Checks)-1]; !strings.HasPrefix(last, "[-]integrity failed: ") {
					t.Errorf("the check that fails is %q", last)
				}
				// A write that was let in before the fence closed.
				late, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if _, err := s.Machine().Propose(late, kv.Command{Op: kv.OpDelete, Key: []byte("a")}); !errors.Is(err, failure.Diverged) {
					t.Errorf("proposed all the same: %v", err)
				}
				wantStatus(t, ask(s, "GET", "/livez", ""), 200)
				if !c.printed[i].contains("index 4") || !c.printed[i].contains("--rejoin") {
					t.Error("its log does not say where it differs and what to do")
				}
			}
			if odd != 0 {
				if len(waits) > 0 || len(transferred) > 0 {
					t.Error("a follower diverged, and a write or the leadership of the leader ended")
				}
				c.servers[0].Machine().End()
				<-waits
				return
			}
			wantProblem(t, <-waits, 504, api.CodeLeadershipLost, api.OutcomeUnknown)
			<-transferred
			<-transferred // it asks again while it leads
		})
	}
}

// Goal: without a majority that agrees nobody is condemned; with it only the
// odd one is. Method: the third node cannot be reached while the other two
// differ, and then it can.
func TestTwoThatDifferServeOnUntilAThirdDecides(t *testing.T) {
	c := newTrio(t)
	show := c.hide(2)
	c.deliver("a", 1)
	for i := range 2 {
		c.awaitResult(t, i, machine.IntegrityMismatch)
		wantStatus(t, ask(c.servers[i], "GET", "/v1/kv/a?consistency=stale", ""), 200)
		if !c.printed[i].contains("differ") {
			t.Errorf("%s says nothing of it in its log", c.name(i))
		}
	}
	show()
	c.awaitResult(t, 1, machine.IntegrityDiverged)
	for _, i := range []int{0, 2} {
		c.awaitResult(t, i, machine.IntegrityOK)
	}
}

// Goal: nodes that never stand at the same index are compared all the same.
// Method: three servers that stop at different places of one long log.
func TestNodesThatStandApartAreComparedAtAMark(t *testing.T) {
	c := newTrio(t)
	for i, stop := range []int{1000, 900, 950} {
		for n := range stop {
			value := "right"
			if i == 1 && n == 600 {
				value = "wrong" // mark 768 shows it, mark 512 does not
			}
			c.logs[i].Deliver(fakelog.PutCommand(fmt.Sprint(n), value))
		}
	}
	c.awaitResult(t, 1, machine.IntegrityDiverged)
	for _, i := range []int{0, 2} {
		c.await(t, i, "ok at 768", func(seen machine.Integrity) bool { return seen.OKIndex == 768 && seen.Fault == "" })
	}
}

// Goal: what is no digest of the node, the cluster, the index and the version
// that were asked for is nobody's vote. Method: one answer with each in turn.
func TestAnswersOfOthersAreNoVotes(t *testing.T) {
	f := &Peers{config: PeersConfig{ClusterID: "c1"}}
	right := api.Digest{Node: "n2", Cluster: "c1", Index: 7, Digest: "00000000000000ff", Version: kv.DigestVersion}
	if digest, err := f.judgeDigest("n2", 7, right); digest != 255 || err != nil {
		t.Errorf("%s, %v", digest, err)
	}
	for _, change := range []func(*api.Digest){
		func(a *api.Digest) { a.Node = "n3" },
		func(a *api.Digest) { a.Cluster = "c2" },
		func(a *api.Digest) { a.Index = 8 },
		func(a *api.Digest) { a.Digest = "" },
		func(a *api.Digest) { a.Digest = "digest" },
		func(a *api.Digest) { a.Version++ },
	} {
		answer := right
		change(&answer)
		if _, err := f.judgeDigest("n2", 7, answer); err == nil {
			t.Errorf("%+v was taken", answer)
		}
	}
}
