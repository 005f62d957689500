package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/status"
	"raftkv/cmd/raftkv/internal/target"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
	"raftkv/raft/snapshot"
)

func newSnapshotSaveCommand() *cobra.Command {
	s := clerkSettings{}
	force := false
	command := &cobra.Command{
		Use:   "save FILE",
		Short: "Back up a running cluster into a file",
		Long: `Write the whole store, as it is at one moment after the command began, into a
file. Clients are served meanwhile. The endpoints are asked in turn until one
sends it; a follower will do.

The file is made under another name and gets its own when it is whole, checked
and on the disk. A file that is there is not touched without --force. What is no
file, a directory, device, pipe or link, is never replaced.

FILE may be -: the backup goes to standard output, checked on the way, and what
was saved is told on standard error. It is whole only if the exit code is 0.`,
		Example: `  raftkv snapshot save monday.snapshot
  raftkv snapshot save --endpoints 10.0.0.1:8701,10.0.0.2:8701 --force /backup/raftkv
  raftkv snapshot save - | ssh backup 'cat > monday.snapshot'`,
		Args: arguments("FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			if args[0] == "-" {
				return s.saveToOutput(command.OutOrStdout(), command.ErrOrStderr())
			}
			return s.saveSnapshot(target.File{Path: args[0], Force: force, Output: true}, command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	s.addTo(command)
	command.Flags().Lookup("timeout").Usage = "how long to wait for a node to begin, and then for more to come"
	command.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	return command
}

// saved is what save tells with --json.
type saved struct {
	File    string `json:"file"`
	Cluster string `json:"cluster"`
	Index   uint64 `json:"index"`
	Term    uint64 `json:"term"`
	Bytes   int64  `json:"bytes"`
	Node    string `json:"node"` // that sent it
}

func (s *clerkSettings) saveSnapshot(file target.File, stdout, stderr io.Writer) error {
	if err := file.Check(); err != nil {
		return err
	}
	done, err := s.saveFromAny(stderr, func(copyTo func(io.Writer) error) error { return file.Write(copyTo) })
	if err != nil {
		return err
	}
	done.File = file.Path
	return s.tell(stdout, done)
}

// saveToOutput writes a backup to standard output. When a part of it is out, no
// other node can be asked.
func (s *clerkSettings) saveToOutput(stdout, stderr io.Writer) error {
	if terminal.Is(stdout) {
		return errors.New("a backup is bytes that a terminal would obey: send it to a file or a pipe")
	}
	done, err := s.saveFromAny(stderr, func(copyTo func(io.Writer) error) error {
		to := &terminal.Output{To: stdout}
		counted := &countingWriter{to: to}
		err := copyTo(counted)
		if to.Failed() != nil {
			return exit.Fail(to.Failed())
		}
		if err != nil && counted.n > 0 {
			return exit.Fail(fmt.Errorf("what was written is not whole: %w", err))
		}
		return err
	})
	if err != nil {
		return err
	}
	done.File = "-"
	return s.tell(stderr, done)
}

// countingWriter counts what goes through it.
type countingWriter struct {
	to io.Writer
	n  int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.n += int64(n)
	return n, err
}

// tell says what was saved.
func (s *clerkSettings) tell(to io.Writer, done saved) error {
	if s.json {
		return terminal.PrintJSON(to, done)
	}
	_, err := fmt.Fprintf(to, "%s: cluster %s, index %d, term %d, %s from node %s\n",
		done.File, done.Cluster, done.Index, done.Term, terminal.SizeOf(done.Bytes), done.Node)
	return err
}

// saveFromAny asks the endpoints in turn until one sends a backup that is whole.
// place is called with what copies it, and keeps it.
func (s *clerkSettings) saveFromAny(stderr io.Writer, place func(copyTo func(io.Writer) error) error) (saved, error) {
	endpoints, err := s.servers()
	if err != nil {
		return saved{}, err
	}
	ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer endOfSignals()
	var reasons ask.Reasons
	for _, endpoint := range endpoints {
		done, err := s.saveFrom(ctx, endpoint, stderr, place)
		switch {
		case err == nil:
			return done, nil
		case ctx.Err() != nil:
			return saved{}, exit.Fail(errors.New("ended before the backup was whole; nothing is left of it"))
		}
		if disk := (*exit.Failure)(nil); errors.As(err, &disk) {
			return saved{}, err // another node would not help
		}
		reasons.Add(endpoint, err)
	}
	return saved{}, exit.With(exit.Unavailable, fmt.Errorf("no node sent a backup: %w", &reasons))
}

// saveFrom keeps what one node sends. Its error is an exit.Failure if this machine is
// at fault.
func (s *clerkSettings) saveFrom(ctx context.Context, endpoint string, stderr io.Writer, place func(copyTo func(io.Writer) error) error) (saved, error) {
	begin, cancelStatus := context.WithTimeout(ctx, s.timeout)
	node, err := status.Fetch(begin, endpoint)
	cancelStatus()
	if refused := (*ask.RefusedError)(nil); errors.As(err, &refused) && refused.Code == api.CodeForbidden {
		// The right backup is enough for a backup. The status says only which node sends it, and how
		// long it will be.
		node, err = status.Answer{Status: &api.Status{Node: endpoint}}, nil
	}
	if err != nil {
		return saved{}, err
	}
	from, err := ask.OpenStream(ctx, endpoint, "/v1/snapshot", s.timeout)
	if err != nil {
		return saved{}, err
	}
	defer from.Close()
	done := saved{Node: node.Node}
	expected := int64(node.Store.Bytes) + 12*int64(node.Store.Keys)
	err = place(func(to io.Writer) error {
		header, bytes, err := copyBackup(to, from, expected, stderr)
		done.Cluster, done.Index, done.Term, done.Bytes = header.ClusterID, header.Index, header.Term, bytes
		return err
	})
	return done, err
}

// copyBackup writes what comes and checks it on the way. expected is about how
// many bytes will come.
func copyBackup(to io.Writer, from *ask.Stream, expected int64, stderr io.Writer) (snapshot.Header, int64, error) {
	bar := terminal.StartProgress(stderr, "saving", max(expected, 1))
	defer bar.Finish()
	watched := &terminal.WatchedReader{From: io.TeeReader(from, to), Bar: bar}
	header, err := snapshot.Verify(watched)
	if from.Failed() != nil {
		return header, 0, fmt.Errorf("the backup broke off after %s: %w", terminal.SizeOf(watched.Done), exit.LastCause(from.Failed()))
	}
	return header, watched.Done, err
}
