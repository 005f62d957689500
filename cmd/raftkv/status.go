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
	"text/tabwriter"
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
		Long: `Ask every endpoint for its status and show a table, a node in a line. With
--watch the table is drawn again and again until Ctrl-C.

Exit code 3 says that no node leads, or that none answered.`,
		Example: `  raftkv status
  raftkv status --watch
  raftkv status --json | jq .role`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
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
	*extendedStatus
}

// extendedStatus is api.Status and what a node may tell beyond it, in whatever
// version; what is not there is left out of the table.
type extendedStatus struct {
	api.Status
	PID  int        `json:"pid,omitempty"`
	Disk diskStatus `json:"disk,omitzero"`
}

type diskStatus struct {
	FsyncP99Seconds float64 `json:"fsync_p99_seconds,omitzero"`
	LogBytes        int64   `json:"log_bytes,omitzero"`
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
	n.extendedStatus = status
	return n
}

// statusClient makes a connection for each question: the next comes a second
// later.
var statusClient = &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}

const maxStatusBytes = 1 << 20

func fetchStatus(ctx context.Context, endpoint string) (*extendedStatus, error) {
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
	status := new(extendedStatus)
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
		for _, n := range all {
			if err := printJSON(out, n); err != nil {
				return err
			}
		}
	} else {
		fmt.Fprint(out, statusTable(all))
	}
	if leaderOf(all) == "" {
		return &ending{exitUnavailable, fmt.Errorf("no node that answered leads or knows who does")}
	}
	return nil
}

// watchStatus draws until ctx ends. Each picture is written over the last, in
// one write, so that nothing flickers.
func (s *clerkSettings) watchStatus(ctx context.Context, out io.Writer) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		table := statusTable(s.askAll(ctx))
		if ctx.Err() != nil {
			return nil
		}
		if isTerminal(out) {
			// Home, each line with what was right of it cleared, then all below.
			table = "\x1b[H" + strings.ReplaceAll(table, "\n", "\x1b[K\n") + "\x1b[J"
		}
		if _, err := io.WriteString(out, table); err != nil {
			return &failure{err}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// leaderOf returns the leader of the latest term that anybody knows of.
func leaderOf(all []nodeStatus) string {
	leader, term := "", uint64(0)
	for _, n := range all {
		if n.extendedStatus != nil && n.Leader != "" && n.Term >= term {
			leader, term = n.Leader, n.Term
		}
	}
	return leader
}

// statusTable draws what the nodes answered.
func statusTable(all []nodeStatus) string {
	var b strings.Builder
	leader := leaderOf(all)
	contact := map[string]int64{} // by node, as the leader sees it
	last := uint64(0)
	for _, n := range all {
		if n.extendedStatus == nil {
			continue
		}
		last = max(last, n.Log.Last)
		if n.Node == leader {
			for _, p := range n.Peers {
				contact[p.Node] = p.LastContactMs
			}
		}
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tENDPOINT\tROLE\tTERM\tLAST\tCOMMIT\tAPPLIED\tLAG\tCONTACT\tKEYS\tBYTES\tREVISION\tFSYNC P99")
	for _, n := range all {
		if n.extendedStatus == nil {
			fmt.Fprintf(w, "?\t%s\t%s\n", n.Endpoint, n.Error)
			continue
		}
		heard := "-"
		if ms, known := contact[n.Node]; known && ms >= 0 {
			heard = fmt.Sprintf("%d ms", ms)
		}
		fsync := "-"
		if p99 := n.Disk.FsyncP99Seconds; p99 > 0 {
			fsync = fmt.Sprintf("%.2f ms", p99*1000)
		}
		role := n.Role
		if n.Rejoin != nil {
			role = "rejoining"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%d\t%s\t%d\t%s\n", n.Node, n.Endpoint, role, n.Term,
			n.Log.Last, n.Commit, n.Applied, last-min(n.Applied, last), heard, n.Store.Keys, sizeOf(int64(n.Store.Bytes)), n.Store.Revision, fsync)
	}
	w.Flush() // to memory
	if leader == "" {
		leader = "nobody"
	}
	fmt.Fprintf(&b, "%s leads. %s\n", leader, time.Now().Format(time.TimeOnly))
	return b.String()
}

// sizeOf writes a number of bytes for people.
func sizeOf(bytes int64) string {
	unit, value := 0, float64(bytes)
	for value >= 1024 && unit < 4 {
		value /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[unit-1])
}
