package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/address"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/firstadmin"
	"raftkv/cmd/raftkv/internal/host"
	"raftkv/cmd/raftkv/internal/inventory"
	"raftkv/cmd/raftkv/internal/logging"
	"raftkv/cmd/raftkv/internal/process"
	"raftkv/cmd/raftkv/internal/resize"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/cmd/raftkv/internal/stage"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/httpd/page"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// devSettings are the flags of dev. They have no environment variables: what is
// set for serve, or put into the environment by an orchestrator (RAFTKV_PORT),
// must not move or empty a cluster on somebody's desk.
type devSettings struct {
	nodes    int
	held     int // nodes that the data directory holds; 0: there is no cluster yet
	dataDir  string
	port     int
	fresh    bool
	maxStore int64 // bytes
	logLevel string
	hold     bool
	tls      bool
	auth     bool
	panel    bool
	scenario string
	play     stage.Scenario // of the name in scenario
	// caretaker makes the first admin; nil: identities are as the log has them.
	caretaker *firstadmin.Caretaker
}

const (
	defaultDevNodes = 3
	// peerPortOffset is how far a node's peer port is above its HTTP port.
	peerPortOffset = 1000
)

func newDevCommand() *cobra.Command {
	var s devSettings
	command := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole durable cluster in this terminal",
		Long: `Run a whole cluster in one process: the same nodes as with serve, each with a
data directory of its own under --data-dir, talking over loopback.

The first node serves HTTP on --port, the others on the ports after it; peers
connect on ports 1000 above those (9701, 9702, 9703 by default). Started again,
the cluster finds its data. Ctrl-C ends it, and so does closing the terminal.

With another number in --nodes than the data directory holds, the cluster grows or
shrinks when it is there: nodes join it, or the last ones are removed from it, and
with them their directories.

With --auth nobody is served without a token; in a new cluster that holds from the
first moment on. The token of an admin is made, is in the data directory, and is
shown once. Started again, a cluster that was begun with --auth or --tls goes on so
without the flag.

--fresh removes what an earlier dev made, and nothing else: a directory that holds
anything that dev did not make, such as a node of serve, is refused whole.`,
		Example: `  raftkv dev
  raftkv dev --nodes 5 --port 7001 --data-dir /tmp/five
  raftkv dev --nodes 5      three nodes of the last time, and two that join
  raftkv dev --fresh        forget the data of the last time
  raftkv dev --tls --auth   with TLS on all ports, and a token for you
  raftkv dev --panel        break things at http://127.0.0.1:8700/
  raftkv dev --fresh --nodes 5 --scenario figure8`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return s.run(command.OutOrStdout(), command.ErrOrStderr(), command.Flags().Changed("nodes"))
		},
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.IntVar(&s.nodes, "nodes", defaultDevNodes, "number of nodes, 1 to 7; if not given, as many as the data directory holds")
	flags.StringVar(&s.dataDir, "data-dir", "./raftkv-data", "directory for the nodes' data")
	flags.IntVar(&s.port, "port", 8701, "HTTP port of the first node")
	flags.BoolVar(&s.fresh, "fresh", false, "start empty: remove what an earlier dev left in the data directory")
	flags.Int64Var(&s.maxStore, "max-store-bytes", 0, "bytes of keys and values together that the store may hold; 0 for no limit")
	flags.BoolVar(&s.tls, "tls", false, "speak TLS on all ports, by a CA that is made in the data directory")
	flags.BoolVar(&s.auth, "auth", false, "serve nobody without a token; an admin's is made in the data directory")
	flags.BoolVar(&s.hold, "hold-level", false, "keep the cluster from rising to level 3 until 'raftkv level release'")
	flags.BoolVar(&s.panel, "panel", false, "serve a page on the port before --port by which nodes are killed, paused and cut off")
	flags.StringVar(&s.scenario, "scenario", "", "play figure8, leader-crash, partition, rejoin, snapshot or split-vote, with captions")
	flags.StringVar(&s.logLevel, "log-level", "warn", "debug, info, warn or error")
	return command
}

// devCluster is the nodes of one dev process.
type devCluster struct {
	dir    string
	tls    bool
	ids    []core.ID // of the nodes that there are to be
	held   int       // nodes that the data directory held
	nodes  []*host.Node
	stage  *stage.Stage // has the nodes, where somebody may break them; nil: they have no stage
	failed chan devFailure
	// removed yields the nodes that have ended because they are members no more.
	removed chan *host.Node
	// caretaker makes the first admin, whose token is in admin; tokenMade is that token, if
	// it was made in this run. nil: there is none to be made.
	caretaker *firstadmin.Caretaker
	admin     firstadmin.Files
	tokenMade auth.Secret
}

// devFailure is the end of a node that was not asked for.
type devFailure struct {
	node *host.Node
	err  error
}

// run runs the cluster until a signal comes or a node fails.
func (s *devSettings) run(stdout, stderr io.Writer, nodesGiven bool) error {
	logger, level, log, err := logging.New(stderr, s.logLevel, "plain")
	if err != nil {
		return err
	}
	defer log.Flush(logging.FlushLimit)
	if s.dataDir == "" {
		return errors.New("--data-dir is empty; name a directory, or leave the flag out")
	}
	said := logging.NewSink(stdout) // nobody need read it
	defer said.Flush(logging.FlushLimit)
	if s.fresh {
		if err := inventory.RemoveDev(vfs.OS{}, s.dataDir); err != nil {
			return err
		}
	}
	if err := s.settleNodes(nodesGiven); err != nil {
		return err
	}
	ctx, endOfSignals := awaitEnd(true)
	defer endOfSignals()
	dumpOnQuit(stderr)
	go process.TuneCollector(ctx)
	begun := time.Now()
	c, err := s.open(logger)
	if err != nil {
		return err
	}
	if err = c.start(); err == nil {
		err = c.attend(ctx, func() {
			c.greet(said, time.Since(begun))
			s.perform(ctx, c.stage, said)
		}, log)
	}
	endOfSignals()
	level.Set(slog.LevelError) // nodes that miss each other now are no news
	err = errors.Join(err, c.end(err == nil))
	if err != nil {
		return exit.Fail(err)
	}
	fmt.Fprintf(said, "\nEnded. The data stays in %s.\n", s.dataDir)
	return nil
}

// settleNodes checks the flags against the data directory and decides how many nodes there
// are to be.
func (s *devSettings) settleNodes(given bool) (err error) {
	if s.held, err = inventory.ReadDev(vfs.OS{}, s.dataDir); err != nil {
		return err
	}
	if s.held != 0 && !given {
		s.nodes = s.held
	}
	if err = s.settleTLS(); err != nil {
		return err
	}
	if err = s.settleIdentities(); err != nil {
		return err
	}
	if err = s.settleStage(given); err != nil {
		return err
	}
	most := max(s.nodes, s.held)
	switch {
	case s.nodes < 1 || s.nodes > inventory.MaxDevNodes:
		return fmt.Errorf("--nodes is %d; choose 1 to %d", s.nodes, inventory.MaxDevNodes)
	case s.maxStore < 0:
		return fmt.Errorf("--max-store-bytes is %d; choose 0 for no limit, or more", s.maxStore)
	case s.port < 1 || s.port+peerPortOffset+most-1 > 65535:
		return fmt.Errorf("--port is %d; choose 1 to %d, so that all nodes' ports exist", s.port, 65536-peerPortOffset-most)
	}
	return nil
}

// open listens on all ports and opens all data directories, or leaves nothing
// open. The cluster is written down as made before any of its nodes takes part
// in it.
func (s *devSettings) open(logger *slog.Logger) (c *devCluster, err error) {
	c = &devCluster{dir: s.dataDir, tls: s.tls, held: s.held, caretaker: s.caretaker, admin: s.adminFiles()}
	for i := range s.nodes {
		c.ids = append(c.ids, inventory.NodeID(i))
	}
	defer func() {
		if err != nil {
			c.end(false)
		}
	}()
	configs, again, err := s.configs(logger)
	if err != nil {
		return c, err
	}
	if s.staged() {
		return c, s.openStage(c, configs, again)
	}
	var removed error // the end of a node that is left out
	for i, config := range configs {
		var n *host.Node
		err := s.enforceFrom(&config)
		if err == nil {
			n, err = host.New(config)
		} else {
			config.HTTP.Close()
			config.Peer.Close()
		}
		if host.IsRemoved(err) {
			logger.Info("a node is left out: it was removed from the cluster", "node", string(config.ID))
			removed = err
			continue
		}
		if err != nil {
			for _, unused := range configs[i+1:] {
				unused.HTTP.Close()
				unused.Peer.Close()
			}
			return c, host.ExplainFileSystem(err)
		}
		c.nodes = append(c.nodes, n)
	}
	switch {
	case len(c.nodes) == 0:
		return c, removed
	case s.nodes <= s.held:
		return c, nil
	}
	return c, inventory.WriteDev(vfs.OS{}, s.dataDir, s.nodes)
}

// configs returns the configuration of every node, with its ports open, and what opens
// those of one node again.
func (s *devSettings) configs(logger *slog.Logger) (configs []host.Config, again func(i int) (host.Config, error), err error) {
	all := max(s.nodes, s.held)
	room, err := process.Divide(process.DescriptorLimit(), all, all-1, defaultMaxConnections)
	if err != nil {
		return nil, nil, exit.Fail(err)
	}
	defer func() {
		if err == nil {
			return
		}
		for _, c := range configs {
			c.HTTP.Close()
			c.Peer.Close()
		}
	}()
	keys, err := s.keys(logger, all)
	if err != nil {
		return nil, nil, err
	}
	again = func(i int) (host.Config, error) {
		c, err := s.config(i, keys[inventory.NodeID(i)], logger)
		c.MaxConnections, c.MaxForwards, c.MaxStrangers = room.Clients, room.Forwards, room.Strangers
		return c, err
	}
	for i := range all {
		c, err := again(i)
		if err != nil {
			return configs, nil, err
		}
		configs = append(configs, c)
	}
	return configs, again, nil
}

// config returns the configuration of the i-th node, with its ports open.
func (s *devSettings) config(i int, keys *secure.Keys, logger *slog.Logger) (c host.Config, err error) {
	id := inventory.NodeID(i)
	c = host.Config{
		Keys:      keys,
		ClusterID: inventory.DevClusterID, ID: id, FS: process.PatientFS{FS: vfs.NewOS(), Logger: logger}, DataDir: filepath.Join(s.dataDir, string(id)),
		MaxValueBytes: api.DefaultMaxValueBytes, MaxStoreBytes: s.maxStore, RequestTimeout: defaultRequestTimeout,
		ElectionTimeout: defaultElectionTimeout, Logger: logger, Build: buildVersion(), HoldLevel: s.hold, Page: page.On,
	}
	if s.caretaker != nil {
		c.Access.BreakGlass = s.caretaker.Identities()
	}
	if s.play.Small {
		c.SnapshotBytes, c.TrailingBytes = 1<<20, 64<<10
	}
	if c.Members, c.Join, err = s.beginning(i); err != nil {
		return c, err
	}
	if c.HTTP, err = address.Listen(fmt.Sprintf("clients of node %s", id), "--port moves all ports", s.address(0, i)); err != nil {
		return c, err
	}
	if c.Peer, err = address.Listen(fmt.Sprintf("peers of node %s", id), "--port moves all ports", s.address(peerPortOffset, i)); err != nil {
		c.HTTP.Close()
		return c, err
	}
	c.HTTP, c.Peer = process.NewPatientListener(c.HTTP, "clients", logger), process.NewPatientListener(c.Peer, "peers", logger)
	return c, nil
}

// address returns where the i-th node listens, on its port that is an offset above --port.
func (s *devSettings) address(offset, i int) string {
	return fmt.Sprintf("127.0.0.1:%d", s.port+offset+i)
}

// beginning returns the list with which the i-th node began, and how it joins if it is in
// none: then the cluster was there before it.
func (s *devSettings) beginning(i int) (m host.Members, join host.Join, err error) {
	first := s.nodes
	if s.held != 0 {
		if first, err = inventory.BegunWith(vfs.OS{}, s.dataDir, s.held); err != nil {
			return nil, join, err
		}
		if i >= first {
			for other := range i {
				at := s.address(0, other)
				if s.tls {
					at = "https://" + at
				}
				join.Addresses = append(join.Addresses, at)
			}
			return nil, join, nil
		}
	}
	m = host.Members{}
	for other := range first {
		m[inventory.NodeID(other)] = s.address(peerPortOffset, other)
	}
	return m, join, nil
}

// start starts all nodes that are members.
func (c *devCluster) start() error {
	c.failed, c.removed = make(chan devFailure, 2*len(c.nodes)), make(chan *host.Node, len(c.nodes))
	if c.stage != nil {
		return nil // it has started them
	}
	for _, n := range c.nodes {
		go func() { c.failed <- devFailure{n, <-n.Failed()} }()
		if n.Joins() {
			continue
		}
		if err := n.Start(); err != nil {
			return err
		}
	}
	return nil
}

// attend waits for the end: nil if it was asked for. It calls ready once when as many nodes
// serve as there are to be. A node that is removed from the members is closed, and the others go
// on. When the last one is removed, attend returns its error.
func (c *devCluster) attend(ctx context.Context, ready func(), stderr io.Writer) error {
	serving, awaiting := make(chan error, 1), sync.WaitGroup{}
	begun, removed := len(c.nodes), map[*host.Node]bool{}
	var last error // the end of the node that was removed last
	// While serving is awaited, that goroutine starts nodes, closes them and changes c.nodes.
	left := func() (count int) {
		for _, n := range c.nodes {
			if !removed[n] {
				count++
				continue
			}
			awaiting.Go(func() { _ = n.Close() }) // its directory is not used again
		}
		return count
	}
	ctx, cancel := context.WithCancel(ctx)
	defer awaiting.Wait() // it may change the nodes that there are
	defer cancel()
	awaiting.Go(func() { serving <- c.awaitServing(ctx) })
	patience := time.NewTimer(5 * time.Second)
	defer patience.Stop()
	for {
		select {
		case err := <-serving:
			if err != nil {
				return err
			}
			ready()
			serving = nil
			if len(removed) > 0 && left() == 0 {
				return last
			}
			patience.Stop()
		case <-patience.C:
			fmt.Fprintln(stderr, "raftkv: there is no leader yet; is the disk very slow? --log-level info tells more")
		case f := <-c.failed:
			if !host.IsRemoved(f.err) {
				return fmt.Errorf("node %s failed: %w", f.node.ID(), f.err)
			}
			fmt.Fprintf(stderr, "raftkv: node %s was removed from the cluster and has ended\n", f.node.ID())
			c.removed <- f.node
			removed[f.node], last = true, f.err
			if serving == nil && left() == 0 || len(removed) == begun {
				return last
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// levelPatience bounds the time for which the greeting waits for the level to rise, so that
// what is typed then meets a cluster that does not change by itself.
const levelPatience = 3 * time.Second

// awaitServing returns when a read would succeed on every node, the level has risen, and
// there are as many nodes as there are to be; or when ctx has ended.
func (c *devCluster) awaitServing(ctx context.Context) error {
	var members, joining []*host.Node
	for _, n := range c.nodes {
		if n.Joins() {
			joining = append(joining, n)
		} else {
			members = append(members, n)
		}
	}
	for _, n := range members {
		if !n.AwaitServing(ctx) {
			return nil
		}
	}
	soon, cancel := context.WithTimeout(ctx, levelPatience)
	defer cancel()
	for _, n := range members {
		n.AwaitLevel(soon)
	}
	var err error
	switch {
	case len(c.ids) < c.held:
		err = c.shrink(ctx)
	case len(joining) > 0:
		err = resize.Grow(ctx, members, joining)
	}
	if err == nil {
		err = c.makeAdmin(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// shrink removes the last nodes from the cluster, and then their directories.
func (c *devCluster) shrink(ctx context.Context) error {
	stays := func(n *host.Node) bool { return slices.Contains(c.ids, n.ID()) }
	left := slices.DeleteFunc(slices.Clone(c.nodes), func(n *host.Node) bool { return !stays(n) })
	leaving := slices.DeleteFunc(slices.Clone(c.nodes), stays)
	if err := resize.Shrink(ctx, c.nodes, leaving, c.removed); err != nil || ctx.Err() != nil {
		return err
	}
	c.nodes = left
	return inventory.ShrinkDev(vfs.OS{}, c.dir, len(c.ids))
}
