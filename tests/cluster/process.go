package cluster

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	buildRace = flag.Bool("cluster.race", false, "build the program with the race detector")
	ready     = flag.String("cluster.program", "", "run this program instead of building one")
)

// Program is the path of the built binary.
var Program string

// Main builds the program and runs the tests. It returns the exit status of the run,
// for os.Exit in TestMain.
func Main(m *testing.M) int {
	flag.Parse()
	if *ready != "" {
		Program = *ready
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "raftkv-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	Program = filepath.Join(dir, "raftkv")
	arguments := []string{"build", "-o", Program}
	if *buildRace {
		arguments = append(arguments, "-race")
	}
	const program = "raftkv/cmd/raftkv"
	// It is built in its own module: one that only uses this package, as tests/bench/peers
	// does, need not know the sums of what the program imports.
	list := exec.Command("go", "list", "-find", "-f", "{{.Module.Dir}}", program)
	list.Stderr = os.Stderr
	home, err := list.Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "looking for the program's module:", err)
		return 1
	}
	build := exec.Command("go", append(arguments, program)...)
	build.Dir = strings.TrimSpace(string(home))
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the program:", err)
		return 1
	}
	return m.Run()
}

// LookAtSource lists the module's folders, so that the go tool takes a result
// of these tests from its cache only if no source has changed. It cannot know
// otherwise: the program is built, not imported.
var LookAtSource = sync.OnceFunc(func() {
	_ = filepath.WalkDir(filepath.Join("..", ".."), func(_ string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		return nil // what cannot be listed is the build's to complain about
	})
})

// Process is one run of the program.
type Process struct {
	T       *testing.T
	Name    string
	Command *exec.Cmd
	Output  *Capture
	Ended   chan struct{} // closed when it has ended; command.ProcessState is valid then
}

// Launch starts the program. It is killed when the test ends, if it has not
// ended before; its output is shown if the test failed.
func Launch(t *testing.T, name string, environment []string, arguments ...string) *Process {
	t.Helper()
	return LaunchIn(t, name, Surroundings{}, environment, arguments...)
}

// Surroundings is where a process runs. The zero value is the test's own.
type Surroundings struct {
	Wrapper []string  // a command that becomes the program, in a network namespace for one
	Log     io.Writer // gets all that the process says, if not nil
	Program string    // is run in place of the built one, if not ""
}

// LaunchIn is Launch in other surroundings.
func LaunchIn(t *testing.T, name string, in Surroundings, environment []string, arguments ...string) *Process {
	t.Helper()
	p := prepareIn(t, name, in, environment, arguments...)
	p.Begin()
	return p
}

// Prepare is launch up to the start.
func Prepare(t *testing.T, name string, environment []string, arguments ...string) *Process {
	t.Helper()
	return prepareIn(t, name, Surroundings{}, environment, arguments...)
}

// prepareIn is LaunchIn up to the start.
func prepareIn(t *testing.T, name string, in Surroundings, environment []string, arguments ...string) *Process {
	t.Helper()
	LookAtSource()
	line := slices.Concat(in.Wrapper, []string{cmp.Or(in.Program, Program)}, arguments)
	p := &Process{T: t, Name: name, Command: exec.Command(line[0], line[1:]...), Output: &Capture{copy: in.Log}, Ended: make(chan struct{})}
	p.Command.Stdout, p.Command.Stderr = p.Output, p.Output
	p.Command.Env = append(CleanEnvironment(), environment...)
	p.Command.Dir = t.TempDir() // nothing is found or left in the source tree
	return p
}

// Begin starts a process that was prepared.
func (p *Process) Begin() {
	t := p.T
	t.Helper()
	if err := p.Command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.Command.Wait()
		close(p.Ended)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("output of %s:\n%s", p.Name, p.Output.Tail(4000))
		}
	})
}

// CleanEnvironment is ours without settings of the program.
func CleanEnvironment() []string {
	var kept []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "RAFTKV_") {
			kept = append(kept, variable)
		}
	}
	return kept
}

// Kill ends the process as a power switch would and waits for its end.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.Ended
}

// Signal sends a signal to the process, if it has not ended.
func (p *Process) Signal(s syscall.Signal) {
	if err := p.Command.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.T.Errorf("signalling %s: %v", p.Name, err)
	}
}

// ExitCode waits for the end of the process.
func (p *Process) ExitCode(limit time.Duration) int {
	p.T.Helper()
	select {
	case <-p.Ended:
		return p.Command.ProcessState.ExitCode()
	case <-time.After(limit):
		p.T.Fatalf("%s has not ended after %v", p.Name, limit)
		return -1
	}
}

// HasEnded reports whether the process has ended; all it said is then known.
func (p *Process) HasEnded() bool {
	select {
	case <-p.Ended:
		return true
	default:
		return false
	}
}

// Says waits until the output holds a text.
func (p *Process) Says(text string, limit time.Duration) {
	p.T.Helper()
	Eventually(p.T, limit, func() error {
		hasEnded := p.HasEnded()
		if strings.Contains(p.Output.String(), text) {
			return nil
		}
		if hasEnded {
			p.T.Fatalf("%s has ended without saying %q", p.Name, text)
		}
		return fmt.Errorf("%s has not said %q", p.Name, text)
	})
}

// Capture keeps what a process writes.
type Capture struct {
	mu   sync.Mutex
	text bytes.Buffer
	copy io.Writer // gets it, too, if not nil
}

// Write keeps b. It may be called from any goroutine, as String and Tail may.
func (c *Capture) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copy != nil {
		_, _ = c.copy.Write(b) // it helps to find the cause of a failure
	}
	return c.text.Write(b)
}

// String returns all that was written so far.
func (c *Capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// Tail returns the last n bytes, after an ellipsis if there are more.
func (c *Capture) Tail(n int) string {
	text := c.String()
	if len(text) > n {
		return "…" + text[len(text)-n:]
	}
	return text
}

// Eventually tries until there is no error, or fails the test with the last one
// after the limit.
func Eventually(t *testing.T, limit time.Duration, try func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", limit, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
