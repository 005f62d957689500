package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

// deleteSettings are the flags of delete.
type deleteSettings struct {
	clerkSettings
	conditionSettings
	prefix   string
	byPrefix bool // --prefix was given
	yes      bool
	atMost   int // --at-most; below 0: not given
}

func newDeleteCommand() *cobra.Command {
	var s deleteSettings
	command := &cobra.Command{
		Use:   "delete KEY",
		Short: "Remove a key, or all keys that begin with a prefix",
		Long: `Remove a key. That there was none is no failure: the key is not there then.

With --prefix remove all keys that begin so, after a question on a terminal, or
with --yes. Up to 10,000 keys and 16 MiB go in one step, more in several; with
--at-most N none goes if there are more than N. Run the command again after a
failure.

On a cluster with nodes of the version before, keys are listed and then removed
one by one: others see some of them gone before the rest, and a key that somebody
writes after it was listed is left alone and counted.`,
		Example: `  raftkv delete greeting
  raftkv delete job --if-revision 17
  raftkv delete --prefix sessions/ --yes
  raftkv delete --prefix sessions/ --yes --at-most 200`,
		Args: func(command *cobra.Command, args []string) error {
			if s.byPrefix = command.Flags().Changed("prefix"); !s.byPrefix {
				if s.yes {
					return errors.New("--yes answers the question of --prefix, which is missing")
				}
				if s.atMost >= 0 {
					return errors.New("--at-most bounds what --prefix removes, which is missing")
				}
				return arguments("KEY")(command, args)
			}
			if command.Flags().Changed("at-most") && (s.atMost < 0 || s.atMost > maxRangeKeys) {
				return fmt.Errorf("--at-most is %d; choose 0 to %d, which is how many keys go in one step", s.atMost, maxRangeKeys)
			}
			if s.prefix == "" && s.yes {
				return errors.New("--prefix is empty, so every key would be deleted; name a prefix, or leave --yes out to be asked")
			}
			if len(args) > 0 {
				return fmt.Errorf("delete removes a key or a --prefix; with --prefix %s leave %q out", terminal.Readable(s.prefix), args[0])
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error {
			options, err := s.options()
			switch {
			case err != nil:
				return err
			case s.byPrefix && len(options) > 0:
				return errors.New("--prefix takes no condition, since it removes all keys that begin so; --at-most bounds how many")
			case s.byPrefix:
				return s.deleteAll(command.InOrStdin(), command.OutOrStdout(), command.ErrOrStderr())
			}
			return s.deleteOne(args[0], options, command.OutOrStdout())
		},
	}
	s.clerkSettings.addTo(command)
	s.conditionSettings.addTo(command)
	command.ValidArgsFunction = s.completeKeys(1)
	command.Flags().StringVar(&s.prefix, "prefix", "", "remove all keys that begin so")
	command.Flags().BoolVar(&s.yes, "yes", false, "with --prefix: do not ask")
	command.Flags().IntVar(&s.atMost, "at-most", -1, "with --prefix: remove nothing if there are more keys")
	command.Flags().Lookup("at-most").DefValue = ""
	return command
}

func (s *deleteSettings) deleteOne(key string, options []client.WriteOption, out io.Writer) error {
	return s.with(func(ctx context.Context, clerk *client.Clerk) error {
		removed, err := clerk.Delete(ctx, key, options...)
		if err != nil {
			return err
		}
		if s.json {
			return terminal.PrintJSON(out, struct {
				api.KeyName
				Deleted  bool   `json:"deleted"`
				Revision uint64 `json:"revision"`
			}{api.NameKey(key), removed.Found, removed.Revision})
		}
		text := "deleted"
		if !removed.Found {
			text = "there was no such key"
		}
		_, err = fmt.Fprintf(out, "%s, revision %d\n", text, removed.Revision)
		return err
	})
}

// deleteWorkers is how many deletes are under way at the same time.
const deleteWorkers = 16

// deleteAll removes the keys that begin with the prefix. The time of --timeout is
// that of one request.
func (s *deleteSettings) deleteAll(stdin io.Reader, out, stderr io.Writer) error {
	if !s.yes && (!terminal.Is(stdin) || !terminal.Is(stderr)) {
		return errors.New("no terminal to ask on; add --yes to delete all keys that begin with " + strconv.Quote(s.prefix))
	}
	long := clerkCalls{settings: &s.clerkSettings}
	return long.run(func(ctx context.Context, clerk *client.Clerk) error {
		var items []client.Item
		var err error
		if !s.yes {
			if items, err = s.listAll(ctx, clerk); err != nil {
				return err
			}
		}
		if len(items) > 0 {
			fmt.Fprintf(stderr, "%d keys begin with %s, the first is %s. Delete them? [y/N] ", len(items), strconv.Quote(s.prefix), terminal.Readable(items[0].Key))
			answer, _ := bufio.NewReader(stdin).ReadString('\n') // nothing is no
			if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
				return exit.With(exit.Failed, errors.New("nothing was deleted"))
			}
		}
		removed, err := s.removeRange(ctx, clerk)
		if !isOfLaterVersion(err) {
			return s.printRange(out, removed, err)
		}
		if s.atMost >= 0 {
			return err
		}
		if s.yes {
			if items, err = s.listAll(ctx, clerk); err != nil {
				return err
			}
		}
		deleted, changed, err := s.removeAll(ctx, clerk, items, stderr)
		if s.json {
			err = errors.Join(err, terminal.PrintJSON(out, struct {
				Prefix  string `json:"prefix"`
				Deleted int64  `json:"deleted"`
				Changed int64  `json:"changed"`
			}{s.prefix, deleted, changed}))
		} else if _, printErr := fmt.Fprintf(out, "%d keys deleted%s\n", deleted, changedText(changed)); err == nil {
			err = printErr
		}
		return err
	})
}

// maxRangeKeys is how many keys go in one step.
const maxRangeKeys = 10_000

// removeRange removes the keys that begin with the prefix, as many at once as can go. It
// returns how many went, and the last revision.
func (s *deleteSettings) removeRange(ctx context.Context, clerk *client.Clerk) (all client.RangeRemoved, err error) {
	options := []client.RangeOption{client.Partially()}
	if s.atMost >= 0 {
		options[0] = client.AtMost(s.atMost)
	}
	if s.prefix == "" { // somebody was asked
		options = append(options, client.Everything())
	}
	for {
		removed, err := callWithin(ctx, s.timeout, func(ctx context.Context) (client.RangeRemoved, error) {
			return clerk.DeletePrefix(ctx, s.prefix, options...)
		})
		if err != nil {
			return all, err
		}
		all.Deleted, all.Revision = all.Deleted+removed.Deleted, removed.Revision
		if !removed.More {
			return all, nil
		}
	}
}

// isOfLaterVersion reports whether a cluster, or a server, does not know what it was asked
// for yet.
func isOfLaterVersion(err error) bool {
	var refused *client.Error
	return errors.As(err, &refused) && (refused.Code == api.CodeNotActive || refused.Code == api.CodeNotImplemented)
}

func (s *deleteSettings) printRange(out io.Writer, removed client.RangeRemoved, err error) error {
	if err != nil {
		if removed.Deleted > 0 {
			return fmt.Errorf("%d keys are deleted; then: %w", removed.Deleted, err)
		}
		return err
	}
	if s.json {
		return terminal.PrintJSON(out, struct {
			Prefix   string `json:"prefix"`
			Deleted  int    `json:"deleted"`
			Revision uint64 `json:"revision"`
		}{s.prefix, removed.Deleted, removed.Revision})
	}
	_, err = fmt.Fprintf(out, "%d keys deleted, revision %d\n", removed.Deleted, removed.Revision)
	return err
}

func changedText(changed int64) string {
	if changed == 0 {
		return ""
	}
	return fmt.Sprintf("; %d were written or deleted by others meanwhile and left alone", changed)
}

// listAll lists the keys with their revisions.
func (s *deleteSettings) listAll(ctx context.Context, clerk *client.Clerk) (items []client.Item, err error) {
	after := ""
	for {
		page, err := callWithin(ctx, s.timeout, func(ctx context.Context) (client.Page, error) {
			return clerk.List(ctx, s.prefix, client.KeysOnly(), client.After(after))
		})
		if err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if !page.More || len(page.Items) == 0 {
			return items, nil
		}
		after = page.Items[len(page.Items)-1].Key
	}
}

// removeAll removes items, each only if it is as it was listed.
func (s *deleteSettings) removeAll(ctx context.Context, clerk *client.Clerk, items []client.Item, stderr io.Writer) (deleted, changed int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var removed, others, next atomic.Int64
	var working sync.WaitGroup
	var once sync.Once
	for range min(deleteWorkers, len(items)) {
		working.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(items)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				_, e := callWithin(ctx, s.timeout, func(ctx context.Context) (client.Removed, error) {
					return clerk.Delete(ctx, items[i].Key, client.IfRevision(items[i].Revision))
				})
				switch {
				case e == nil:
					removed.Add(1)
				case errors.Is(e, client.ErrConflict):
					others.Add(1)
				default:
					once.Do(func() { err = e; cancel(e) })
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		working.Wait()
		close(finished)
	}()
	bar := terminal.StartProgress(stderr, "deleting", int64(len(items)))
	defer bar.Finish()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			bar.Set(removed.Load())
		case <-finished:
			return removed.Load(), others.Load(), err
		}
	}
}
