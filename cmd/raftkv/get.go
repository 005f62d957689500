package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/status"
	"raftkv/cmd/raftkv/internal/terminal"
)

// getSettings are the flags of get.
type getSettings struct {
	clerkSettings
	stale, raw  bool
	minRevision uint64
	atRevision  uint64
	past        bool // --at-revision was given
	prefix      string
	byPrefix    bool // --prefix was given
}

func newGetCommand() *cobra.Command {
	var s getSettings
	command := &cobra.Command{
		Use:   "get KEY…",
		Short: "Print the values of keys",
		Long: `Print the value of a key, its bytes and nothing else. Of several keys, or those
that begin with --prefix, print a line each: the key, a tab and the value, quoted
like those of list. A read shows every write that was answered before, unless
--stale lets any server answer from what it has. Several keys are read one after
the other, not at one moment. --at-revision shows the store as it was at a
revision, as far back as the servers' history reaches.

On a terminal a value that holds control characters is printed in quotes, since
a terminal would obey them; --raw prints it as it is.

Exit code 1 says that there is no such key.`,
		Example: `  raftkv get greeting
  raftkv get config/app > app.toml
  raftkv get config/app config/db
  raftkv get --prefix config/
  raftkv get greeting --json
  raftkv get greeting --stale --min-revision 42    one's own write, anywhere
  raftkv get --prefix config/ --at-revision 57     as it was then`,
		Args: func(command *cobra.Command, args []string) error {
			s.byPrefix, s.past = command.Flags().Changed("prefix"), command.Flags().Changed("at-revision")
			switch {
			case s.past && (s.stale || s.minRevision > 0):
				return errors.New("--at-revision does not go with --stale and --min-revision: the store at a revision does not change")
			case s.byPrefix && len(args) > 0:
				return fmt.Errorf("get reads keys or a --prefix; with --prefix %s leave %q out", terminal.Readable(s.prefix), args[0])
			case !s.byPrefix && len(args) == 0:
				return errors.New("get needs a KEY, or --prefix; the KEY is missing")
			}
			return nil
		},
		RunE: func(command *cobra.Command, args []string) error { return s.run(args, command.OutOrStdout()) },
	}
	s.addTo(command)
	command.ValidArgsFunction = s.completeKeys(0)
	flags := command.Flags()
	flags.StringVar(&s.prefix, "prefix", "", "read all keys that begin so")
	flags.BoolVar(&s.raw, "raw", false, "print values as they are, even on a terminal; several without keys or line ends")
	flags.BoolVar(&s.stale, "stale", false, "let any server answer from what it has, however old")
	flags.Uint64Var(&s.minRevision, "min-revision", 0, "wait until the server has seen this revision")
	flags.Uint64Var(&s.atRevision, "at-revision", 0, "read the store as it was at this revision")
	return command
}

func (s *getSettings) run(keys []string, out io.Writer) error {
	var options []client.ReadOption
	if s.stale {
		options = append(options, client.Stale())
	}
	if s.minRevision > 0 {
		options = append(options, client.MinRevision(s.minRevision))
	}
	if s.past {
		options = append(options, client.AtRevision(s.atRevision))
	}
	err := s.with(func(ctx context.Context, clerk *client.Clerk) error {
		if s.byPrefix {
			return s.printAll(ctx, clerk, options, out)
		}
		var missing []string
		for _, key := range keys {
			item, err := clerk.Get(ctx, key, options...)
			switch {
			case errors.Is(err, client.ErrNotFound) && len(keys) > 1:
				missing = append(missing, terminal.Readable(key))
				continue
			case err != nil:
				return err
			}
			if err := s.print(out, item, len(keys) == 1); err != nil {
				return err
			}
		}
		if len(missing) > 0 {
			return exit.With(exit.Failed, fmt.Errorf("there is no such key: %s", strings.Join(missing, ", ")))
		}
		return nil
	})
	return s.sayHowFar(err)
}

// printAll prints the keys that begin with the prefix.
func (s *getSettings) printAll(ctx context.Context, clerk *client.Clerk, options []client.ReadOption, out io.Writer) error {
	var list []client.ListOption
	for _, o := range options {
		list = append(list, o)
	}
	printed := 0
	for item, err := range clerk.All(ctx, s.prefix, list...) {
		if err != nil {
			return err
		}
		if err := s.print(out, item, false); err != nil {
			return err
		}
		printed++
	}
	if printed == 0 {
		return exit.With(exit.Failed, fmt.Errorf("there is no key that begins with %s", strconv.Quote(s.prefix)))
	}
	return nil
}

// print prints one item; alone says that it is the only one.
func (s *getSettings) print(out io.Writer, item client.Item, alone bool) error {
	seen := terminal.Is(out)
	switch {
	case s.json:
		return terminal.PrintJSON(out, valueOf(item))
	case !alone && !s.raw:
		return printItem(out, item, false, true)
	case seen && !s.raw:
		_, err := fmt.Fprintln(out, terminal.Visible(string(item.Value))) // the prompt stands on a line of its own
		return err
	}
	_, err := out.Write(item.Value)
	if err == nil && seen {
		_, err = fmt.Fprintln(out)
	}
	return err
}

// sayHowFar adds to the error of a read that waited for a revision in vain how
// far the servers have come.
func (s *getSettings) sayHowFar(err error) error {
	var ended *exit.Ending
	if s.minRevision == 0 || !errors.As(err, &ended) || ended.Code != exit.Unavailable {
		return err
	}
	best := status.Answer{}
	all, askErr := s.askAll(context.Background())
	if askErr != nil {
		return err
	}
	for _, n := range all {
		if n.Status != nil && (best.Status == nil || n.Store.Revision > best.Store.Revision) {
			best = n
		}
	}
	if best.Status == nil || best.Store.Revision >= s.minRevision {
		return err
	}
	return exit.With(exit.Unavailable, fmt.Errorf("no server has come to revision %d within %v: the newest store, of %s, is at revision %d",
		s.minRevision, s.timeout, best.Node, best.Store.Revision))
}
