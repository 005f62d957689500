package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/levels"
)

// Config names this server and its peers and sets the limits. The first five fields
// are needed, the rest have defaults. Durations and counts may not be negative; 0
// means the default.
type Config struct {
	ClusterID  string             // name of the cluster, 1 to 128 bytes; servers of another are refused
	ID         core.ID            // this server
	Listener   net.Listener       // where peers connect to; closed by Close
	Peers      map[core.ID]string // host:port of every other server, without this one
	ClientAddr string             // our address for clients, told to peers; at most 256 bytes, may be empty
	ClientTLS  bool               // the port at ClientAddr speaks TLS, which peers are told
	Logger     *slog.Logger       // nil: nothing is logged

	// Life describes our data directory in our hellos. The zero Life stands for a
	// directory made now, for servers without one.
	Life identity.Life
	// Memory remembers the lives of peers. nil: in this process only.
	Memory Memory
	// Fenced is called when known peers turn this server down because of its data
	// directory. The server must then end, since it would break the promises it has
	// forgotten. Fenced may be called several times, by several goroutines, and must
	// not call Close. nil: nothing is called, and the server takes part in nothing while
	// the peers say so.
	Fenced func(identity.Verdict)
	// VerdictWait is the time from the first such peer's word to the call of Fenced, in
	// which other peers may speak. Default 3 s.
	VerdictWait time.Duration
	// Contested is called when this server is alone in its list of members, and a
	// server with another list counts it among its own: two clusters would have one
	// name. The server must then end. Contested must not call Close, and is not called
	// for a server that is Used, which goes on. nil: nothing is called.
	Contested func(by core.ID)
	// Used reports whether anything was ever written to this server. It may be called
	// at any time from any goroutine. nil: nothing was.
	Used func() bool
	// UID is the uid of the cluster, zero if this server does not know it yet; see
	// SetUID.
	UID core.UID
	// Standing returns how far our disk has come: only what is durable. It may be
	// called at any time from any goroutine. nil: peers are told nothing.
	Standing func() identity.Standing
	// LevelMax is the highest level at which this server can work, 0 for
	// levels.Released. The lowest one is levels.Min.
	LevelMax uint32
	// Addresses are told to peers, by name, from levels.Members on. At most
	// maxAddressBytes of them are.
	Addresses []Address
	// Joining says that this server was started to join a cluster, without a list of
	// members: the servers that talk to it are those of the cluster with its UID.
	Joining bool
	// Removed is called when a member of this cluster says that this server's data
	// directory is none of a member's any more: ReasonRemoved or ReasonGeneration, with
	// the index of the configuration that the member goes by and its sentence. The
	// server must then end, for good. Removed may be called several times, by several
	// goroutines, and must not call Close. nil: nothing is called.
	Removed func(by core.ID, why identity.Reason, version uint64, detail string)
	// Join is asked by a server that is no member and wants to become one. It has shown the
	// certificate of a peer in the name from. What it says and what is answered are the
	// callers'; the answer has at most 64 KiB. Join may be called by several goroutines at
	// once. nil: nobody joins by this port.
	Join func(ctx context.Context, from core.ID, body []byte) (answer []byte)
	// Build names this build, for the peers' logs. At most 64 bytes; more is cut.
	Build string

	// Noted is called when a connection begins, ends or cannot be had, with the reason.
	// It may be called by any goroutine and must not block. nil: nothing is called.
	Noted func(Note)

	// CallTimeout is the time for which the oldest call may stay without an answer
	// before its connection is given up with all its calls. The receiver may hold an
	// answer until its disk has synced, so CallTimeout is longer than any healthy sync.
	// A large request gets a second more per 128 KiB, so that a slow link is not
	// taken for a dead one. Default 5 s.
	CallTimeout time.Duration
	// DialTimeout bounds one attempt to connect. Default 2 s.
	DialTimeout time.Duration
	// HelloTimeout bounds the exchange of hellos. Default and maximum 3 s.
	HelloTimeout time.Duration
	// StallTimeout is the time in which 64 KiB must be written, or read inside a frame
	// that has begun; otherwise the connection is given up.
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
	// MaxStrangers bounds the accepted connections on which no valid hello has come
	// yet; beyond it the oldest that has shown no certificate is closed for a new one, or
	// the new one where others come too fast. Default 64.
	MaxStrangers int

	// Snapshots holds the snapshots that are sent to peers, and takes those that peers
	// send. nil: InstallSnapshot calls are lost.
	Snapshots Snapshots
	// SnapshotBytesPerSecond is the rate at which this server sends snapshots, all
	// together. At least 64 KiB. Default 64 MiB.
	SnapshotBytesPerSecond int64

	// TLS says how connections with peers speak TLS. nil: not at all.
	TLS *Secure

	// Dial connects to a peer's address. nil: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

const (
	maxClusterIDBytes  = 128
	maxClientAddrBytes = 256
	maxHelloTimeout    = 3 * time.Second

	defaultSnapshotRate = 64 << 20
	minSnapshotRate     = snapshotChunkBytes
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
	known, err := levels.Of(c.LevelMax)
	if err != nil {
		return Config{}, fmt.Errorf("wire: %w", err)
	}
	c.LevelMax = known.Max
	c.Build = strings.ToValidUTF8(c.Build[:min(len(c.Build), maxBuildBytes)], "")
	c.SnapshotBytesPerSecond = orDefault(c.SnapshotBytesPerSecond, defaultSnapshotRate)
	if c.SnapshotBytesPerSecond < minSnapshotRate {
		return Config{}, fmt.Errorf("wire: SnapshotBytesPerSecond is %d; it must be at least %d, or receivers would take the sender for stuck", c.SnapshotBytesPerSecond, minSnapshotRate)
	}
	c.MaxCalls = orDefault(c.MaxCalls, 1024)
	c.MaxCallBytes = orDefault(c.MaxCallBytes, 128<<20)
	c.MaxRequests = orDefault(c.MaxRequests, 1024)
	c.MaxRequestBytes = orDefault(c.MaxRequestBytes, 64<<20)
	c.MaxStrangers = orDefault(c.MaxStrangers, 64)
	if c.Noted == nil {
		c.Noted = func(Note) {}
	}
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

// checkNames checks the names and addresses by which servers know each other.
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
	for _, id := range slices.Sorted(maps.Keys(c.Peers)) {
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

func orDefault[N int | int64](n, def N) N {
	if n == 0 {
		return def
	}
	return n
}
