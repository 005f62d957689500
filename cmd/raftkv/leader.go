package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/status"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

func newLeaderCommand() *cobra.Command {
	var s clerkSettings
	var to string
	command := &cobra.Command{
		Use:   "leader",
		Short: "Show which node leads, or hand leadership to another",
		Long: `Print the name of the node that leads, where it takes clients, and its term. With
--to hand leadership to another node; writes stop for some milliseconds.

While identities are enforced it needs the right status, and --to the right members:
without status, it does not say where the new leader takes clients.

Exit code 3 says that nobody leads, or that leadership was not handed over.`,
		Example: `  raftkv leader
  raftkv leader --to n2
  raftkv leader --json | jq -r .leader`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
			defer endOfSignals()
			if command.Flags().Changed("to") {
				if to == "" {
					return errors.New("--to is empty; name a node, as in --to n2")
				}
				l, err := s.handOver(ctx, to)
				if err != nil {
					return err
				}
				return s.show(command.OutOrStdout(), l)
			}
			return s.printLeader(ctx, command.OutOrStdout())
		},
	}
	s.addTo(command)
	command.Flags().StringVar(&to, "to", "", "the node that shall lead")
	_ = command.RegisterFlagCompletionFunc("to", s.completeNodes) // the flag was made in the line above
	return command
}

// shownLeader is what leader prints with --json.
type shownLeader struct {
	Leader   string `json:"leader"`
	Endpoint string `json:"endpoint,omitempty"`
	Term     uint64 `json:"term"`
}

func (s *clerkSettings) printLeader(ctx context.Context, out io.Writer) error {
	all, v, err := s.survey(ctx)
	if err != nil {
		return err
	}
	if err := v.Err(); err != nil {
		return err
	}
	l := shownLeader{Leader: v.Leader, Term: v.Term}
	for _, n := range all {
		if n.Status != nil && n.Node == v.Leader {
			l.Endpoint = n.Endpoint
		}
	}
	if l.Endpoint == "" && !s.json {
		l.Endpoint = "(at none of the endpoints)"
	}
	return s.show(out, l)
}

// show prints the leader.
func (s *clerkSettings) show(out io.Writer, l shownLeader) error {
	if s.json {
		return terminal.PrintJSON(out, l)
	}
	where := ""
	if l.Endpoint != "" {
		where = l.Endpoint + "  "
	}
	_, err := fmt.Fprintf(out, "%s  %sterm %d\n", terminal.Harmless(l.Leader), where, l.Term)
	return err
}

// whereLimit bounds the search for the address of a new leader: other nodes may be silent.
const whereLimit = 2 * time.Second

// handOver asks the nodes until one has done it: each passes the request on to the leader. It
// returns what that node answered, and where the leader takes clients if its status may be seen,
// which needs another right.
func (s *clerkSettings) handOver(ctx context.Context, to string) (l shownLeader, err error) {
	var none shownLeader
	endpoints, err := s.servers()
	if err != nil {
		return none, err
	}
	body, err := json.Marshal(api.Transfer{To: to})
	if err != nil {
		return none, err
	}
	var leader api.Leader
	call := ask.Call{
		Method: http.MethodPost, Path: "/v1/leader", Body: body, To: &leader, Sentence: fmt.Sprintf("leadership was not handed to %s: ", to),
		Check: func() error {
			if leader.Leader != to {
				return fmt.Errorf("%s leads", leader.Leader)
			}
			return nil
		},
		// That there is no such node is the same everywhere.
		Elsewhere: func(refused *ask.RefusedError) bool { return refused.Code != api.CodeBadRequest },
		Code:      func(*ask.RefusedError) int { return exit.Usage },
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if _, err := call.Make(ctx, endpoints); err != nil {
		return none, err
	}
	l = shownLeader{Leader: leader.Leader, Term: leader.Term}
	for _, n := range status.AskAll(ctx, endpoints, min(s.timeout, whereLimit)) {
		if n.Status != nil && n.Node == l.Leader {
			l.Endpoint = n.Endpoint
		}
	}
	return l, nil
}
