package guarded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	// Long calls a function with a Clerk and a context that ends with a signal, and gives
	// its error the exit code that it needs.
	Long(calls func(ctx context.Context, clerk *client.Clerk) error) error
}

// Commands returns the commands lock and elect.
func Commands(newClient func() Client) []*cobra.Command {
	return []*cobra.Command{lock(newClient()), elect(newClient())}
}

// terms are the flags of both.
type terms struct {
	Client
	ttl, delay time.Duration
}

const (
	defaultTTL = 15 * time.Second
	// A lost command may run on for grace. The delay keeps others out meanwhile.
	defaultDelay = grace
)

func (t *terms) addTo(command *cobra.Command) {
	t.AddTo(command)
	flags := command.Flags()
	flags.DurationVar(&t.ttl, "ttl", defaultTTL, "how long nobody else gets the lock when this program has died")
	flags.DurationVar(&t.delay, "delay", defaultDelay, "how much longer, for a command that is being ended; 0s to 1m")
}

const lossHelp = `When the lock is lost, because for nine tenths of the --ttl no server could be reached
or the servers refused the caller, the command and all that it has started in its
process group get SIGTERM, and 5 s later SIGKILL. The --delay keeps the lock free for
that time. What cannot be undone should check RAFTKV_TOKEN: it is greater than that of
every earlier holder.
docs/coordination.md says what is promised.`

func lock(c Client) *cobra.Command {
	t := terms{Client: c}
	var limit int
	var wait time.Duration
	command := &cobra.Command{
		Use:   "lock NAME -- COMMAND [ARGUMENT…]",
		Short: "Run a command while a lock is held",
		Long: `Wait for a lock, run a command while it is held, release it, and end with the
command's exit code. The command gets RAFTKV_LOCK, RAFTKV_TOKEN and RAFTKV_LEASE.
SIGTERM and SIGINT go to the command, which is waited for.

` + lossHelp + `

Exit code 11 says that the lock was lost and the command ended for that, 12 that the
lock was not got within --wait: nothing was run. All others are the command's.`,
		Example: `  raftkv lock backup -- sh -c 'tar c /data | ssh host "cat > data.tar"'
  raftkv lock jobs/nightly --wait 0s -- ./nightly
  raftkv lock builds --limit 3 -- make`,
		RunE: func(command *cobra.Command, args []string) error {
			if command.ArgsLenAtDash() != 1 || len(args) < 2 {
				return errors.New("name a lock, and behind -- the command: raftkv lock NAME -- COMMAND")
			}
			waiting := context.Background()
			if command.Flags().Changed("wait") {
				if wait < 0 {
					return fmt.Errorf("--wait is %v; it must not be below 0s", wait)
				}
				limited, cancel := context.WithTimeout(waiting, wait)
				defer cancel()
				waiting = limited
			}
			return t.Long(func(ctx context.Context, clerk *client.Clerk) error {
				l, err := t.grant(ctx, clerk, "lock")
				if err != nil {
					return err
				}
				held, err := acquire(ctx, waiting, l, args[0], wait == 0 && waiting.Done() != nil, client.Limit(limit), client.LockDelay(t.delay))
				switch {
				case errors.Is(err, client.ErrLockHeld) && ctx.Err() == nil:
					return exit.With(exit.LockNotGot, fmt.Errorf("the lock %.64q was not got within %v: nothing was run", args[0], wait))
				case err != nil:
					return err
				}
				return runHeld(ctx, command, held, args[1:])
			})
		},
	}
	t.addTo(command)
	command.Flags().IntVar(&limit, "limit", 1, "how many may hold the lock at the same time; all must say the same")
	command.Flags().DurationVar(&wait, "wait", 0, "give up after this time, 0s at once (default: never)")
	return command
}

// grant makes the lease that holds the lock.
func (t *terms) grant(ctx context.Context, clerk *client.Clerk, what string) (*client.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Limit())
	defer cancel()
	return clerk.Grant(ctx, t.ttl, client.LeaseNote(noteFor(what)))
}

// noteFor says for people which process has a lease.
func noteFor(what string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	return fmt.Sprintf("raftkv %s on %.64s, pid %d", what, host, os.Getpid())
}

// acquire waits for the lock until either context ends.
func acquire(ctx, waiting context.Context, l *client.Lease, name string, once bool, options ...client.LockOption) (*client.Lock, error) {
	if once {
		return l.TryLock(ctx, name, options...)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(waiting, func() { cancel(context.Cause(waiting)) })()
	return l.Lock(ctx, name, options...)
}

// runHeld runs the command under a lock and gives that back.
func runHeld(ctx context.Context, command *cobra.Command, held *client.Lock, args []string) error {
	code, lost, err := runUnder(ctx, command, held, args)
	switch {
	case lost:
		return exit.With(exit.LockLost, lossOf(held, fmt.Sprintf("the lock %.64q was lost, and the command was ended", held.Name())))
	case err != nil:
		return err
	}
	releasing, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseLimit)
	defer cancel()
	if err := held.Release(releasing); errors.Is(err, client.ErrLockLost) {
		return exit.With(exit.LockLost, fmt.Errorf("the lock %.64q was lost before the command had ended", held.Name()))
	}
	return exit.Silently(code) // where it could not be released, it ends with the lease
}

// lossOf says that a lock was lost, and why, where the servers refused to keep its lease alive.
func lossOf(held *client.Lock, what string) error {
	var refused *client.Error
	if errors.As(context.Cause(held.Context()), &refused) {
		return refusal.Because(what, refused)
	}
	return errors.New(what)
}

// releaseLimit bounds how long the end of a command waits for the servers.
const releaseLimit = 2 * time.Second

func elect(c Client) *cobra.Command {
	t := terms{Client: c}
	var observe bool
	command := &cobra.Command{
		Use:   "elect NAME VALUE -- COMMAND [ARGUMENT…]",
		Short: "Run a command on one machine of several",
		Long: `Stand for election and run a command while this program leads. VALUE is published
for others to see: an address, say. When the command ends, the program resigns and ends
with the command's exit code. The command gets RAFTKV_LOCK, RAFTKV_TOKEN and
RAFTKV_LEASE. When leadership is lost the command is ended, and the program stands
again.

` + lossHelp + `

With --observe it prints who leads, and each change of that, in a line each: the token,
the lease and the value; a token of 0 says that nobody leads.`,
		Example: `  raftkv elect scheduler 10.0.0.7:80 -- ./scheduler --listen 10.0.0.7:80
  raftkv elect scheduler --observe`,
		RunE: func(command *cobra.Command, args []string) error {
			if observe {
				if len(args) != 1 {
					return errors.New("--observe takes the name of an election and nothing else")
				}
				return t.Long(func(ctx context.Context, clerk *client.Clerk) error {
					return observed(ctx, t, clerk, command.OutOrStdout(), args[0])
				})
			}
			if command.ArgsLenAtDash() != 2 || len(args) < 3 {
				return errors.New("name an election, the value to publish, and behind -- the command: raftkv elect NAME VALUE -- COMMAND")
			}
			return t.Long(func(ctx context.Context, clerk *client.Clerk) error { return t.stand(ctx, clerk, command, args) })
		},
	}
	t.addTo(command)
	command.Flags().BoolVar(&observe, "observe", false, "only print who leads")
	return command
}

// stand stands for election until the command has ended by itself.
func (t *terms) stand(ctx context.Context, clerk *client.Clerk, command *cobra.Command, args []string) error {
	as := client.Candidate{Value: []byte(args[1]), TTL: t.ttl, Delay: t.delay, Note: noteFor("elect")}
	return clerk.Lead(ctx, args[0], as, func(_ context.Context, l client.Leadership) error {
		code, lost, err := runUnder(ctx, command, l.Lock, args[2:])
		switch {
		case lost:
			what := fmt.Sprintf("leadership of %.64q was lost, and the command was ended; standing again", args[0])
			fmt.Fprintf(command.ErrOrStderr(), "raftkv: %s\n", terminal.Harmless(lossOf(l.Lock, what).Error()))
			return nil
		case err != nil:
			return err
		}
		return exit.Silently(code)
	})
}

// observed prints the leader, and each later one, until it is interrupted.
func observed(ctx context.Context, t terms, clerk *client.Clerk, out io.Writer, name string) error {
	for h, err := range clerk.Observe(ctx, name) {
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case t.JSON():
			err = terminal.PrintJSON(out, api.WatchLock{LockName: api.NameLock(name), Token: h.Token, Lease: h.Lease, Value: h.Value})
		default:
			_, err = fmt.Fprintf(out, "%d\t%d\t%s\n", h.Token, h.Lease, terminal.Readable(string(h.Value)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
