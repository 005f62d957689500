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
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/status"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

// statusSettings are the flags of status.
type statusSettings struct {
	clerkSettings
	watch, wide bool
}

func newStatusCommand() *cobra.Command {
	var s statusSettings
	command := &cobra.Command{
		Use:   "status",
		Short: "Show who leads, who lags, and what the nodes hold",
		Long: `Ask every endpoint for its status and show a line for each node. The table has as
many columns as the window has room for, or as fit into 80; columns in which
nothing happens are left out. --wide shows all of them. With --watch the table is
drawn again every second until Ctrl-C. All of it, and more, is in --json.

LAG is how many entries of the longest log a node has not applied. CONTACT is how
long ago it answered the leader, REPLICATION how the leader sends to it and how
much is under way. FSYNC and COMMIT P99 are 99th percentiles over the last
minute; COMMIT, in --wide, is the index up to which the node's log is committed.
STATES is how the last comparison of its state with the others' ended. LED and
GAVE UP count how often it became leader, and how often it gave that up because
no majority answered or its disk hung.

A terminal shows the leader bold and trouble red; NO_COLOR turns that off.

Exit code 3 says that no node leads or none answered, 2 that the endpoints belong
to two clusters, 1 that two nodes lead or that one is ahead of its leader.`,
		Example: `  raftkv status
  raftkv status --watch
  raftkv status --json | jq .role`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
			defer endOfSignals()
			if s.watch {
				return s.watchStatus(ctx, command.OutOrStdout())
			}
			return s.printStatus(ctx, command.OutOrStdout())
		},
	}
	s.addTo(command)
	command.Flags().BoolVar(&s.watch, "watch", false, "draw the table again every second")
	command.Flags().BoolVar(&s.wide, "wide", false, "show all columns, however wide the window is")
	return command
}

// askAll asks all endpoints at the same time.
func (s *clerkSettings) askAll(ctx context.Context) ([]status.Answer, error) {
	endpoints, err := s.servers()
	if err != nil {
		return nil, err
	}
	return status.AskAll(ctx, endpoints, s.timeout), nil
}

// survey asks all endpoints and judges what they say together.
func (s *clerkSettings) survey(ctx context.Context) ([]status.Answer, status.Verdict, error) {
	endpoints, err := s.servers()
	if err != nil {
		return nil, status.Verdict{}, err
	}
	all, v := status.Survey(ctx, endpoints, s.timeout)
	return all, v, nil
}

// printStatus asks once.
func (s *statusSettings) printStatus(ctx context.Context, out io.Writer) error {
	all, v, err := s.survey(ctx)
	if err != nil {
		return err
	}
	if s.json {
		err = printStatusJSON(out, all)
	} else {
		columns, _ := terminal.WindowSize(out)
		_, err = io.WriteString(out, strings.Join(status.Drawing{Columns: columns, Wide: s.wide, Colour: terminal.HasColour(out)}.Lines(all, v, time.Now()), "\n")+"\n")
	}
	if err != nil {
		return err
	}
	return v.Err()
}

// printStatusJSON prints a line for each node.
func printStatusJSON(out io.Writer, all []status.Answer) error {
	for _, n := range all {
		if err := terminal.PrintJSON(out, n); err != nil {
			return err
		}
	}
	return nil
}

// Control sequences of a terminal.
const (
	enterAlternateScreen = "\x1b[?1049h\x1b[?25l" // and hide the cursor
	leaveAlternateScreen = "\x1b[?25h\x1b[?1049l"
	cursorHome           = "\x1b[H"
	clearLineEnd         = "\x1b[K"
	clearBelow           = "\x1b[J"
)

// watchStatus draws until ctx ends. A terminal shows it on its alternate screen;
// the last picture stays when it has ended.
func (s *statusSettings) watchStatus(ctx context.Context, out io.Writer) error {
	screen := terminal.Is(out) && !s.json
	var last []string
	if screen {
		if _, err := io.WriteString(out, enterAlternateScreen); err != nil {
			return err
		}
		defer func() {
			_, _ = io.WriteString(out, leaveAlternateScreen+strings.Join(last, "\n")+"\n") // the output remembers
		}()
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	lags := map[string]uint64{}
	for {
		all, v, err := s.survey(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if last, err = s.drawStatus(out, all, v, lags, screen); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// drawStatus draws one picture in one write, so that nothing flickers; as JSON it
// is lines like those of printStatus. lags holds what the nodes lagged in the
// picture before, and then in this one.
func (s *statusSettings) drawStatus(out io.Writer, all []status.Answer, v status.Verdict, lags map[string]uint64, screen bool) ([]string, error) {
	if s.json {
		return nil, printStatusJSON(out, all)
	}
	columns, rows := terminal.WindowSize(out)
	lines := status.Drawing{Columns: columns, Wide: s.wide, Colour: terminal.HasColour(out), Lags: lags}.Lines(all, v, time.Now())
	text := strings.Join(lines, "\n") + "\n"
	if screen {
		shown := lines
		if rows > 1 && len(lines) > rows {
			shown = append(slices.Clone(lines[:rows-1]), fmt.Sprintf("… %d more lines; the window is too low", len(lines)-rows+1))
		}
		text = cursorHome + strings.Join(shown, clearLineEnd+"\n") + clearLineEnd + clearBelow
	}
	_, err := io.WriteString(out, text)
	return lines, err
}

func newHealthCommand() *cobra.Command {
	var s clerkSettings
	command := &cobra.Command{
		Use:   "health",
		Short: "Say by the exit code whether the nodes serve",
		Long: `Ask every endpoint whether it is ready: whether a linearizable read would succeed
there now. Print a line for each.

A node is not ready while it has no majority, and a restart does not help then. A
supervisor that restarts nodes asks /livez.

It needs no token. A cluster that enforces identities names its nodes only to those
that it knows; without a token, ? stands there. With one that has the right status
it also sees whether the endpoints are of one cluster.

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
// 200 is no node. The status, for which a right is needed, is for show, and for telling
// clusters apart.
func askHealth(ctx context.Context, endpoint string) nodeHealth {
	n := nodeHealth{Endpoint: endpoint}
	response, err := ask.Node(ctx, endpoint, http.MethodGet, "/readyz", nil)
	if err == nil {
		response.Body.Close()
		n.Node = response.Header.Get(api.HeaderNode)
		// Where identities are enforced, an answer to a stranger does not name its node.
		if n.Ready = response.Header.Get(api.HeaderRequestID) != ""; !n.Ready {
			err = fmt.Errorf("answers %s, and not like a node", response.Status)
		}
	}
	if answer, failed := status.Fetch(ctx, endpoint); failed == nil {
		n.Node, n.status = answer.Node, answer
	}
	if err != nil {
		n.Error = err.Error()
	}
	return n
}
