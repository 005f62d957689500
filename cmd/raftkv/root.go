// Command raftkv runs nodes of a replicated key/value store.
//
// This package holds the commands, their flags and their texts. serve runs one node, dev
// several in one process; the other commands are clients of a cluster, or read a backup
// or a log. Everything that has an algorithm is below internal: host runs a node,
// inventory judges what a directory holds, logging makes the logger, process divides what
// the process may use, settings reads flags, variables and files, address opens ports,
// ask and status question the nodes, member changes their list, secure has the certificates, credential the tokens, terminal shows and target
// writes files.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/change"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/guarded"
	"raftkv/cmd/raftkv/internal/host"
	"raftkv/cmd/raftkv/internal/lease"
	"raftkv/cmd/raftkv/internal/logging"
	"raftkv/cmd/raftkv/internal/member"
	"raftkv/cmd/raftkv/internal/recovery"
	"raftkv/cmd/raftkv/internal/settings"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/raft/datadir"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func newVersionCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:     "version",
		Short:   "Print which build this is",
		Example: "  raftkv version\n  raftkv version --json | jq -r .version",
		Args:    noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if asJSON {
				return terminal.PrintJSON(command.OutOrStdout(), struct {
					Version string `json:"version"`
					Go      string `json:"go"`
					OS      string `json:"os"`
					Arch    string `json:"arch"`
				}{buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH})
			}
			_, err := fmt.Fprintf(command.OutOrStdout(), "raftkv %s\n", command.Root().Version)
			return err
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return command
}

// release names the build where the Go toolchain cannot, because no history of versions
// is there, as in an image: go build -ldflags "-X main.release=v1.2.3". Usually it is "".
var release string

// buildVersion names the build by release, or by what the Go toolchain wrote into it.
func buildVersion() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version, revision, modified := info.Main.Version, "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = "-" + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+changes"
		}
	}
	if version != "" && version != "(devel)" {
		return version // it already holds the revision
	}
	return "devel" + revision + modified
}

// isFailure reports whether a command failed, and was not used wrongly.
func isFailure(err error) bool {
	var failed *exit.Failure
	var ofNode *host.Failure
	var fault *datadir.Fault
	return errors.As(err, &failed) || errors.As(err, &ofNode) || errors.As(err, &fault)
}

// run runs one command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	out := &terminal.Output{To: stdout}
	root.SetOut(out)
	root.SetErr(stderr)
	refuseUnknownTopics(root) // behind SetOut: what is made here keeps the output
	refusedHelp := refuseHelpBesideArguments(root)
	command, err := root.ExecuteC()
	err = judgeOutput(out, command, cmp.Or(*refusedHelp, err))
	switch {
	case err == nil:
		return exit.Done
	case errors.Is(err, errReaderGone):
		return exit.ReaderGone
	}
	if silent := (*exit.Silent)(nil); errors.As(err, &silent) {
		return silent.Code
	}
	sayWithin(stderr, fmt.Sprintf("raftkv: %s\n", terminal.Harmless(err.Error())), logging.FlushLimit)
	if host.IsRemoved(err) {
		return exit.Removed
	}
	if isFailure(err) {
		return exit.Failed
	}
	if ended := (*exit.Ending)(nil); errors.As(err, &ended) {
		return ended.Code
	}
	sayWithin(stderr, fmt.Sprintf("'%s --help' lists what can be given.\n", command.CommandPath()), logging.FlushLimit)
	return exit.Usage
}

// errReaderGone: nobody reads standard output any more, as behind "| head".
var errReaderGone = errors.New("standard output was closed by its reader")

// judgeOutput returns how a command ends that has returned err. An output that could
// not be written is an error of its own kind, unless the command failed for
// another reason, which then is the more important one.
func judgeOutput(o *terminal.Output, command *cobra.Command, err error) error {
	server := command.Name() == "serve" || command.Name() == "dev" // they go on when nobody reads them
	own := err != nil && (o.Failed() == nil || !errors.Is(err, o.Failed()))
	switch {
	case o.Failed() == nil || server || own:
		return err
	case errors.Is(o.Failed(), syscall.EPIPE):
		return exit.With(exit.ReaderGone, errReaderGone)
	}
	return exit.With(exit.Output, fmt.Errorf("the output could not be written, all else was done: %w", exit.LastCause(o.Failed())))
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
     import say how far they came; bench and verify may have written before)
  4  the outcome of a write is not known: it may have happened, or happen yet,
     once
  5  verify: the search for an order of the history did not end in time
  6  serve: the cluster has removed this node from its members; dev: all of its
     nodes
  7  a change of the members, or a recovery, was refused by a guard
  8  watch: the changes behind which it is to go on are not kept any more
  9  txn: a compare did not hold, and the else branch was done
 10  the lease is gone
 11  lock: the lock was lost, and its command ended
 12  lock: the lock was not got within --wait, and nothing was run
 13  it was done, but what it printed could not be written (a full disk)
 14  the servers refused the caller: the token is missing or opens nothing, or
     its identity lacks a right; nothing was changed (with what 3 excepts)
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
	root.AddCommand(withoutCores(newServeCommand()), withoutCores(newDevCommand()),
		newGetCommand(), newPutCommand(), newAppendCommand(), newDeleteCommand(), newListCommand(),
		newWatchCommand(), newExportCommand(), newImportCommand(), newStatusCommand(), newExplainCommand(), newHealthCommand(), newLeaderCommand(),
		newAuthCommand(), newSnapshotCommand(), newWALCommand(), newCertCommand(), newBenchCommand(), newVerifyCommand(), newVersionCommand())
	root.AddCommand(change.Txn(func() change.Client { return &memberClient{} }))
	root.AddCommand(lease.Commands(func() lease.Client { return &memberClient{} })...)
	root.AddCommand(guarded.Commands(func() guarded.Client { return &memberClient{} })...)
	root.AddCommand(recovery.Command())
	root.AddCommand(member.Commands(func() member.Client { return &memberClient{} })...)
	completeFlags(root)
	reflow(root)
	return root
}

// warnOfVariables prints these sentences. A server logs them instead.
func warnOfVariables(command *cobra.Command) {
	switch command.Name() {
	case "dev":
		for _, sentence := range unusedByDev(command, os.Environ()) {
			fmt.Fprintf(command.ErrOrStderr(), "raftkv: %s\n", sentence)
		}
	case "serve", "version", "help", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
		return
	}
	for _, sentence := range strayVariables(os.Environ()) {
		fmt.Fprintf(command.ErrOrStderr(), "raftkv: %s\n", sentence)
	}
}

// unusedByDev returns a sentence for every variable that is a setting of serve.
// dev takes flags only, so what such a variable says is not done.
func unusedByDev(command *cobra.Command, environ []string) (sentences []string) {
	for _, pair := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(pair, "=")
		if value == "" || settings.IsOfOrchestrator(name) || slices.Contains(commandVariables, name) {
			continue
		}
		for _, s := range new(serveSettings).table() {
			if settings.Variable(s.Name) != name {
				continue
			}
			advice := "unset it, or use serve"
			if command.Flags().Lookup(s.Name) != nil {
				advice = "give --" + s.Name
			}
			sentences = append(sentences, fmt.Sprintf("the environment variable %s is a setting of serve and does nothing for dev; %s", name, advice))
		}
	}
	return sentences
}

// strayVariables returns a sentence for every variable of the environment that
// looks like a setting and is none.
func strayVariables(environ []string) []string {
	known := append(slices.Clone(commandVariables), guarded.Variables...)
	for _, s := range new(serveSettings).table() {
		known = append(known, settings.Variable(s.Name))
	}
	return settings.Strays(environ, known)
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

// showHelp is the RunE of commands that only group subcommands. With it cobra refuses an
// unknown subcommand; without it cobra prints the help and exits with 0, and a script with
// a slip of the pen would have no backup.
func showHelp(command *cobra.Command, _ []string) error { return command.Help() }

const (
	completedKeys     = 20
	completionTimeout = time.Second
)

// completeKeys completes an argument with keys of the cluster; only the
// given number of arguments, 0 for all, are keys.
func (s *clerkSettings) completeKeys(arguments int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if arguments > 0 && len(args) >= arguments {
			return nil, cobra.ShellCompDirectiveDefault // a value, perhaps of a file
		}
		asking, err := s.completing()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var keys []string
		_ = asking.with(func(ctx context.Context, clerk *client.Clerk) error { // without a cluster nothing is completed
			page, err := clerk.List(ctx, begun, client.KeysOnly(), client.Limit(completedKeys))
			for _, item := range page.Items {
				if terminal.Readable(item.Key) == item.Key {
					keys = append(keys, item.Key)
				}
			}
			return err
		})
		return keys, cobra.ShellCompDirectiveNoFileComp
	}
}

// completing returns the settings by which a completion asks: those of the command line so
// far, and of the environment, which no PreRunE has read then.
func (s *clerkSettings) completing() (asking *clerkSettings, err error) {
	asking = &clerkSettings{endpoints: s.endpoints, timeout: completionTimeout, tls: s.tls, token: s.token, stderr: io.Discard}
	asking.tls.CA = cmp.Or(asking.tls.CA, os.Getenv(trustVariable))
	asking.tls.Cert, asking.tls.Key = cmp.Or(asking.tls.Cert, os.Getenv(certVariable)), cmp.Or(asking.tls.Key, os.Getenv(keyVariable))
	if err := asking.readProfile(); err != nil {
		return nil, err
	}
	ask.Authorize(asking.token.Token)
	return asking, asking.settleTrust()
}

// completeNodes completes the names of nodes.
func (s *clerkSettings) completeNodes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	asking, err := s.completing()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := asking.askAll(context.Background())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, n := range all {
		if n.Status != nil {
			names = append(names, n.Node)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeFlags completes the values of flags that have few.
func completeFlags(root *cobra.Command) {
	values := map[string][]string{
		"log-level": {"debug", "info", "warn", "error"},
		"mix":       {"put=1", "get=1", "put=1,get=1", "put=1,get=9", "put=1,append=1,delete=1,get=1", "stale=1"},
		"timeout":   {"1s", "5s", "10s", "30s", "1m"},
	}
	for _, command := range root.Commands() {
		for flag, all := range values { // any order will do
			if command.Flags().Lookup(flag) != nil {
				_ = command.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
			}
		}
	}
}
