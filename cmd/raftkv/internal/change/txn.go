// Package change has the commands that change several keys at once.
package change

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

// Client is the way to the cluster that the flags of a command name.
type Client interface {
	AddTo(command *cobra.Command) // adds the flags
	// With calls a function with a Clerk, and gives its error the exit code that it needs.
	With(call func(ctx context.Context, clerk *client.Clerk) error) error
}

// Txn returns the command txn.
func Txn(newClient func() Client) *cobra.Command {
	c := newClient()
	command := &cobra.Command{
		Use:   "txn [FILE|-]",
		Short: "Change several keys at once, as compares decide",
		Long: `Make a transaction. It is read as JSON from a file, or from the standard input:

  {"if":   [{"key": "jobs/1", "absent": true}],
   "then": [{"op": "put", "key": "jobs/1", "text": "waiting"}],
   "else": [{"op": "get", "key": "jobs/1"}]}

Then is done if all compares hold, else if one does not; as a whole, in one
change, and once, however often the servers had to be asked. What came of it is
printed as JSON. docs/coordination.md describes both.

Exit code 9 says that a compare did not hold and that the else branch was done.`,
		Example: `  raftkv txn move.json
  echo '{"then":[{"op":"list","prefix":"jobs/"}]}' | raftkv txn`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			text, err := read(args, command.InOrStdin())
			if err != nil {
				return err
			}
			return c.With(func(ctx context.Context, clerk *client.Clerk) error {
				return run(ctx, clerk, text, command.OutOrStdout())
			})
		},
	}
	c.AddTo(command)
	return command
}

// read reads a transaction, which can have no more bytes than a server takes.
func read(args []string, stdin io.Reader) ([]byte, error) {
	from := stdin
	if len(args) > 0 && args[0] != "-" {
		file, err := os.Open(args[0])
		if err != nil {
			return nil, exit.Fail(fmt.Errorf("cannot open the file of the transaction %s: %w", args[0], exit.LastCause(err)))
		}
		defer file.Close()
		if is, err := file.Stat(); err == nil && is.IsDir() {
			return nil, fmt.Errorf("%s is a directory; name a file", args[0])
		}
		from = file
	} else if terminal.InputIsClosed(stdin) {
		return nil, errors.New("standard input is closed, so there is no transaction to read; name a file")
	}
	// In JSON a value may take more room than in the log.
	const limit = 2 * api.MaxTxnBytes
	text, err := io.ReadAll(io.LimitReader(from, limit+1))
	switch {
	case err != nil:
		return nil, exit.Fail(fmt.Errorf("reading the transaction: %w", exit.LastCause(err)))
	case len(text) > limit:
		return nil, fmt.Errorf("the transaction has more than %d bytes; split it", limit)
	}
	return text, nil
}

func run(ctx context.Context, clerk *client.Clerk, text []byte, out io.Writer) error {
	t := clerk.Txn(ctx)
	if err := t.Parse(text); err != nil {
		return err
	}
	r, err := t.Commit()
	if err != nil {
		return err
	}
	if _, err := out.Write(append(r.JSON(), '\n')); err != nil {
		return err
	}
	if !r.Succeeded {
		return exit.With(exit.ElseBranch, fmt.Errorf("compare %d did not hold: what stands in else was done, and nothing else", r.Failed))
	}
	return nil
}
