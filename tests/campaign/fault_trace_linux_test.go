package campaign

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

// tracer is strace, holding a process and tampering with some of its system
// calls.
type tracer struct {
	command *exec.Cmd
	log     string // what it did, a line a call
	release func()
}

// trace has strace tamper with calls of a process; see --inject in strace(1). It
// returns when strace holds the process.
func trace(t *testing.T, u *undo, p *cluster.Process, calls, injection string) *tracer {
	t.Helper()
	tr := &tracer{log: filepath.Join(u.dir, fmt.Sprintf("strace-%d-%d", p.Command.Process.Pid, time.Now().UnixNano()))}
	pid := strconv.Itoa(p.Command.Process.Pid)
	tr.command = exec.Command("strace", "-f", "-q", "-o", tr.log, "-e", "trace="+calls, "-e", "inject="+calls+":"+injection, "-p", pid)
	var said bytes.Buffer
	tr.command.Stderr = &said
	if err := tr.command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = tr.command.Wait()
		close(ended)
	}()
	tr.release = u.later(func() {
		_ = tr.command.Process.Signal(syscall.SIGINT) // it lets the process go
		<-ended
	})
	cluster.Eventually(t, cluster.Patience, func() error {
		select {
		case <-ended:
			if p.HasEnded() {
				return nil // it was quick
			}
			t.Skipf("NOT RUN: strace may not trace: %s", said.String())
		default:
		}
		// Every thread must be held, or the call of one would escape.
		threads, err := filepath.Glob("/proc/" + pid + "/task/*/status")
		if err != nil {
			return err
		}
		for _, thread := range threads {
			status, err := os.ReadFile(thread)
			if err == nil && strings.Contains(string(status), "TracerPid:\t0\n") {
				return fmt.Errorf("%s is not traced yet", thread)
			}
		}
		return nil
	})
	return tr
}

// injected is how many calls were tampered with so far.
func (tr *tracer) injected() int {
	log, err := os.ReadFile(tr.log)
	complain(err)
	return strings.Count(string(log), "(INJECTED)") + strings.Count(string(log), "(DELAYED)")
}
