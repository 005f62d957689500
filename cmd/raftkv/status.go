package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"raftkv/kvserver/api"
)

func newStatusCommand() *cobra.Command {
	var s clerkSettings
	var watch bool
	command := &cobra.Command{
		Use:   "status",
		Short: "Show who leads, who lags, and what the nodes hold",
		Long: `Ask every endpoint for its status and show two tables, a node in a line of
each: where it stands, and what it does. With --watch they are drawn again and
again until Ctrl-C. All of it, and more, is in --json.

LAG is what a node has not applied of the longest log. CONTACT is how long ago it
answered the leader, REPLICATION how the leader sends to it, and how much is
under way. FSYNC P99 and COMMIT P99 are the slowest hundredth of the last minute.
STATES is how the last comparison of its state with the others' ended. LED and
GAVE UP count how often it became leader, and how often it gave that up because
no majority answered or its disk hung.

Exit code 3 says that no node leads, or that none answered.`,
		Example: `  raftkv status
  raftkv status --watch
  raftkv status --json | jq .role`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := s.checkTimeout(); err != nil {
				return err
			}
			ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
			defer endOfSignals()
			if watch {
				return s.watchStatus(ctx, command.OutOrStdout())
			}
			return s.printStatus(ctx, command.OutOrStdout())
		},
	}
	s.addTo(command)
	command.Flags().BoolVar(&watch, "watch", false, "draw the table again every second")
	return command
}

// nodeStatus is what one endpoint answered.
type nodeStatus struct {
	Endpoint string `json:"endpoint"`
	Error    string `json:"error,omitempty"`
	*api.Status
}

// askAll asks all endpoints at the same time.
func (s *clerkSettings) askAll(ctx context.Context) []nodeStatus {
	ctx, cancel := context.WithTimeout(ctx, min(s.timeout, 2*time.Second))
	defer cancel()
	endpoints := s.list()
	all := make([]nodeStatus, len(endpoints))
	var asking sync.WaitGroup
	for i, e := range endpoints {
		asking.Go(func() { all[i] = askStatus(ctx, e) })
	}
	asking.Wait()
	return all
}

func askStatus(ctx context.Context, endpoint string) nodeStatus {
	n := nodeStatus{Endpoint: endpoint}
	status, err := fetchStatus(ctx, endpoint)
	if err != nil {
		n.Error = err.Error()
		return n
	}
	n.Status = status
	return n
}

// statusClient makes a connection for each question: the next comes a second
// later.
var statusClient = &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}

const maxStatusBytes = 1 << 20

func fetchStatus(ctx context.Context, endpoint string) (*api.Status, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpointURL(endpoint, "/v1/status"), nil)
	if err != nil {
		return nil, fmt.Errorf("no address of the form host:port")
	}
	response, err := statusClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", lastCause(err))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxStatusBytes))
	status := new(api.Status)
	if err != nil || json.Unmarshal(body, status) != nil || status.Node == "" {
		return nil, fmt.Errorf("no answer of a node (%s)", response.Status)
	}
	return status, nil
}

// endpointURL returns the address of a path at an endpoint.
func endpointURL(endpoint, path string) string {
	return "http://" + strings.TrimSuffix(strings.TrimPrefix(endpoint, "http://"), "/") + path
}

// lastCause returns the innermost error: the rest repeats the address.
func lastCause(err error) error {
	for {
		u, wraps := err.(interface{ Unwrap() error })
		if !wraps || u.Unwrap() == nil {
			return err
		}
		err = u.Unwrap()
	}
}

// printStatus asks once.
func (s *clerkSettings) printStatus(ctx context.Context, out io.Writer) error {
	all := s.askAll(ctx)
	if s.json {
		if err := printStatusJSON(out, all); err != nil {
			return err
		}
	} else {
		fmt.Fprint(out, statusTable(all))
	}
	if leaderOf(all) == "" {
		return &ending{exitUnavailable, fmt.Errorf("no node that answered leads or knows who does")}
	}
	return nil
}

// printStatusJSON prints a line for each node.
func printStatusJSON(out io.Writer, all []nodeStatus) error {
	for _, n := range all {
		if err := printJSON(out, n); err != nil {
			return err
		}
	}
	return nil
}

// watchStatus draws until ctx ends. Each picture is written over the last, in
// one write, so that nothing flickers.
func (s *clerkSettings) watchStatus(ctx context.Context, out io.Writer) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		all := s.askAll(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := s.drawStatus(out, all); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// drawStatus draws one picture; as JSON it is lines like those of printStatus.
func (s *clerkSettings) drawStatus(out io.Writer, all []nodeStatus) error {
	if s.json {
		return printStatusJSON(out, all)
	}
	table := statusTable(all)
	if isTerminal(out) {
		// Home, each line with what was right of it cleared, then all below.
		table = "\x1b[H" + strings.ReplaceAll(table, "\n", "\x1b[K\n") + "\x1b[J"
	}
	if _, err := io.WriteString(out, table); err != nil {
		return &failure{err}
	}
	return nil
}
