package guarded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/terminal"
)

// The environment variables that a command gets.
const (
	lockVariable  = "RAFTKV_LOCK"
	tokenVariable = "RAFTKV_TOKEN"
	leaseVariable = "RAFTKV_LEASE"
)

// Variables are the environment variables that commands get, and that are no settings.
var Variables = []string{lockVariable, tokenVariable, leaseVariable}

// grace is how long a command that lost its lock has to end by itself.
const grace = 5 * time.Second

// signalCode is what shells add to the number of the signal that ended a command.
const signalCode = 128

// runUnder runs a command while a lock is held. lost says that the lock was lost first. The
// error is that of a command that could not be started.
func runUnder(ctx context.Context, command *cobra.Command, held *client.Lock, args []string) (code int, lost bool, err error) {
	if held.Context().Err() != nil { // this process was stopped since
		return exit.Failed, true, nil
	}
	child := exec.Command(args[0], args[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, unwrapped(command.OutOrStdout()), command.ErrOrStderr()
	child.Env = append(os.Environ(), lockVariable+"="+held.Name(),
		tokenVariable+"="+strconv.FormatUint(held.Token(), 10), leaseVariable+"="+strconv.FormatInt(held.Lease().ID(), 10))
	child.WaitDelay = grace // for pipes that what it has started holds open
	// At a terminal the command belongs to the group that reads it.
	grouped := !terminal.Is(os.Stdin) && ownGroup(child)
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// The system ends the command with this thread, if it ends before it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := child.Start()
		started <- err
		if err == nil {
			ended <- child.Wait()
		}
	}()
	if err := <-started; err != nil {
		return 0, false, exit.Fail(fmt.Errorf("the command cannot be run: %w", err))
	}
	lost, err = awaitChild(ctx, held.Context(), child, grouped, ended)
	if lost && grouped {
		kill(child, grouped) // nothing of it goes on
	}
	return codeOf(child, err), lost, nil
}

// awaitChild waits for the end of a command. A signal to this program asks the command to
// end; the loss of the lock does so with a limit.
func awaitChild(ctx, held context.Context, child *exec.Cmd, grouped bool, ended <-chan error) (lost bool, err error) {
	asked, gone := ctx.Done(), held.Done()
	var late <-chan time.Time
	for {
		select {
		case err = <-ended:
			return lost, err
		case <-gone:
			gone, lost = nil, true
			terminate(child, grouped)
			timer := time.NewTimer(grace)
			defer timer.Stop()
			late = timer.C
		case <-asked:
			asked = nil
			terminate(child, grouped)
		case <-late:
			kill(child, grouped)
		}
	}
}

// codeOf returns the exit code of a command, as shells show it.
func codeOf(child *exec.Cmd, err error) int {
	var failed *exec.ExitError
	switch {
	case child.ProcessState == nil:
		return exit.Failed
	case errors.As(err, &failed) && !child.ProcessState.Exited():
		return signalCode + signalOf(child.ProcessState)
	}
	return child.ProcessState.ExitCode()
}

// unwrapped is what an output writes to: a command that gets the file itself needs no pipe,
// and sees whether it is a terminal.
func unwrapped(w io.Writer) io.Writer {
	if o, wrapped := w.(*terminal.Output); wrapped {
		return o.To
	}
	return w
}
