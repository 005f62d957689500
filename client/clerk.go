package client

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"raftkv/kvserver/api"
)

// Clerk is a client of the store. All methods are safe for concurrent use.
type Clerk struct {
	config Config
	route  route         // of calls that need the leader
	anyone route         // of reads that any server may answer
	turns  atomic.Uint32 // of anyone
	lanes  *lanes
	keeper keeper
	calls  sync.Pool // of *call

	lifetime context.Context // ends with Close, ErrClosed its cause
	end      context.CancelCauseFunc
	running  sync.WaitGroup

	session atomic.Uint64 // 0: none is open
	opening chan struct{} // holds a token while one is being opened

	serverList atomic.Pointer[[]*server] // replaced as a whole under mu

	mu      sync.Mutex              // guards the fields below, and running against Close
	cluster string                  // of the first server that was met
	uid     string                  // of that cluster; "" until a server has named it
	known   api.ConfigurationNumber // of the members, by whose addresses the Clerk goes
	heard   api.ConfigurationNumber // the newest that a server has named
	asking  bool                    // a goroutine asks for the addresses of heard
	closed  bool
}

// Dial makes a Clerk and waits until one of the servers has greeted it. An error
// names the setting that is wrong or, as an *Error, the reason why no server
// could be reached until ctx ended. Dial does not wait for ctx if waiting cannot
// help: if no server's name is known, or all refuse the client. The Clerk
// outlives ctx; Close ends it.
func Dial(ctx context.Context, config Config) (*Clerk, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if len(config.Endpoints) > maxServers {
		return nil, fmt.Errorf("client: there are %d endpoints; choose 1 to %d", len(config.Endpoints), maxServers)
	}
	c := &Clerk{config: config, lanes: newLanes(config.MaxWrites), opening: make(chan struct{}, 1)}
	c.lifetime, c.end = context.WithCancelCause(context.Background())
	c.keeper.set(c)
	var all []*server
	for i, address := range config.Endpoints {
		s := newServer(c, i, address)
		s.seed = true
		all = append(all, s)
	}
	c.serverList.Store(&all)
	for _, r := range []*route{&c.route, &c.anyone} {
		r.servers = func() int { return len(*c.serverList.Load()) }
		r.pause = jitter
		r.lifetime, r.worth = c.lifetime, c.worth
	}
	var t trail
	last, _ := c.anyone.retry(ctx, func(ctx context.Context, server int) verdict {
		conn, err := c.server(server).connection(ctx)
		if conn == nil {
			// A name that is unknown when the Clerk is made is most likely misspelt. A
			// name that was known, and is not now, may come back.
			return c.note(&t, server, verdict{outcome: notApplied, leader: -1, err: err, final: err != nil && isUnknownHost(err.cause)})
		}
		return verdict{outcome: done}
	})
	if last.outcome != done {
		err := c.givenUp(ctx, &t, false)
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close ends all connections and all pending calls. A write whose answer has not
// come ends with ErrOutcomeUnknown. Close returns when no goroutine of the Clerk
// is left. Leases that the Clerk has made are revoked first, if servers can be reached
// within a second; one under which a function of Lead leads, once that has returned. Such a
// function must not call Close, which would wait for it in vain, for a second.
func (c *Clerk) Close() {
	c.keeper.close()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end(ErrClosed)
	c.running.Wait()
}

// start runs a goroutine that Close waits for. It returns false if the Clerk is
// closed.
func (c *Clerk) start(run func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.running.Go(run)
	return true
}

func (c *Clerk) server(i int) *server { return (*c.serverList.Load())[i] }

// met processes a server's greeting. It returns an error if no call may be made
// there: a session means nothing to another cluster.
func (c *Clerk) met(s *server, g greeting) *Error {
	if err := c.join(g, s.address); err != nil {
		return err
	}
	if g.node != "" {
		s.node.Store(&g.node)
	}
	c.configured(g.configuration)
	if leader := c.find(g.leader, g.leaderAddr); leader >= 0 {
		c.route.leader.CompareAndSwap(int32(s.index), int32(leader))
	}
	return nil
}

// join accepts a server as one of the Clerk's cluster, or returns the reason why
// it is not. The first server that is met decides which cluster that is, by its
// name and its uid. A cluster that was emptied and begun again has the same name
// and gives the same session ids again. There, a call of an old session could be
// taken for another client's; only the uid distinguishes the two clusters. A
// server that does not know its uid yet cannot serve a Clerk that does.
func (c *Clerk) join(g greeting, address string) *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cluster == "" {
		c.cluster = g.cluster
	}
	if c.cluster != g.cluster {
		return stranger(address, fmt.Sprintf("belongs to cluster %.64q, the others to %.64q", g.cluster, c.cluster))
	}
	if c.uid == "" {
		c.uid = g.uid
	}
	switch {
	case c.uid == g.uid:
		return nil
	case g.uid == "":
		return unreachable(address, fmt.Errorf("it does not know yet which cluster named %.64q it belongs to", g.cluster))
	}
	return stranger(address, fmt.Sprintf("belongs to another cluster named %.64q, of uid %.32q and not %.32q: the old one was emptied and begun again, or this one is a test's; dial anew to use it",
		g.cluster, g.uid, c.uid))
}

// believed is how often a server must be missed before another address for it is believed.
const believed = 2

// find returns the index of a node's server, by its name and the address that
// others gave for it; below 0 if it is not known yet. A server that has not been
// met may be any node. It is tried before the Clerk believes an address that the
// caller has not given: there may be a proxy or another network between. One that
// could not be met holds nothing up: it may be down for ever. One that had the name and
// was missed twice may be somewhere else by now.
func (c *Clerk) find(node, address string) int {
	if node == "" {
		return -1
	}
	all := *c.serverList.Load()
	untried := false
	once := -1 // a server that had the name, and was not met when it was tried last
	for i, s := range all {
		if s.gone.Load() {
			continue
		}
		name, misses := s.node.Load(), s.misses.Load()
		switch {
		case name == nil:
			untried = untried || misses == 0
		case *name != node:
		case misses < believed:
			return i
		case once < 0:
			once = i
		}
	}
	for i, s := range all {
		if s.address == address {
			return i
		}
	}
	if address == "" || untried && once < 0 {
		return once
	}
	return c.add(address)
}

// add adds a server that was not among the endpoints, and returns its index.
func (c *Clerk) add(address string) int {
	address, err := ParseEndpoint(Address(address)) // by TLS or not, as the seeds
	if err != nil {
		return -1
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addLocked(address)
}
