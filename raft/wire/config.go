package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// Config says who we are, who the others are, and how much of everything there
// may be. The first five fields are needed, the rest have defaults. Durations
// and counts may not be negative; 0 means the default.
type Config struct {
	ClusterID  string             // which cluster this is, 1 to 128 bytes; servers of another are refused
	ID         core.ID            // this server
	Listener   net.Listener       // where peers connect to; closed by Close
	Peers      map[core.ID]string // host:port of every other server, without this one
	ClientAddr string             // our address for clients, told to peers; at most 256 bytes, may be empty
	Logger     *slog.Logger       // nil: nothing is logged

	// Life is what our hellos say of our data directory. The zero Life stands for a
	// directory made now, for servers without one.
	Life identity.Life
	// Memory is where the lives of peers are remembered. nil: in this process only.
	Memory Memory
	// Fenced is told that peers which we know turn us down because of our data
	// directory. The server must then end: what it has forgotten it would break. It may
	// be called several times, by several goroutines, and must not call Close. nil:
	// nobody is told, and the server takes part in nothing for as long as it is so.
	Fenced func(identity.Verdict)
	// VerdictWait is how long the first such peer waits for the others. Default 3 s.
	VerdictWait time.Duration
	// Contested is told that a server with another list of members counts this one,
	// which is alone in its own list, among its own: two clusters would go by one
	// name. The server must then end. It must not call Close. nil: nobody is told. A
	// server that is Used is not told, and goes on.
	Contested func(by core.ID)
	// Used reports whether this server has anything to lose: something was written
	// to it. It may be called at any time from any goroutine. nil: it has nothing.
	Used func() bool
	// UID is the uid of the cluster, zero if this server does not know it yet; see
	// SetUID.
	UID core.UID
	// Standing says how far our disk has come: only what is durable. It may be called
	// at any time from any goroutine. nil: nothing is said.
	Standing func() identity.Standing
	// Build names this build, for the peers' logs. At most 64 bytes; more is cut.
	Build string

	// CallTimeout is how long the oldest call may stay without an answer before
	// its connection is given up with all its calls. The receiver may hold an
	// answer until its disk has synced, so it is longer than any healthy sync.
	// A large request gets a second more per 128 KiB, so that a slow link is not
	// taken for a dead one. Default 5 s.
	CallTimeout time.Duration
	// DialTimeout bounds one attempt to connect. Default 2 s.
	DialTimeout time.Duration
	// HelloTimeout bounds the exchange of hellos. Default and maximum 3 s.
	HelloTimeout time.Duration
	// StallTimeout is how long 64 KiB may take to be written, or to be read
	// inside a frame that has begun, before the connection is given up.
	// Default 5 s.
	StallTimeout time.Duration
	// BackoffMin and BackoffMax bound the pause between two attempts to connect,
	// which doubles with each failure; half of it is random. Defaults 10 ms, 1 s.
	BackoffMin, BackoffMax time.Duration

	// MaxCalls and MaxCallBytes bound the calls to one peer that have no answer
	// yet, in number and in encoded bytes; calls beyond them are lost at once.
	// A call always fits when there is no other. The requests are not copied
	// while they wait. Defaults 1024 and 128 MiB.
	MaxCalls     int
	MaxCallBytes int64
	// MaxRequests and MaxRequestBytes bound the requests of one peer that were
	// handed to the Handler and have no answer yet; beyond them nothing more is
	// read from that peer. Defaults 1024 and 64 MiB.
	MaxRequests     int
	MaxRequestBytes int64
	// MaxStrangers bounds the accepted connections that have not yet said a
	// valid hello; beyond it new ones are closed at once. Default 64.
	MaxStrangers int

	// Snapshots is where snapshots that are sent to peers come from and where
	// those that peers send go. nil: InstallSnapshot calls are lost.
	Snapshots Snapshots
	// SnapshotBytesPerSecond is how fast this server sends snapshots, all
	// together. At least 64 KiB. Default 64 MiB.
	SnapshotBytesPerSecond int64

	// Dial connects to a peer's address. nil: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

const (
	maxClusterIDBytes  = 128
	maxClientAddrBytes = 256
	maxHelloTimeout    = 3 * time.Second

	defaultSnapshotRate = 64 << 20
	leastSnapshotRate   = snapshotChunkBytes
)

// Keep-alives find a host that vanished without a word on an idle connection
// in about five seconds.
const (
	keepAliveIdle     = 2 * time.Second
	keepAliveInterval = time.Second
	keepAliveCount    = 3
)

// withDefaults checks c and returns a copy in which every field has its value.
func (c Config) withDefaults() (Config, error) {
	if err := c.checkNames(); err != nil {
		return Config{}, err
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"CallTimeout", &c.CallTimeout, 5 * time.Second},
		{"DialTimeout", &c.DialTimeout, 2 * time.Second},
		{"HelloTimeout", &c.HelloTimeout, maxHelloTimeout},
		{"StallTimeout", &c.StallTimeout, 5 * time.Second},
		{"VerdictWait", &c.VerdictWait, 3 * time.Second},
		{"BackoffMin", &c.BackoffMin, 10 * time.Millisecond},
		{"BackoffMax", &c.BackoffMax, time.Second},
	} {
		if *d.value < 0 {
			return Config{}, fmt.Errorf("wire: %s is %v; it may not be negative", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if c.HelloTimeout > maxHelloTimeout {
		return Config{}, fmt.Errorf("wire: HelloTimeout is %v; it may be at most %v", c.HelloTimeout, maxHelloTimeout)
	}
	if c.BackoffMin > c.BackoffMax {
		return Config{}, fmt.Errorf("wire: BackoffMin (%v) is above BackoffMax (%v)", c.BackoffMin, c.BackoffMax)
	}
	if c.MaxCalls < 0 || c.MaxCallBytes < 0 || c.MaxRequests < 0 || c.MaxRequestBytes < 0 || c.MaxStrangers < 0 {
		return Config{}, errors.New("wire: a limit is negative; 0 means the default")
	}
	if c.Life.Boot == 0 {
		c.Life = newLife()
	}
	if err := c.Life.Check(); err != nil {
		return Config{}, err
	}
	if c.Memory == nil {
		c.Memory = forgetful{}
	}
	c.Build = strings.ToValidUTF8(c.Build[:min(len(c.Build), maxBuildBytes)], "")
	c.SnapshotBytesPerSecond = orDefault(c.SnapshotBytesPerSecond, defaultSnapshotRate)
	if c.SnapshotBytesPerSecond < leastSnapshotRate {
		return Config{}, fmt.Errorf("wire: SnapshotBytesPerSecond is %d; it must be at least %d, or receivers would take the sender for stuck", c.SnapshotBytesPerSecond, leastSnapshotRate)
	}
	c.MaxCalls = orDefault(c.MaxCalls, 1024)
	c.MaxCallBytes = orDefault(c.MaxCallBytes, 128<<20)
	c.MaxRequests = orDefault(c.MaxRequests, 1024)
	c.MaxRequestBytes = orDefault(c.MaxRequestBytes, 64<<20)
	c.MaxStrangers = orDefault(c.MaxStrangers, 64)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "tcp", addr)
		}
	}
	return c, nil
}

// checkNames checks everything by which servers know each other.
func (c Config) checkNames() error {
	if c.ClusterID == "" || len(c.ClusterID) > maxClusterIDBytes {
		return fmt.Errorf("wire: the cluster id has %d bytes; it must have 1 to %d", len(c.ClusterID), maxClusterIDBytes)
	}
	if err := checkID(c.ID); err != nil {
		return fmt.Errorf("wire: our own id: %w", err)
	}
	if c.Listener == nil {
		return errors.New("wire: no listener; peers could not connect to us")
	}
	if len(c.ClientAddr) > maxClientAddrBytes {
		return fmt.Errorf("wire: the client address has %d bytes; at most %d fit in a hello", len(c.ClientAddr), maxClientAddrBytes)
	}
	holder := make(map[string]core.ID, len(c.Peers))
	for _, id := range sortedIDs(c.Peers) {
		if err := checkID(id); err != nil {
			return fmt.Errorf("wire: id of a peer: %w", err)
		}
		if id == c.ID {
			return fmt.Errorf("wire: %q is both our own id and a peer's; leave ourselves out of the peers", id)
		}
		addr := c.Peers[id]
		if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
			return fmt.Errorf("wire: address %q of peer %q is not host:port", addr, id)
		}
		if other, taken := holder[addr]; taken {
			return fmt.Errorf("wire: peers %q and %q have the same address %q", other, id, addr)
		}
		holder[addr] = id
	}
	return nil
}

func checkID(id core.ID) error {
	if id == core.None || len(id) > core.MaxIDBytes {
		return fmt.Errorf("%q has %d bytes; an id must have 1 to %d", id, len(id), core.MaxIDBytes)
	}
	return nil
}

func sortedIDs[V any](m map[core.ID]V) []core.ID {
	ids := make([]core.ID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func orDefault[N int | int64](n, def N) N {
	if n == 0 {
		return def
	}
	return n
}
