package rod

import (
	"context"
	"os"
	"syscall"
	"testing"

	"raftkv/client/bench"
	"raftkv/tests/cluster"
)

// ValueBytes is the size of all values.
const ValueBytes = 256

// clerks is how many connections the clients of a row by Clerk share.
const clerks = 8

// Side is one kind of server under load. The methods are for one goroutine.
type Side interface {
	// Name is a word for tables.
	Name() string
	// Serves reports whether the side can serve a row.
	Serves(Row) bool
	// Load returns what the row's clients ask, and what must be called when they do not
	// ask any more. The side is not stopped meanwhile.
	Load(Row) (target bench.Target, end func(), err error)
	// Processes are the servers.
	Processes() []*os.Process
	// Ready waits until the side serves again after its processes were stopped.
	Ready() error
	// Messages returns how many messages the leader has sent, on the average over its
	// followers; 0 if that is not known.
	Messages() (float64, error)
}

// Stop stops the processes of a side by a signal.
func Stop(s Side) error { return signal(s, syscall.SIGSTOP) }

// Continue lets a side go on that was stopped, and waits until it serves.
func Continue(s Side) error {
	if err := signal(s, syscall.SIGCONT); err != nil {
		return err
	}
	return s.Ready()
}

func signal(s Side, what os.Signal) error {
	for _, p := range s.Processes() {
		if err := p.Signal(what); err != nil {
			return err
		}
	}
	return nil
}

// Group is the processes of a side. It may be embedded: a side that has nothing else
// is always ready and counts no messages.
type Group []*cluster.Process

// Processes returns the servers.
func (g Group) Processes() (all []*os.Process) {
	for _, p := range g {
		all = append(all, p.Command.Process)
	}
	return all
}

// PIDs returns the numbers of the servers' processes, as the system counts them.
func (g Group) PIDs() (all []int) {
	for _, p := range g.Processes() {
		all = append(all, p.Pid)
	}
	return all
}

// Ready does nothing.
func (Group) Ready() error { return nil }

// Messages returns 0: it is not known.
func (Group) Messages() (float64, error) { return 0, nil }

// Spread shares the clients of a load among several targets.
type Spread []bench.Target

// Do makes one request.
func (s Spread) Do(ctx context.Context, client int, op bench.Op, key string, value []byte) string {
	return s[client%len(s)].Do(ctx, client, op, key, value)
}

// Launch starts this test binary in a role; see Main. The process ends with the test:
// it is killed, or ends by itself when its standard input does.
func Launch(t *testing.T, name, self string, arguments ...string) *cluster.Process {
	t.Helper()
	p := prepare(t, name, self, arguments...)
	if _, err := p.Command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.Begin()
	return p
}

func prepare(t *testing.T, name, self string, arguments ...string) *cluster.Process {
	t.Helper()
	p := cluster.Prepare(t, name, nil)
	p.Command.Path, p.Command.Args = self, append([]string{self}, arguments...)
	return p
}
