package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/address"
	"raftkv/cmd/raftkv/internal/credential"
	"raftkv/cmd/raftkv/internal/discover"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/host"
	"raftkv/cmd/raftkv/internal/inventory"
	"raftkv/cmd/raftkv/internal/logging"
	"raftkv/cmd/raftkv/internal/process"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/cmd/raftkv/internal/settings"
	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/httpd/page"
	"raftkv/kvserver/port"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// serveSettings are the flags of serve as the user gave them.
type serveSettings struct {
	config          string
	id              string
	clusterID       string
	cluster         string
	dataDir         string
	rejoin          bool
	holdLevel       bool
	join            string
	joinTokenFile   string
	role            string
	replaces        string
	discover        string
	advertisePeer   string
	advertiseHTTP   string
	http            string
	peer            string
	maxValueBytes   int64
	maxTxnBytes     int64
	historyBytes    int64
	maxStoreBytes   int64
	snapshotBytes   int64
	requestTimeout  time.Duration
	electionTimeout time.Duration
	logLevel        string
	logFormat       string
	allowedHosts    string
	page            string
	adminAddr       string
	maxInFlight     int64
	maxConnections  int64
	maxPerIP        int64
	proxies         string
	tls             secure.Settings
	plan            secure.Plan // that tls makes
	fresh           bool        // no node has begun in the data directory
	access          credential.ServeSettings
}

const (
	defaultHTTP            = "127.0.0.1:8701"
	defaultClusterID       = "raftkv"
	defaultRequestTimeout  = 10 * time.Second
	defaultElectionTimeout = 300 * time.Millisecond
	defaultMaxInFlight     = 4096
	defaultSnapshotBytes   = 64 << 20
	leastSnapshotBytes     = 4 << 10
	defaultMaxConnections  = process.DefaultConnections
)

// table lists the settings, with their defaults, in the order of the help.
func (s *serveSettings) table() []settings.Setting {
	*s = serveSettings{
		http: defaultHTTP, clusterID: defaultClusterID, maxValueBytes: api.DefaultMaxValueBytes, maxTxnBytes: api.DefaultMaxTxnBytes, historyBytes: kvserver.DefaultHistoryBytes, snapshotBytes: defaultSnapshotBytes,
		requestTimeout: defaultRequestTimeout, electionTimeout: defaultElectionTimeout, logLevel: "info", logFormat: "text", page: string(page.ReadOnly),
		maxInFlight: defaultMaxInFlight, maxConnections: defaultMaxConnections, access: credential.Defaults,
	}
	return slices.Concat([]settings.Setting{
		settings.New("id", "name of this node, one of those in --cluster", &s.id),
		settings.New("data-dir", "directory for this node's data; created if missing", &s.dataDir),
		settings.New("cluster", "peer addresses of all nodes: n1=host:port,n2=host:port,…", &s.cluster),
		settings.New("join", "client addresses of nodes of a cluster that runs, to join it: host:port,…; or peer:host:port, where a certificate lets nodes in", &s.join),
		settings.New("join-token-file", "file with the token that lets this node join (raftkv member token create)", &s.joinTokenFile),
		settings.New("role", "what a node that joins is for: learner, which votes when it has caught up, or replica, which never votes", &s.role),
		settings.New("discover", "where to look for nodes whose addresses are not known any more: dns:NAME:PORT, srv:NAME, host:port, …", &s.discover),
		settings.New("advertise-peer", "address at which other nodes reach the peer port (default: this node's entry in --cluster, or --peer, which must then name one address)", &s.advertisePeer),
		settings.New("advertise-http", "address at which other nodes and clients reach the client port (default: --http, which must name one address where the node has no entry in --cluster)", &s.advertiseHTTP),
		settings.New("http", "address to listen on for clients", &s.http),
		settings.New("peer", "address to listen on for peers (default: this node's entry in --cluster)", &s.peer),
		settings.New("cluster-id", "name of the cluster; nodes of another one are refused", &s.clusterID),
		settings.New("max-txn-bytes", fmt.Sprintf("length of the longest transaction over HTTP, at most %d", host.MaxValueBytes), &s.maxTxnBytes),
		settings.New("max-value-bytes", fmt.Sprintf("length of the longest value, at most %d", host.MaxValueBytes), &s.maxValueBytes),
		settings.New("max-store-bytes", "bytes of keys and values together that the store may hold; 0 for no limit", &s.maxStoreBytes),
		settings.New("history-bytes", fmt.Sprintf("bytes of changes that the cluster keeps for watches, %d to %d, or 0 for none; the leader's counts, so give all nodes the same", kvserver.MinHistoryBytes, int64(kvserver.MaxHistoryBytes)), &s.historyBytes),
		settings.New("snapshot-bytes", "how long the log grows before a snapshot takes its place; longer, where the store takes longer to load", &s.snapshotBytes),
		settings.New("request-timeout", "time for a client's request", &s.requestTimeout),
		settings.New("election-timeout", "time without a leader before an election; raise it where round trips take over 20ms", &s.electionTimeout),
		settings.New("allowed-hosts", "names by which clients may reach this node, beside addresses, localhost and its own host: a,b; * for any", &s.allowedHosts),
		settings.New("ui", "the page at /ui/: off, readonly, or on, which lets it write what its viewer may", &s.page),
		settings.New("max-in-flight", "writes served at one time, and likewise reads; as many more may wait a moment", &s.maxInFlight),
		settings.New("max-connections", "connections of clients at one time", &s.maxConnections),
		settings.New("max-connections-per-ip", "of which from one address; 0 for no limit", &s.maxPerIP),
		settings.New("proxy-protocol-from", "proxies, as 10.0.0.7 or 10.1.0.0/24, whose connections of clients must begin with a header of the PROXY protocol: a,b", &s.proxies),
		settings.New("admin-addr", "loopback address, or unix:/path of a socket, for profiles and /v1/log-level (default: none)", &s.adminAddr),
		settings.New("auth-file", "file with identities of this node alone, for emergencies; see raftkv auth file-entry", &s.access.AuthFile),
		settings.New("stale-limit", "how long stale reads go on while identities are enforced and no leader confirms that this node is up to date; off for ever", &s.access.StaleLimit),
		settings.New("audit-file", "file that gets a line for each write, refusal and act of an admin; opened anew at SIGHUP", &s.access.AuditFile),
		settings.New("audit-keys", "how keys appear in it: full, hash or none", &s.access.AuditKeys),
		settings.New("audit-reads", "reads of keys with this prefix are noted, too; * for all", &s.access.AuditReads),
		settings.New("audit-required", "true: refuse what cannot be noted", &s.access.AuditRequired),
		settings.New("log-level", "debug, info, warn or error", &s.logLevel),
		settings.New("log-format", "text or json", &s.logFormat),
	}, s.tls.Table(), []settings.Setting{
		settings.New(settings.ConfigName, "TOML file with settings", &s.config),
	})
}

func newServeCommand() *cobra.Command {
	var s serveSettings
	table := s.table()
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run one node of a cluster",
		Long: `Run one node of a cluster until SIGTERM or SIGINT.

Every flag can also be given as an environment variable (--data-dir is
RAFTKV_DATA_DIR) or in a TOML file named by --config (data-dir = "…"). A flag
wins over a variable, a variable over the file. In the file the cluster may be
a table:

  id = "n1"
  data-dir = "/var/lib/raftkv"
  http = "0.0.0.0:8701"
  [cluster]
  n1 = "10.0.0.1:9701"
  n2 = "10.0.0.2:9701"
  n3 = "10.0.0.3:9701"

A node listens on loopback unless an address says otherwise: ":8701" means
127.0.0.1:8701. Peers must reach each other at the addresses in --cluster, and
clients of other nodes are forwarded to the --http address of the leader; where
that is 0.0.0.0, the host of the leader's entry in --cluster takes its place.

On SIGTERM a leader hands leadership over, requests under way finish, and the
process ends with code 0. A second signal ends it at once, which loses nothing
that was acknowledged. SIGHUP looks at the files of certificates at once, which
else happens every ten seconds; docs/operations.md lists all signals.

A node that listens beyond loopback needs TLS and says what it goes without:
--insecure=client,peer,auth. docs/security.md leads from nothing to TLS.

A node joins a cluster that runs with --join: it asks the nodes there, shows them
the token in --join-token-file, and is a member when the leader has reached its peer
port. It then fetches the state, and votes when it has caught up. With --cluster
beside --join, a node whose directory is empty begins as one of that list if the
others of it belong to no cluster yet, and else joins unless the cluster knows it
already. With --replace it takes the place of a voter that is lost for good. A node
that was removed from the cluster ends with code 6, and so does every later start on
its data directory.

A node whose data directory was emptied, put back to an earlier state or copied is
refused by the others, and ends. With --rejoin it comes back on an empty directory:
as a learner, which is promoted when it has caught up; in a cluster of level 2, as
soon as all others have told it what it may have promised. Until then it votes for
nobody.`,
		Example: `  raftkv serve --id n1 --data-dir ./n1 --http 127.0.0.1:8701 \
    --cluster n1=127.0.0.1:9701,n2=127.0.0.1:9702,n3=127.0.0.1:9703
  RAFTKV_ID=n2 raftkv serve --config cluster.toml
  raftkv serve --config n3.toml --rejoin    the disk of n3 was replaced`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := settings.Complete(table, command.Flags().Changed, os.LookupEnv); err != nil {
				return err
			}
			return s.serve(command.ErrOrStderr())
		},
	}
	settings.AddFlags(command, table)
	// A flag only: what is said once about one directory is no setting.
	command.Flags().StringVar(&s.replaces, "replace", "", "with --join: the dead voter whose place this node takes; its own id after its disk was lost")
	command.Flags().BoolVar(&s.holdLevel, "hold-level", false, "keep the cluster from rising to level 3 until 'raftkv level release'")
	command.Flags().BoolVar(&s.rejoin, "rejoin", false, "come back with an empty data directory after this node's disk was lost")
	return command
}

// serve opens the ports and runs the node until a signal comes or it fails.
func (s *serveSettings) serve(stderr io.Writer) error {
	config, log, err := s.nodeConfig(stderr)
	if err != nil {
		return err
	}
	defer log.Flush(logging.FlushLimit)
	if err := s.checkDataDir(config.Logger); err != nil {
		return err
	}
	// From here on a signal ends the node in order; the second one, whose
	// handling is the system's again, ends the process.
	ctx, endOfSignals := awaitEnd(false)
	defer endOfSignals()
	opened, err := s.access.Open(config.Logger)
	if err != nil {
		return err
	}
	defer opened.Close()
	config.Access, config.StaleLimit = opened.Access, opened.StaleLimit
	config.Reload = onHangups(ctx, config.Logger, config.Keys != nil, opened.Reopen)
	dumpOnQuit(stderr)
	if err := s.openPorts(ctx, &config); err != nil {
		return err
	}
	if err := s.settleExposure(&config); err != nil {
		return errors.Join(err, closePorts(&config))
	}
	address.Warn(config)
	return host.Run(ctx, endOfSignals, config)
}

// openPorts opens the node's ports, or none of them.
func (s *serveSettings) openPorts(ctx context.Context, c *host.Config) (err error) {
	if c.HTTP, err = address.ListenPatiently(ctx, "clients", "--http", s.http, c.Logger); err != nil {
		return err
	}
	if c.Peer, err = address.ListenPatiently(ctx, "peers", "--peer", s.peer, c.Logger); err != nil {
		return errors.Join(err, c.HTTP.Close())
	}
	if c.Admin, err = address.ListenForOperator(ctx, "--admin-addr", s.adminAddr, c.Logger); err != nil {
		return errors.Join(err, c.HTTP.Close(), c.Peer.Close())
	}
	return nil
}

// closePorts closes what openPorts has opened.
func closePorts(c *host.Config) error {
	if c.Admin != nil {
		c.Admin.Close()
	}
	return errors.Join(c.HTTP.Close(), c.Peer.Close())
}

// settleExposure refuses ports that are open beyond this machine unless that was said. A new
// data directory gets a note of this rule, and of whether its cluster begins with identities.
func (s *serveSettings) settleExposure(c *host.Config) error {
	mark, err := secure.ReadMark(c.FS, c.DataDir)
	if err != nil {
		return err
	}
	named := len(c.Access.BreakGlass) > 0
	switch {
	case s.fresh && len(c.Members) == 0: // it joins, and serves nobody before it has heard what the log says
		mark.Identities = secure.Enforces
	case s.fresh && named:
		mark.Identities = secure.Begins
	case mark.Identities == secure.Begins && !named:
		return fmt.Errorf("the cluster of the data directory %s begins with identities enforced, and there is nobody yet: give --auth-file, by which the first admin can be made (raftkv auth file-entry)", s.dataDir)
	}
	there := mark.Identities != "" // then it serves nobody before its log says more
	c.Open = s.plan.Exposed(c.HTTP.Addr(), c.Peer.Addr(), false)
	older := !s.fresh && !mark.Holds()
	if _, err := s.plan.Allow(s.plan.Exposed(c.HTTP.Addr(), c.Peer.Addr(), there), older, c.Logger); err != nil || !s.fresh {
		return err
	}
	if err := c.FS.MkdirAll(c.DataDir); err != nil {
		return exit.Fail(err)
	}
	return mark.Write(c.FS, c.DataDir)
}

// checkDataDir refuses a data directory that cannot be a node's, and warns about
// one that holds other things, too.
func (s *serveSettings) checkDataDir(logger *slog.Logger) error {
	holds, err := inventory.Take(vfs.OS{}, s.dataDir)
	if err != nil {
		return err
	}
	s.fresh = holds.IsNew()
	strange, err := holds.CheckForServe(s.dataDir)
	if strange != "" {
		logger.Warn("the data directory holds something that is not this node's; it is left alone, but give a node a directory of its own", "found", strange)
	}
	if err != nil {
		return err
	}
	return secure.CloseDirectory(s.dataDir, s.fresh, strange != "", logger)
}

// checkAdvertised refuses addresses at which other nodes would not find this one. A node that
// runs on a directory it has used goes on, as its cluster knows it by now.
func (s *serveSettings) checkAdvertised(listed bool) error {
	if holds, err := inventory.Take(vfs.OS{}, s.dataDir); err == nil && !holds.IsNew() {
		listed = true
	}
	return errors.Join(address.CheckAdvertised("peer", s.advertisePeer, s.peer, listed), address.CheckAdvertised("http", s.advertiseHTTP, s.http, listed))
}

// nodeConfig checks the settings and makes a node's configuration of them, all
// but the listeners. The log is what its logger writes to.
func (s *serveSettings) nodeConfig(stderr io.Writer) (host.Config, *logging.Sink, error) {
	logger, level, log, err := logging.New(stderr, s.logLevel, s.logFormat)
	if err != nil {
		return host.Config{}, nil, err
	}
	for _, needed := range []struct{ flag, value string }{{"id", s.id}, {"data-dir", s.dataDir}} {
		if needed.value == "" {
			return host.Config{}, nil, fmt.Errorf("--%s is missing: give it as a flag, as %s or as %s in the --config file", needed.flag, settings.Variable(needed.flag), needed.flag)
		}
	}
	for _, named := range []struct{ flag, value string }{{"id", s.id}, {"cluster-id", s.clusterID}} {
		if err := address.CheckName(named.value); err != nil {
			return host.Config{}, nil, fmt.Errorf("--%s %w", named.flag, err)
		}
	}
	m, join, err := s.membership()
	if err == nil {
		err = s.checkAdvertised(len(m) > 0)
	}
	if err != nil {
		return host.Config{}, nil, err
	}
	sources, proxies, err := s.lists()
	if err != nil {
		return host.Config{}, nil, err
	}
	id := core.ID(s.id)
	own := m[id]
	switch {
	case s.maxValueBytes < 1 || s.maxValueBytes > host.MaxValueBytes:
		return host.Config{}, nil, fmt.Errorf("--max-value-bytes is %d; choose 1 to %d", s.maxValueBytes, host.MaxValueBytes)
	case s.maxTxnBytes < 1 || s.maxTxnBytes > host.MaxValueBytes:
		return host.Config{}, nil, fmt.Errorf("--max-txn-bytes is %d; choose 1 to %d", s.maxTxnBytes, host.MaxValueBytes)
	case s.historyBytes < 0 || kvserver.CheckHistoryBytes(s.historyBytes) != nil:
		return host.Config{}, nil, fmt.Errorf("--history-bytes is %d; choose 0 for none, or %d to %d", s.historyBytes, kvserver.MinHistoryBytes, int64(kvserver.MaxHistoryBytes))
	case s.snapshotBytes < leastSnapshotBytes:
		return host.Config{}, nil, fmt.Errorf("--snapshot-bytes is %d; choose %d or more", s.snapshotBytes, leastSnapshotBytes)
	case s.maxStoreBytes < 0:
		return host.Config{}, nil, fmt.Errorf("--max-store-bytes is %d; choose 0 for no limit, or more", s.maxStoreBytes)
	case s.requestTimeout < 10*time.Millisecond || s.requestTimeout > time.Minute:
		return host.Config{}, nil, fmt.Errorf("--request-timeout is %v; choose 10ms to 1m", s.requestTimeout)
	case !slices.Contains(page.Modes, page.Mode(s.page)):
		return host.Config{}, nil, fmt.Errorf("--ui is %q; choose off, readonly or on", s.page)
	case s.maxInFlight < 1 || s.maxInFlight > 1<<20:
		return host.Config{}, nil, fmt.Errorf("--max-in-flight is %d; choose 1 to %d", s.maxInFlight, 1<<20)
	case s.maxConnections < 1 || s.maxConnections > 1<<20 || s.maxPerIP < 0 || s.maxPerIP > 1<<20:
		return host.Config{}, nil, fmt.Errorf("--max-connections is %d and --max-connections-per-ip %d; choose 1 to %d, and 0 to %d", s.maxConnections, s.maxPerIP, 1<<20, 1<<20)
	case s.electionTimeout < 60*time.Millisecond || s.electionTimeout > time.Minute:
		return host.Config{}, nil, fmt.Errorf("--election-timeout is %v; choose 60ms to 1m", s.electionTimeout)
	}
	if s.plan, err = s.tls.Plan(s.clusterID, s.id, len(m) == 1); err != nil {
		return host.Config{}, nil, err
	}
	s.plan.Hosts = address.ClientHosts(s.http, own)
	keys, err := secure.Open(s.plan, logger)
	if err != nil {
		return host.Config{}, nil, err
	}
	room, err := process.Divide(process.DescriptorLimit(), 1, peersOf(m), int(s.maxConnections))
	if err != nil {
		return host.Config{}, nil, exit.Fail(err)
	}
	c := host.Config{
		ClusterID: s.clusterID, ID: id, Members: m, Keys: keys, FS: process.PatientFS{FS: vfs.NewOS(), Logger: logger}, DataDir: s.dataDir, Rejoin: s.rejoin, HoldLevel: s.holdLevel,
		MaxValueBytes: s.maxValueBytes, MaxTxnBytes: s.maxTxnBytes, HistoryBytes: cmp.Or(s.historyBytes, -1), MaxStoreBytes: s.maxStoreBytes, SnapshotBytes: s.snapshotBytes, RequestTimeout: s.requestTimeout, ElectionTimeout: s.electionTimeout,
		Join: join, Discover: sources, AdvertisePeer: s.advertisePeer, AdvertiseHTTP: s.advertiseHTTP, Page: page.Mode(s.page), Strict: s.plan.Strict, Proxies: proxies,
		// What the user calls this node by is its name.
		AllowedHosts: append(listOf(s.allowedHosts), s.http, own, s.advertiseHTTP),
		MaxInFlight:  int(s.maxInFlight), MaxConnections: int(s.maxConnections), MaxConnectionsPerIP: int(s.maxPerIP),
		Logger: logger, LogLevel: level, DroppedLines: log.Dropped, Build: buildVersion(),
	}
	applyDescriptors(room, &c)
	for _, sentence := range strayVariables(os.Environ()) {
		logger.Warn(sentence)
	}
	return c, log, nil
}

// lists reads the settings that are lists of addresses.
func (s *serveSettings) lists() (sources discover.Sources, proxies []netip.Prefix, err error) {
	if sources, err = discover.Parse(s.discover); err != nil {
		return sources, nil, err
	}
	if proxies, err = port.ParseProxies(s.proxies); err != nil {
		err = fmt.Errorf("--proxy-protocol-from: %w", err)
	}
	return sources, proxies, err
}

// applyDescriptors settles a node's bounds, and says so if the limit leaves clients
// fewer connections than the user asked for.
func applyDescriptors(d process.Descriptors, c *host.Config) {
	if asked := c.MaxConnections; d.Clients < asked {
		c.Logger.Warn("there is room for fewer connections of clients than --max-connections says, because the process may open only so many files and sockets (ulimit -n); the rest is kept for the log and the peers",
			"connections", d.Clients, "max_connections", asked, "limit", d.Limit)
	}
	c.MaxConnections, c.MaxForwards, c.MaxStrangers = d.Clients, d.Forwards, d.Strangers
}

// listOf splits "a, b".
func listOf(text string) (list []string) {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// joinersPeers is for how many peers a node that joins keeps descriptors, since it does
// not know the others yet.
const joinersPeers = 8

// peersOf returns for how many peers a node keeps descriptors: those of --cluster.
func peersOf(m host.Members) int {
	if len(m) == 0 {
		return joinersPeers
	}
	return len(m) - 1
}

// maxTokenFileBytes bounds the file with a token.
const maxTokenFileBytes = 4 << 10

// membership says of which list the node is a member, or how it joins a cluster that runs.
// It settles at which address the node listens for peers.
func (s *serveSettings) membership() (host.Members, host.Join, error) {
	switch {
	case s.cluster == "" && s.join == "":
		return nil, host.Join{}, errors.New("--cluster is missing: give it as a flag, as RAFTKV_CLUSTER or as cluster in the --config file; or --join, to join a cluster that runs")
	case s.join == "" && (s.replaces != "" || s.joinTokenFile != "" || s.role != ""):
		return nil, host.Join{}, errors.New("--replace, --role and --join-token-file are for a node that joins: give --join, too")
	case s.join != "" && s.rejoin:
		return nil, host.Join{}, fmt.Errorf("--rejoin is for a node in --cluster; a node that joins comes back after its disk was lost with --join and --replace %s", s.id)
	}
	m, err := s.list()
	if err != nil || s.join == "" {
		return m, host.Join{}, err
	}
	switch {
	case len(m) == 1 && s.replaces == s.id:
		// It was a member, and comes back: what it once began with decides nothing.
		s.advertisePeer = cmp.Or(s.advertisePeer, m[core.ID(s.id)])
		s.advertiseHTTP = cmp.Or(s.advertiseHTTP, address.Reachable(s.http, s.advertisePeer))
		m = nil
	case len(m) == 1:
		return nil, host.Join{}, fmt.Errorf("--cluster with this node alone begins a cluster of one, and --join joins another: give one of them, or --replace %s, too, if this node was a member and its disk was lost", s.id)
	}
	if s.peer == "" {
		return nil, host.Join{}, errors.New("--peer is missing: a node that joins says at which address it listens for peers")
	}
	if s.role != "" && s.role != "learner" && s.role != "replica" {
		return nil, host.Join{}, fmt.Errorf("--role is %q; choose learner or replica", s.role)
	}
	join := host.Join{Addresses: listOf(s.join), Role: s.role, Replaces: core.ID(s.replaces)}
	if s.joinTokenFile != "" {
		text, err := os.ReadFile(s.joinTokenFile)
		if err == nil && len(text) > maxTokenFileBytes {
			err = fmt.Errorf("%s has %d bytes; a token has fewer than %d", s.joinTokenFile, len(text), maxTokenFileBytes)
		}
		if err != nil {
			return nil, host.Join{}, exit.Fail(fmt.Errorf("reading the token: %w", err))
		}
		join.Token = strings.TrimSpace(string(text))
	}
	return m, join, nil
}

// list returns the members in --cluster: none if it is not given, or if this node is not
// among them and is to join.
func (s *serveSettings) list() (host.Members, error) {
	if s.cluster == "" {
		return nil, nil
	}
	m, err := address.ParseMembers(s.cluster)
	if err != nil {
		return nil, err
	}
	own, isMember := m[core.ID(s.id)]
	switch {
	case isMember:
		s.peer = cmp.Or(s.peer, own)
		return m, nil
	case s.join != "":
		return nil, nil
	}
	return nil, fmt.Errorf("--cluster names %s and not this node, %s: add %s=host:port to it, or correct --id", core.JoinIDs(m.IDs(), ", "), s.id, s.id)
}
