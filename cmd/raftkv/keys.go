package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/lease"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

// conditionSettings are the flags of a write's condition.
type conditionSettings struct {
	command         *cobra.Command
	revision        uint64
	absent, present bool
}

func (c *conditionSettings) addTo(command *cobra.Command) {
	flags := command.Flags()
	c.command = command
	flags.Uint64Var(&c.revision, "if-revision", 0, "only if the key's value has this revision")
	flags.BoolVar(&c.absent, "if-absent", false, "only if there is no such key")
	flags.BoolVar(&c.present, "if-present", false, "only if there is such a key")
}

// options returns the condition that was given, if any. A revision of 0, which a
// script may have come to, must not be taken for none.
func (c *conditionSettings) options() ([]client.WriteOption, error) {
	given := 0
	for _, flag := range []string{"if-revision", "if-absent", "if-present"} {
		if c.command.Flags().Changed(flag) {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, errors.New("a write takes one condition: choose one of --if-revision, --if-absent, --if-present")
	case c.command.Flags().Changed("if-revision") && c.revision == 0:
		return nil, errors.New("--if-revision is 0, which no value has; for a key that does not exist say --if-absent")
	case c.revision > 0:
		return []client.WriteOption{client.IfRevision(c.revision)}, nil
	case c.absent:
		return []client.WriteOption{client.IfAbsent()}, nil
	case c.present:
		return []client.WriteOption{client.IfPresent()}, nil
	}
	return nil, nil
}

// writeValue runs a command whose arguments are a key and a value: it reads the
// condition and the value, and calls write with them.
func (s *clerkSettings) writeValue(command *cobra.Command, args []string, c *conditionSettings, write func(ctx context.Context, clerk *client.Clerk, value []byte, options []client.WriteOption) error) error {
	options, err := c.options()
	if err != nil {
		return err
	}
	value, err := readValue(args[1], command.InOrStdin())
	if err != nil {
		return err
	}
	return s.with(func(ctx context.Context, clerk *client.Clerk) error { return write(ctx, clerk, value, options) })
}

func newPutCommand() *cobra.Command {
	var s clerkSettings
	var c conditionSettings
	var ends lease.PutFlags
	command := &cobra.Command{
		Use:   "put KEY VALUE",
		Short: "Set the value of a key",
		Long: `Set the value of a key. It happens once, however often the servers had to be
asked.

` + valueHelp,
		Example: `  raftkv put greeting hello
  raftkv put config/app @app.toml
  date | raftkv put today -
  raftkv put -- temperature -5
  raftkv put job mine --if-absent                  nobody else has written it
  raftkv put counter 8 --if-revision 17
  raftkv put session abc --ttl 30s                 it ends by itself`,
		Args: arguments("KEY", "VALUE"),
		RunE: func(command *cobra.Command, args []string) error {
			ends, err := ends.Options()
			if err != nil {
				return err
			}
			return s.writeValue(command, args, &c, func(ctx context.Context, clerk *client.Clerk, value []byte, options []client.WriteOption) error {
				w, err := clerk.Put(ctx, args[0], value, append(options, ends...)...)
				if err != nil {
					return err
				}
				if s.json {
					return terminal.PrintJSON(command.OutOrStdout(), writtenOf(args[0], w))
				}
				what := "replaced"
				if w.Created {
					what = "created"
				}
				fmt.Fprintf(command.OutOrStdout(), "%s, revision %d, version %d\n", what, w.Revision, w.Version)
				return nil
			})
		},
	}
	s.addTo(command)
	c.addTo(command)
	ends.AddTo(command)
	command.ValidArgsFunction = s.completeKeys(1)
	return command
}

func newAppendCommand() *cobra.Command {
	var s clerkSettings
	var c conditionSettings
	command := &cobra.Command{
		Use:   "append KEY VALUE",
		Short: "Add to the end of a key's value",
		Long: `Add to the end of a key's value; a key that does not exist counts as empty. It
happens once, however often the servers had to be asked.

` + valueHelp,
		Example: `  raftkv append greeting ', world'
  raftkv append log @today.log`,
		Args: arguments("KEY", "VALUE"),
		RunE: func(command *cobra.Command, args []string) error {
			return s.writeValue(command, args, &c, func(ctx context.Context, clerk *client.Clerk, value []byte, options []client.WriteOption) error {
				w, err := clerk.Append(ctx, args[0], value, options...)
				if err != nil {
					return err
				}
				if s.json {
					return terminal.PrintJSON(command.OutOrStdout(), api.Appended{Written: writtenOf(args[0], w), Length: w.Length})
				}
				fmt.Fprintf(command.OutOrStdout(), "%d bytes now, revision %d, version %d\n", w.Length, w.Revision, w.Version)
				return nil
			})
		},
	}
	s.addTo(command)
	c.addTo(command)
	command.ValidArgsFunction = s.completeKeys(1)
	return command
}

// listSettings are the flags of list.
type listSettings struct {
	clerkSettings
	prefix, after, from, to string
	values, count           bool
	limit                   int
	atRevision              uint64
	past                    bool // --at-revision was given
}

func newListCommand() *cobra.Command {
	var s listSettings
	command := &cobra.Command{
		Use:   "list [PREFIX]",
		Short: "List keys in the order of their bytes",
		Long: `List the keys that begin with PREFIX, or all, in the order of their bytes: one
in a line, quoted if it holds anything but printable characters. With --values a
tab and the value, likewise, follow. With --json each line is an object.

--from and --to list the keys from one on up to, but not including, another one.
--count prints how many keys there are instead. --at-revision shows the store as
it was at a revision, as far back as the servers' history reaches.`,
		Example: `  raftkv list
  raftkv list config/ --values
  raftkv list --from b --to c
  raftkv list config/ --count
  raftkv list --json | jq -r .key`,
		Args: atMostOne("PREFIX"),
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) == 1 {
				s.prefix = args[0]
			}
			s.past = command.Flags().Changed("at-revision")
			return s.run(command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	s.addTo(command)
	command.ValidArgsFunction = s.completeKeys(1)
	flags := command.Flags()
	flags.BoolVar(&s.values, "values", false, "print values, too")
	flags.IntVar(&s.limit, "limit", 0, "print at most this many keys; 0: all")
	flags.StringVar(&s.after, "after", "", "begin behind this key")
	flags.StringVar(&s.from, "from", "", "begin with this key, or the next one that there is")
	flags.StringVar(&s.to, "to", "", "end before this key")
	flags.BoolVar(&s.count, "count", false, "print the number of keys only")
	flags.Uint64Var(&s.atRevision, "at-revision", 0, "list the store as it was at this revision")
	return command
}

// options are those of each page.
func (s *listSettings) options() (options []client.ListOption, err error) {
	switch {
	case s.limit < 0:
		return nil, fmt.Errorf("--limit is %d; it cannot be below 0", s.limit)
	case s.prefix != "" && s.from+s.to != "":
		return nil, errors.New("list takes a PREFIX, or --from and --to; leave one of them out")
	case s.count && (s.limit > 0 || s.after != "" || s.values):
		return nil, errors.New("--count counts all keys of the range; leave --limit, --after and --values out")
	}
	options = append(options, client.After(s.after))
	if !s.values {
		options = append(options, client.KeysOnly())
	}
	if s.limit > 0 {
		options = append(options, client.Limit(s.limit))
	}
	if s.past {
		options = append(options, client.AtRevision(s.atRevision))
	}
	return options, nil
}

func (s *listSettings) run(out, stderr io.Writer) error {
	options, err := s.options()
	if err != nil {
		return err
	}
	return s.with(func(ctx context.Context, clerk *client.Clerk) error {
		if s.count {
			return s.printCount(ctx, clerk, options, out)
		}
		all := clerk.All(ctx, s.prefix, options...)
		if s.from+s.to != "" {
			all = clerk.AllOf(ctx, s.from, s.to, options...)
		}
		bar := terminal.StartProgress(stderr, "listing", -1)
		defer bar.Finish()
		printed := 0
		for item, err := range all {
			if err != nil {
				return err
			}
			if err := printItem(out, item, s.json, s.values); err != nil {
				return err
			}
			printed++
			bar.Set(int64(printed))
			if printed == s.limit {
				break
			}
		}
		return nil
	})
}

// printCount prints how many keys there are.
func (s *listSettings) printCount(ctx context.Context, clerk *client.Clerk, options []client.ListOption, out io.Writer) error {
	options = append(options, client.CountOnly())
	var page client.Page
	var err error
	if s.from+s.to == "" {
		page, err = clerk.List(ctx, s.prefix, options...)
	} else {
		page, err = clerk.ListRange(ctx, s.from, s.to, options...)
	}
	switch {
	case err != nil:
		return err
	case s.json:
		return terminal.PrintJSON(out, api.Page{Items: []api.Value{}, Revision: page.Revision, Count: &page.Count})
	}
	_, err = fmt.Fprintln(out, page.Count)
	return err
}

func printItem(out io.Writer, item client.Item, asJSON, values bool) error {
	if asJSON {
		return terminal.PrintJSON(out, valueOf(item))
	}
	line := terminal.Readable(item.Key)
	if values {
		line += "\t" + terminal.Readable(string(item.Value))
	}
	_, err := fmt.Fprintln(out, line)
	return err
}

func valueOf(i client.Item) api.Value {
	return api.Value{KeyName: api.NameKey(i.Key), Value: i.Value, Revision: i.Revision, Version: i.Version, Created: i.Created, Lease: i.Lease}
}

func writtenOf(key string, w client.Written) api.Written {
	return api.Written{KeyName: api.NameKey(key), Revision: w.Revision, Version: w.Version}
}
