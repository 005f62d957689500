package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/address"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/host"
	"raftkv/cmd/raftkv/internal/inventory"
	"raftkv/cmd/raftkv/internal/logging"
	"raftkv/cmd/raftkv/internal/process"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/cmd/raftkv/internal/settings"
	"raftkv/kvserver/api"
	"raftkv/kvserver/httpd/page"
	"raftkv/raft/certs"
	"raftkv/raft/certs/issue"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// devSettings are the flags of dev. They have no environment variables: what is
// set for serve, or put into the environment by an orchestrator (RAFTKV_PORT),
// must not move or empty a cluster on somebody's desk.
type devSettings struct {
	nodes    int
	dataDir  string
	port     int
	fresh    bool
	maxStore int64 // bytes
	logLevel string
	hold     bool
	tls      bool
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

--fresh removes what an earlier dev made, and nothing else: a directory that holds
anything that dev did not make, such as a node of serve, is refused whole.`,
		Example: `  raftkv dev
  raftkv dev --nodes 5 --port 7001 --data-dir /tmp/five
  raftkv dev --fresh        forget the data of the last time`,
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
	flags.BoolVar(&s.hold, "hold-level", false, "keep the cluster from rising to level 3 until 'raftkv level release'")
	flags.StringVar(&s.logLevel, "log-level", "warn", "debug, info, warn or error")
	return command
}

// devCluster is the nodes of one dev process.
type devCluster struct {
	dir   string
	tls   bool
	nodes []*host.Node
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
	known, err := s.settleNodes(nodesGiven)
	if err != nil {
		return err
	}
	ctx, endOfSignals := awaitEnd(true)
	defer endOfSignals()
	dumpOnQuit(stderr)
	go process.TuneCollector(ctx)
	begun := time.Now()
	c, err := s.open(logger, known)
	if err != nil {
		return err
	}
	failed, err := c.start()
	if err == nil {
		err = c.attend(ctx, failed, func() { c.greet(said, time.Since(begun)) }, log)
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

// settleNodes checks the flags against the data directory and decides how many
// nodes there are. known is true if the directory holds a cluster.
func (s *devSettings) settleNodes(given bool) (known bool, err error) {
	held, err := inventory.ReadDev(vfs.OS{}, s.dataDir)
	if err != nil {
		return false, err
	}
	if held != 0 && !given {
		s.nodes = held
	}
	switch {
	case s.nodes < 1 || s.nodes > inventory.MaxDevNodes:
		return false, fmt.Errorf("--nodes is %d; choose 1 to %d", s.nodes, inventory.MaxDevNodes)
	case held != 0 && held != s.nodes:
		return false, fmt.Errorf("%s holds a cluster of %d nodes, and --nodes says %d: leave --nodes out, choose another --data-dir, or start empty with --fresh", s.dataDir, held, s.nodes)
	case s.maxStore < 0:
		return false, fmt.Errorf("--max-store-bytes is %d; choose 0 for no limit, or more", s.maxStore)
	case s.port < 1 || s.port+peerPortOffset+s.nodes-1 > 65535:
		return false, fmt.Errorf("--port is %d; choose 1 to %d, so that all nodes' ports exist", s.port, 65536-peerPortOffset-s.nodes)
	}
	return held != 0, nil
}

// open listens on all ports and opens all data directories, or leaves nothing
// open. The cluster is written down as made before any of its nodes takes part
// in it.
func (s *devSettings) open(logger *slog.Logger, known bool) (c *devCluster, err error) {
	c = &devCluster{dir: s.dataDir, tls: s.tls}
	defer func() {
		if err != nil {
			c.end(false)
		}
	}()
	configs, err := s.configs(logger)
	if err != nil {
		return c, err
	}
	for i, config := range configs {
		n, err := host.New(config)
		if err != nil {
			for _, unused := range configs[i+1:] {
				unused.HTTP.Close()
				unused.Peer.Close()
			}
			return c, host.ExplainFileSystem(err)
		}
		c.nodes = append(c.nodes, n)
	}
	if known {
		return c, nil
	}
	return c, inventory.WriteDev(vfs.OS{}, s.dataDir, s.nodes)
}

// configs returns the configuration of every node, with its ports open.
func (s *devSettings) configs(logger *slog.Logger) (configs []host.Config, err error) {
	m := host.Members{}
	for i := range s.nodes {
		m[inventory.NodeID(i)] = fmt.Sprintf("127.0.0.1:%d", s.port+peerPortOffset+i)
	}
	room, err := process.Divide(process.DescriptorLimit(), s.nodes, s.nodes-1, defaultMaxConnections)
	if err != nil {
		return nil, exit.Fail(err)
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
	keys, err := s.keys(logger)
	if err != nil {
		return nil, err
	}
	for i := range s.nodes {
		id := inventory.NodeID(i)
		c := host.Config{
			Keys:      keys[id],
			ClusterID: inventory.DevClusterID, ID: id, Members: m, FS: process.PatientFS{FS: vfs.NewOS(), Logger: logger}, DataDir: filepath.Join(s.dataDir, string(id)),
			MaxValueBytes: api.DefaultMaxValueBytes, MaxStoreBytes: s.maxStore, RequestTimeout: defaultRequestTimeout,
			ElectionTimeout: defaultElectionTimeout, Logger: logger, Build: buildVersion(), HoldLevel: s.hold, Page: page.On,
		}
		if c.HTTP, err = address.Listen(fmt.Sprintf("clients of node %s", id), "--port moves all ports", fmt.Sprintf("127.0.0.1:%d", s.port+i)); err != nil {
			return configs, err
		}
		if c.Peer, err = address.Listen(fmt.Sprintf("peers of node %s", id), "--port moves all ports", m[id]); err != nil {
			c.HTTP.Close()
			return configs, err
		}
		c.HTTP, c.Peer = process.NewPatientListener(c.HTTP, "clients", logger), process.NewPatientListener(c.Peer, "peers", logger)
		c.MaxConnections, c.MaxForwards, c.MaxStrangers = room.Clients, room.Forwards, room.Strangers
		configs = append(configs, c)
	}
	return configs, nil
}

// keys makes the certificates of all nodes anew, by the CA in the data directory, which is
// made if it is missing; none without --tls.
func (s *devSettings) keys(logger *slog.Logger) (map[core.ID]*secure.Keys, error) {
	keys := map[core.ID]*secure.Keys{}
	if !s.tls {
		return keys, nil
	}
	in := func(name string) string { return filepath.Join(s.dataDir, name) }
	pki := certSettings{dir: s.dataDir, days: defaultCADays, force: true, ca: in(inventory.DevCAFile), caKey: in(inventory.DevCAKeyFile)}
	if _, err := os.Stat(pki.caKey); errors.Is(err, fs.ErrNotExist) {
		a, err := issue.NewAuthority("raftkv dev CA", time.Now(), pki.valid())
		if err != nil {
			return nil, exit.Fail(err)
		}
		if err := pki.write(io.Discard, strings.TrimSuffix(inventory.DevCAFile, ".pem"), a.CertPEM, a.KeyPEM); err != nil {
			return nil, err
		}
	}
	identity, err := certs.ParseIdentity(certs.DefaultIdentity, inventory.DevClusterID)
	if err != nil {
		return nil, err
	}
	for i := range s.nodes {
		id := inventory.NodeID(i)
		cert, key := inventory.DevKeyFiles(id)
		name, _ := identity.Name(string(id))
		r := issue.Request{Name: string(id), URIs: []string{name}, Hosts: []string{"localhost", "127.0.0.1", "::1"}, Server: true, Client: true}
		if err := pki.issue(io.Discard, strings.TrimSuffix(cert, ".pem"), r); err != nil {
			return nil, err
		}
		settings := secure.ForDev(in(cert), in(key), pki.ca)
		plan, err := settings.Plan(inventory.DevClusterID, string(id), s.nodes == 1)
		if err != nil {
			return nil, err
		}
		if keys[id], err = secure.Open(plan, logger); err != nil {
			return nil, exit.Fail(err)
		}
	}
	return keys, nil
}

// start starts all nodes. What it returns yields the first failure of a node.
func (c *devCluster) start() (failed <-chan error, err error) {
	failures := make(chan error, 2*len(c.nodes))
	for _, n := range c.nodes {
		if err := n.Start(); err != nil {
			return nil, err
		}
		go func() { failures <- fmt.Errorf("node %s failed: %w", n.ID(), <-n.Failed()) }()
	}
	return failures, nil
}

// attend waits for the end: nil if it was asked for. It calls ready once when
// all nodes serve.
func (c *devCluster) attend(ctx context.Context, failed <-chan error, ready func(), stderr io.Writer) error {
	serving := make(chan struct{})
	go c.awaitServing(ctx, serving)
	patience := time.NewTimer(5 * time.Second)
	defer patience.Stop()
	for {
		select {
		case <-serving:
			ready()
			serving = nil
			patience.Stop()
		case <-patience.C:
			fmt.Fprintln(stderr, "raftkv: there is no leader yet; is the disk very slow? --log-level info tells more")
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// levelPatience bounds the time for which the greeting waits for the level to rise, so that
// what is typed then meets a cluster that does not change by itself.
const levelPatience = 3 * time.Second

// awaitServing closes serving when a read would succeed on every node, and the level has
// risen.
func (c *devCluster) awaitServing(ctx context.Context, serving chan<- struct{}) {
	for _, n := range c.nodes {
		if !n.AwaitServing(ctx) {
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, levelPatience)
	defer cancel()
	for _, n := range c.nodes {
		n.AwaitLevel(ctx)
	}
	close(serving)
}

// greet says where the cluster is and what to type next.
func (c *devCluster) greet(w io.Writer, took time.Duration) {
	url, curl := func(n *host.Node) string { return "http://" + n.Address() }, "curl"
	if c.tls {
		url = func(n *host.Node) string { return "https://" + n.Address() }
		curl += " --cacert " + filepath.Join(c.dir, inventory.DevCAFile)
	}
	first, second := c.nodes[0], c.nodes[min(1, len(c.nodes)-1)]
	fmt.Fprintf(w, "A cluster of %d serves after %v. Its data is in %s.\n\n", len(c.nodes), took.Round(time.Millisecond), c.dir)
	for _, n := range c.nodes {
		mark := ""
		if n.Leads() {
			mark = "  leads"
		}
		fmt.Fprintf(w, "  %s  %s%s\n", n.ID(), url(n), mark)
	}
	fmt.Fprintf(w, `
Type in another terminal:

  %s -X PUT --data-binary 'hello' %s/v1/kv/greeting
  %s %s/v1/kv/greeting
  raftkv status --watch%s

Look at it in a browser: %s/ui/

Ctrl-C ends it.
`, curl, url(first), curl, url(second), c.endpointsFlag(), url(first))
}

// endpointsFlag is what commands need to find the cluster; nothing if it is where
// they look by themselves.
func (c *devCluster) endpointsFlag() (flags string) {
	if c.tls {
		flags = " --tls-ca " + filepath.Join(c.dir, inventory.DevCAFile)
	}
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.Address())
	}
	if len(all) == defaultDevNodes && all[0] == defaultHTTP {
		return flags
	}
	return flags + " --endpoints " + strings.Join(all, ",")
}

// end ends all nodes, together so that none waits for another. Requests under
// way may finish first if there is no hurry.
func (c *devCluster) end(inOrder bool) error {
	each := func(do func(i int, n *host.Node)) {
		var all sync.WaitGroup
		for i, n := range c.nodes {
			all.Go(func() { do(i, n) })
		}
		all.Wait()
	}
	if inOrder {
		each(func(_ int, n *host.Node) { n.Drain() })
	}
	errs := make([]error, len(c.nodes))
	each(func(i int, n *host.Node) { errs[i] = n.Close() })
	return errors.Join(errs...)
}

// unusedByDev returns a sentence for every variable that is a setting of serve.
// dev takes flags only, so what such a variable says is not done.
func unusedByDev(command *cobra.Command, environ []string) (sentences []string) {
	for _, pair := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(pair, "=")
		if value == "" || settings.IsOfOrchestrator(name) || slices.Contains(commandVariables, name) {
			continue
		}
		for _, s := range new(serveSettings).table() {
			if settings.Variable(s.Name) != name {
				continue
			}
			advice := "unset it, or use serve"
			if command.Flags().Lookup(s.Name) != nil {
				advice = "give --" + s.Name
			}
			sentences = append(sentences, fmt.Sprintf("the environment variable %s is a setting of serve and does nothing for dev; %s", name, advice))
		}
	}
	return sentences
}
