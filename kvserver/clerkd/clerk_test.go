package clerkd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// rawClerk is one connection of the Clerk's protocol, frame by frame.
type rawClerk struct {
	t      *testing.T
	conn   net.Conn
	header http.Header // of the 101
	frames *clerkwire.FrameReader
	number uint32
	// session is the one that was opened.
	session uint64
	seq     uint64
}

// upgrade begins a connection.
func upgrade(t *testing.T, s *testServer) *rawClerk {
	t.Helper()
	r := upgradeAt(t, serveHTTP(t, s).Listener.Addr().String())
	r.open()
	return r
}

func upgradeAt(t *testing.T, address string) *rawClerk {
	t.Helper()
	conn, response, early := tryUpgrade(t, address)
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the upgrade was answered %s", response.Status)
	}
	return &rawClerk{t: t, conn: conn, header: response.Header, frames: clerkwire.NewFrameReader(conn, early, clerkwire.Answers)}
}

func tryUpgrade(t *testing.T, address string) (net.Conn, *http.Response, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, "GET /v1/clerk HTTP/1.1\r\nHost: "+address+"\r\nConnection: Upgrade\r\nUpgrade: "+clerkwire.Protocol+"\r\n\r\n")
	early := bufio.NewReader(conn)
	response, err := http.ReadResponse(early, &http.Request{Method: "GET"})
	if err != nil {
		t.Fatal(err)
	}
	return conn, response, early
}

// askClerk sends a request and returns its number.
func askClerk[M clerkwire.Message](r *rawClerk, kind clerkwire.Kind, m M) uint32 {
	r.t.Helper()
	r.number++
	if _, err := r.conn.Write(clerkwire.AppendFrame(nil, kind, r.number, m)); err != nil {
		r.t.Fatal(err)
	}
	return r.number
}

// next returns the next answer.
func (r *rawClerk) next() (clerkwire.Header, []byte) {
	r.t.Helper()
	h, err := r.frames.Next()
	if err != nil {
		r.t.Fatalf("instead of an answer: %v", err)
	}
	body, err := r.frames.Body(h)
	if err != nil {
		r.t.Fatal(err)
	}
	return h, body
}

// want reads the next answer, which must be that to a request of a kind.
func (r *rawClerk) want(number uint32, kind clerkwire.Kind, to interface{ Parse([]byte) error }) {
	r.t.Helper()
	h, body := r.next()
	if h.Kind == clerkwire.KindRefused && kind != clerkwire.KindRefused {
		var refused clerkwire.Refused
		r.t.Fatalf("refused: %+v, %v", refused, refused.Parse(body))
	}
	if h.Kind != kind || h.Number != number {
		r.t.Fatalf("the answer has kind %#x and number %d, want %#x and %d", h.Kind, h.Number, kind, number)
	}
	if err := to.Parse(body); err != nil {
		r.t.Fatal(err)
	}
}

// wantRefused reads the next answer, which must be a refusal with a code and an
// outcome.
func (r *rawClerk) wantRefused(number uint32, code api.Code, outcome api.Outcome) clerkwire.Refused {
	r.t.Helper()
	var refused clerkwire.Refused
	r.want(number, clerkwire.KindRefused, &refused)
	if refused.Code != code || refused.Outcome != outcome || refused.Detail == "" || refused.Node != "n1" || refused.RequestID == "" || refused.Term == 0 {
		r.t.Errorf("refused as %+v, want %s, %s", refused, code, outcome)
	}
	return refused
}

func (r *rawClerk) open() {
	r.t.Helper()
	var opened clerkwire.Opened
	r.want(askClerk(r, clerkwire.KindOpen, clerkwire.Empty{}), clerkwire.KindOpened, &opened)
	if r.session = opened.Session; r.session == 0 {
		r.t.Fatal("a session without a number")
	}
}

// write sends a write in lane 0.
func (r *rawClerk) write(kind clerkwire.Kind, key, value string) uint32 {
	r.t.Helper()
	r.seq++
	return askClerk(r, kind, clerkwire.Write{Session: r.session, Seq: r.seq, Key: []byte(key), Value: []byte(value)})
}

func (r *rawClerk) written(number uint32, kind clerkwire.Kind) (w clerkwire.Written) {
	r.t.Helper()
	r.want(number, kind.Answer(), &w)
	return w
}

// get reads a key and returns "(none)" if there is none.
func (r *rawClerk) get(key string) string {
	r.t.Helper()
	var got clerkwire.Got
	r.want(askClerk(r, clerkwire.KindGet, clerkwire.Get{Key: []byte(key)}), clerkwire.KindGot, &got)
	if !got.Found {
		return "(none)"
	}
	return string(got.Value)
}

// ended waits for the end of the connection.
func (r *rawClerk) ended() {
	r.t.Helper()
	if h, err := r.frames.Next(); !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !isReset(err) {
		r.t.Errorf("instead of the end: %+v, %v", h, err)
	}
}

func isReset(err error) bool { return err != nil && strings.Contains(err.Error(), "reset") }

// Goal: every request does what it says. Method: one after the other.
func TestClerkRequests(t *testing.T) {
	s, _ := newServer(t, nil)
	r := upgrade(t, s)
	if r.header.Get(api.HeaderNode) != "n1" || r.header.Get(api.HeaderCluster) != "c1" || r.header.Get(api.HeaderLeader) != "n1" {
		t.Errorf("the greeting is %v", r.header)
	}
	if w := r.written(r.write(clerkwire.KindPut, "a", "x"), clerkwire.KindPut); w != (clerkwire.Written{Revision: 1, Version: 1, Length: 1, Created: true}) {
		t.Errorf("put: %+v", w)
	}
	if w := r.written(r.write(clerkwire.KindAppend, "a", "yz"), clerkwire.KindAppend); w != (clerkwire.Written{Revision: 2, Version: 2, Length: 3}) {
		t.Errorf("append: %+v", w)
	}
	if got := r.get("a"); got != "xyz" {
		t.Errorf("get: %q", got)
	}
	r.seq-- // once more
	if w := r.written(r.write(clerkwire.KindAppend, "a", "yz"), clerkwire.KindAppend); !w.Replayed || w.Revision != 2 || stored(s, "a") != "xyz" {
		t.Errorf("the same append once more: %+v, %q", w, stored(s, "a"))
	}
	for _, c := range []struct {
		condition clerkwire.ConditionKind
		number    uint64
		holds     bool
	}{{clerkwire.IfRevision, 1, false}, {clerkwire.IfRevision, 2, true}, {clerkwire.IfAbsent, 0, false}, {clerkwire.IfPresent, 0, true}} {
		r.seq++
		number := askClerk(r, clerkwire.KindPut, clerkwire.Write{
			Session: r.session, Seq: r.seq, Condition: c.condition, Number: c.number, Key: []byte("a"), Value: []byte("n"),
		})
		if c.holds {
			r.written(number, clerkwire.KindPut)
			continue
		}
		if refused := r.wantRefused(number, api.CodePreconditionFailed, api.OutcomeNotApplied); !refused.Decided || refused.Revision != refused.Version || refused.Revision < 2 {
			t.Errorf("condition %d %d: %+v", c.condition, c.number, refused)
		}
	}
	for _, k := range []string{"b", "c", "d"} {
		r.written(r.write(clerkwire.KindPut, k, "v"), clerkwire.KindPut)
	}
	var page clerkwire.Listed
	r.want(askClerk(r, clerkwire.KindList, clerkwire.List{After: []byte("a"), Limit: 2}), clerkwire.KindListed, &page)
	if len(page.Items) != 2 || string(page.Items[0].Key) != "b" || string(page.Items[1].Value) != "v" || !page.More || page.Store != 7 {
		t.Errorf("list: %+v", page)
	}
	r.want(askClerk(r, clerkwire.KindList, clerkwire.List{Prefix: []byte("d"), KeysOnly: true}), clerkwire.KindListed, &page)
	if len(page.Items) != 1 || len(page.Items[0].Value) != 0 || page.More {
		t.Errorf("list of keys: %+v", page)
	}
	if w := r.written(r.write(clerkwire.KindDelete, "a", ""), clerkwire.KindDelete); !w.Deleted || r.get("a") != "(none)" {
		t.Errorf("delete: %+v", w)
	}
	if w := r.written(r.write(clerkwire.KindDelete, "a", ""), clerkwire.KindDelete); w.Deleted {
		t.Errorf("second delete: %+v", w)
	}
}

// Goal: a page is bounded by its bytes, and a value of any size fits in one.
func TestClerkPagesAreBounded(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.MaxValueBytes = 2 << 20 })
	for _, k := range []string{"a", "b", "c", "d"} {
		log.Deliver(fakelog.PutCommand(k, strings.Repeat(k, 600_000)))
	}
	log.Deliver(fakelog.PutCommand("e", strings.Repeat("e", 2<<20)))
	r := upgrade(t, s)
	var pages []int
	after := ""
	for more := true; more; {
		var page clerkwire.Listed
		r.want(askClerk(r, clerkwire.KindList, clerkwire.List{After: []byte(after)}), clerkwire.KindListed, &page)
		pages = append(pages, len(page.Items))
		after, more = string(page.Items[len(page.Items)-1].Key), page.More
	}
	if len(pages) != 3 || pages[0] != 2 || pages[2] != 1 {
		t.Errorf("pages of %v items", pages)
	}
}

// Goal: a server that does not lead says so at once, and where to go. It takes
// no write, and nothing reaches the log.
func TestClerkIsToldWhereTheLeaderIs(t *testing.T) {
	s, log := newServer(t, func(c *settings) {
		c.ClientAddr = func(id string) string { return id + ".example:1" }
	})
	r := upgrade(t, s)
	before := log.Attempts()
	for _, leader := range []string{"n2", ""} {
		log.SetLeader(leader)
		for _, number := range []uint32{r.write(clerkwire.KindPut, "k", "v"), askClerk(r, clerkwire.KindOpen, clerkwire.Empty{})} {
			refused := r.wantRefused(number, api.CodeNoLeader, api.OutcomeNotApplied)
			if refused.Leader != leader || (refused.LeaderAddr != "") != (leader != "") || !refused.Retryable || refused.Decided {
				t.Errorf("leader %q: %+v", leader, refused)
			}
		}
	}
	if log.Attempts() != before {
		t.Error("something was proposed")
	}
}

// Goal: what consensus says of a proposal is told with the right outcome. Method:
// each of its errors; then the next write must still work.
func TestClerkOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		placed  bool
		code    api.Code
		outcome api.Outcome
	}{
		"not leader":         {raft.ErrNotLeader, false, api.CodeNoLeader, api.OutcomeNotApplied},
		"lost":               {raft.ErrLost, true, api.CodeNoLeader, api.OutcomeNotApplied},
		"transferring":       {raft.ErrTransferring, false, api.CodeNoLeader, api.OutcomeNotApplied},
		"overloaded":         {raft.ErrOverloaded, false, api.CodeOverloaded, api.OutcomeNotApplied},
		"too large":          {raft.ErrTooLarge, false, api.CodeValueTooLarge, api.OutcomeNotApplied},
		"a snapshot":         {raft.ErrUnknown, true, api.CodeLeadershipLost, api.OutcomeUnknown},
		"stopped, placed":    {raft.ErrStopped, true, api.CodeStopping, api.OutcomeUnknown},
		"stopped, not there": {raft.ErrStopped, false, api.CodeStopping, api.OutcomeNotApplied},
		"anything else":      {errors.New("surprise"), true, api.CodeInternal, api.OutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			s, log := newServer(t, nil)
			r := upgrade(t, s)
			log.Decide(func(p *raft.Proposal) {
				if c.placed {
					log.Place(p)
				}
				p.Failed(c.err)
			})
			if refused := r.wantRefused(r.write(clerkwire.KindPut, "k", "v"), c.code, c.outcome); refused.Decided {
				t.Error("said to be decided")
			}
			log.Decide(nil)
			r.written(r.write(clerkwire.KindPut, "k", "v"), clerkwire.KindPut)
		})
	}
}

// Goal: a write whose leader was replaced is called unknown soon, and one whose
// time is over as well; what comes of it later answers nobody.
func TestClerkWritesThatLoseSight(t *testing.T) {
	for name, c := range map[string]struct {
		lose func(*fakelog.Log)
		code api.Code
	}{
		"another term": {func(log *fakelog.Log) { log.Set(func(s *raft.Status) { s.Term++ }) }, api.CodeLeadershipLost},
		"no leader":    {func(log *fakelog.Log) { log.SetLeader("") }, api.CodeLeadershipLost},
		"no answer":    {func(*fakelog.Log) {}, api.CodeTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			s, log := newServer(t, func(config *settings) {
				if c.code == api.CodeTimeout {
					config.RequestTimeout = 50 * time.Millisecond
				}
			})
			r := upgrade(t, s)
			held := log.Held()
			number := r.write(clerkwire.KindAppend, "k", "v")
			p := <-held
			c.lose(log)
			r.wantRefused(number, c.code, api.OutcomeUnknown)
			log.SetLeader("n1")
			log.Deliver(p.Command) // it happens after all
			log.Decide(nil)
			if got := r.get("k"); got != "v" {
				t.Errorf("the value is %q", got)
			}
			r.seq--
			if w := r.written(r.write(clerkwire.KindAppend, "k", "v"), clerkwire.KindAppend); !w.Replayed || stored(s, "k") != "v" {
				t.Errorf("asked again: %+v, %q", w, stored(s, "k"))
			}
		})
	}
}

// Goal: a write waits on a leader as long as it leads: another term is another
// leader, a poll is none.
func TestClerkWritesWaitForTheirLeader(t *testing.T) {
	s, log := newServer(t, nil)
	r := upgrade(t, s)
	held := log.Held()
	number := r.write(clerkwire.KindPut, "k", "v")
	p := <-held
	time.Sleep(60 * time.Millisecond) // a few looks
	log.Deliver(p.Command)
	r.written(number, clerkwire.KindPut)
}

// Goal: a session that is not known, or a call that its lane has left behind, is
// said to be expired: it did nothing.
func TestClerkSessionsThatExpired(t *testing.T) {
	s, _ := newServer(t, nil)
	r := upgrade(t, s)
	for _, m := range []clerkwire.Write{
		{Session: 999, Seq: 1, Key: []byte("k")},
		{Session: r.session, Lane: 1, Seq: 4, Key: []byte("k")},
	} {
		if m.Session == r.session {
			later := m
			later.Seq = 5
			r.written(askClerk(r, clerkwire.KindPut, later), clerkwire.KindPut)
		}
		before := stateless(s)
		r.wantRefused(askClerk(r, clerkwire.KindAppend, m), api.CodeSessionExpired, api.OutcomeNotApplied)
		if stateless(s) != before {
			t.Error("it did something")
		}
	}
}

// stateless is how many changes the store has seen.
func stateless(s *testServer) uint64 { return s.Machine().Get("k").Revision }

// Goal: bad input gets a clear answer, changes nothing, and leaves the connection
// and the requests next to it are in order.
func TestClerkBadInput(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.MaxValueBytes = 1000 })
	r := upgrade(t, s)
	before := stateOf(s)
	proposed := log.Attempts()
	w := func(change func(*clerkwire.Write)) clerkwire.Write {
		m := clerkwire.Write{Session: r.session, Seq: 1, Key: []byte("k"), Value: []byte("v")}
		change(&m)
		return m
	}
	for name, c := range map[string]struct {
		kind clerkwire.Kind
		m    clerkwire.Message
		code api.Code
	}{
		"no key":               {clerkwire.KindPut, w(func(m *clerkwire.Write) { m.Key = nil }), api.CodeBadRequest},
		"no session":           {clerkwire.KindPut, w(func(m *clerkwire.Write) { m.Session = 0 }), api.CodeBadRequest},
		"seq 0":                {clerkwire.KindPut, w(func(m *clerkwire.Write) { m.Seq = 0 }), api.CodeBadRequest},
		"a lane too many":      {clerkwire.KindPut, w(func(m *clerkwire.Write) { m.Lane = kv.MaxLanes }), api.CodeBadRequest},
		"a delete with value":  {clerkwire.KindDelete, w(func(*clerkwire.Write) {}), api.CodeBadRequest},
		"a long key":           {clerkwire.KindPut, w(func(m *clerkwire.Write) { m.Key = make([]byte, api.MaxKeyBytes+1) }), api.CodeBadRequest},
		"a long value":         {clerkwire.KindPut, w(func(m *clerkwire.Write) { m.Value = make([]byte, 1001) }), api.CodeValueTooLarge},
		"a very long value":    {clerkwire.KindAppend, w(func(m *clerkwire.Write) { m.Value = make([]byte, 1<<20) }), api.CodeValueTooLarge},
		"an unknown condition": {clerkwire.KindPut, w(func(m *clerkwire.Write) { m.Condition = 77 }), api.CodeBadRequest},
		"get of no key":        {clerkwire.KindGet, clerkwire.Get{}, api.CodeBadRequest},
		"an odd consistency":   {clerkwire.KindGet, clerkwire.Get{Key: []byte("k"), Consistency: 7}, api.CodeBadRequest},
		"a get for a put":      {clerkwire.KindPut, clerkwire.Get{Key: []byte("k")}, api.CodeBadRequest},
		"an open for a list":   {clerkwire.KindList, clerkwire.Empty{}, api.CodeBadRequest},
		"a list for an open":   {clerkwire.KindOpen, clerkwire.List{}, api.CodeBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			if refused := r.wantRefused(askClerk(r, c.kind, c.m), c.code, api.OutcomeNotApplied); refused.Retryable {
				t.Error("said to be worth another try")
			}
		})
	}
	if stateOf(s) != before || log.Attempts() != proposed {
		t.Error("something was changed or proposed")
	}
	r.written(r.write(clerkwire.KindPut, "k", "v"), clerkwire.KindPut)

	for name, bytes := range map[string]string{
		"an unknown kind": "\x55\x01\x00\x00\x00\x00\x00\x00\x00",
		"an answer":       "\x11\x01\x00\x00\x00\x00\x00\x00\x00",
		"a body too long": "\x12\x01\x00\x00\x00\xff\xff\xff\xff",
		"HTTP":            "GET / HTTP/1.1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			other := upgrade(t, s)
			io.WriteString(other.conn, bytes)
			other.ended()
			if got := r.get("k"); got != "v" {
				t.Errorf("the other connection reads %q", got)
			}
		})
	}
}

// Goal: writes that find no room wait for it, and are refused as overloaded when
// there is none; reads, deletes and other connections are not held up.
func TestClerkOverload(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.MaxInFlight = 4 })
	r := upgrade(t, s)
	held := log.Held()
	var waiting []*raft.Proposal
	for lane := range uint64(4) {
		askClerk(r, clerkwire.KindPut, clerkwire.Write{Session: r.session, Lane: lane + 1, Seq: 1, Key: []byte("k"), Value: []byte("v")})
		waiting = append(waiting, <-held)
	}
	late := askClerk(r, clerkwire.KindPut, clerkwire.Write{Session: r.session, Lane: 9, Seq: 1, Key: []byte("k"), Value: []byte("v")})
	if got := r.get("k"); got != "(none)" { // while it waits
		t.Errorf("the value is %q", got)
	}
	deleted := r.write(clerkwire.KindDelete, "k", "")
	waiting = append(waiting, <-held)
	if refused := r.wantRefused(late, api.CodeOverloaded, api.OutcomeNotApplied); refused.RetryAfter < time.Second || !refused.Retryable {
		t.Errorf("%+v", refused)
	}
	for _, p := range waiting {
		log.Deliver(p.Command)
	}
	for range 4 {
		if h, _ := r.next(); h.Kind != clerkwire.KindPut.Answer() {
			t.Errorf("an answer of kind %#x", h.Kind)
		}
	}
	r.written(deleted, clerkwire.KindDelete)
	log.Decide(nil)
	r.written(r.write(clerkwire.KindPut, "k", "v"), clerkwire.KindPut)
}

// clerkInFlight is how many requests of one connection are served at the same time.
const clerkInFlight = 1024

// Goal: a connection on which too many requests wait is not read, and is read
// again when some are answered. Nothing is lost.
func TestClerkRequestsInFlightAreBounded(t *testing.T) {
	s, log := newServer(t, nil)
	r := upgrade(t, s)
	held := make(chan *raft.Proposal, 2*clerkInFlight)
	log.Decide(func(p *raft.Proposal) {
		log.Place(p)
		held <- p
	})
	var frames []byte
	const all = clerkInFlight + 200
	for i := range uint64(all) {
		frames = clerkwire.AppendFrame(frames, clerkwire.KindPut, uint32(i+1), clerkwire.Write{
			Session: r.session, Lane: i % 1000, Seq: 1 + i/1000, Key: []byte("k"), Value: []byte("v"),
		})
	}
	if _, err := r.conn.Write(frames); err != nil {
		t.Fatal(err)
	}
	var first []*raft.Proposal
	for range clerkInFlight {
		first = append(first, <-held)
	}
	select {
	case <-held:
		t.Error("one more is in flight than may be")
	case <-time.After(50 * time.Millisecond):
	}
	for _, p := range first {
		log.Deliver(p.Command)
	}
	for range all - clerkInFlight {
		log.Deliver((<-held).Command)
	}
	seen := map[uint32]bool{}
	for range all {
		h, _ := r.next()
		seen[h.Number] = true
	}
	if len(seen) != all {
		t.Errorf("%d of %d were answered", len(seen), all)
	}
}

// Goal: reads that come together share one read index; each sees what was
// written before it. Stale ones need none and no leader.
func TestClerkReads(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.LeaderWait = 10 * time.Millisecond })
	r := upgrade(t, s)
	r.written(r.write(clerkwire.KindPut, "k", "v"), clerkwire.KindPut)
	asked := 0
	answer := make(chan uint64)
	log.Reading(func(context.Context) (uint64, error) { asked++; return <-answer, nil })
	var burst []byte
	for n := range uint32(50) {
		burst = clerkwire.AppendFrame(burst, clerkwire.KindGet, n+100, clerkwire.Get{Key: []byte("k")})
	}
	if _, err := r.conn.Write(burst); err != nil {
		t.Fatal(err)
	}
	answered := make(chan bool)
	go func() {
		defer close(answered)
		for {
			select {
			case answer <- 2:
			case answered <- true:
				return
			}
		}
	}()
	for range 50 {
		if h, _ := r.next(); h.Kind != clerkwire.KindGot {
			t.Errorf("an answer of kind %#x", h.Kind)
		}
	}
	<-answered
	if asked > 5 {
		t.Errorf("50 reads in one burst asked for %d read indices", asked)
	}
	log.Reading(func(context.Context) (uint64, error) { return 0, raft.ErrNotLeader })
	log.SetLeader("")
	r.wantRefused(askClerk(r, clerkwire.KindGet, clerkwire.Get{Key: []byte("k")}), api.CodeNoLeader, api.OutcomeNotApplied)
	var got clerkwire.Got
	r.want(askClerk(r, clerkwire.KindGet, clerkwire.Get{Key: []byte("k"), Consistency: clerkwire.Stale}), clerkwire.KindGot, &got)
	if !got.Found || string(got.Value) != "v" || got.Store != 1 {
		t.Errorf("a stale read: %+v", got)
	}
	// One that waits for a revision holds up nobody.
	waits := askClerk(r, clerkwire.KindGet, clerkwire.Get{Key: []byte("k"), Consistency: clerkwire.Stale, MinRevision: 2})
	r.want(askClerk(r, clerkwire.KindGet, clerkwire.Get{Key: []byte("k"), Consistency: clerkwire.Stale}), clerkwire.KindGot, &got)
	log.Deliver(fakelog.PutCommand("k", "w"))
	r.want(waits, clerkwire.KindGot, &got)
	if string(got.Value) != "w" {
		t.Errorf("at revision 2: %+v", got)
	}
}

// Goal: a Clerk is sent away in order: it hears so, what is in flight is
// answered, and the connection ends. New ones are not taken.
func TestDrainClerks(t *testing.T) {
	s, log := newServer(t, nil)
	ts := serveHTTP(t, s)
	address := ts.Listener.Addr().String()
	r, idle := upgradeAt(t, address), upgradeAt(t, address)
	r.open()
	idle.open()
	held := log.Held()
	number := r.write(clerkwire.KindPut, "k", "v")
	p := <-held
	drained := make(chan bool, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		drained <- s.clerks.Drain(ctx)
	}()
	for _, c := range []*rawClerk{r, idle} {
		var m clerkwire.Empty
		c.want(0, clerkwire.KindGoodbye, &m)
	}
	idle.ended()
	r.wantRefused(askClerk(r, clerkwire.KindGet, clerkwire.Get{Key: []byte("k")}), api.CodeStopping, api.OutcomeNotApplied)
	_, response, _ := tryUpgrade(t, address)
	if response.StatusCode != 503 {
		t.Errorf("a new connection: %s", response.Status)
	}
	select {
	case <-drained:
		t.Error("drained while a write is in flight")
	default:
	}
	log.Deliver(p.Command)
	r.written(number, clerkwire.KindPut)
	r.ended()
	if !<-drained {
		t.Error("not drained")
	}
}

// Goal: when the server closes, what waits is answered as unknown, and nothing is
// left (the fixture looks).
func TestClerksAtTheEndOfTheServer(t *testing.T) {
	s, log := newServer(t, nil)
	r := upgrade(t, s)
	held := log.Held()
	number := r.write(clerkwire.KindPut, "k", "v")
	<-held
	log.Reading(func(ctx context.Context) (uint64, error) { <-ctx.Done(); return 0, ctx.Err() })
	read := askClerk(r, clerkwire.KindGet, clerkwire.Get{Key: []byte("k")})
	var page clerkwire.Listed // to know that the read has been taken in
	r.want(askClerk(r, clerkwire.KindList, clerkwire.List{Consistency: clerkwire.Stale}), clerkwire.KindListed, &page)
	s.Close()
	answers := map[uint32]clerkwire.Refused{}
	for range 3 {
		h, body := r.next()
		if h.Kind == clerkwire.KindGoodbye {
			continue
		}
		var refused clerkwire.Refused
		if err := refused.Parse(body); err != nil {
			t.Fatal(err)
		}
		answers[h.Number] = refused
	}
	if w := answers[number]; w.Code != api.CodeStopping || w.Outcome != api.OutcomeUnknown {
		t.Errorf("the write: %+v", w)
	}
	if g := answers[read]; g.Code != api.CodeStopping || g.Outcome != api.OutcomeNotApplied {
		t.Errorf("the read: %+v", g)
	}
	r.ended()
}

// Goal: a client that vanishes leaves nothing behind, whatever it had asked for
// (the fixture looks).
func TestClerkVanishes(t *testing.T) {
	s, log := newServer(t, nil)
	log.Reading(func(context.Context) (uint64, error) { return 0, raft.ErrNotLeader })
	for range 5 {
		log.Decide(nil)
		r := upgrade(t, s)
		log.Decide(log.Place)
		r.write(clerkwire.KindPut, "k", "v")
		askClerk(r, clerkwire.KindGet, clerkwire.Get{Key: []byte("k")})
		askClerk(r, clerkwire.KindGet, clerkwire.Get{Key: []byte("k"), MinRevision: 99})
		r.conn.Write([]byte{byte(clerkwire.KindPut), 1})
		r.conn.Close()
	}
}

// Goal: whatever bytes a client sends after the upgrade, the server and its other
// clients are well, and nothing stays admitted (the fixture looks).
func FuzzClerkStream(f *testing.F) {
	f.Add(clerkwire.AppendFrame(nil, clerkwire.KindOpen, 1, clerkwire.Empty{}))
	f.Add(clerkwire.AppendFrame(nil, clerkwire.KindPut, 1, clerkwire.Write{Session: 1, Seq: 1, Key: []byte("k"), Value: []byte("v")}))
	f.Add(clerkwire.AppendFrame(nil, clerkwire.KindGet, 1, clerkwire.Get{Key: []byte("k"), MinRevision: 9}))
	f.Add(clerkwire.AppendFrame(nil, clerkwire.KindList, 1, clerkwire.List{Limit: 1}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		s, _ := newServer(t, nil)
		here, there := net.Pipe()
		defer here.Close()
		serve, leave, err := s.clerks.Admit(clerkwire.Protocol, nil, kvserver.Caller{})
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			defer leave()
			serve(there, nil)
		}()
		go io.Copy(io.Discard, here)
		here.Write(stream)
		here.Close()
		<-served
	})
}
