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
	"strings"
	"sync"
	"time"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/credential"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/firstadmin"
	"raftkv/cmd/raftkv/internal/host"
	"raftkv/cmd/raftkv/internal/inventory"
	"raftkv/cmd/raftkv/internal/panel"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/cmd/raftkv/internal/stage"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/raft/certs"
	"raftkv/raft/certs/issue"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// This file is how dev is entered: the certificates and the first admin that it makes in the
// data directory, for whoever runs it, and what it says to that person.

// keys makes the certificates of all nodes anew, by the CA in the data directory, which is
// made if it is missing; none without --tls.
func (s *devSettings) keys(logger *slog.Logger, all int) (map[core.ID]*secure.Keys, error) {
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
	for i := range all {
		id := inventory.NodeID(i)
		cert, key := inventory.DevKeyFiles(id)
		name, _ := identity.Name(string(id))
		r := issue.Request{Name: string(id), URIs: []string{name}, Hosts: []string{"localhost", "127.0.0.1", "::1"}, Server: true, Client: true}
		if err := pki.issue(io.Discard, strings.TrimSuffix(cert, ".pem"), r); err != nil {
			return nil, err
		}
		settings := secure.ForDev(in(cert), in(key), pki.ca)
		plan, err := settings.Plan(inventory.DevClusterID, string(id), all == 1)
		if err != nil {
			return nil, err
		}
		if keys[id], err = secure.Open(plan, logger); err != nil {
			return nil, exit.Fail(err)
		}
	}
	return keys, nil
}

// settleTLS lets a cluster that was begun with TLS go on with it: in clear it would show to
// everybody on this machine what clients and nodes had kept from them.
func (s *devSettings) settleTLS() error {
	if _, err := os.Lstat(filepath.Join(s.dataDir, inventory.DevCAKeyFile)); err != nil || s.held == 0 || s.tls {
		return nil
	}
	if s.staged() {
		return errors.New("--panel and --scenario need ports in clear, and this cluster was begun with --tls; start empty with --fresh, or name another --data-dir")
	}
	s.tls = true
	return nil
}

// settleIdentities decides whether identities are enforced: a cluster that was begun so, or
// has an admin that dev made, goes on so without the flag.
func (s *devSettings) settleIdentities() error {
	for i := range s.held {
		mark, err := secure.ReadMark(vfs.OS{}, filepath.Join(s.dataDir, string(inventory.NodeID(i))))
		if err != nil {
			return err
		}
		s.auth = s.auth || mark.Identities == secure.Begins
	}
	if _, err := os.Lstat(s.adminFiles().Token); err == nil && s.held != 0 {
		s.auth = true
	}
	switch {
	case !s.auth:
		return nil
	case s.staged():
		return errors.New("--panel and --scenario write without a token, and with --auth that is refused; leave out --auth, and start empty with --fresh if the cluster had it before")
	case s.hold:
		return errors.New("--auth needs level 3, and --hold-level keeps the cluster from rising to it; leave one of them out")
	}
	var err error
	s.caretaker, err = firstadmin.New()
	return err
}

// adminFiles are where the token of the admin is.
func (s *devSettings) adminFiles() firstadmin.Files {
	return firstadmin.Files{Token: filepath.Join(s.dataDir, inventory.DevTokenFile), Header: filepath.Join(s.dataDir, inventory.DevHeaderFile)}
}

// enforceFrom makes a node of a new cluster serve nobody before identities are enforced.
func (s *devSettings) enforceFrom(c *host.Config) error {
	if !s.auth || s.held != 0 {
		return nil
	}
	if err := c.FS.MkdirAll(c.DataDir); err != nil {
		return exit.Fail(err)
	}
	return secure.Mark{Identities: secure.Begins}.Write(c.FS, c.DataDir)
}

// makeAdmin sees to it that there is an admin, and that identities are enforced.
func (c *devCluster) makeAdmin(ctx context.Context) (err error) {
	if c.caretaker == nil {
		return nil
	}
	if c.tls {
		trust, err := secure.ClientFiles{CA: filepath.Join(c.dir, inventory.DevCAFile)}.Config()
		if err != nil {
			return err
		}
		ask.Trust(trust)
	}
	var endpoints []string
	for _, n := range c.nodes {
		endpoints = append(endpoints, strings.TrimPrefix(c.url(n), "http://")) // as endpoints are written
	}
	if c.tokenMade, err = c.caretaker.Settle(ctx, endpoints, c.admin); ctx.Err() != nil {
		return nil
	}
	return err
}

// introduce says how to be the admin.
func (c *devCluster) introduce(w io.Writer) {
	if c.caretaker == nil {
		return
	}
	file, err := filepath.Abs(c.admin.Token)
	if err != nil {
		file = c.admin.Token
	}
	fmt.Fprintf(w, "\nIdentities are enforced: nobody is served without a token. The admin's is in a file that only\nyou can read. For all commands in a terminal, and programs with the Go client:\n\n  export RAFTKV_TOKEN_FILE=%s\n", terminal.Harmless(file))
	lines := fmt.Sprintf("  token-file = %q\n", file)
	if ca, err := filepath.Abs(filepath.Join(c.dir, inventory.DevCAFile)); c.tls && err == nil {
		fmt.Fprintf(w, "  export RAFTKV_TLS_CA=%s\n", terminal.Harmless(ca))
		lines += fmt.Sprintf("  tls-ca = %q\n", ca)
	}
	if profile := credential.Profile(); profile != "" {
		fmt.Fprintf(w, "\nor for good, in %s (mode 0600):\n\n%s", terminal.Harmless(profile), lines)
	}
	if !c.tokenMade.IsZero() {
		fmt.Fprintf(w, "\nThe token, as the page in a browser asks for it; it is shown this once:\n\n  %s\n", c.tokenMade.Reveal())
	}
}

// greet says where the cluster is and what to type next.
func (c *devCluster) greet(w io.Writer, took time.Duration) {
	curl := "curl"
	if c.tls {
		curl += " --cacert " + filepath.Join(c.dir, inventory.DevCAFile)
	}
	if c.caretaker != nil {
		curl += " -H @" + c.admin.Header
	}
	first, second := c.nodes[0], c.nodes[min(1, len(c.nodes)-1)]
	fmt.Fprintf(w, "A cluster of %d serves after %v. Its data is in %s.\n\n", len(c.nodes), took.Round(time.Millisecond), c.dir)
	for _, n := range c.nodes {
		mark := ""
		if n.Leads() {
			mark = "  leads"
		}
		fmt.Fprintf(w, "  %s  %s%s\n", n.ID(), c.url(n), mark)
	}
	fmt.Fprintf(w, `
Type in another terminal:

  %s -X PUT --data-binary 'hello' %s/v1/kv/greeting
  %s %s/v1/kv/greeting
  raftkv status --watch%s

Look at it in a browser: %s/ui/
`, curl, c.url(first), curl, c.url(second), c.endpointsFlag(), c.url(first))
	c.introduce(w)
	fmt.Fprint(w, "\nCtrl-C ends it.\n")
}

// url returns where clients reach a node.
func (c *devCluster) url(n *host.Node) string {
	if c.tls {
		return "https://" + n.Address()
	}
	return "http://" + n.Address()
}

// endpointsFlag is what commands need to find the cluster; nothing if it is where
// they look by themselves.
func (c *devCluster) endpointsFlag() (flags string) {
	if c.tls {
		flags = " --tls-ca " + filepath.Join(c.dir, inventory.DevCAFile)
	}
	if c.caretaker != nil {
		flags += " --token-file " + c.admin.Token
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

// What follows is dev's stage: what lets somebody break its nodes. serve has none of it.

// settleStage finds the scenario and checks what a stage needs. Without --nodes a new
// cluster has as many nodes as the scenario needs.
func (s *devSettings) settleStage(nodesGiven bool) (err error) {
	if s.scenario != "" {
		if s.play, err = stage.FindScenario(s.scenario); err != nil {
			return err
		}
		if s.held == 0 && !nodesGiven {
			s.nodes = s.play.Nodes
		}
	}
	switch {
	case s.staged() && s.held != 0 && s.nodes != s.held:
		return fmt.Errorf("--panel and --scenario need the %d nodes that the data directory holds; let the cluster grow or shrink in a run without them, or start empty with --fresh", s.held)
	case s.nodes < s.play.Nodes:
		return fmt.Errorf("the scenario %s needs %d nodes, and there are %d; add --nodes %d --fresh", s.scenario, s.play.Nodes, s.nodes, s.play.Nodes)
	case s.staged() && s.tls:
		return errors.New("--panel and --scenario need ports in clear; leave out --tls")
	case s.panel && s.port < 2:
		return fmt.Errorf("--port is %d, and the panel takes the port before it; choose 2 or more", s.port)
	}
	return nil
}

// staged reports whether the nodes need a stage.
func (s *devSettings) staged() bool { return s.panel || s.scenario != "" }

// perform serves the panel and plays the scenario, if they were asked for, until ctx ends.
func (s *devSettings) perform(ctx context.Context, on *stage.Stage, said io.Writer) {
	if s.panel {
		pages := map[core.ID]string{}
		for i := range s.nodes {
			pages[inventory.NodeID(i)] = "http://" + s.address(0, i) + "/ui/"
		}
		l, err := panel.Listen(s.port - 1)
		if err != nil {
			fmt.Fprintf(said, "%v\n", err)
			return
		}
		fmt.Fprintf(said, "Break it: http://%s/\n", l.Addr())
		context.AfterFunc(ctx, func() { l.Close() })
		go func() {
			if err := panel.New(on, pages).Serve(l); err != nil {
				fmt.Fprintf(said, "The panel has ended: %v\n", err)
			}
		}()
	}
	if s.scenario != "" {
		go panel.Play(ctx, on, s.play, said)
	}
}

// openStage starts all nodes on a stage.
func (s *devSettings) openStage(c *devCluster, configs []host.Config, again func(int) (host.Config, error)) (err error) {
	made := func() error {
		if s.nodes <= s.held {
			return nil
		}
		return inventory.WriteDev(vfs.OS{}, s.dataDir, s.nodes)
	}
	if c.stage, err = panel.Open(configs, again, made); err != nil {
		return err
	}
	for _, id := range c.stage.Nodes() {
		c.nodes = append(c.nodes, c.stage.Node(id))
	}
	return nil
}

// end ends all nodes, together so that none waits for another. Requests under
// way may finish first if there is no hurry.
func (c *devCluster) end(inOrder bool) error {
	if c.stage != nil {
		c.stage.End(inOrder)
		return nil
	}
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
	each(func(i int, n *host.Node) {
		if errs[i] = n.Close(); host.IsRemoved(errs[i]) {
			errs[i] = nil // attend has said so
		}
	})
	return errors.Join(errs...)
}
