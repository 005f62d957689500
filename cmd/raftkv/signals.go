package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/logging"
	"raftkv/cmd/raftkv/internal/process"
)

// Every signal whose default ends a process is decided here; the table is in
// docs/operations.md ("Signals"). Signals that are not named reach Go's runtime:
// it prints the stacks and ends for those that a fault of the program raises
// (SIGSEGV, SIGABRT, …), and does nothing for the others (SIGUSR1, SIGALRM, …).

// makesFiles are the commands that write files: they go on when nobody reads
// what they print, and remove what is half made when they are told to end.
var makesFiles = map[string]bool{"save": true, "restore": true, "verify": true, "import": true}

// decideSignals settles what holds for all of a command's life.
func decideSignals(command *cobra.Command) {
	switch name := command.Name(); {
	case name == "serve", name == "dev", makesFiles[name]:
		// A write that nobody reads is an error of that write and not the end.
		signal.Ignore(syscall.SIGPIPE)
	}
	if makesFiles[command.Name()] && !signal.Ignored(syscall.SIGHUP) {
		go passOn(syscall.SIGHUP, syscall.SIGTERM) // the terminal was closed
	}
}

// passOn sends this process the second signal whenever the first one comes.
func passOn(from, to syscall.Signal) {
	came := make(chan os.Signal, 1)
	signal.Notify(came, from)
	for range came {
		_ = signalSelf(to)
	}
}

// signalSelf sends this process a signal.
func signalSelf(s syscall.Signal) error {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	return self.Signal(s)
}

// awaitEnd returns a context that ends with the first signal that asks the
// process to end in order. After stop the next such signal ends the process at
// once. A closed terminal asks dev to end, and not serve, unless the process was
// told to ignore that (nohup).
func awaitEnd(terminal bool) (ctx context.Context, stop func()) {
	asks := []os.Signal{syscall.SIGTERM, os.Interrupt}
	if terminal && !signal.Ignored(syscall.SIGHUP) {
		asks = append(asks, syscall.SIGHUP)
	}
	return signal.NotifyContext(context.Background(), asks...)
}

// onHangups keeps a server running when its terminal is closed. Where there are
// certificates, what it returns yields at each SIGHUP, so that their files are looked at.
// reopen, if not nil, opens the file of the audit anew. Otherwise it says that settings are
// read at the start only.
func onHangups(ctx context.Context, logger *slog.Logger, certificates bool, reopen func() error) <-chan struct{} {
	asked := make(chan struct{}, 1)
	if signal.Ignored(syscall.SIGHUP) {
		return asked
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-hangups:
				reopened(logger, reopen)
				if certificates {
					logger.Info("SIGHUP: the files of certificates are looked at; settings are read at the start only")
					select {
					case asked <- struct{}{}:
					default: // a look is due anyway
					}
				}
				if certificates || reopen != nil {
					continue
				}
				logger.Info("SIGHUP does nothing: settings are read at the start only; SIGTERM ends the node in order")
			case <-ctx.Done():
				return // and SIGHUP goes on to do nothing
			}
		}
	}()
	return asked
}

// reopened opens the file of the audit anew, if there is one.
func reopened(logger *slog.Logger, reopen func() error) {
	if reopen == nil {
		return
	}
	if err := reopen(); err != nil {
		logger.Error("the file of the audit could not be opened anew; the old one stays in use", "error", err)
		return
	}
	logger.Info("SIGHUP: the file of the audit was opened anew; settings are read at the start only")
}

// withoutCores lets a command that runs nodes leave no core dump, which would hold the keys,
// values and tokens that the nodes have in memory, unless its flag says otherwise.
func withoutCores(command *cobra.Command) *cobra.Command {
	var cores bool
	command.Flags().BoolVar(&cores, "core-dumps", false, "leave the limit of core dumps as it is; they hold keys, values and tokens")
	command.PreRun = func(command *cobra.Command, _ []string) {
		if cores {
			return
		}
		if err := process.ForbidCores(); err != nil {
			fmt.Fprintf(command.ErrOrStderr(), "core dumps cannot be forbidden (ulimit -c 0 before the start does it): %v\n", err)
		}
	}
	return command
}

// dumpOnQuit prints the stacks of all goroutines and ends the process on SIGQUIT,
// as Go's runtime does, but without waiting for ever for somebody to read them.
func dumpOnQuit(stderr io.Writer) {
	quits := make(chan os.Signal, 1)
	signal.Notify(quits, syscall.SIGQUIT)
	go func() {
		<-quits
		stacks := make([]byte, 16<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		sayWithin(stderr, "SIGQUIT: the stacks of all goroutines\n\n"+string(stacks), 5*logging.FlushLimit)
		os.Exit(exit.Usage)
	}()
}

// sayWithin writes a text, and waits no longer than limit for it to be taken: a
// pipe that nobody reads must not keep a process alive.
func sayWithin(w io.Writer, text string, limit time.Duration) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = io.WriteString(w, text) // there is nobody to tell
	}()
	select {
	case <-written:
	case <-time.After(limit):
	}
}
