package rod

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"raftkv/client/bench"
	"raftkv/tests/cluster"
)

// Library is three processes that use a Raft as a library. The load is in the leader's
// process: it takes orders on its standard input and answers with runs on its output.
type Library struct {
	Group
	name string
	in   io.Writer
	out  *bufio.Scanner
}

// order is a turn that the leader's process is told to measure.
type order struct {
	Row, Mix         string
	Clients, Keys    int
	Warmup, Duration time.Duration
	Device           string // a directory on the device of the data
	Processes        []int  // the servers
}

// answerPrefix distinguishes an answer from whatever a library prints.
const answerPrefix = "rod: "

// StartLibrary starts three processes in a role of the package's TestMain: the first of
// their addresses is the leader's.
func StartLibrary(t *testing.T, name, role string) (*Library, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &Library{name: name}
	dir := t.TempDir()
	addresses := cluster.FreePorts(t, 3)
	for i, address := range addresses {
		one := fmt.Sprintf("%s%d", name, i+1)
		arguments := []string{"-rod.role=" + role, "-rod.listen=" + address, "-rod.dir=" + filepath.Join(dir, one), "-rod.peers=" + strings.Join(addresses, ",")}
		if i > 0 {
			s.Group = append(s.Group, Launch(t, one, self, arguments...))
			continue
		}
		p := prepare(t, one, self, arguments...)
		p.Command.Stdout = nil
		out, err := p.Command.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if s.in, err = p.Command.StdinPipe(); err != nil {
			return nil, err
		}
		s.out = bufio.NewScanner(out)
		p.Begin()
		s.Group = append(s.Group, p)
	}
	return s, nil
}

// Name returns the name that the side was started with.
func (s *Library) Name() string { return s.name }

// Serves reports whether the row's clients are callers of a library.
func (s *Library) Serves(r Row) bool { return r.Face == InProcess }

// Load fails: the load is in the process.
func (s *Library) Load(Row) (bench.Target, func(), error) {
	return nil, nil, errors.New("the load of a library is in its own process")
}

// turn lets the leader's process measure a row.
func (s *Library) turn(o order) (run Run, err error) {
	for _, p := range s.Processes() {
		o.Processes = append(o.Processes, p.Pid)
	}
	if err := json.NewEncoder(s.in).Encode(o); err != nil {
		return run, fmt.Errorf("asking the leader: %w", err)
	}
	for s.out.Scan() {
		text, is := strings.CutPrefix(s.out.Text(), answerPrefix)
		if !is {
			continue
		}
		if err := json.Unmarshal([]byte(text), &run); err != nil {
			return run, fmt.Errorf("the leader's answer %q: %w", text, err)
		}
		run.Side = s.name
		return run, nil
	}
	return run, fmt.Errorf("the leader has ended: %w", errors.Join(s.out.Err(), io.ErrUnexpectedEOF))
}

// ServeLibrary measures what it is told on the standard input, and returns when that
// ends. lead is called before each turn; it returns when this process leads.
func ServeLibrary(target bench.Target, lead func(context.Context) error) error {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var o order
		if err := json.Unmarshal(in.Bytes(), &o); err != nil {
			return fmt.Errorf("the order %q: %w", in.Text(), err)
		}
		run, err := o.carryOut(target, lead)
		if err != nil {
			return err
		}
		answer, _ := json.Marshal(run) // numbers and words
		fmt.Println(answerPrefix + string(answer))
	}
	return errors.New("the test has ended")
}

func (o order) carryOut(target bench.Target, lead func(context.Context) error) (Run, error) {
	ctx, cancel := context.WithTimeout(context.Background(), cluster.Patience)
	defer cancel()
	if err := lead(ctx); err != nil {
		return Run{}, err
	}
	mix, err := bench.ParseMix(o.Mix)
	if err != nil {
		return Run{}, err
	}
	var before sample
	config := bench.Config{
		Clients: o.Clients, Keys: o.Keys, ValueSize: ValueBytes, Mix: mix,
		Warmup: o.Warmup, Duration: o.Duration, Timeout: 10 * time.Second,
		Begin: func() { before, err = takeOf(o.Processes, 0, o.Device) },
	}
	result := bench.Run(context.Background(), config, target)
	after, afterErr := takeOf(o.Processes, 0, o.Device)
	if err = errors.Join(err, afterErr); err != nil {
		return Run{}, err
	}
	return newRun(Row{Name: o.Row, Clients: o.Clients}, "", result, after.minus(before)), nil
}
