package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

// watchSettings are the flags of watch.
type watchSettings struct {
	clerkSettings
	prefixes, keys []string
	locks          []string
	after          uint64
	behind         bool // --after was given
	mirror, prev   bool
	command        string // --exec

	items int // of the state that is being printed
}

func newWatchCommand() *cobra.Command {
	var s watchSettings
	command := &cobra.Command{
		Use:   "watch [PREFIX…]",
		Short: "Print what changes",
		Long: `Print every change of the keys that begin with a PREFIX, of a --key or a --lock, or
of all keys if none of these is given, for as long as it runs: the revision, what
happened, the key and its new value, in a line each. Of a lock the line has its name,
the token and the lease of the holder, and its value or why it holds the lock no
longer. The watch begins with what changes from now on, or behind the revision
--after, or with the present state and --mirror.

When the server that it asks ends, it goes on at another one and misses nothing;
it gives up when none has served it for --timeout. The cluster keeps the last
changes only: exit code 8 says that those behind --after are gone, or went while no
server could be asked. With --mirror the state is printed again instead, behind a
line that says reset. With --json each line is an object as GET /v1/watch sends it,
bookmarks included.

--exec runs a command for every event, by the shell and one after the other, with
RAFTKV_OP, RAFTKV_KEY, RAFTKV_VALUE and RAFTKV_REVISION set; of a lock RAFTKV_LOCK,
RAFTKV_TOKEN and RAFTKV_LEASE as well. The value is also the command's input: one
of 128 KiB or with a zero byte is in no variable. Of a key with a zero byte there
is RAFTKV_KEY_BASE64 instead of RAFTKV_KEY. With --mirror RAFTKV_OP is item for what
is there, then synced; reset says that the state follows again, and what is not in
it is gone. If a command fails, watch ends with exit code 1.`,
		Example: `  raftkv watch
  raftkv watch services/ config/ --mirror
  raftkv watch --key leader --after 57 --json
  raftkv watch --lock jobs --mirror
  raftkv watch config/ --mirror --exec 'systemctl reload app'`,
		RunE: func(command *cobra.Command, args []string) error {
			s.prefixes, s.behind = args, command.Flags().Changed("after")
			if len(args)+len(s.keys)+len(s.locks) == 0 {
				s.prefixes = []string{""}
			}
			return s.run(command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	s.addTo(command)
	flags := command.Flags()
	flags.Lookup("timeout").Usage = "how long to look for a server when none serves the watch"
	flags.StringArrayVar(&s.keys, "key", nil, "follow this key; may be given several times")
	flags.StringArrayVar(&s.locks, "lock", nil, "follow who holds this lock; may be given several times")
	flags.Uint64Var(&s.after, "after", 0, "go on behind this revision, that of any answer")
	flags.BoolVar(&s.mirror, "mirror", false, "print the state first, and again after a gap")
	flags.BoolVar(&s.prev, "prev", false, "with --json: the item before each change, too")
	flags.StringVar(&s.command, "exec", "", "run this for every event")
	return command
}

// run follows changes until it is interrupted, or something keeps it from going on.
func (s *watchSettings) run(stdout, stderr io.Writer) error {
	ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer endOfSignals()
	following, end := context.WithCancelCause(ctx)
	defer end(nil)
	search := &search{limit: s.timeout, over: end}
	dialling, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	clerk, closeClerk, err := s.dial(dialling, client.Config{OnRefusal: search.refused})
	if err != nil {
		return err
	}
	defer closeClerk()
	options := s.options()
	if s.timeout < 30*time.Second { // a server that serves the watch is heard of within the time
		options = append(options, client.ProgressEvery(max(s.timeout/3, 100*time.Millisecond)))
	}
	err = s.follow(clerk.Watch(following, options...), search, stdout)
	switch cause := context.Cause(following); {
	case ctx.Err() != nil:
		return nil
	case errors.Is(cause, errNotServed):
		return exit.With(exit.Unavailable, cause)
	}
	return s.judge(err)
}

// options are those of the watch.
func (s *watchSettings) options() (options []client.WatchOption) {
	for _, prefix := range s.prefixes {
		options = append(options, client.Prefix(prefix))
	}
	for _, key := range s.keys {
		options = append(options, client.Key(key))
	}
	for _, name := range s.locks {
		options = append(options, client.WatchLock(name))
	}
	if s.behind {
		options = append(options, client.AfterRevision(s.after))
	}
	if s.mirror {
		options = append(options, client.WithState())
	}
	if s.prev {
		options = append(options, client.WithPrev())
	}
	return options
}

// search gives up a watch that no server has served for too long.
type search struct {
	limit time.Duration
	over  context.CancelCauseFunc

	mu    sync.Mutex
	since time.Time // of the first refusal behind the last event; zero: none has come
}

var errNotServed = errors.New("no server served the watch")

// refused takes a refusal of a server.
func (s *search) refused(r client.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.since.IsZero():
		s.since = time.Now()
	case time.Since(s.since) > s.limit:
		s.over(fmt.Errorf("%w for %v: %s", errNotServed, s.limit, terminal.Harmless(client.Explain([]client.Refusal{r}))))
	}
}

// heard notes that a server serves the watch.
func (s *search) heard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Time{}
}

// judge gives the error that ended a watch its exit code.
func (s *watchSettings) judge(err error) error {
	var e *client.Error
	switch {
	case errors.Is(err, client.ErrRevisionGone):
		return exit.With(exit.HistoryGone, errors.New(strings.TrimPrefix(err.Error(), "raftkv: ")))
	case errors.As(err, &e) && slices.Contains([]api.Code{api.CodeRevisionAhead, api.CodeOtherCluster, api.CodeNotActive}, e.Code):
		return exit.Fail(errors.New(s.explain(e)))
	}
	return s.ending(err)
}

// follow prints what a watch brings, and returns why it brings no more.
func (s *watchSettings) follow(events iter.Seq2[client.WatchEvent, error], search *search, out io.Writer) error {
	for e, err := range events {
		if err != nil {
			return err
		}
		search.heard()
		if err := s.print(&e, out); err != nil {
			return err
		}
		if err := s.execute(&e, out); err != nil {
			return exit.Fail(err)
		}
	}
	return nil
}

// print prints an event.
func (s *watchSettings) print(e *client.WatchEvent, out io.Writer) (err error) {
	switch e.Kind {
	case client.StateItem, client.StateHolder:
		s.items++
	case client.Reset:
		s.items = 0
	}
	switch {
	case s.json:
		err = terminal.PrintJSON(out, s.lineOf(e))
	case s.command == "":
		err = s.printPlain(e, out)
	}
	if e.Kind == client.StateComplete {
		s.items = 0
	}
	return err
}

func (s *watchSettings) printPlain(e *client.WatchEvent, out io.Writer) (err error) {
	switch e.Kind {
	case client.StateItem:
		_, err = fmt.Fprintf(out, "%d\titem\t%s\t%s\n", e.Item.Revision, terminal.Readable(e.Item.Key), terminal.Readable(string(e.Item.Value)))
	case client.StateHolder:
		_, err = fmt.Fprintf(out, "%d\tholder\t%s\t%s\n", e.Holder.Token, holderLine(&e.Holder), terminal.Readable(string(e.Holder.Value)))
	case client.StateComplete:
		_, err = fmt.Fprintf(out, "%d\tsynced\t%d keys\n", e.Revision, s.items)
	case client.Reset:
		_, err = fmt.Fprint(out, "-\treset\n")
	}
	for i := range e.Changes {
		c := &e.Changes[i]
		line := fmt.Sprintf("%d\t%s\t", e.Revision, c.Op)
		switch {
		case c.Op == client.ChangePut:
			line += terminal.Readable(c.Key) + "\t" + terminal.Readable(string(c.Item.Value))
		case c.Op == client.ChangeGranted:
			line += holderLine(c.Holder) + "\t" + terminal.Readable(string(c.Holder.Value))
		case c.Holder != nil:
			line += holderLine(c.Holder) + "\t" + c.Reason
		default:
			line += terminal.Readable(c.Key)
		}
		if _, err = fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return err
}

// holderLine is the part of a line that names the holder of a lock.
func holderLine(h *client.Holder) string {
	return fmt.Sprintf("%s\t%d\t%d", terminal.Readable(h.Lock), h.Token, h.Lease)
}

// The lines of --json: what GET /v1/watch sends as lines, without open and end.
type (
	watchHead struct {
		Event string `json:"event"`
		ID    string `json:"id,omitempty"`
	}
	watchItemLine struct {
		watchHead
		api.WatchItem
	}
	watchHolderLine struct {
		watchHead
		api.WatchLock
	}
	watchSyncedLine struct {
		watchHead
		api.WatchSynced
	}
	watchChangeLine struct {
		watchHead
		Revision uint64 `json:"revision"`
		Events   []any  `json:"events"` // of api.WatchEvent and api.WatchLockEvent
	}
	watchProgressLine struct {
		watchHead
		api.WatchProgress
	}
	watchResetLine struct {
		watchHead
		Code api.Code `json:"code"`
	}
)

// lineOf is an event as a line of --json.
func (s *watchSettings) lineOf(e *client.WatchEvent) any {
	id := strconv.FormatUint(e.Revision, 10)
	switch e.Kind {
	case client.StateItem:
		return watchItemLine{watchHead{Event: api.EventItem}, api.WatchItem{KeyName: api.NameKey(e.Item.Key), ItemState: stateOf(&e.Item)}}
	case client.StateHolder:
		return watchHolderLine{watchHead{Event: api.EventItem}, lockOf(&e.Holder)}
	case client.StateComplete:
		return watchSyncedLine{watchHead{api.EventSynced, id}, api.WatchSynced{Revision: e.Revision, Items: s.items}}
	case client.Reset:
		return watchResetLine{watchHead{Event: api.EventReset}, api.CodeRevisionGone}
	case client.Progress:
		return watchProgressLine{watchHead{api.EventProgress, id}, api.WatchProgress{Revision: e.Revision}}
	}
	change := watchChangeLine{watchHead: watchHead{api.EventChange, id}, Revision: e.Revision}
	for i := range e.Changes {
		c := &e.Changes[i]
		if c.Holder != nil {
			change.Events = append(change.Events, api.WatchLockEvent{Op: c.Op, WatchLock: lockOf(c.Holder), Reason: c.Reason})
			continue
		}
		event := api.WatchEvent{Op: c.Op, KeyName: api.NameKey(c.Key)}
		if c.Op == client.ChangePut {
			event.Value, event.Version, event.Created, event.Lease = c.Item.Value, c.Item.Version, c.Item.Created, c.Item.Lease
		}
		if c.Prev != nil {
			prev := stateOf(c.Prev)
			event.Prev = &prev
		}
		change.Events = append(change.Events, event)
	}
	return change
}

func lockOf(h *client.Holder) api.WatchLock {
	return api.WatchLock{LockName: api.NameLock(h.Lock), Token: h.Token, Lease: h.Lease, Value: append([]byte{}, h.Value...)}
}

func stateOf(i *client.Item) api.ItemState {
	return api.ItemState{Value: i.Value, Revision: i.Revision, Version: i.Version, Created: i.Created, Lease: i.Lease}
}

// execute runs the command of --exec for what an event tells.
func (s *watchSettings) execute(e *client.WatchEvent, out io.Writer) error {
	if s.command == "" {
		return nil
	}
	told := e.Changes
	switch e.Kind {
	case client.StateItem:
		told = []client.Change{{Op: api.EventItem, Key: e.Item.Key, Item: e.Item}}
	case client.StateHolder:
		told = []client.Change{{Op: api.EventItem, Holder: &e.Holder}}
	case client.StateComplete:
		told = []client.Change{{Op: api.EventSynced}}
	case client.Reset:
		told = []client.Change{{Op: api.EventReset}}
	}
	for i := range told {
		shell := exec.Command("sh", "-c", s.command)
		shell.Env, shell.Stdin = s.environmentOf(e, &told[i])
		shell.Stdout, shell.Stderr = out, os.Stderr
		if err := shell.Run(); err != nil {
			return fmt.Errorf("the command for %s at revision %d failed: %w", told[i].Op, e.Revision, err)
		}
	}
	return nil
}

// maxVariable is the longest text that Linux takes for one variable, its name included.
const maxVariable = 128<<10 - 1

// environmentOf returns what the command learns of a change. What no variable can hold, which is
// what has a zero byte or is too long, is in no variable; the value is the command's input as well.
func (s *watchSettings) environmentOf(e *client.WatchEvent, c *client.Change) (variables []string, input io.Reader) {
	value, revision := c.Item.Value, e.Revision
	switch e.Kind {
	case client.StateItem:
		revision = e.Item.Revision
	case client.StateHolder:
		revision = e.Holder.Token
	}
	variables = append(os.Environ(), "RAFTKV_OP="+c.Op, "RAFTKV_REVISION="+strconv.FormatUint(revision, 10))
	if h := c.Holder; h != nil {
		value = h.Value
		variables = append(variables, "RAFTKV_LOCK="+h.Lock, "RAFTKV_TOKEN="+strconv.FormatUint(h.Token, 10), "RAFTKV_LEASE="+strconv.FormatInt(h.Lease, 10))
	}
	for _, v := range []string{"RAFTKV_KEY=" + c.Key, "RAFTKV_VALUE=" + string(value)} {
		if len(v) <= maxVariable && !strings.Contains(v, "\x00") {
			variables = append(variables, v)
		}
	}
	if strings.Contains(c.Key, "\x00") {
		variables = append(variables, "RAFTKV_KEY_BASE64="+base64.StdEncoding.EncodeToString([]byte(c.Key)))
	}
	return variables, bytes.NewReader(value)
}
