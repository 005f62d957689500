package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// settings are the flags of the command.
type settings struct {
	dataDir, as, accept string
	plan, offline       bool
	resetAuth           bool // identities are not enforced afterwards
}

// Command returns the command recover.
func Command() *cobra.Command {
	var s settings
	command := &cobra.Command{
		Use:   "recover",
		Short: "Go on with one node when a majority is lost for good",
		Long: `Make a cluster of one out of the data directory of a node that is left, when a
majority of the voters is lost for good. This is the last resort: what the lost
nodes acknowledged, and this one had not heard of, is gone. While a majority can be
started again, start it.

Stop the node first. --plan shows what the directory holds, what may be missing and
what would be done, and changes nothing. If several nodes are left, look at each of
them with --plan and go on with the one whose log ends latest.

The recovery takes the name of the node and the name of the cluster, so that nobody
does it by mistake, and asks the addresses of the other members: while enough of
them answer to be a majority with this node, it is refused (exit code 7).

Start the node afterwards as before. It leads alone, in a new generation of the
cluster. All other nodes are refused by it and end, if they come back: empty their
directories and let them join (raftkv member token create, raftkv serve --join).
Revisions go on 2^40 higher, so that no ETag of before names another value.

Identities and tokens stay, and whether they are enforced. --reset-auth puts the
cluster into the state off, for one whose admins' tokens are all lost: whoever reaches
the node is served then, so start it on a loopback address, make an admin there
(raftkv auth init), revoke what was lost, and enforce again. An identity with the
right auth in the node's --auth-file does the same without that.`,
		Example: `  raftkv recover --data-dir ./n1 --plan
  raftkv recover --data-dir ./n1 --as n1 --accept-data-loss raftkv`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return s.run(command.Context(), vfs.OS{}, command.OutOrStdout(), new(net.Dialer))
		},
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&s.dataDir, "data-dir", "", "data directory of the node that is left")
	flags.BoolVar(&s.plan, "plan", false, "show what would be done, and change nothing")
	flags.StringVar(&s.as, "as", "", "name of the node that goes on; it must be that of the directory")
	flags.StringVar(&s.accept, "accept-data-loss", "", "name of the cluster, of which acknowledged writes may be lost")
	flags.BoolVar(&s.offline, "offline", false, "do not ask the other members whether they are there")
	flags.BoolVar(&s.resetAuth, "reset-auth", false, "stop enforcing identities, where all tokens of admins are lost")
	return command
}

// dialer connects to addresses.
type dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

func (s *settings) run(ctx context.Context, fsys vfs.FS, out io.Writer, d dialer) error {
	if err := s.check(); err != nil {
		return err
	}
	left, err := Open(fsys, s.dataDir)
	if err != nil {
		return classified(err)
	}
	err = s.runOn(ctx, left, out, d)
	return errors.Join(err, left.Close())
}

// check refuses flags that do not go together.
func (s *settings) check() error {
	switch {
	case s.dataDir == "":
		return errors.New("--data-dir is missing: name the data directory of the node that is left")
	case s.plan && (s.as != "" || s.accept != "" || s.offline || s.resetAuth):
		return errors.New("--plan changes nothing: leave it out, or leave out --as, --accept-data-loss, --offline and --reset-auth")
	case s.plan:
		return nil
	case s.as == "":
		return errors.New("--as is missing: name the node that goes on alone; --plan shows it, and changes nothing")
	case s.accept == "":
		return errors.New("--accept-data-loss is missing: give it the name of the cluster, of which acknowledged writes may be lost; --plan shows it, and changes nothing")
	}
	return nil
}

func (s *settings) runOn(ctx context.Context, left *Survivor, out io.Writer, d dialer) error {
	if s.plan {
		return left.Print(out)
	}
	switch {
	case s.as != left.owner.NodeID:
		return fmt.Errorf("--as names %s, and the data directory %s belongs to node %s: nothing was changed", s.as, s.dataDir, left.owner.NodeID)
	case s.accept != left.owner.ClusterID:
		return fmt.Errorf("--accept-data-loss names the cluster %s, and the data directory %s belongs to cluster %s: nothing was changed", s.accept, s.dataDir, left.owner.ClusterID)
	}
	if !s.offline {
		alive := left.Alive(ctx, func(ctx context.Context, address string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", address)
		})
		if err := left.Needed(alive); err != nil {
			return exit.With(exit.Refused, err)
		}
	}
	index, _ := left.last()
	if err := left.Recover(s.resetAuth); err != nil {
		return exit.Fail(fmt.Errorf("recovering %s: %w", s.dataDir, err))
	}
	_, err := fmt.Fprintf(out, "%s: node %s is cluster %s now, alone, in generation %d, behind entry %d. Start it as before; empty the directories of all others, and let them join.\n",
		s.dataDir, s.as, s.accept, left.newest.Record.Generation+1, index)
	return err
}

// classified makes of what keeps a directory from being opened an error with the right code:
// a log of another node is a mistake of the caller, all else is a failure.
func classified(err error) error {
	var another *wal.IdentityError
	if errors.As(err, &another) {
		return err
	}
	return exit.Fail(err)
}
