package campaign

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

// need skips a test that cannot run here and says what it would take: root,
// and programs. Packages of Debian that have them: iproute2, iptables, strace,
// util-linux, e2fsprogs.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: real faults of disks and networks need root")
	}
	needPrograms(t, programs...)
}

func needPrograms(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("NOT RUN: %v; install it to run this test", err)
		}
	}
}

// run runs a program to its end and returns what it said.
func run(name string, arguments ...string) (string, error) {
	return runWith("", name, arguments...)
}

// runWith is run for a program that reads a text.
func runWith(text, name string, arguments ...string) (string, error) {
	command := exec.Command(name, arguments...)
	command.Stdin = strings.NewReader(text)
	out, err := command.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// undo is what has to be undone on the machine, the last thing first: mounts,
// namespaces, frozen file systems. It is undone when the test ends, however it
// ends, and when a signal ends it. Only a kill -9 of the test leaves things
// behind; their names begin with rk and its process number.
type undo struct {
	dir string // for files; removed in the end, unless the test failed

	mu    sync.Mutex // guards the field below
	steps []*step
}

type step struct{ do func() }

func newUndo(t *testing.T) *undo {
	t.Helper()
	dir, err := os.MkdirTemp("", fmt.Sprintf("rk%d-", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	u := &undo{dir: dir}
	u.later(func() {
		if t.Failed() {
			fmt.Fprintln(os.Stderr, "what is left of the failed test is in", dir)
			return
		}
		complain(os.RemoveAll(dir))
	})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	over := make(chan struct{})
	go func() {
		select {
		case s := <-signals:
			fmt.Fprintln(os.Stderr, "ended by", s)
			u.all()
			complain(os.RemoveAll(filepath.Dir(cluster.Program)))
			os.Exit(1)
		case <-over:
		}
	}()
	t.Cleanup(func() {
		u.all()
		signal.Stop(signals)
		close(over)
	})
	return u
}

// later takes a step to undo something. It returns a function that does it
// earlier; in any case it is done once.
func (u *undo) later(do func()) (now func()) {
	s := &step{do: sync.OnceFunc(do)}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.steps = append(u.steps, s)
	return func() {
		s.do()
		u.mu.Lock()
		defer u.mu.Unlock()
		for i := range u.steps {
			if u.steps[i] == s {
				u.steps = append(u.steps[:i], u.steps[i+1:]...)
				return
			}
		}
	}
}

func (u *undo) all() {
	for {
		u.mu.Lock()
		if len(u.steps) == 0 {
			u.mu.Unlock()
			return
		}
		last := u.steps[len(u.steps)-1]
		u.steps = u.steps[:len(u.steps)-1]
		u.mu.Unlock()
		last.do()
	}
}

// complain says on the test's error output what could not be undone. The test's
// log may be closed by then.
func complain(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cleaning up:", err)
	}
}

// retry tries until there is no error, or the limit is over.
func retry(limit time.Duration, try func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// killLater has all nodes of a cluster killed before what was made earlier is
// undone.
func (u *undo) killLater(c *cluster.Cluster) {
	u.later(func() {
		for _, s := range c.Nodes {
			if s.Process != nil {
				_ = s.Command.Process.Signal(syscall.SIGCONT)
				_ = s.Command.Process.Kill()
			}
		}
		for _, s := range c.Nodes {
			if s.Process == nil {
				continue
			}
			select {
			case <-s.Ended:
			case <-time.After(cluster.Patience):
				complain(errors.New(s.ID + " cannot be killed"))
			}
		}
	})
}
