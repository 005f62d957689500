// Package lease has the commands about leases, and about the ends of keys.
package lease

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/refusal"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

// Client is the way to the cluster that the flags of a command name.
type Client interface {
	AddTo(command *cobra.Command) // adds the flags
	JSON() bool                   // whether to print JSON
	Limit() time.Duration         // how long to go on trying
	// With calls a function with a Clerk, and gives its error the exit code that it needs.
	With(call func(ctx context.Context, clerk *client.Clerk) error) error
	// Long is With for calls that together may take longer than Limit.
	Long(calls func(ctx context.Context, clerk *client.Clerk) error) error
}

// Commands returns the commands lease and touch.
func Commands(newClient func() Client) []*cobra.Command {
	lease := &cobra.Command{
		Use:   "lease",
		Short: "Make, keep alive, show and end leases",
		Long: `Make, keep alive, show and end leases. A lease lives as long as somebody keeps it
alive; keys that were put with --lease end with it, in one change.
docs/coordination.md says what is promised.`,
		Example: `  id=$(raftkv lease grant 15s) && raftkv lease keep $id &
  raftkv put services/a 10.0.0.7:80 --lease $id
  raftkv lease list`,
	}
	lease.AddCommand(grant(newClient()), keep(newClient()), revoke(newClient()), list(newClient()), show(newClient()))
	return []*cobra.Command{lease, touch(newClient())}
}

func grant(c Client) *cobra.Command {
	var note string
	var id int64
	command := &cobra.Command{
		Use:   "grant TTL",
		Short: "Make a lease and print its id",
		Long: `Make a lease that lives for TTL, such as 15s, if nobody keeps it alive, and print
its id. It is made once, however often the servers had to be asked.`,
		Example: `  raftkv lease grant 15s
  raftkv lease grant 1h --note 'worker 7' --id 10482`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			ttl, err := parseTTL(args[0])
			if err != nil {
				return err
			}
			options := []client.GrantOption{client.LeaseNote(note)}
			if command.Flags().Changed("id") {
				if id == 0 {
					return errors.New("--id is 0, which no lease has; leave it out to get one")
				}
				options = append(options, client.LeaseID(id))
			}
			return c.With(func(ctx context.Context, clerk *client.Clerk) error {
				got, err := clerk.GrantUnkept(ctx, ttl, options...)
				if err != nil {
					return err
				}
				if c.JSON() {
					return terminal.PrintJSON(command.OutOrStdout(), api.Granted{Lease: got, TTLMs: uint64(ttl.Milliseconds())})
				}
				_, err = fmt.Fprintln(command.OutOrStdout(), got)
				return err
			})
		},
	}
	c.AddTo(command)
	command.Flags().StringVar(&note, "note", "", "says for people what the lease is for")
	command.Flags().Int64Var(&id, "id", 0, "choose the id; it must not be that of a lease that is alive")
	return command
}

func keep(c Client) *cobra.Command {
	command := &cobra.Command{
		Use:   "keep ID",
		Short: "Keep a lease alive for as long as the command runs",
		Long: `Keep a lease alive until the command is interrupted, which leaves the lease to end
when its TTL is over. Exit code 10 says that the lease is gone, or that it could not
be kept alive and may be; 14 that it could not because the servers refused the caller.`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			return c.Long(func(ctx context.Context, clerk *client.Clerk) error {
				first, cancel := context.WithTimeout(ctx, c.Limit())
				l, err := clerk.Keep(first, id)
				cancel()
				if err != nil {
					return err
				}
				select {
				case <-ctx.Done():
					return nil
				case <-l.Context().Done():
					return lost(l)
				}
			})
		},
	}
	c.AddTo(command)
	return command
}

// lost is the error of a lease that is kept alive no longer.
func lost(l *client.Lease) error {
	var refused *client.Error
	if errors.As(context.Cause(l.Context()), &refused) {
		return exit.With(exit.Denied, refusal.Because(fmt.Sprintf("the lease %d could not be kept alive for nine tenths of its TTL of %v", l.ID(), l.TTL()), refused))
	}
	return exit.With(exit.LeaseGone, fmt.Errorf("the lease %d is gone, or could not be kept alive for nine tenths of its TTL of %v", l.ID(), l.TTL()))
}

func revoke(c Client) *cobra.Command {
	command := &cobra.Command{
		Use:   "revoke ID",
		Short: "End a lease now, and its keys with it",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			return c.With(func(ctx context.Context, clerk *client.Clerk) error { return clerk.Revoke(ctx, id) })
		},
	}
	c.AddTo(command)
	return command
}

func list(c Client) *cobra.Command {
	command := &cobra.Command{
		Use:   "list",
		Short: "List leases in the order of their ids",
		Long: `List the leases: the id, the TTL, how much of it remains at least, how many keys end
with it, and the note, with tabs between them. With --json each line is an object.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return c.With(func(ctx context.Context, clerk *client.Clerk) error {
				for info, err := range clerk.Leases(ctx) {
					if err != nil {
						return err
					}
					if err := print(c, command.OutOrStdout(), &info); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.AddTo(command)
	return command
}

func show(c Client) *cobra.Command {
	command := &cobra.Command{
		Use:   "show ID",
		Short: "Show a lease and its keys",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			return c.With(func(ctx context.Context, clerk *client.Clerk) error {
				info, err := clerk.Lease(ctx, id)
				if err != nil {
					return err
				}
				return print(c, command.OutOrStdout(), &info)
			})
		},
	}
	c.AddTo(command)
	return command
}

// print prints a lease in a line, and its keys, if it shows them, in a line each.
func print(c Client, out io.Writer, info *client.LeaseInfo) error {
	if c.JSON() {
		shown := api.Lease{Lease: info.ID, TTLMs: uint64(info.TTL.Milliseconds()), RemainingMs: uint64(info.Remaining.Milliseconds()), Note: info.Note}
		for _, key := range info.Keys {
			shown.Keys = append(shown.Keys, api.NameKey(key))
		}
		return terminal.PrintJSON(out, shown)
	}
	_, err := fmt.Fprintf(out, "%d\t%v\t%v\t%d\t%s\n", info.ID, info.TTL, info.Remaining, info.Count, terminal.Readable(info.Note))
	for _, key := range info.Keys {
		if err == nil {
			_, err = fmt.Fprintf(out, "\t%s\n", terminal.Readable(key))
		}
	}
	return err
}

func touch(c Client) *cobra.Command {
	var ttl string
	command := &cobra.Command{
		Use:   "touch KEY --ttl TTL",
		Short: "Give a key another end",
		Long: `Let a key end after TTL, such as 30s, from now on, and change nothing else of it. A
key that is tied to a lease ends with that; its lease is kept alive instead.`,
		Example: `  raftkv touch session --ttl 30s`,
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			if !command.Flags().Changed("ttl") {
				return errors.New("--ttl is missing; say after how long the key is to end, such as --ttl 30s")
			}
			d, err := parseTTL(ttl)
			if err != nil {
				return err
			}
			return c.With(func(ctx context.Context, clerk *client.Clerk) error { return clerk.Touch(ctx, args[0], d) })
		},
	}
	c.AddTo(command)
	command.Flags().StringVar(&ttl, "ttl", "", "how long the key is to live on")
	return command
}

// parseTTL reads how long something is to live.
func parseTTL(text string) (time.Duration, error) {
	ttl, err := time.ParseDuration(text)
	if err != nil || ttl < client.MinTTL || ttl > client.MaxTTL {
		return 0, fmt.Errorf("the TTL is %q; it must be a duration from 1s to %.0fs, such as 30s", text, client.MaxTTL.Seconds())
	}
	return ttl, nil
}

// parseID reads the id of a lease.
func parseID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id == 0 {
		return 0, fmt.Errorf("the lease is %q; it is a whole number from %d to %d, and not 0", text, int64(math.MinInt64), int64(math.MaxInt64))
	}
	return id, nil
}

// PutFlags are the flags of put that say when the key ends.
type PutFlags struct {
	command *cobra.Command
	ttl     string
	lease   string
}

// AddTo adds the flags.
func (f *PutFlags) AddTo(command *cobra.Command) {
	f.command = command
	command.Flags().StringVar(&f.ttl, "ttl", "", "the key ends after this time, such as 30s; keep: as it would have before")
	command.Flags().StringVar(&f.lease, "lease", "", "the key ends with the lease of this id")
}

// Options returns what was given.
func (f *PutFlags) Options() ([]client.WriteOption, error) {
	timed, leased := f.command.Flags().Changed("ttl"), f.command.Flags().Changed("lease")
	switch {
	case timed && leased:
		return nil, errors.New("a key ends with a lease or after a time: choose one of --ttl, --lease")
	case timed && f.ttl == "keep":
		return []client.WriteOption{client.KeepTTL()}, nil
	case timed:
		ttl, err := parseTTL(f.ttl)
		return []client.WriteOption{client.WithTTL(ttl)}, err
	case leased:
		id, err := parseID(f.lease)
		return []client.WriteOption{client.WithLeaseID(id)}, err
	}
	return nil, nil
}
