package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

// watchSilence is after how long without a word a node is given up: it sends something
// every 15 s.
const watchSilence = 30 * time.Second

// watchSettings are the flags of watch, and how far it has come.
type watchSettings struct {
	clerkSettings
	prefixes, keys []string
	after          uint64
	behind         bool // --after was given
	mirror, prev   bool
	command        string // --exec

	bookmark string // of the last thing that was printed; "" before the first
}

func newWatchCommand() *cobra.Command {
	var s watchSettings
	command := &cobra.Command{
		Use:   "watch [PREFIX…]",
		Short: "Print what changes",
		Long: `Print every change of the keys that begin with a PREFIX, of a --key, or of all
keys if neither is given, for as long as it runs: the revision, what happened, the
key and its new value, in a line each. It begins with what changes from now on, or
behind the revision --after, or with the present state and --mirror.

When the node that it asks ends, it goes on at another one and misses nothing. The
cluster keeps the last changes only: exit code 8 says that those behind --after are
gone, or went while no node could be asked. With --mirror the state is printed again
instead, behind a line that says reset.

--exec runs a command for every event, by the shell and one after the other, with
RAFTKV_OP, RAFTKV_KEY, RAFTKV_VALUE and RAFTKV_REVISION set. If one fails, watch
ends with exit code 1.`,
		Example: `  raftkv watch
  raftkv watch services/ config/ --mirror
  raftkv watch --key leader --after 57 --json
  raftkv watch config/ --exec 'systemctl reload app'`,
		RunE: func(command *cobra.Command, args []string) error {
			s.prefixes, s.behind = args, command.Flags().Changed("after")
			if len(args) == 0 && len(s.keys) == 0 {
				s.prefixes = []string{""}
			}
			return s.run(command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	s.addTo(command)
	flags := command.Flags()
	flags.Lookup("timeout").Usage = "how long to look for a node that serves the watch"
	flags.StringArrayVar(&s.keys, "key", nil, "follow this key; may be given several times")
	flags.Uint64Var(&s.after, "after", 0, "go on behind this revision, that of any answer")
	flags.BoolVar(&s.mirror, "mirror", false, "print the state first, and again after a gap")
	flags.BoolVar(&s.prev, "prev", false, "with --json: the item before each change, too")
	flags.StringVar(&s.command, "exec", "", "run this for every event")
	return command
}

// run follows changes until it is interrupted, or something keeps it from going on.
func (s *watchSettings) run(stdout, stderr io.Writer) error {
	endpoints, err := s.servers()
	if err != nil {
		return err
	}
	ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer endOfSignals()
	heard := time.Now()
	for at := 0; ; at = (at + 1) % len(endpoints) {
		some, err := s.follow(ctx, endpoints[at], stdout)
		if some {
			heard = time.Now()
		}
		final := (*stopWatching)(nil)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &final):
			return final.err
		case time.Since(heard) > s.timeout:
			return exit.With(exit.Unavailable, fmt.Errorf("no node served the watch within %v; the last one, %s: %w", s.timeout, endpoints[at], err))
		}
		pause := 100*time.Millisecond + rand.N(400*time.Millisecond)
		if some {
			fmt.Fprintf(stderr, "raftkv: %s: %v; going on at another node\n", endpoints[at], terminal.Harmless(err.Error()))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// stopWatching is an error that no other node mends.
type stopWatching struct{ err error }

func (e *stopWatching) Error() string { return e.err.Error() }

// query is what a node is asked for.
func (s *watchSettings) query() string {
	q := url.Values{"key": s.keys, "prefix": s.prefixes}
	switch {
	case s.bookmark != "":
		q.Set("after", s.bookmark)
	case s.behind:
		q.Set("after", strconv.FormatUint(s.after, 10))
	}
	for name, given := range map[string]bool{"mirror": s.mirror, "prev": s.prev} {
		if given {
			q.Set(name, "1")
		}
	}
	return q.Encode()
}

// follow prints what one node sends, and returns why it sends no more. heard says that
// it sent something.
func (s *watchSettings) follow(ctx context.Context, endpoint string, out io.Writer) (heard bool, err error) {
	from, err := ask.OpenStream(ctx, endpoint, "/v1/watch?"+s.query(), watchSilence, "Accept", api.MediaNDJSON)
	if err != nil {
		return false, judgeWatch(err)
	}
	defer from.Close()
	if !strings.HasPrefix(from.Header.Get("Content-Type"), api.MediaNDJSON) {
		return false, errors.New("answers, and not like a node")
	}
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if from.Failed() != nil {
				err = from.Failed()
			}
			return heard, fmt.Errorf("the stream was cut off: %w", exit.LastCause(err))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue // a sign of life
		}
		heard = true
		if err := s.take(line, out); err != nil {
			return heard, err
		}
	}
}

// judgeWatch tells the refusals that no other node mends.
func judgeWatch(err error) error {
	refused := (*ask.RefusedError)(nil)
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case api.CodeRevisionGone:
		return &stopWatching{exit.With(exit.HistoryGone, err)}
	case api.CodeRevisionAhead, api.CodeOtherCluster, api.CodeNotActive:
		return &stopWatching{exit.Fail(err)}
	case api.CodeBadRequest, api.CodeKeyTooLong:
		return &stopWatching{err}
	}
	return err
}

// watchLine is a line of the stream, with the fields of all events.
type watchLine struct {
	Event string `json:"event"`
	ID    string `json:"id"`
	api.KeyName
	Value    []byte           `json:"value"`
	Revision uint64           `json:"revision"`
	Items    int              `json:"items"`
	Events   []api.WatchEvent `json:"events"`
	Code     api.Code         `json:"code"`
	Detail   string           `json:"detail"`
}

// take prints one line of the stream, and remembers how far it has come.
func (s *watchSettings) take(line []byte, out io.Writer) error {
	var l watchLine
	if err := json.Unmarshal(line, &l); err != nil {
		return fmt.Errorf("sends what is no event of a watch: %w", err)
	}
	if l.Event == api.EventEnd {
		if l.Code == api.CodeRevisionGone {
			return &stopWatching{exit.With(exit.HistoryGone, errors.New(l.Detail))}
		}
		return fmt.Errorf("it ends the watch: %s (%s)", l.Detail, l.Code)
	}
	if err := s.print(&l, line, out); err != nil {
		return &stopWatching{err}
	}
	for i := range l.Events {
		if err := s.execute(l.Revision, &l.Events[i], out); err != nil {
			return &stopWatching{exit.Fail(err)}
		}
	}
	switch {
	case l.Event == api.EventReset:
		s.bookmark, s.behind = "", false
	case l.ID != "":
		s.bookmark = l.ID
	}
	return nil
}

func (s *watchSettings) print(l *watchLine, line []byte, out io.Writer) (err error) {
	if s.json {
		_, err = out.Write(line)
		return err
	}
	if s.command != "" {
		return nil
	}
	switch l.Event {
	case api.EventItem:
		_, err = fmt.Fprintf(out, "%d\titem\t%s\t%s\n", l.Revision, terminal.Readable(l.Name()), terminal.Readable(string(l.Value)))
	case api.EventSynced:
		_, err = fmt.Fprintf(out, "%d\tsynced\t%d keys\n", l.Revision, l.Items)
	case api.EventReset:
		_, err = fmt.Fprint(out, "-\treset\n")
	}
	for i := range l.Events {
		e := &l.Events[i]
		if _, err = fmt.Fprintf(out, "%d\t%s\t%s", l.Revision, e.Op, terminal.Readable(e.Name())); err == nil && e.Op == api.OpPut {
			_, err = fmt.Fprintf(out, "\t%s", terminal.Readable(string(e.Value)))
		}
		if err == nil {
			_, err = fmt.Fprintln(out)
		}
	}
	return err
}

// execute runs the command of --exec for one event.
func (s *watchSettings) execute(revision uint64, e *api.WatchEvent, out io.Writer) error {
	if s.command == "" {
		return nil
	}
	shell := exec.Command("sh", "-c", s.command)
	shell.Stdout, shell.Stderr = out, os.Stderr
	shell.Env = append(os.Environ(), "RAFTKV_OP="+e.Op, "RAFTKV_KEY="+e.Name(), "RAFTKV_VALUE="+string(e.Value),
		"RAFTKV_REVISION="+strconv.FormatUint(revision, 10))
	if err := shell.Run(); err != nil {
		return fmt.Errorf("the command for revision %d failed: %w", revision, err)
	}
	return nil
}
