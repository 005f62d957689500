package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Exit codes. They are part of the command line's promise.
const (
	exitDone   = 0 // it ended as it was asked to
	exitFailed = 1 // it could not start, or failed while it ran
	exitUsage  = 2 // what was asked for cannot be: flags, settings, another node's data directory
)

// failure is an error of the world, not of the command line: a disk, a port, a
// lock. It ends the process with exitFailed; every other error of a command is
// the user's to mend and ends it with exitUsage.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// run runs one command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteC()
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(stderr, "raftkv: %v\n", err)
	var failed *failure
	if errors.As(err, &failed) {
		return exitFailed
	}
	fmt.Fprintf(stderr, "'%s --help' lists what can be given.\n", command.CommandPath())
	return exitUsage
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "raftkv",
		Short: "A key/value store that a majority of its nodes keeps alive",
		Long: `raftkv is a replicated, linearizable key/value store with an HTTP interface.

Exit codes of all commands:
  0  ended as asked
  1  could not start (a port or directory in use, a damaged log) or failed while running
  2  wrong usage: flags, settings, or a data directory of another node
A stack trace means that raftkv found itself in a state that its rules exclude
and would not go on; that is a bug worth reporting.`,
		Example: `  raftkv dev                        a durable cluster of three nodes in this terminal
  raftkv serve --config n1.toml     one node of a real cluster`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(newServeCommand(), newDevCommand(), newVersionCommand())
	return root
}
