package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/tests/virtual"
)

// fakeCluster is servers of the Clerk's protocol in memory, which agree because
// they are one object. They do what the test tells them.
type fakeCluster struct {
	t  *testing.T
	id string

	mu       sync.Mutex // guards the fields below
	leader   string     // name of the one that leads; "" if none does
	down     map[string]bool
	closed   map[string]bool // refuse connections, those there are go on
	clusters map[string]string
	old      map[string]bool // speak protocol 1 only
	conns    map[*fakeConn]bool
	// configuration is what greetings name, and endpoints what /v1/endpoints says of it.
	configuration api.ConfigurationNumber
	endpoints     api.Endpoints
	fetched       []string // the servers that were asked for it
	dials         map[string]int
	asked         []asked
	store         map[string]Item
	revision      uint64
	sessions      uint64
	lanes         map[laneID]done1
	// before, if set, sees each request first and may do with it what it wants; it
	// returns true if that was all.
	before func(c *fakeConn, a asked) bool
	served sync.WaitGroup

	hook sync.Mutex // held while before is called
}

type laneID struct{ session, lane uint64 }

// done1 is the last call of a lane.
type done1 struct {
	seq    uint64
	answer clerkwire.Written
}

// asked is a request that came to a server.
type asked struct {
	server string
	at     time.Time
	kind   clerkwire.Kind
	number uint32
	write  clerkwire.Write
	get    clerkwire.Get
	list   clerkwire.List
	watch  clerkwire.Watch
	credit uint64
	grant  clerkwire.Grant
	kept   clerkwire.KeepAlive
	revoke clerkwire.Revoke
	lock   clerkwire.Acquire
}

// fakeConn is a connection at its server.
type fakeConn struct {
	net.Conn
	cluster *fakeCluster
	server  string
	mu      sync.Mutex
}

func newFakeCluster(t *testing.T, leader string) *fakeCluster {
	return &fakeCluster{
		t: t, id: "c1", leader: leader, down: map[string]bool{}, closed: map[string]bool{}, clusters: map[string]string{},
		conns: map[*fakeConn]bool{}, dials: map[string]int{}, store: map[string]Item{}, lanes: map[laneID]done1{},
	}
}

// addressOf returns the address of a server: n1 is at n1:1.
func addressOf(server string) string { return server + ":1" }

// dial makes a Clerk of three servers, in a bubble, and closes it in the end.
func (f *fakeCluster) dial(change func(*Config)) *Clerk {
	f.t.Helper()
	config := Config{Endpoints: []string{"n1:1", "n2:1", "n3:1"}, Dial: f.connect}
	if change != nil {
		change(&config)
	}
	c, err := Dial(f.t.Context(), config)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// end closes a Clerk and waits until the servers have seen it.
func (f *fakeCluster) end(c *Clerk) {
	c.Close()
	f.served.Wait()
	if n := len(f.conns); n != 0 {
		f.t.Errorf("%d connections are left", n)
	}
}

func (f *fakeCluster) connect(_ context.Context, address string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	server, _, err := net.SplitHostPort(address)
	f.dials[server]++
	if err != nil || f.down[server] || f.closed[server] {
		return nil, fmt.Errorf("connection to %s refused", address)
	}
	here, there := net.Pipe()
	c := &fakeConn{Conn: there, cluster: f, server: server}
	f.conns[c] = true
	f.served.Go(c.serve)
	return here, nil
}

// set changes something.
func (f *fakeCluster) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// kill ends a server and its connections.
func (f *fakeCluster) kill(server string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down[server] = true
	for c := range f.conns {
		if c.server == server {
			c.Close()
		}
	}
}

// waitFor waits until a request of a kind has come.
func (f *fakeCluster) waitFor(kind clerkwire.Kind) {
	f.t.Helper()
	synctest.Wait()
	if len(f.requests(kind)) == 0 {
		f.t.Errorf("no request of kind %#x has come", kind)
	}
}

// requests returns the requests so far, of some kinds or of all.
func (f *fakeCluster) requests(kinds ...clerkwire.Kind) (all []asked) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.asked {
		for _, k := range kinds {
			if a.kind == k {
				all = append(all, a)
			}
		}
	}
	return all
}

func (c *fakeConn) serve() {
	f := c.cluster
	defer f.set(func() { delete(f.conns, c) })
	defer c.Close()
	early := bufio.NewReader(c)
	r, err := http.ReadRequest(early)
	if err == nil && r.URL.Path == "/v1/endpoints" {
		c.serveEndpoints()
		return
	}
	if f.t != nil && (err != nil || r.URL.Path != clerkwire.Path || r.Host != addressOf(c.server)) {
		f.t.Errorf("the connection begins with %+v, %v", r, err)
		return
	}
	f.mu.Lock()
	old := f.old[c.server]
	f.mu.Unlock()
	if old && r.Header.Get("Upgrade") != clerkwire.Protocol {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s\n", len(clerkwire.Protocol)+1, clerkwire.Protocol)
		return
	}
	protocol, limits := r.Header.Get("Upgrade"), clerkwire.Requests2
	if protocol == clerkwire.Protocol {
		limits = clerkwire.Requests
	}
	f.mu.Lock()
	cluster, leader, uid, configuration := f.id, f.leader, f.endpoints.UID, f.configuration.String()
	if other := f.clusters[c.server]; other != "" {
		cluster = other
	}
	f.mu.Unlock()
	greeting := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\nKv-Node: " + c.server + "\r\nKv-Cluster: " + cluster + "\r\n"
	if leader != "" {
		greeting += "Kv-Leader: " + leader + "\r\n"
	}
	if uid != "" {
		greeting += "Kv-Cluster-Uid: " + uid + "\r\nKv-Configuration: " + configuration + "\r\n"
	}
	if _, err := c.Write([]byte(greeting + "\r\n")); err != nil {
		return
	}
	frames := clerkwire.NewFrameReader(c, early, limits)
	for {
		h, err := frames.Next()
		if err != nil {
			return
		}
		body, err := frames.Body(h)
		if err != nil {
			return
		}
		a := asked{server: c.server, at: time.Now(), kind: h.Kind, number: h.Number}
		switch h.Kind {
		case clerkwire.KindPut, clerkwire.KindAppend, clerkwire.KindDelete:
			err = a.write.Parse(append([]byte(nil), body...))
		case clerkwire.KindGet:
			err = a.get.Parse(append([]byte(nil), body...))
		case clerkwire.KindList:
			err = a.list.Parse(append([]byte(nil), body...))
		case clerkwire.KindWatch:
			err = a.watch.Parse(append([]byte(nil), body...))
		case clerkwire.KindGrant:
			err = a.grant.Parse(body)
		case clerkwire.KindKeepAlive:
			err = a.kept.Parse(body)
		case clerkwire.KindRevoke:
			err = a.revoke.Parse(body)
		case clerkwire.KindAcquire:
			err = a.lock.Parse(append([]byte(nil), body...))
		case clerkwire.KindCredit:
			var m clerkwire.Credit
			err = m.Parse(body)
			a.credit = m.Bytes
		}
		if err != nil {
			f.t.Errorf("a body of kind %#x: %v", h.Kind, err)
			return
		}
		f.mu.Lock()
		f.asked = append(f.asked, a)
		before := f.before
		f.mu.Unlock()
		if before == nil || !f.call(before, c, a) {
			c.answer(a)
		}
	}
}

func (f *fakeCluster) call(before func(*fakeConn, asked) bool, c *fakeConn, a asked) bool {
	f.hook.Lock()
	defer f.hook.Unlock()
	return before(c, a)
}

func sendFrame[M clerkwire.Message](c *fakeConn, kind clerkwire.Kind, number uint32, m M) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.Write(clerkwire.AppendFrame(nil, kind, number, m)) // the client may have gone
}

func (c *fakeConn) refuse(a asked, r clerkwire.Refused) {
	r.Node = c.server
	sendFrame(c, clerkwire.KindRefused, a.number, r)
}

// noLeader refuses as a server does that does not lead.
func (c *fakeConn) noLeader(a asked, leader string) {
	c.refuse(a, clerkwire.Refused{Code: api.CodeNoLeader, Outcome: api.OutcomeNotApplied, Retryable: true, RetryAfter: time.Second, Leader: leader, Term: 3})
}

// answer does what a server does.
func (c *fakeConn) answer(a asked) {
	f := c.cluster
	f.mu.Lock()
	leader := f.leader
	f.mu.Unlock()
	stale := a.get.Consistency == clerkwire.Stale || a.list.Consistency == clerkwire.Stale
	if leader != c.server && !stale {
		c.noLeader(a, leader)
		return
	}
	switch a.kind {
	case clerkwire.KindOpen:
		f.set(func() { f.sessions++ })
		sendFrame(c, clerkwire.KindOpened, a.number, clerkwire.Opened{Session: f.sessions})
	case clerkwire.KindGet:
		f.mu.Lock()
		item, found := f.store[string(a.get.Key)]
		got := clerkwire.Got{Found: found, Revision: item.Revision, Version: item.Version, Value: item.Value, Store: f.revision}
		f.mu.Unlock()
		sendFrame(c, clerkwire.KindGot, a.number, got)
	case clerkwire.KindList:
		sendFrame(c, clerkwire.KindListed, a.number, f.page(a.list))
	default:
		if item, holds := f.holds(a.write); !holds {
			c.refuse(a, clerkwire.Refused{
				Code: api.CodePreconditionFailed, Outcome: api.OutcomeNotApplied, Decided: true, Revision: item.Revision, Version: item.Version,
				Detail: "the condition does not hold",
			})
			return
		}
		sendFrame(c, a.kind.Answer(), a.number, f.apply(a))
	}
}

// holds judges the condition of a write that is not a repetition.
func (f *fakeCluster) holds(w clerkwire.Write) (item Item, holds bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	item, found := f.store[string(w.Key)]
	switch w.Condition {
	case clerkwire.IfRevision:
		return item, item.Revision == w.Number
	case clerkwire.IfPresent:
		return item, found
	case clerkwire.IfAbsent:
		return item, !found
	}
	return item, true
}

// page lists items, whose keys are single letters, two by two.
func (f *fakeCluster) page(l clerkwire.List) (page clerkwire.Listed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := byte('a'); k <= 'z'; k++ {
		item, found := f.store[string(k)]
		switch {
		case !found || string(k) <= string(l.After):
		case len(page.Items) == 2:
			page.More = true
			return page
		default:
			page.Items = append(page.Items, clerkwire.Item{Key: []byte{k}, Value: item.Value, Revision: item.Revision, Version: item.Version})
		}
	}
	return page
}

// apply makes a write once.
func (f *fakeCluster) apply(a asked) clerkwire.Written {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := laneID{a.write.Session, a.write.Lane}
	last := f.lanes[id]
	if a.write.Seq <= last.seq {
		return last.answer // to an earlier call nobody listens
	}
	f.revision++
	key := string(a.write.Key)
	item, found := f.store[key]
	w := clerkwire.Written{Revision: f.revision, Created: !found && a.kind != clerkwire.KindDelete}
	switch a.kind {
	case clerkwire.KindDelete:
		delete(f.store, key)
		w.Deleted = found
	case clerkwire.KindAppend:
		item.Value = append(item.Value[:len(item.Value):len(item.Value)], a.write.Value...)
	default:
		item.Value = a.write.Value
	}
	if a.kind != clerkwire.KindDelete {
		item.Revision, item.Version = f.revision, item.Version+1
		f.store[key] = item
		w.Version, w.Length = item.Version, uint64(len(item.Value))
	}
	f.lanes[id] = done1{a.write.Seq, w}
	return w
}

// value returns the cluster's value of a key.
func (f *fakeCluster) value(key string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.store[key].Value)
}

// bubble runs a test in virtual time; it fails if a goroutine is left.
func bubble(t *testing.T, test func(t *testing.T)) { t.Helper(); virtual.Time(t, test) }

// wantError checks an error against those that errors.Is must find, and finds
// no other of the package's.
func wantError(t *testing.T, err error, outcome api.Outcome, want ...error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *Error", err)
	}
	if e.Outcome != outcome {
		t.Errorf("%v has the outcome %q, want %q", err, e.Outcome, outcome)
	}
	for _, known := range []error{
		ErrNotFound, ErrConflict, ErrNoLeader, ErrOutcomeUnknown, ErrOverloaded, ErrQuota, ErrTooLarge, ErrSessionExpired,
		ErrClosed, ErrInvalid, context.Canceled, context.DeadlineExceeded,
	} {
		wanted := false
		for _, w := range want {
			wanted = wanted || w == known
		}
		if errors.Is(err, known) != wanted {
			t.Errorf("%q is %q: %v, want %v", err, known, !wanted, wanted)
		}
	}
	return e
}

// serveEndpoints says where clients are served, unless that is not known.
func (c *fakeConn) serveEndpoints() {
	f := c.cluster
	f.mu.Lock()
	f.fetched = append(f.fetched, c.server)
	body, err := json.Marshal(f.endpoints)
	known := len(f.endpoints.Addresses) > 0
	f.mu.Unlock()
	if err != nil || !known {
		fmt.Fprint(c, "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n")
		return
	}
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}
