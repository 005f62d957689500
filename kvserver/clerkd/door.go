package clerkd

import (
	"bufio"
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
)

// Observer is told of Clerks' requests, for measuring. Its method is safe for
// concurrent use and must not block.
type Observer interface {
	// Clerk says that a request of a kind has its answer.
	Clerk(kind clerkwire.Kind, took time.Duration)
}

// unobserved measures nothing.
type unobserved struct{}

func (unobserved) Clerk(clerkwire.Kind, time.Duration) {}

// Door serves the Clerks that are connected to a server. All methods are safe for
// concurrent use.
type Door struct {
	server   *kvserver.Server
	config   kvserver.Config // the server's
	observer Observer
	limit    int // of connections
	// work is what requests of Clerks do outside of the connections' goroutines.
	work sync.WaitGroup
	// ending ends when Close begins, and with it what follows the members.
	ending    context.Context
	unfollow  context.CancelFunc
	following sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	conns   map[*conn]bool
	links   int           // of conns, those that have a node's place
	leaving bool          // no more connections, and no more requests on those there are
	gone    chan struct{} // closed when leaving and no connection is left
}

const (
	// maxLinks is how many connections may have a node's place: a cluster has 31 other nodes
	// at most.
	maxLinks = 31
	// connectionsShare is which part of the connections of clients may be Clerks'.
	// They stay open while nobody uses them, and must not keep HTTP out.
	connectionsShare = 0.75
	// flushLimit bounds the time for the last answers when the server ends.
	flushLimit = time.Second
)

// New returns the Clerks' face of a server. A nil observer measures nothing.
func New(server *kvserver.Server, observer Observer) *Door {
	if observer == nil {
		observer = unobserved{}
	}
	config := server.Config()
	d := &Door{
		server: server, config: config, observer: observer,
		limit: max(1, int(connectionsShare*float64(config.MaxConnections))),
		conns: map[*conn]bool{}, gone: make(chan struct{}),
	}
	d.ending, d.unfollow = context.WithCancel(context.Background())
	if config.Membership != nil {
		d.following.Go(d.followMembers)
	}
	return d
}

// Protocols are what a client can name in the header Upgrade of HTTP.
func (d *Door) Protocols() []string { return []string{clerkwire.Protocol, clerkwire.Protocol2} }

// Admit takes in a connection that begins as a request of HTTP, or says why not. from is
// the cluster of a node that forwards writes, nil for a Clerk; who is the caller of the
// request. serve greets the client, serves the connection until its end and closes it;
// what was read of it ahead is in the reader. leave must be called after that, and where
// serve is not.
func (d *Door) Admit(protocol string, from *string, who kvserver.Caller) (serve func(net.Conn, *bufio.Reader), leave func(), err error) {
	uid, limits := d.server.UID(), clerkwire.Requests
	known, _ := d.server.Configuration()
	c := newConn(d, uid, d.greeting(protocol, uid.String(), known), who)
	c.told, c.second = known, protocol == clerkwire.Protocol2 && from == nil
	c.forwards = from != nil
	switch {
	case protocol == clerkwire.Protocol2 && from != nil:
		limits, c.maxInFlight = clerkwire.Forwards, d.maxForwards()
		err = d.server.CheckForwarded(*from)
	case protocol == clerkwire.Protocol2:
		limits = clerkwire.Requests2
	}
	if err == nil {
		err = d.enter(c)
	}
	if err != nil {
		return nil, nil, err
	}
	known, _ = d.server.Configuration() // it may have changed before the connection was in the list
	c.tell(known)
	return func(to net.Conn, ahead *bufio.Reader) {
		c.serve(to, clerkwire.NewFrameReader(to, ahead, limits))
	}, func() { d.leave(c) }, nil
}

// enter takes in a connection, or says why not.
func (d *Door) enter(c *conn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.leaving:
		return failure.NodeStopping(nil)
	case len(d.conns) >= d.limit:
		return failure.Of(failure.Overloaded, nil, "too many connections of Clerks (limit %d, three quarters of --max-connections); close some, or connect to another node", d.limit)
	}
	// A node that forwards has its place in any case, but any client can say to be one.
	if c.forwards = c.forwards && d.links < maxLinks; c.forwards {
		d.links++
	} else if err := d.server.EnterOrRefuse(kvserver.Lasting); err != nil {
		return err
	}
	d.conns[c] = true
	return nil
}

func (d *Door) leave(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.conns[c]:
	case c.forwards:
		d.links--
	default:
		d.server.Leave(kvserver.Lasting, 0)
	}
	delete(d.conns, c)
	if d.leaving && len(d.conns) == 0 {
		close(d.gone)
	}
}

// Connections returns how many Clerks are connected.
func (d *Door) Connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns)
}

// sendAway ends all connections as soon as their requests are answered, and
// takes no more.
func (d *Door) sendAway() {
	for _, c := range d.list(true) {
		c.sendAway()
	}
}

// list returns the connections, and with leaving lets no more come.
func (d *Door) list(leaving bool) (all []*conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if leaving && !d.leaving {
		d.leaving = true
		if len(d.conns) == 0 {
			close(d.gone)
		}
	}
	for c := range d.conns { // any order will do
		all = append(all, c)
	}
	return all
}

// Drain tells the Clerks that are connected to go elsewhere and waits until their
// requests are answered and their connections closed, or ctx has ended; then false.
// http.Server.Shutdown does not wait for them, because their connections are not
// HTTP any more.
func (d *Door) Drain(ctx context.Context) bool {
	d.sendAway()
	select {
	case <-d.gone:
		return true
	case <-ctx.Done():
		return false
	}
}

// Close ends the connections of Clerks. The server has been closed before: writes
// that wait are answered as unknown, and connections that do not end soon are cut.
// Close returns when no goroutine is left.
func (d *Door) Close() {
	d.unfollow()
	d.following.Wait()
	d.sendAway()
	d.server.Machine().EndAsync()
	timer := time.NewTimer(flushLimit)
	defer timer.Stop()
	select {
	case <-d.gone:
	case <-timer.C:
	}
	for _, c := range d.list(true) {
		c.kill()
	}
	<-d.gone
	d.server.Machine().EndAsync() // what came while the end began
	d.work.Wait()
}

// followMembers tells the Clerks when another configuration of the members is committed,
// until the end.
func (d *Door) followMembers() {
	for {
		known, changed := d.server.Configuration()
		for _, c := range d.list(false) {
			c.tell(known)
		}
		select {
		case <-changed:
		case <-d.ending.Done():
			return
		}
	}
}

// greeting returns the end of HTTP on the connection.
func (d *Door) greeting(protocol, uid string, known api.ConfigurationNumber) string {
	leader, _ := d.server.Leader()
	var b strings.Builder
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n")
	for _, h := range [][2]string{
		{api.HeaderNode, d.config.NodeID}, {api.HeaderCluster, d.config.ClusterID}, {api.HeaderClusterUID, uid},
		{api.HeaderLeader, leader}, {api.HeaderLeaderAddr, d.server.LeaderAddr(leader)},
		{api.HeaderConfiguration, known.String()},
	} {
		if h[1] != "" {
			b.WriteString(h[0] + ": " + h[1] + "\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.String()
}
