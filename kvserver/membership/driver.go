package membership

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/kvserver/api"
	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/members"
)

// Consensus is what a Driver needs of the replicated log; *raft.Raft is one.
type Consensus interface {
	// Status is cheap.
	Status() *raft.Status
	// Reconfigure begins a change and never blocks; what becomes of it is told to its
	// functions, on a goroutine that must not be held up.
	Reconfigure(*raft.Reconfiguration)
	// Transfer hands leadership to another voter and returns when this node does not lead
	// any more.
	Transfer(ctx context.Context, to raft.ID) error
}

// Config is what a Driver is made of. All but Logger must be set.
type Config struct {
	Self      members.ID
	Level     uint32 // the highest level at which this program works
	Transport Transport
	Consensus Consensus
	// Static are the members of the list with which the cluster began.
	Static          []Static
	ElectionTimeout time.Duration
	// LostAfter is for how long a leader must have seen a voter silent before a person may
	// give its place away; 0: ten election timeouts.
	LostAfter time.Duration
	// Shown returns what a node has said of itself in its newest boot, nil if it has not
	// been heard since this process began.
	Shown func(members.ID) *Shown
	// Dial asks an address which server is there. It is for servers that are to become members.
	Dial func(ctx context.Context, address string) (Greeting, error)
	// Enforces reports whether the cluster enforces identities. nil: it does not.
	Enforces func() bool
	// Holding lets the level be held before there is a record. nil: it cannot be.
	Holding Holding
	Logger  *slog.Logger
}

// Greeting is what a server says of itself when it is asked.
type Greeting struct {
	ID members.ID
	Shown
}

// Driver carries changes of the membership out where this node leads. All methods are
// safe for concurrent use.
type Driver struct {
	config Config
	latest atomic.Pointer[raft.Configurations]
	// strangers are the servers without a token that are being looked for.
	strangers atomic.Int64

	mu sync.Mutex
	// moved is closed when latest changes, and made anew.
	moved chan struct{}
	// newestAt is when the newest configuration became that of this node.
	newestAt time.Time
	// asked are the changes that this node has given to consensus, by id, until their
	// first entry is committed or refused.
	asked map[string]bool
	// stays is what has been seen of the members while this node led in the term staysIn.
	// ledSince is when it was seen to lead.
	stays    map[occupant]*stay
	staysIn  uint64
	ledSince time.Time
	waits    string            // for what a promotion waits
	changes  map[string]uint64 // by result; see count
	// pilot decides about dead members while this node leads; pilotWaits is why it does
	// nothing about one, pilotActs counts what it has done, and pilotLast was the last of it,
	// at pilotAt.
	pilot      Autopilot
	pilotWaits string
	pilotActs  map[string]uint64
	pilotLast  Action
	pilotAt    time.Time
	// holders are the other members that keep the record from beginning, as they said at
	// holdAsked; zero: they are to be asked at once.
	holders   []Holder
	holdAsked time.Time

	beginning sync.Mutex // held while the first record is begun, or the level held

	kick chan struct{} // holds a token when the view should be looked at
}

// Look at the view several times in an election timeout. An address is written into the
// record when it has differed for addressPatience, and the member has answered there within
// addressTimeout.
const (
	looksPerTimeout = 3
	// restPause is the time between two looks while nothing is under way. Each look wakes
	// an idle process: ten a second were some 40 of its 280 context switches.
	restPause       = time.Second
	addressPatience = 5 * time.Second
	addressTimeout  = time.Second
)

// New returns a driver that does nothing until Run.
func New(config Config) *Driver {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.LostAfter == 0 {
		config.LostAfter = lostTimeouts * config.ElectionTimeout
	}
	d := &Driver{
		config: config, moved: make(chan struct{}), asked: map[string]bool{},
		pilotActs: map[string]uint64{}, changes: map[string]uint64{resultDone: 0, resultRefused: 0, resultUnknown: 0}, kick: make(chan struct{}, 1),
	}
	d.latest.Store(&raft.Configurations{})
	return d
}

// Configured tells the driver the configurations of its node whenever one has changed. It
// does not block.
func (d *Driver) Configured(c raft.Configurations) {
	before := d.latest.Swap(&c)
	d.mu.Lock()
	if before.Newest.Index != c.Newest.Index {
		d.newestAt = time.Now()
	}
	close(d.moved)
	d.moved = make(chan struct{})
	d.mu.Unlock()
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// Configurations returns the newest and the newest committed configuration of this node.
func (d *Driver) Configurations() raft.Configurations { return *d.latest.Load() }

// Committed returns the number of the newest committed configuration that this node knows,
// and a channel that is closed when a configuration has changed since.
func (d *Driver) Committed() (api.ConfigurationNumber, <-chan struct{}) {
	d.mu.Lock()
	moved := d.moved
	d.mu.Unlock()
	return number(d.Configurations().Committed), moved
}

func number(v members.Version) api.ConfigurationNumber {
	if v.Record == nil {
		return api.ConfigurationNumber{}
	}
	return api.ConfigurationNumber{Generation: v.Record.Generation, Version: v.Index}
}

// Run looks at the view until ctx ends, and makes the changes that a leader makes by
// itself. It looks often while something is under way, and every restPause while nothing is.
func (d *Driver) Run(ctx context.Context) {
	often := d.config.ElectionTimeout / looksPerTimeout
	next := time.NewTimer(often)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-d.kick:
		case <-ctx.Done():
			return
		}
		if ctx.Err() != nil {
			return
		}
		if d.look(ctx) {
			next.Reset(max(often, restPause))
		} else {
			next.Reset(often)
		}
	}
}

// leads reports whether this node leads.
func leads(s *raft.Status) bool { return s.Role == core.Leader }

// View returns what this node knows at the moment. Only a leader knows of the others.
func (d *Driver) View() View {
	s, c := d.config.Consensus.Status(), d.Configurations()
	nodes := d.nodes(s, c.Newest.Record)
	d.mu.Lock()
	holders := d.holders
	stood := time.Since(d.newestAt)
	var led time.Duration
	if leads(s) && d.stays != nil {
		led = time.Since(d.ledSince)
	}
	d.mu.Unlock()
	return View{
		Self: d.config.Self, Term: s.Term, Level: d.config.Level, Transport: d.config.Transport,
		Newest: c.Newest, Stood: stood, LostAfter: d.config.LostAfter,
		Leads:   leads(s),
		Settled: leads(s) && c.Newest.Index == c.Committed.Index && (c.Newest.Record == nil || !c.Newest.Record.Joint()),
		Static:  d.config.Static, UID: s.UID, Nodes: nodes, Led: led,
		Holds: d.holds(), Holders: holders,
	}
}
