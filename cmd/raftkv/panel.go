package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"raftkv/cmd/raftkv/internal/host"
	"raftkv/cmd/raftkv/internal/inventory"
	"raftkv/cmd/raftkv/internal/panel"
	"raftkv/cmd/raftkv/internal/stage"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// This file is dev's stage: what lets somebody break its nodes. serve has none of it.

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
