//go:build linux

package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"raftkv/tests/cluster"
)

// What a signal does to a process.
const (
	goesOn     = "goes on"
	endsOrder  = "ends in order"    // code 0
	dumpsTrace = "dumps the stacks" // code 2
)

// decided is what each signal does to serve; the table in docs/operations.md
// says the same. SIGKILL and the four that stop a process are the system's, and
// 32 to 34 are the C library's, which Go's runtime leaves alone.
func decided(s syscall.Signal) string {
	switch s {
	case syscall.SIGTERM, syscall.SIGINT:
		return endsOrder
	case syscall.SIGQUIT, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGSTKFLT, syscall.SIGSYS:
		return dumpsTrace
	}
	return goesOn
}

// Goal: no signal ends a server silently.
// Method: every signal there is, to a server of one node; those after which it
// goes on all to the same one, which must serve after each.
func TestEverySignalIsDecided(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 1)
	s := c.Nodes[0]
	for n := syscall.Signal(1); n <= 64; n++ {
		switch n {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, 32, 33, 34: // the last three are the C library's
			continue
		}
		want := decided(n)
		s.Signal(n)
		if want == goesOn {
			s.Must(200, "GET", "/livez", "")
			if n == syscall.SIGHUP {
				s.Says("SIGHUP does nothing", cluster.Patience)
			}
			continue
		}
		code := s.ExitCode(cluster.Patience)
		said := s.Output.String()
		if dumped := strings.Contains(said, "goroutine "); want == endsOrder && (code != 0 || !strings.Contains(said, "msg=ended")) || want == dumpsTrace && (code != 2 || !dumped) {
			t.Errorf("%d (%v): code %d, want that it %s", int(n), n, code, want)
		}
		s.Start()
		s.AwaitServing()
	}
}

// Goal: dev ends in order when its terminal is closed, and not under nohup.
func TestAClosedTerminalEndsDev(t *testing.T) {
	t.Parallel()
	p, _ := dev(t, filepath.Join(t.TempDir(), "data"), devPort(t, 1), 1, "--nodes", "1")
	p.Signal(syscall.SIGHUP)
	if code := p.ExitCode(cluster.Patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Goal: a server goes on when the reader of its log goes away, and counts what it
// could not say.
// Method: standard error is a pipe whose reader leaves; then things that are
// worth a line happen.
func TestAServerOutlivesTheReaderOfItsLog(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, 1, "--log-level", "debug")
	s := c.Nodes[0]
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.Process = cluster.Prepare(t, s.ID, nil, s.CommandLine()...)
	s.Command.Stderr, s.Command.Stdout = writer, writer
	s.Begin()
	writer.Close()
	s.AwaitServing()
	reader.Close()
	for i := range 20 {
		s.Signal(syscall.SIGHUP)
		s.Must(201, "PUT", fmt.Sprintf("/v1/kv/k%d", i), "v")
	}
	cluster.Eventually(t, cluster.Patience, func() error {
		if metrics := s.Must(200, "GET", "/metrics", ""); strings.Contains(metrics, "raftkv_log_lines_dropped_total 0\n") {
			s.Signal(syscall.SIGHUP)
			return fmt.Errorf("no line is counted")
		}
		return nil
	})
	s.Signal(syscall.SIGTERM)
	if code := s.ExitCode(cluster.Patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Goal: no end of a process waits for somebody to read what it says last.
// Method: standard error is a pipe that takes nothing; a second process on a
// locked directory, a wrong command line, and a server and a dev cluster that are
// told to end, or to show their stacks.
func TestAnEndWaitsForNoReader(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 1)
	used := c.Nodes[0]
	port := devPort(t, 1)
	own := cluster.New(t, 1)
	for _, c := range []struct {
		name      string
		signal    syscall.Signal // 0: it ends by itself
		code      int
		serves    string // where it serves before it is told to end
		arguments []string
	}{
		{"a locked directory", 0, 1, "", []string{"serve", "--id", "n1", "--data-dir", used.Dir, "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--cluster", c.Peers}},
		{"a wrong command line", 0, 2, "", []string{"serve", "--nonsense"}},
		{"SIGTERM", syscall.SIGTERM, 0, own.Nodes[0].HTTP, own.Nodes[0].CommandLine()},
		{"SIGQUIT", syscall.SIGQUIT, 2, own.Nodes[0].HTTP, own.Nodes[0].CommandLine()},
		{"dev", syscall.SIGTERM, 0, fmt.Sprintf("127.0.0.1:%d", port), []string{"dev", "--nodes", "1", "--data-dir", filepath.Join(t.TempDir(), "dev"), "--port", fmt.Sprint(port)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := cluster.Prepare(t, c.name, nil, c.arguments...)
			full := fullPipe(t)
			p.Command.Stderr, p.Command.Stdout = full, full
			p.Begin()
			if c.signal != 0 {
				s := &cluster.Node{Cluster: own, ID: "n1", HTTP: c.serves, Process: p}
				s.AwaitServing()
				p.Signal(c.signal)
			}
			if code := p.ExitCode(cluster.Patience); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
		})
	}
}
