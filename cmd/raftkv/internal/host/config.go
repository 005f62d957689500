package host

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"raftkv/cmd/raftkv/internal/discover"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/httpd/page"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
	"raftkv/raft/wire"
)

// Config describes one node.
type Config struct {
	ClusterID string
	ID        core.ID
	Members   Members // with the node itself; empty: the node joins
	FS        vfs.FS
	DataDir   string
	Rejoin    bool // the data directory takes the place of one that was lost
	// Join says how the node becomes a member, if its log knows of no members.
	Join Join
	// AdvertisePeer and AdvertiseHTTP are the addresses at which others reach the ports;
	// "": those of Members and of the listeners.
	AdvertisePeer, AdvertiseHTTP string
	// Discover says where members may be found whose addresses are not known any more.
	Discover discover.Sources
	// LevelMax is the highest level at which the node works; 0: levels.Released.
	LevelMax uint32
	// HoldLevel lets the node hold the level of a cluster that has no record of its members
	// yet, from this start on until it is told to let it go.
	HoldLevel bool
	// Clients connect to HTTP and peers to Peer. Both listeners belong to the node
	// from New on.
	HTTP, Peer net.Listener
	// The operator connects to Admin, which likewise belongs to the node. nil: there is
	// no admin port.
	Admin net.Listener
	// Keys are the certificates of the node. nil: it speaks in clear.
	Keys *secure.Keys
	// Dial connects to the ports of other nodes, as far as they speak in clear. nil: by TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Reload yields when the files of Keys are to be looked at at once. nil: never.
	Reload <-chan struct{}
	// Proxies are the networks from which connections to HTTP must begin with a header of the
	// PROXY protocol.
	Proxies []netip.Prefix
	// Strict is for how long browsers that came by TLS are told to ask by TLS alone; 0: they
	// are not.
	Strict time.Duration
	// Open is what is open beyond this machine; see secure.Plan.Allow.
	Open []string
	// Page says whether there is a page at /ui/, and whether it may write.
	Page page.Mode
	// AllowedHosts are names of this node in addition to those it knows itself.
	AllowedHosts []string

	MaxInFlight         int
	MaxConnections      int
	MaxConnectionsPerIP int
	MaxForwards         int // connections to one leader; 0: kvserver's default
	MaxStrangers        int // connections to Peer without a hello; 0: wire's default
	MaxValueBytes       int64
	MaxTxnBytes         int64         // 0: the default
	HistoryBytes        int64         // 0: the default; below 0: none
	MaxStoreBytes       int64         // 0: no limit
	SnapshotBytes       int64         // 0: kvserver's default
	TrailingBytes       int           // 0: defaultTrailingBytes; tests take less
	SegmentBytes        int64         // 0: wal.DefaultSegmentBytes; tests take less
	discoverPause       time.Duration // 0: discover's; tests take less
	lostAfter           time.Duration // 0: membership's; tests take less
	unmeasured          bool          // for a test that asks what measuring costs
	unrecorded          bool          // for a test that asks what recording costs
	RequestTimeout      time.Duration
	// Access says how callers are found and bounded, and where acts are noted. The audit
	// is the caller's to close, after the node.
	Access access.Config
	// Level is that of a cluster which begins; 0: kvserver's default. All nodes have the
	// same one. Tests begin with what other clusters come to.
	Level           uint64
	StaleLimit      time.Duration // 0: kvserver's default; below 0: without a limit
	ElectionTimeout time.Duration
	Logger          *slog.Logger
	LogLevel        *slog.LevelVar // of Logger, for the admin port
	DroppedLines    func() uint64  // counts the lines that Logger could not write; nil: none are counted
	Build           string         // names this build
}

// MaxValueBytes is the length of the longest value that can be configured: its
// command must fit in a frame between nodes.
const MaxValueBytes = min(api.MaxValueBytes, wire.MaxEntryBytes-commandRoom)

// commandRoom is room for everything in a command but its value.
const commandRoom = api.MaxKeyBytes + 256

// Members are the nodes of a cluster, by ID, with the addresses at which their
// peers reach them.
type Members map[core.ID]string

// IDs returns the members' IDs, sorted.
func (m Members) IDs() []core.ID { return slices.Sorted(maps.Keys(m)) }

// Others returns the members without self.
func (m Members) Others(self core.ID) Members {
	others := maps.Clone(m)
	delete(others, self)
	return others
}

// names returns IDs as strings, which is how the service knows nodes.
func names(ids []core.ID) (all []string) {
	for _, id := range ids {
		all = append(all, string(id))
	}
	return all
}

// ReachableAddress returns the address at which other nodes reach a listener at
// listening. If that stands for every address of this machine, the host is the one by
// which the peers know it.
func ReachableAddress(listening net.Addr, asPeer string) string {
	address := listening.String()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if peerHost, _, err := net.SplitHostPort(asPeer); err == nil {
			return net.JoinHostPort(peerHost, port)
		}
	}
	return address
}
