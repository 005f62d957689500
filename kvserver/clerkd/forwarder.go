package clerkd

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// ForwarderConfig is what a Forwarder is made of. All but Dial and Patience
// must be set.
type ForwarderConfig struct {
	NodeID    string
	ClusterID string // a node of another cluster takes nothing from this one
	// UID, if not nil, gives the cluster's uid, "" while it is not known. Another cluster
	// of the same name takes nothing either. It must not block.
	UID func() string
	// ClientAddr gives the host:port where a node takes client requests, "" if that
	// is not known. It must not block.
	ClientAddr func(id string) string
	// Prove returns what proves to a node that a connection is this one's, see
	// kvserver.Server.LinkProof. It must not block. nil: nothing does.
	Prove func(to string) string
	// Dial connects to an address. nil: by TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Patience is how long a command waits for a connection. After it the command goes over
	// HTTP, which says what is wrong if nothing listens there. 0: 200 ms.
	Patience time.Duration
	Logger   *slog.Logger
}

// Forwarder carries commands to leaders on other nodes, over one connection to each
// node: many at once, and those that come together in one write. All methods are safe
// for concurrent use.
type Forwarder struct {
	config   ForwarderConfig
	lifetime context.Context
	end      context.CancelFunc
	work     sync.WaitGroup

	mu     sync.Mutex // guards the field below
	routes map[string]*route
}

// route is the way to one node. Forwarder.mu guards it.
type route struct {
	address string        // of the latest attempt
	link    *link         // nil: none was made yet
	dialled chan struct{} // closed when the pending attempt has ended; nil: none is pending
	// No attempt is made until rest, and the next failure makes that pause longer.
	rest  time.Time
	pause time.Duration
}

const (
	// connectLimit bounds the time for a connection, from dialling to the greeting.
	connectLimit    = time.Second
	connectPatience = 200 * time.Millisecond
	// Pauses after attempts that failed, and after one at a node that does not speak
	// the protocol. Meanwhile commands go over HTTP.
	minRest      = 50 * time.Millisecond
	maxRest      = 2 * time.Second
	strangerRest = 10 * time.Second
	// attemptsOnLinks is how many connections a command is tried on that end before
	// it has left.
	attemptsOnLinks = 2
	// commandRoom is more than a command has in addition to its texts.
	commandRoom = clerkwire.ForwardRoom + 64
)

// NewForwarder returns a forwarder that has no connection yet.
func NewForwarder(config ForwarderConfig) *Forwarder {
	if config.Dial == nil {
		config.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	if config.UID == nil {
		config.UID = func() string { return "" }
	}
	if config.Prove == nil {
		config.Prove = func(string) string { return "" }
	}
	config.Patience = cmp.Or(config.Patience, connectPatience)
	f := &Forwarder{config: config, routes: map[string]*route{}}
	f.lifetime, f.end = context.WithCancel(context.Background())
	return f
}

// Forward implements kvserver.Forwarder.
func (f *Forwarder) Forward(ctx context.Context, leader, id string, token auth.Secret, c kv.Command) (kvserver.Forwarded, error) {
	if c.HasOutcome() { // for which the answer has no room
		return kvserver.Forwarded{}, kvserver.ErrOtherRoad
	}
	if len(c.Key)+len(c.Value)+len(c.IdempotencyKey)+commandRoom > clerkwire.MaxForwardBody {
		return kvserver.Forwarded{}, kvserver.ErrOtherRoad
	}
	c.MaxLength = 0 // is the leader's to set
	command := kv.EncodeCommand(c)
	message := clerkwire.Forward{RequestID: id, Token: []byte(token.Reveal()), Command: command, Sum: clerkwire.SumOf(command)}
	for range attemptsOnLinks {
		l := f.link(ctx, leader, token)
		if l == nil {
			break
		}
		if deadline, has := ctx.Deadline(); has {
			message.Left = time.Until(deadline)
		}
		answer, err := l.carry(ctx, message)
		if !errors.Is(err, errNotSent) {
			return answer, err
		}
		if ctx.Err() != nil {
			return answer, failure.Unreachable(ctx, leader, l.address, err)
		}
	}
	return kvserver.Forwarded{}, kvserver.ErrOtherRoad
}

// Close ends all connections. It returns when no goroutine is left.
func (f *Forwarder) Close() {
	f.mu.Lock()
	f.end() // no attempt begins after it
	f.mu.Unlock()
	f.work.Wait()
}

var errClosed = fmt.Errorf("this node has ended its connections: %w", failure.Stopping)

// link returns a connection to a node that takes commands, nil if there is none soon.
func (f *Forwarder) link(ctx context.Context, node string, token auth.Secret) *link {
	address := f.config.ClientAddr(node)
	if address == "" {
		return nil
	}
	l, dialled := f.join(node, address, token)
	if l != nil && l.address != address {
		l.sendAway() // the node has moved
		l, dialled = f.join(node, address, token)
	}
	if dialled == nil {
		return l
	}
	timer := time.NewTimer(f.config.Patience)
	defer timer.Stop()
	select {
	case <-dialled:
	case <-timer.C:
	case <-ctx.Done():
	}
	return f.present(node)
}

// join returns the connection to a node, or the end of a pending attempt at one, which
// it begins if it is time. Both are nil while there is none to be had.
func (f *Forwarder) join(node, address string, token auth.Secret) (l *link, dialled <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.routes[node]
	if r == nil {
		r = &route{}
		f.routes[node] = r
	}
	switch {
	case r.link != nil && r.link.usable():
		return r.link, nil
	case r.dialled != nil:
		return nil, r.dialled
	case f.lifetime.Err() != nil || r.address == address && time.Now().Before(r.rest):
		return nil, nil
	}
	r.address, r.dialled = address, make(chan struct{})
	f.work.Go(func() { f.connect(node, address, r, token) })
	return nil, r.dialled
}

// present returns the connection to a node that takes commands, nil if there is none.
func (f *Forwarder) present(node string) *link {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.routes[node]; r != nil && r.link != nil && r.link.usable() {
		return r.link
	}
	return nil
}

// connect is the goroutine of one connection, from dialling to its end.
func (f *Forwarder) connect(node, address string, r *route, token auth.Secret) {
	l, err := f.open(node, address, token)
	f.settle(r, l, err)
	if err != nil {
		f.config.Logger.Debug("writes go to the leader over HTTP", "leader", node, "address", address, "error", err)
		return
	}
	unhook := context.AfterFunc(f.lifetime, func() { l.fail(errClosed) })
	defer unhook()
	l.run()
}

// settle notes how an attempt at a connection ended.
func (f *Forwarder) settle(r *route, l *link, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		r.link, r.pause = l, 0
	case errors.Is(err, errStranger):
		r.rest = time.Now().Add(strangerRest)
	default:
		r.pause = min(max(2*r.pause, minRest), maxRest)
		r.rest = time.Now().Add(r.pause)
	}
	close(r.dialled)
	r.dialled = nil
}

// errStranger says that a node will not speak the protocol soon: it is of an earlier
// version, or another one than it should be.
var errStranger = errors.New("the node does not take forwarded commands")

// open dials a node and exchanges greetings with it.
func (f *Forwarder) open(node, address string, token auth.Secret) (*link, error) {
	ctx, cancel := context.WithTimeout(f.lifetime, connectLimit)
	defer cancel()
	conn, err := f.config.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	unhook := context.AfterFunc(ctx, func() { conn.Close() })
	early, err := f.greet(conn, node, address, token)
	if !unhook() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return newLink(conn, early, node, address), nil
}

// greet asks for the upgrade, with the token of the request that needs the connection,
// and reads the answer. Each command brings its own token then.
func (f *Forwarder) greet(conn net.Conn, node, address string, token auth.Secret) (early *bufio.Reader, err error) {
	request := "GET " + clerkwire.Path + " HTTP/1.1\r\nHost: " + address + "\r\nConnection: Upgrade\r\nUpgrade: " + clerkwire.Protocol2 +
		"\r\n" + api.HeaderForwarded + ": " + f.config.NodeID + "\r\n" + api.HeaderCluster + ": " + f.config.ClusterID + "\r\n"
	uid := f.config.UID()
	if uid != "" {
		request += api.HeaderClusterUID + ": " + uid + "\r\n"
	}
	if !token.IsZero() {
		request += "Authorization: Bearer " + token.Reveal() + "\r\n"
	}
	if proof := f.config.Prove(node); proof != "" {
		request += api.HeaderLink + ": " + proof + "\r\n"
	}
	request += "\r\n"
	if _, err := conn.Write([]byte(request)); err != nil {
		return nil, err
	}
	early = bufio.NewReaderSize(conn, 4<<10)
	response, err := http.ReadResponse(early, &http.Request{Method: http.MethodGet})
	if err != nil {
		return nil, err
	}
	response.Body.Close() // an upgrade has none, and of another answer only the header counts
	h := response.Header
	switch {
	case response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden:
		return nil, fmt.Errorf("it answers %s", response.Status) // to this token, perhaps not to the next
	case response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable:
		return nil, fmt.Errorf("it answers %s", response.Status)
	case response.StatusCode != http.StatusSwitchingProtocols || !strings.EqualFold(h.Get("Upgrade"), clerkwire.Protocol2):
		return nil, fmt.Errorf("%w: it answers %s", errStranger, response.Status)
	case h.Get(api.HeaderNode) != node || h.Get(api.HeaderCluster) != f.config.ClusterID:
		return nil, fmt.Errorf("%w: it is node %.40q of cluster %.40q", errStranger, h.Get(api.HeaderNode), h.Get(api.HeaderCluster))
	case uid != "" && h.Get(api.HeaderClusterUID) == "":
		return nil, errors.New("it does not know the uid of its cluster yet")
	case uid != "" && h.Get(api.HeaderClusterUID) != uid:
		return nil, fmt.Errorf("%w: it belongs to another cluster of this name, with the uid %.40q", errStranger, h.Get(api.HeaderClusterUID))
	}
	return early, nil
}
