package clerkd

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// forwardUpgrade begins a connection as a node of a cluster does that forwards writes.
func forwardUpgrade(t *testing.T, s *testServer, cluster string) (*rawClerk, *http.Response) {
	t.Helper()
	address := serveHTTP(t, s).Listener.Addr().String()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(conn, "GET /v1/clerk HTTP/1.1\r\nHost: "+address+"\r\nConnection: Upgrade\r\nUpgrade: "+clerkwire.Protocol2+
		"\r\nKv-Forwarded: n2\r\nKv-Cluster: "+cluster+"\r\n\r\n")
	early := bufio.NewReader(conn)
	response, err := http.ReadResponse(early, &http.Request{Method: "GET"})
	if err != nil {
		t.Fatal(err)
	}
	return &rawClerk{t: t, conn: conn, header: response.Header, frames: clerkwire.NewFrameReader(conn, early, clerkwire.ForwardAnswers)}, response
}

// newForwarding returns a connection of a node that forwards writes.
func newForwarding(t *testing.T, s *testServer) *rawClerk {
	t.Helper()
	r, response := forwardUpgrade(t, s, "c1")
	if response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("Upgrade") != clerkwire.Protocol2 {
		t.Fatalf("the upgrade was answered %s with %v", response.Status, response.Header)
	}
	return r
}

// forwardCommand sends a command.
func forwardCommand(r *rawClerk, c kv.Command) uint32 {
	return forwardBytes(r, kv.EncodeCommand(c))
}

// forwardBytes sends the bytes of a command.
func forwardBytes(r *rawClerk, b []byte) uint32 {
	return askClerk(r, clerkwire.KindForward, clerkwire.Forward{RequestID: "asked", Left: time.Minute, Command: b, Sum: clerkwire.SumOf(b)})
}

// done reads the next answer, which must be the log's.
func (r *rawClerk) done(number uint32) (m clerkwire.Forwarded) {
	r.t.Helper()
	r.want(number, clerkwire.KindForwarded, &m)
	if m.Node != "n1" || m.Leader != "n1" || m.Term != 3 {
		r.t.Errorf("the answer is said to come from %+v", m)
	}
	return m
}

func putCommand(value string) kv.Command {
	return kv.Command{Op: kv.OpPut, Key: []byte("k"), Value: []byte(value)}
}

// Goal: what the leader decides of a command is decided by the leader: a forwarded
// command enters the log with the leader's identity, time, limit and quota, and the
// answer has all that the store said.
// Method: the commands in the log, and the answers, of each kind of write.
func TestALeaderDecidesAboutForwardedCommands(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.MaxValueBytes, c.MaxStoreBytes = 100, 150 })
	r := newForwarding(t, s)
	if m := r.done(forwardCommand(r, putCommand("v"))); !m.Created || m.Status != 0 || m.Revision != 1 || m.Version != 1 || m.Length != 1 {
		t.Errorf("%+v", m)
	}
	c, err := kv.DecodeCommand(log.Proposals[0].Command)
	if err != nil || c.ID == (kv.RequestID{}) || c.Time == 0 || c.MaxLength != 100 || c.Quota != 150 {
		t.Errorf("in the log is %+v, %v", c, err)
	}
	once := kv.Command{Op: kv.OpAppend, Key: []byte("k"), Value: []byte("w"), IdempotencyKey: "once"}
	for _, replayed := range []bool{false, true} {
		if m := r.done(forwardCommand(r, once)); m.Replayed != replayed || m.Revision != 2 || m.Length != 2 {
			t.Errorf("replayed %v: %+v", replayed, m)
		}
	}
	for status, c := range map[kv.Status]kv.Command{
		kv.StatusConditionFailed:     {Op: kv.OpPut, Key: []byte("k"), Condition: kv.Condition{Kind: kv.IfAbsent}},
		kv.StatusIdempotencyMismatch: {Op: kv.OpPut, Key: []byte("k"), IdempotencyKey: "once"},
		kv.StatusTooLong:             {Op: kv.OpAppend, Key: []byte("k"), Value: make([]byte, 99)},
		kv.StatusQuota:               {Op: kv.OpPut, Key: bytes.Repeat([]byte("k"), 100), Value: make([]byte, 99)},
	} {
		if m := r.done(forwardCommand(r, c)); m.Status != uint64(status) || m.Detail == "" {
			t.Errorf("want %v: %+v", status, m)
		}
	}
	if m := r.done(forwardCommand(r, kv.Command{Op: kv.OpDelete, Key: []byte("k")})); !m.Deleted {
		t.Errorf("%+v", m)
	}
}

// Goal: nothing reaches the log that no client may ask for, or that decides what is the
// leader's to decide; it is refused, and the connection goes on.
// Method: every operation there can be; of a command that may be forwarded, each field
// that may not be set; bodies that are none. The log counts.
func TestOnlyWhatAClientMayAskForIsForwarded(t *testing.T) {
	s, log := newServer(t, nil)
	r := newForwarding(t, s)
	var bodies [][]byte
	for op := range 256 {
		if o := kv.Op(op); o != kv.OpPut && o != kv.OpAppend && o != kv.OpDelete {
			bodies = append(bodies, kv.EncodeCommand(kv.Command{Op: o, Key: []byte("k")}))
		}
	}
	for _, spoil := range []func(*kv.Command){
		func(c *kv.Command) { c.ID = kv.RequestID{Origin: 1, Number: 1} }, func(c *kv.Command) { c.Time = 1 },
		func(c *kv.Command) { c.MaxLength = 1 << 20 }, func(c *kv.Command) { c.Quota = 1 },
		func(c *kv.Command) { c.Session = kv.SessionCall{ID: 1, Seq: 1} }, func(c *kv.Command) { c.Condition.Kind = kv.IfVersion },
		func(c *kv.Command) { c.Condition.Kind = 77 }, func(c *kv.Command) { c.IdempotencyKey = "a b" },
		func(c *kv.Command) { c.Key = nil }, func(c *kv.Command) { c.Caller.Identity = 1 },
	} {
		c := putCommand("v")
		spoil(&c)
		bodies = append(bodies, kv.EncodeCommand(c))
	}
	whole := kv.EncodeCommand(putCommand("v"))
	bodies = append(bodies, nil, whole[:len(whole)-1], append(bytes.Clone(whole), 0), []byte("\x02\x02\x00\x01k\x00"))
	for _, body := range bodies {
		number := forwardBytes(r, body)
		if refused := r.wantRefused(number, api.CodeBadRequest, api.OutcomeNotApplied); refused.RequestID != "asked" {
			t.Errorf("% x is refused as %+v", body, refused)
		}
	}
	r.wantRefused(askClerk(r, clerkwire.KindForward, clerkwire.Empty{}), api.CodeBadRequest, api.OutcomeNotApplied)
	long := kv.Command{Op: kv.OpPut, Key: bytes.Repeat([]byte("k"), api.MaxKeyBytes+1)}
	r.wantRefused(forwardCommand(r, long), api.CodeKeyTooLong, api.OutcomeNotApplied)
	if n := log.Attempts(); n != 0 {
		t.Errorf("%d commands came to the log", n)
	}
	r.done(forwardCommand(r, putCommand("v")))
}

// Goal: a forwarded command goes one hop, and not to another cluster. Method: a node
// that does not lead; an upgrade with another cluster's name; frames that belong to the
// other protocol.
func TestAForwardedCommandGoesNoFurther(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.ClientAddr = func(string) string { return "n2:1" } })
	r := newForwarding(t, s)
	log.SetLeader("n2")
	refused := r.wantRefused(forwardCommand(r, putCommand("v")), api.CodeNoLeader, api.OutcomeNotApplied)
	if refused.Leader != "n2" || refused.LeaderAddr != "n2:1" || !strings.Contains(refused.Detail, "n1 does not lead") {
		t.Errorf("%+v", refused)
	}
	askClerk(r, clerkwire.KindPut, clerkwire.Write{Session: 1, Seq: 1, Key: []byte("k")})
	r.ended()
	_, response := forwardUpgrade(t, s, "c2")
	if response.StatusCode != 503 || response.Header.Get(api.HeaderError) != "no_leader; outcome=not_applied" {
		t.Errorf("a node of another cluster is answered %s with %v", response.Status, response.Header)
	}
	clerk := upgradeAt(t, serveHTTP(t, s).Listener.Addr().String())
	forwardCommand(clerk, putCommand("v"))
	clerk.ended()
	if n := log.Attempts(); n != 0 {
		t.Errorf("%d commands came to the log", n)
	}
}

// Goal (audit 8): no flipped bit of a forwarded command is believed: nobody would notice it
// later, since the entry's checksum is made here. Method: flip each bit of one.
func TestNoFlippedBitOfAForwardedCommandIsBelieved(t *testing.T) {
	s, log := newServer(t, nil)
	r := newForwarding(t, s)
	right := kv.EncodeCommand(putCommand("v"))
	for bit := range 8 * len(right) {
		b := bytes.Clone(right)
		b[bit/8] ^= 1 << (bit % 8)
		number := askClerk(r, clerkwire.KindForward, clerkwire.Forward{RequestID: "asked", Left: time.Minute, Command: b, Sum: clerkwire.SumOf(right)})
		if refused := r.wantRefused(number, api.CodeNoLeader, api.OutcomeNotApplied); !strings.Contains(refused.Detail, "damaged") {
			t.Fatalf("bit %d: %+v", bit, refused)
		}
	}
	if n := log.Attempts(); n != 0 {
		t.Errorf("%d commands came to the log", n)
	}
	r.done(forwardBytes(r, right))
}

// Goal: forwarded commands have the same admission as other writes: they wait for room,
// and are then refused. Deletes do not wait behind puts.
func TestForwardedCommandsAreAdmitted(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.MaxInFlight = 4 })
	r := newForwarding(t, s)
	held := log.Held()
	var waiting []*raft.Proposal
	for range 4 {
		forwardCommand(r, putCommand("v"))
		waiting = append(waiting, <-held)
	}
	late := forwardCommand(r, putCommand("late"))
	if refused := r.wantRefused(late, api.CodeOverloaded, api.OutcomeNotApplied); refused.RetryAfter < time.Second || !refused.Retryable {
		t.Errorf("%+v", refused)
	}
	deleted := forwardCommand(r, kv.Command{Op: kv.OpDelete, Key: []byte("k")})
	waiting = append(waiting, <-held)
	for i, p := range waiting {
		log.Deliver(p.Command)
		number := uint32(i + 1)
		if i == 4 {
			number = deleted
		}
		r.done(number)
	}
}

// Goal: a forwarded command waits some time for what its replaced leader may still
// learn, unlike a Clerk's, which may be asked for again; then its end is unknown.
// Method: a leader that is replaced while it has two; one is chosen a moment later.
func TestAForwardedCommandOutlivesItsLeader(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *settings) { c.LeaderWait = time.Second })
		network := servePipes(t, s)
		conn := network.Open(t, "GET /v1/clerk HTTP/1.1\r\nHost: kv\r\nConnection: Upgrade\r\nUpgrade: "+clerkwire.Protocol2+"\r\nKv-Forwarded: n2\r\nKv-Cluster: c1\r\n\r\n")
		defer conn.Close()
		early := bufio.NewReader(conn)
		if _, err := http.ReadResponse(early, &http.Request{Method: "GET"}); err != nil {
			t.Fatal(err)
		}
		r := &rawClerk{t: t, conn: conn, frames: clerkwire.NewFrameReader(conn, early, clerkwire.ForwardAnswers)}
		held := log.Held()
		first := forwardCommand(r, putCommand("first"))
		chosen := <-held
		second := forwardCommand(r, putCommand("second"))
		<-held
		log.Set(func(status *raft.Status) { status.Term++ })
		log.SetLeader("n2")
		begun := time.Now()
		time.Sleep(900 * time.Millisecond)
		log.Deliver(chosen.Command)
		var m clerkwire.Forwarded
		r.want(first, clerkwire.KindForwarded, &m)
		r.wantRefused(second, api.CodeLeadershipLost, api.OutcomeUnknown)
		if waited := time.Since(begun); waited < time.Second || waited > time.Second+10*asyncLook {
			t.Errorf("it waited %v", waited)
		}
	})
}

// asyncLook is the interval at which writes are looked for that have lost their leader.
const asyncLook = 20 * time.Millisecond

// Goal: "not sent" is said of a command only if nothing of it has left and never will.
// Method: a link whose other end reads nothing, so that the first command is being
// written while the second is in the queue; both run out of time; then the link ends.
func TestACommandInTheQueueHasNotLeft(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		l := newLink(ours, bufio.NewReader(ours), "n2", "n2:1")
		done := make(chan struct{})
		go func() { defer close(done); l.run() }()
		ended := make(chan error, 3)
		send := func(ctx context.Context) {
			go func() {
				_, err := l.carry(ctx, clerkwire.Forward{Command: []byte("c")})
				ended <- err
			}()
			synctest.Wait()
		}
		ctx, cancel := context.WithCancel(t.Context())
		send(ctx)
		send(ctx)
		cancel()
		outcomes := map[api.Outcome]int{}
		for range 2 {
			if err := <-ended; err == errNotSent {
				outcomes[api.OutcomeNotApplied]++
			} else {
				outcomes[failure.KindOf(err).Outcome]++
			}
		}
		if outcomes[api.OutcomeNotApplied] != 1 || outcomes[api.OutcomeUnknown] != 1 {
			t.Errorf("they ended as %v", outcomes)
		}
		send(t.Context())
		theirs.Close()
		if err := <-ended; err != errNotSent {
			t.Errorf("a command in the queue of a link that ended: %v", err)
		}
		<-done
	})
}

// Goal: a command that this node has sent when it stops is said to be of unknown outcome
// because this node stops, also when its connections end before the request hears of the
// stop. Method: a link that ends as those of a closed Forwarder do, and a request whose
// context knows nothing.
func TestACommandUnderWayWhenThisNodeStops(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		l := newLink(ours, bufio.NewReader(ours), "n2", "n2:1")
		done := make(chan struct{})
		go func() { defer close(done); l.run() }()
		ended := make(chan error, 1)
		go func() {
			_, err := l.carry(t.Context(), clerkwire.Forward{Command: []byte("c")})
			ended <- err
		}()
		synctest.Wait() // the other end reads nothing, so a part of it has left
		l.fail(errClosed)
		if row := failure.KindOf(<-ended); row.Code != api.CodeStopping || row.Outcome != api.OutcomeUnknown {
			t.Errorf("it ends with %s, %s", row.Code, row.Outcome)
		}
		<-done
	})
}

// Goal: a connection on which nothing comes any more takes no more commands, however
// long TCP believes in it; one that is merely slow for one command goes on.
// Method: an end that answers nothing, and one that answers another command.
func TestASilentLinkIsGivenUp(t *testing.T) {
	for _, silent := range []bool{true, false} {
		inBubble(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			l := newLink(ours, bufio.NewReader(ours), "n2", "n2:1")
			done := make(chan struct{})
			go func() { defer close(done); l.run() }()
			ctx, cancel := context.WithTimeout(t.Context(), 2*silenceLimit)
			defer cancel()
			frames := clerkwire.NewFrameReader(theirs, nil, clerkwire.Forwards)
			go func() {
				for {
					h, err := frames.Next()
					if err != nil {
						return
					}
					if _, err := frames.Body(h); err != nil {
						return
					}
					if !silent && h.Number == 2 {
						_, _ = theirs.Write(clerkwire.AppendFrame(nil, clerkwire.KindForwarded, 2, clerkwire.Forwarded{Node: "n2"}))
					}
				}
			}()
			go func() {
				time.Sleep(silenceLimit)
				_, _ = l.carry(ctx, clerkwire.Forward{})
			}()
			if _, err := l.carry(ctx, clerkwire.Forward{}); failure.KindOf(err).Outcome != api.OutcomeUnknown {
				t.Errorf("%v", err)
			}
			if usable := l.usable(); usable == silent {
				t.Errorf("silent %v: the link takes commands: %v", silent, usable)
			}
			theirs.Close()
			<-done
		})
	}
}
