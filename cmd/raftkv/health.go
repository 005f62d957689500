package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/status"
	"raftkv/cmd/raftkv/internal/terminal"
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
2: the endpoints belong to two clusters. 3: none is; nothing is served.`,
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

	status status.Answer // without Status if the node said none
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
	if err := s.printNodes(out, all); err != nil {
		return err
	}
	clusters, ready := map[string][]string{}, 0
	for _, n := range all {
		if n.Ready {
			ready++
		}
		if n.status.Status != nil {
			clusters[status.ClusterOf(n.status)] = append(clusters[status.ClusterOf(n.status)], n.Endpoint)
		}
	}
	if clusters = status.WithoutUnknown(clusters); len(clusters) > 1 {
		return exit.With(exit.Usage, errors.New(status.TwoClusters(clusters)))
	}
	switch ready {
	case len(all):
		return nil
	case 0:
		return exit.With(exit.Unavailable, errors.New("no node is ready"))
	}
	return exit.With(exit.Failed, fmt.Errorf("%d of %d nodes %s ready", ready, len(all), map[bool]string{true: "is", false: "are"}[ready == 1]))
}

// printNodes prints a line for each node, in columns.
func (s *clerkSettings) printNodes(out io.Writer, all []nodeHealth) error {
	if s.json {
		for _, n := range all {
			if err := terminal.PrintJSON(out, n); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, n := range all {
		what := "ready"
		if !n.Ready {
			what = n.Error
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", terminal.Harmless(cmp.Or(n.Node, "?")), n.Endpoint, terminal.Harmless(what))
	}
	return w.Flush()
}

// askHealth asks one node. Only its own word counts: another server that answers
// 200 is no node.
func askHealth(ctx context.Context, endpoint string) nodeHealth {
	n := nodeHealth{Endpoint: endpoint}
	answer, err := status.Fetch(ctx, endpoint)
	if err == nil {
		n.Node, n.status = answer.Node, answer
		var response *http.Response
		if response, err = ask.Node(ctx, endpoint, http.MethodGet, "/readyz", nil); err == nil {
			response.Body.Close()
			n.Ready = true
		}
	}
	if err != nil {
		n.Error = err.Error()
	}
	return n
}
