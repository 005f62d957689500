package member

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

// Commands returns the commands member and level. newClient makes the flags of one
// command.
func Commands(newClient func() Client) []*cobra.Command {
	group := &cobra.Command{
		Use:   "member",
		Short: "Show and change the members of a cluster",
		Long: `Show and change the members of a running cluster. A change is made as a whole or not
at all, and refused if too few voters would be healthy in the middle of it or behind it.

Exit code 7 says that a change was refused by such a guard.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	group.AddCommand(listCommand(newClient), planCommand(newClient), addCommand(newClient),
		one(newClient, "promote ID…", "Give members a vote", func(ids []string) api.MembersChange { return api.MembersChange{Promote: ids} }),
		one(newClient, "demote ID…", "Take the vote of members, which go on as learners", func(ids []string) api.MembersChange { return api.MembersChange{Demote: ids} }),
		one(newClient, "remove ID…", "Remove members; their data directories are never members again", func(ids []string) api.MembersChange { return api.MembersChange{Remove: ids} }),
		replaceCommand(newClient), tokenCommand(newClient))
	return []*cobra.Command{group, levelCommand(newClient)}
}

// with makes a command run with a caller.
func with(newClient func() Client, changes bool, command *cobra.Command, run func(c *caller, args []string) error) *cobra.Command {
	c := &caller{Client: newClient()}
	c.AddTo(command)
	if changes {
		command.Flags().BoolVar(&c.yes, "yes", false, "do not ask whether to go on")
		command.Flags().DurationVar(&c.wait, "wait", waitTimeout, "how long to wait for the end of the change, 0s not at all; if it is not given, as --timeout says")
		command.Flags().Lookup("wait").DefValue = "0s" // so that the help does not name it
	}
	command.RunE = func(command *cobra.Command, args []string) error {
		c.out, c.err, c.in, c.pause = command.OutOrStdout(), command.ErrOrStderr(), command.InOrStdin(), watchPause
		if c.life = command.Context(); c.life == nil {
			c.life = context.Background()
		}
		if flag := command.Flags().Lookup("wait"); flag != nil && flag.Changed && c.wait < 0 {
			return fmt.Errorf("--wait is %v; give a time such as 30s, or 0s", c.wait)
		}
		return run(c, args)
	}
	return command
}

func one(newClient func() Client, use, short string, change func(ids []string) api.MembersChange) *cobra.Command {
	return with(newClient, true, &cobra.Command{Use: use, Short: short, Args: cobra.MinimumNArgs(1)}, func(c *caller, args []string) error {
		return c.change(change(args))
	})
}

func listCommand(newClient func() Client) *cobra.Command {
	watch := false
	command := &cobra.Command{Use: "list", Short: "Show the members, as the leader knows them", Args: cobra.NoArgs,
		Example: "  raftkv member list\n  raftkv member list --watch"}
	command.Flags().BoolVar(&watch, "watch", false, "show them again every second")
	return with(newClient, false, command, func(c *caller, _ []string) error {
		if watch {
			return c.watch()
		}
		ctx, end := c.context()
		defer end()
		return c.list(ctx)
	})
}

// list shows the members once.
func (c *caller) list(ctx context.Context) error {
	var m api.Members
	if err := c.call(ctx, http.MethodGet, "/v1/members", nil, &m); err != nil {
		return err
	}
	if c.JSON() {
		return terminal.PrintJSON(c.out, m)
	}
	return printMembers(c.out, &m)
}

// watchPause is the interval at which watch shows the members, and clear makes room for that on
// a terminal.
const (
	watchPause = time.Second
	clear      = "\x1b[H\x1b[2J"
)

// watch shows the members every second until a signal comes. While no node answers for the
// leader it says so, and goes on.
func (c *caller) watch() error {
	ctx, end := signal.NotifyContext(c.life, syscall.SIGTERM, os.Interrupt)
	defer end()
	ticker := time.NewTicker(c.pause)
	defer ticker.Stop()
	for {
		if terminal.Is(c.out) && !c.JSON() {
			if _, err := io.WriteString(c.out, clear); err != nil {
				return err
			}
		}
		asking, cancel := context.WithTimeout(ctx, c.Limit())
		err := c.list(asking)
		cancel()
		var ending *exit.Ending
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &ending) && ending.Code == exit.Unavailable:
			if _, err := fmt.Fprintln(c.err, terminal.Harmless(err.Error())); err != nil {
				return err
			}
		case err != nil:
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// printMembers prints a table.
func printMembers(out io.Writer, m *api.Members) error {
	var b strings.Builder
	fmt.Fprintf(&b, "version %d, level %d, %d voters wanted, %d healthy, %d may fail\n", m.Version, m.Level.Level, m.Wanted, m.Healthy, max(m.Tolerance, 0))
	fmt.Fprintf(&b, "%-12s %-8s %-10s %-22s %-22s %s\n", "ID", "ROLE", "HEALTH", "PEER", "CLIENTS", "NOTE")
	for _, one := range m.Members {
		role := one.Role
		if one.Leader {
			role = "leader"
		}
		note := one.Why
		if note == "" {
			note = one.Behind
		}
		fmt.Fprintf(&b, "%-12s %-8s %-10s %-22s %-22s %s\n", terminal.Harmless(one.ID), role, one.Health, terminal.Harmless(one.Peer), terminal.Harmless(one.HTTP), terminal.Harmless(note))
	}
	if m.Waits != "" {
		fmt.Fprintf(&b, "promotion: %s\n", terminal.Harmless(m.Waits))
	}
	for _, h := range m.Level.HeldBack {
		fmt.Fprintf(&b, "level %d is held back: %s %s\n", m.Level.BuildMax, terminal.Harmless(h.ID), terminal.Harmless(h.Why))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func planCommand(newClient func() Client) *cobra.Command {
	var b api.MembersChange
	command := &cobra.Command{
		Use: "plan", Short: "Show what a change would be like, and change nothing", Args: cobra.NoArgs,
		Example: "  raftkv member plan --remove n3\n  raftkv member plan --promote n4,n5 --demote n1\n  raftkv member plan --replace n3=n4",
	}
	command.Flags().StringSliceVar(&b.Promote, "promote", nil, "members that get a vote")
	command.Flags().StringSliceVar(&b.Demote, "demote", nil, "members that lose it")
	command.Flags().StringSliceVar(&b.Remove, "remove", nil, "members that go")
	command.Flags().StringToStringVar(&b.Replace, "replace", nil, "voters that go, each with the member that takes its place: n3=n4")
	command.Flags().BoolVar(&b.EvenIfAlive, "even-if-alive", false, "although a voter that is replaced answers")
	command.Flags().IntVar(&b.Wanted, "wanted", 0, "how many voters there are to be, an odd number")
	return with(newClient, false, command, func(c *caller, _ []string) error {
		ctx, end := c.context()
		defer end()
		var plan api.MembersPlan
		if err := c.call(ctx, http.MethodPost, "/v1/members?dry_run", b, &plan); err != nil {
			return err
		}
		if c.JSON() {
			return terminal.PrintJSON(c.out, plan)
		}
		printPlan(c.out, &plan)
		return nil
	})
}

func addCommand(newClient func() Client) *cobra.Command {
	var add api.MemberToAdd
	command := &cobra.Command{
		Use: "add ID", Short: "Add a server that listens already, as a learner", Args: cobra.ExactArgs(1),
		Long: `Add a server that was started with --join and waits: the leader must reach it at its
peer address. It is promoted when it has caught up. With a token (member token create) the
server adds itself.`,
	}
	command.Flags().StringVar(&add.Peer, "peer", "", "address of its peer port")
	command.Flags().StringVar(&add.Role, "role", "", "learner or replica, which never votes (default learner)")
	return with(newClient, true, command, func(c *caller, args []string) error {
		if add.Peer == "" {
			return errors.New("--peer is missing: the address of the server's peer port")
		}
		add.ID = args[0]
		return c.change(api.MembersChange{Add: []api.MemberToAdd{add}})
	})
}

func replaceCommand(newClient func() Client) *cobra.Command {
	var taker string
	var alive bool
	command := &cobra.Command{Use: "replace ID", Short: "Let a member take the place of a voter that is lost", Args: cobra.ExactArgs(1)}
	command.Flags().StringVar(&taker, "with", "", "the learner or replica that votes in its place")
	command.Flags().BoolVar(&alive, "even-if-alive", false, "although the voter answers")
	return with(newClient, true, command, func(c *caller, args []string) error {
		if taker == "" {
			return errors.New("--with is missing: the member that takes the place")
		}
		return c.change(api.MembersChange{Replace: map[string]string{args[0]: taker}, EvenIfAlive: alive})
	})
}

func tokenCommand(newClient func() Client) *cobra.Command {
	group := &cobra.Command{
		Use: "token", Short: "Make, list and drop tokens by which servers join", Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	var b api.JoinTokenWanted
	var ttl time.Duration
	create := &cobra.Command{Use: "create", Short: "Print a new token; it is shown only once", Args: cobra.NoArgs,
		Example: "  raftkv member token create > n4.token\n  raftkv serve --id n4 --join n1:8701 --join-token-file n4.token …"}
	create.Flags().StringVar(&b.For, "for", "", "the only id that may use it")
	create.Flags().StringVar(&b.Role, "role", "", "learner or replica (default learner)")
	create.Flags().Uint32Var(&b.Uses, "uses", 1, "how often it may be used, at most 32")
	create.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long it is good, at most 168h")
	group.AddCommand(with(newClient, false, create, func(c *caller, _ []string) error {
		ctx, end := c.context()
		defer end()
		b.TTLSeconds = uint32(ttl.Seconds())
		var token api.JoinToken
		if err := c.call(ctx, http.MethodPost, tokensPath, b, &token); err != nil {
			return err
		}
		if c.JSON() {
			return terminal.PrintJSON(c.out, token)
		}
		_, err := fmt.Fprintln(c.out, token.Token)
		return err
	}))
	list := &cobra.Command{Use: "list", Short: "Show the tokens that are good, without their secrets", Args: cobra.NoArgs}
	drop := &cobra.Command{Use: "drop ID…", Short: "Make tokens worthless: a cluster keeps 16 at most", Args: cobra.MinimumNArgs(1)}
	group.AddCommand(with(newClient, false, list, func(c *caller, _ []string) error {
		ctx, end := c.context()
		defer end()
		var all api.JoinTokens
		if err := c.call(ctx, http.MethodGet, tokensPath, nil, &all); err != nil {
			return err
		}
		if c.JSON() {
			return terminal.PrintJSON(c.out, all)
		}
		return printTokens(c.out, &all, time.Now())
	}), with(newClient, false, drop, func(c *caller, args []string) error {
		ctx, end := c.context()
		defer end()
		for _, id := range args {
			if err := c.call(ctx, http.MethodDelete, tokensPath+"/"+url.PathEscape(id), nil, nil); err != nil {
				return fmt.Errorf("token %s: %w", id, err)
			}
		}
		return nil
	}))
	return group
}

// printTokens prints a table.
func printTokens(out io.Writer, all *api.JoinTokens, now time.Time) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%-10s %-8s %-12s %4s %s\n", "ID", "ROLE", "FOR", "USES", "GOOD FOR")
	for _, t := range all.Tokens {
		left := time.UnixMilli(int64(min(t.ExpiresUnixMs, 1<<53))).Sub(now).Round(time.Second)
		good := left.String()
		if left <= 0 {
			good = "expired"
		}
		fmt.Fprintf(&b, "%-10s %-8s %-12s %4d %s\n", terminal.Harmless(t.ID), terminal.Harmless(t.Role), terminal.Harmless(t.For), t.Uses, good)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func levelCommand(newClient func() Client) *cobra.Command {
	command := &cobra.Command{
		Use: "level [hold | release | raise LEVEL]", Short: "Show, hold or raise the level at which a cluster works", Args: cobra.MaximumNArgs(2),
		Long: `Show the level at which the cluster works, and who holds the next one back. The leader
raises it by itself when every member knows the next one. It never falls: to keep a way
back, hold it while you upgrade. In a cluster that still works at level 2, say hold after
each node that you have upgraded: one node that holds is enough, and two are better.`,
		Example: "  raftkv level\n  raftkv level hold",
	}
	return with(newClient, false, command, func(c *caller, args []string) error {
		ctx, end := c.context()
		defer end()
		var level api.Level
		var err error
		switch b := (api.LevelChange{}); {
		case len(args) == 0:
			var m api.Members
			m, err = c.members(ctx)
			level = m.Level
		case len(args) == 1 && (args[0] == "hold" || args[0] == "release"):
			hold := args[0] == "hold"
			b.Hold = &hold
			err = c.call(ctx, http.MethodPost, levelPath, b, &level)
		case len(args) == 2 && args[0] == "raise":
			n, wrong := strconv.ParseUint(args[1], 10, 32)
			if wrong != nil || n == 0 {
				return fmt.Errorf("the level is %q; give a number", args[1])
			}
			b.Raise = uint32(n)
			err = c.call(ctx, http.MethodPost, levelPath, b, &level)
		default:
			return fmt.Errorf("%q is nothing to do with a level: choose hold, release or raise LEVEL", strings.Join(args, " "))
		}
		if err != nil {
			return err
		}
		if c.JSON() {
			return terminal.PrintJSON(c.out, level)
		}
		held := ""
		if level.Hold {
			held = ", held"
		}
		fmt.Fprintf(c.out, "level %d%s; the node that answered knows %d to %d\n", level.Level, held, level.BuildMin, level.BuildMax)
		for _, h := range level.HeldBack {
			fmt.Fprintf(c.out, "level %d is held back: %s %s\n", level.BuildMax, terminal.Harmless(h.ID), terminal.Harmless(h.Why))
		}
		return nil
	})
}
