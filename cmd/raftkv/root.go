package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/host"
	"raftkv/cmd/raftkv/internal/logging"
	"raftkv/raft/datadir"
)

// Exit codes. They are part of the command line's promise.
const (
	exitDone        = 0  // it ended as it was asked to
	exitFailed      = 1  // a node could not start or failed; a key does not exist, a condition did not hold; a history is not linearizable
	exitUsage       = 2  // what was asked for cannot be: flags, settings, another node's data directory
	exitUnavailable = 3  // no server could do it in time; nothing was changed
	exitUnknown     = 4  // a write may have happened or not
	exitUndecided   = 5  // the search for an order of a history did not end in time
	exitOutput      = 13 // it was done, and what it printed could not be written; 6 to 12 are reserved (docs/formats.md)

	// exitReaderGone is what shells show for a program that ends because nobody
	// reads it any more; nothing is said then.
	exitReaderGone = 141
)

// failure is an error of the world, not of the command line: a disk, a port, a
// lock. It ends the process with exitFailed; every other error of a command is
// the user's to mend and ends it with exitUsage.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// isFailure reports whether a command failed, and was not used wrongly.
func isFailure(err error) bool {
	var failed *failure
	var ofNode *host.Failure
	var fault *datadir.Fault
	return errors.As(err, &failed) || errors.As(err, &ofNode) || errors.As(err, &fault)
}

// ending is an error that ends the process with a code of its own.
type ending struct {
	code int
	err  error
}

func (e *ending) Error() string { return e.err.Error() }
func (e *ending) Unwrap() error { return e.err }

// run runs one command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	out := &output{to: stdout}
	root.SetOut(out)
	root.SetErr(stderr)
	refuseUnknownTopics(root) // behind SetOut: what is made here keeps the output
	refusedHelp := refuseHelpBesideArguments(root)
	command, err := root.ExecuteC()
	err = out.judge(command, cmp.Or(*refusedHelp, err))
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errReaderGone):
		return exitReaderGone
	}
	sayWithin(stderr, fmt.Sprintf("raftkv: %s\n", harmless(err.Error())), logging.FlushLimit)
	if isFailure(err) {
		return exitFailed
	}
	if ended := (*ending)(nil); errors.As(err, &ended) {
		return ended.code
	}
	sayWithin(stderr, fmt.Sprintf("'%s --help' lists what can be given.\n", command.CommandPath()), logging.FlushLimit)
	return exitUsage
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "raftkv",
		Short: "A key/value store that a majority of its nodes keeps alive",
		Long: `raftkv is a replicated, linearizable key/value store with an HTTP interface.

Exit codes of all commands:
  0  ended as asked
  1  could not start (a port or directory in use, a damaged log) or failed while
     running; get: no such key; put, append, delete: the condition does not
     hold; verify: the history is not linearizable; health: a node is not ready;
     status: two leaders, or a node that is ahead of the leader
  2  wrong usage: flags, settings, a data directory of another node, endpoints
     of two clusters
  3  no server could do it in time; nothing was changed (delete --prefix and
     import say how far they came)
  4  the outcome of a write is not known: it may have happened, or happen yet,
     once
  5  verify: the search for an order of the history did not end in time
 13  it was done, but what it printed could not be written (a full disk)
A stack trace means that raftkv found itself in a state that its rules exclude
and would not go on; that is a bug worth reporting.`,
		Example: `  raftkv dev                     a durable cluster of three in this terminal
  raftkv serve --config n1.toml  one node of a real cluster
  raftkv put greeting hello      write and read through the Clerk
  raftkv get greeting
  raftkv status --watch          who leads, who lags
  raftkv health                  for scripts: does every node serve?`,
		Version: fmt.Sprintf("%s (%s, %s/%s)", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH),
		PersistentPreRun: func(command *cobra.Command, _ []string) {
			decideSignals(command)
			warnOfVariables(command)
		},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("raftkv {{.Version}}\n")
	root.SetFlagErrorFunc(explainFlagError)
	root.SetUsageTemplate(usageTemplate(root.UsageTemplate()))
	root.AddCommand(newServeCommand(), newDevCommand(),
		newGetCommand(), newPutCommand(), newAppendCommand(), newDeleteCommand(), newListCommand(),
		newExportCommand(), newImportCommand(), newStatusCommand(), newHealthCommand(), newLeaderCommand(),
		newSnapshotCommand(), newWALCommand(), newBenchCommand(), newVerifyCommand(), newVersionCommand())
	completeFlags(root)
	reflow(root)
	return root
}

// refuseUnknownTopics makes "help" and "completion" fail for what there is not, as
// all other commands do; cobra's own end well.
func refuseUnknownTopics(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, command := range root.Commands() {
		switch command.Name() {
		case "help":
			command.Args = func(_ *cobra.Command, topic []string) error {
				found, rest, err := root.Find(topic)
				if err == nil && len(rest) > 0 {
					err = fmt.Errorf("unknown command %q for %q", rest[0], found.CommandPath())
				}
				return err
			}
		case "completion":
			command.RunE = showHelp
		}
	}
}

// showHelp is what a command does that only has others below it. That it does
// something makes cobra refuse what it does not know; it would else show the help
// and end well, and a script with a slip of the pen would have no backup.
func showHelp(command *cobra.Command, _ []string) error { return command.Help() }
