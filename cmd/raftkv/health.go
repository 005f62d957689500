package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func newHealthCommand() *cobra.Command {
	var s clerkSettings
	command := &cobra.Command{
		Use:   "health",
		Short: "Say by the exit code whether the nodes serve",
		Long: `Ask every endpoint whether it is ready: whether a linearizable read would succeed
there now. Print a line for each.

A node is not ready while it has no majority, and a restart does not help then. A
supervisor that restarts nodes asks /livez.

Exit code 0: all are ready. 1: some are and some are not; the cluster serves.
3: none is; nothing is served.`,
		Example: `  raftkv health
  raftkv health --json | jq -r 'select(.ready | not) | .endpoint'`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			return s.printHealth(command.OutOrStdout())
		},
	}
	s.addTo(command)
	return command
}

// nodeHealth is what one endpoint says of itself.
type nodeHealth struct {
	Endpoint string `json:"endpoint"`
	Node     string `json:"node,omitempty"`
	Ready    bool   `json:"ready"`
	Error    string `json:"error,omitempty"`
}

func (s *clerkSettings) printHealth(out io.Writer) error {
	endpoints, err := s.servers()
	if err != nil {
		return err
	}
	ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer endOfSignals()
	ctx, cancel := context.WithTimeout(ctx, min(s.timeout, 5*time.Second))
	defer cancel()
	all := make([]nodeHealth, len(endpoints))
	var asking sync.WaitGroup
	for i, e := range endpoints {
		asking.Go(func() { all[i] = askHealth(ctx, e) })
	}
	asking.Wait()
	ready := 0
	for _, n := range all {
		if n.Ready {
			ready++
		}
		if err := s.printNodeHealth(out, n); err != nil {
			return err
		}
	}
	switch ready {
	case len(all):
		return nil
	case 0:
		return &ending{exitUnavailable, errors.New("no node is ready")}
	}
	return &ending{exitFailed, fmt.Errorf("%d of %d nodes %s ready", ready, len(all), map[bool]string{true: "is", false: "are"}[ready == 1])}
}

func (s *clerkSettings) printNodeHealth(out io.Writer, n nodeHealth) error {
	if s.json {
		return printJSON(out, n)
	}
	what := "ready"
	if !n.Ready {
		what = n.Error
	}
	name := n.Node
	if name == "" {
		name = "?"
	}
	_, err := fmt.Fprintf(out, "%-2s  %s  %s\n", harmless(name), n.Endpoint, harmless(what))
	return err
}

// askHealth asks one node. Only its own word counts: another server that answers
// 200 is no node.
func askHealth(ctx context.Context, endpoint string) nodeHealth {
	n := nodeHealth{Endpoint: endpoint}
	status, err := fetchStatus(ctx, endpoint)
	if err == nil {
		n.Node = status.Node
		var response *http.Response
		if response, err = askNode(ctx, endpoint, http.MethodGet, "/readyz", nil); err == nil {
			response.Body.Close()
			n.Ready = true
		}
	}
	if err != nil {
		n.Error = err.Error()
	}
	return n
}
