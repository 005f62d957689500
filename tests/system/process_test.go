package system

import (
	"bytes"
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

var buildRace = flag.Bool("system.race", false, "build the program with the race detector")

// program is the path of the built binary.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	if *dripTo != "" {
		dripUntilTold()
		return
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "raftkv-system-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "raftkv")
	arguments := []string{"build", "-o", program}
	if *buildRace {
		arguments = append(arguments, "-race")
	}
	build := exec.Command("go", append(arguments, "raftkv/cmd/raftkv")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the program:", err)
		return 1
	}
	return m.Run()
}

// lookAtSource lists the module's folders, so that the go tool takes a result
// of these tests from its cache only if no source has changed. It cannot know
// otherwise: the program is built, not imported.
var lookAtSource = sync.OnceFunc(func() {
	_ = filepath.WalkDir(filepath.Join("..", ".."), func(_ string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		return nil // what cannot be listed is the build's to complain about
	})
})

// process is one run of the program.
type process struct {
	t       *testing.T
	name    string
	command *exec.Cmd
	output  *capture
	ended   chan struct{} // closed when it has ended; command.ProcessState is valid then
}

// launch starts the program. It is killed when the test ends, if it has not
// ended before; its output is shown if the test failed.
func launch(t *testing.T, name string, environment []string, arguments ...string) *process {
	t.Helper()
	return launchIn(t, name, surroundings{}, environment, arguments...)
}

// surroundings is where a process runs. The zero value is the test's own.
type surroundings struct {
	wrapper []string  // a command that becomes the program, in a network namespace for one
	log     io.Writer // gets all that the process says, if not nil
}

// launchIn is launch in other surroundings.
func launchIn(t *testing.T, name string, in surroundings, environment []string, arguments ...string) *process {
	t.Helper()
	p := prepareIn(t, name, in, environment, arguments...)
	p.begin()
	return p
}

// prepare is launch up to the start.
func prepare(t *testing.T, name string, environment []string, arguments ...string) *process {
	t.Helper()
	return prepareIn(t, name, surroundings{}, environment, arguments...)
}

// prepareIn is launchIn up to the start.
func prepareIn(t *testing.T, name string, in surroundings, environment []string, arguments ...string) *process {
	t.Helper()
	lookAtSource()
	line := slices.Concat(in.wrapper, []string{program}, arguments)
	p := &process{t: t, name: name, command: exec.Command(line[0], line[1:]...), output: &capture{copy: in.log}, ended: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = p.output, p.output
	p.command.Env = append(cleanEnvironment(), environment...)
	p.command.Dir = t.TempDir() // nothing is found or left in the source tree
	return p
}

// begin starts a process that was prepared.
func (p *process) begin() {
	t := p.t
	t.Helper()
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.command.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("output of %s:\n%s", p.name, p.output.tail(4000))
		}
	})
}

// cleanEnvironment is ours without settings of the program.
func cleanEnvironment() []string {
	var kept []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "RAFTKV_") {
			kept = append(kept, variable)
		}
	}
	return kept
}

// kill ends the process as a power switch would and waits for its end.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// signal sends a signal to the process, if it has not ended.
func (p *process) signal(s syscall.Signal) {
	if err := p.command.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signalling %s: %v", p.name, err)
	}
}

// exitCode waits for the end of the process.
func (p *process) exitCode(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.command.ProcessState.ExitCode()
	case <-time.After(limit):
		p.t.Fatalf("%s has not ended after %v", p.name, limit)
		return -1
	}
}

// hasEnded reports whether the process has ended; all it said is then known.
func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// says waits until the output holds a text.
func (p *process) says(text string, limit time.Duration) {
	p.t.Helper()
	eventually(p.t, limit, func() error {
		hasEnded := p.hasEnded()
		if strings.Contains(p.output.String(), text) {
			return nil
		}
		if hasEnded {
			p.t.Fatalf("%s has ended without saying %q", p.name, text)
		}
		return fmt.Errorf("%s has not said %q", p.name, text)
	})
}

// capture keeps what a process writes.
type capture struct {
	mu   sync.Mutex
	text bytes.Buffer
	copy io.Writer // gets it, too, if not nil
}

func (c *capture) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copy != nil {
		_, _ = c.copy.Write(b) // it is for people who look for the cause of a failure
	}
	return c.text.Write(b)
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

func (c *capture) tail(n int) string {
	text := c.String()
	if len(text) > n {
		return "…" + text[len(text)-n:]
	}
	return text
}

// eventually tries until there is no error, or fails the test with the last one
// after the limit.
func eventually(t *testing.T, limit time.Duration, try func() error) {
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
