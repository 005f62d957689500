package process

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/raft/vfs"
	"raftkv/tests/virtual"
)

// Goal: whatever the limit, all uses of a node together fit in it, clients get
// what is left, and a limit that is too small is refused with the one that is
// enough. Method: every limit up to some thousands, and sizes of clusters.
func TestTheDescriptorsAreDivided(t *testing.T) {
	for _, nodes := range []int{1, 3, 7} {
		for _, peers := range []int{0, 2, 4, 6} {
			needed := 0
			for limit := 20; limit <= 20_000; limit += 1 + limit/50 {
				d, err := Divide(limit, nodes, peers, DefaultConnections)
				if err != nil {
					needed = limit + 1
					continue
				}
				used := processDescriptors + nodes*(nodeDescriptors+peers*peerDescriptors+d.Strangers+clientDescriptors(d.Clients))
				if used > limit {
					t.Errorf("limit %d, %d nodes, %d peers: %d are used", limit, nodes, peers, used)
				}
				if d.Clients < minClients || d.Strangers < minStrangers || d.Forwards < 4 {
					t.Errorf("limit %d, %d nodes, %d peers: %+v", limit, nodes, peers, d)
				}
				if more, err := Divide(limit+nodes*8, nodes, peers, DefaultConnections); err != nil || more.Clients < d.Clients {
					t.Errorf("limit %d and more: %+v, %v after %+v", limit, more, err, d)
				}
			}
			if needed == 0 || needed > 100+80*nodes+nodes*peers*8 {
				t.Errorf("%d nodes, %d peers: %d is needed", nodes, peers, needed)
			}
		}
	}
	if d, err := Divide(1<<20, 1, 2, DefaultConnections); err != nil || d.Clients != DefaultConnections || d.Forwards != maxForwards {
		t.Errorf("without need: %+v, %v", d, err)
	}
	if d, err := Divide(128, 1, 2, 5); err != nil || d.Clients != 5 {
		t.Errorf("five connections: %+v, %v", d, err)
	}
	if _, err := Divide(64, 1, 2, DefaultConnections); err == nil || !strings.Contains(err.Error(), "may open 64 files and sockets") || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("too small: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// short is a file system that lacks descriptors for a while.
type short struct {
	vfs.FS
	times int
	err   error
}

func (s *short) Open(name string) (vfs.File, error) {
	if s.times--; s.times >= 0 {
		return nil, &os.PathError{Op: "open", Path: name, Err: s.err}
	}
	return s.FS.Open(name)
}

// Goal: an open for the log outlasts a lack of descriptors or memory, and ends
// the wait after a bounded time; every other error is answered at once.
func TestALackOfDescriptorsIsWaitedOut(t *testing.T) {
	for _, c := range []struct {
		name  string
		times int
		err   error
		ends  bool // with that error
		most  time.Duration
	}{
		{"EMFILE passes", 20, syscall.EMFILE, false, 10 * time.Second},
		{"ENFILE passes", 20, syscall.ENFILE, false, 10 * time.Second},
		{"ENOMEM passes", 20, syscall.ENOMEM, false, 10 * time.Second},
		{"EMFILE stays", 1 << 30, syscall.EMFILE, true, shortageLimit + time.Second},
		{"EIO", 1 << 30, syscall.EIO, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual.Time(t, func(t *testing.T) {
				disk := vfs.NewCrashable()
				f, err := disk.Create("/f")
				must(t, err)
				must(t, f.Close())
				begun := time.Now()
				_, err = PatientFS{FS: &short{disk, c.times, c.err}, Logger: slog.New(slog.DiscardHandler)}.Open("/f")
				if c.ends != errors.Is(err, c.err) || !c.ends && err != nil {
					t.Errorf("%v", err)
				}
				if took := time.Since(begun); took > c.most {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// failing is a listener that fails some times.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return nil, net.ErrClosed
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	if err == nil {
		return &net.TCPConn{}, nil
	}
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept", err)}
}

// Goal: a port goes on after every error that passes, also after those that
// net/http ends a server for, and ends with the listener. A lack of descriptors is
// passed on to the ports that can do something about it.
func TestAPortOutlastsWhatPasses(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		passing := []error{syscall.EPROTO, syscall.EPERM, syscall.ENETDOWN, syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, nil}
		for what, errs := range map[string][]error{
			"clients": passing,
			Operator:  append([]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}, passing...),
		} {
			l := NewPatientListener(&failing{errs: errs}, what, slog.New(slog.NewTextHandler(io.Discard, nil)))
			if conn, err := l.Accept(); err != nil || conn == nil {
				t.Errorf("%s: %v", what, err)
			}
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s, closed: %v", what, err)
			}
		}
		for _, passedOn := range []error{syscall.EINVAL, syscall.EMFILE, syscall.ENOMEM} {
			l := NewPatientListener(&failing{errs: []error{passedOn, nil}}, "clients", slog.New(slog.DiscardHandler))
			if _, err := l.Accept(); !errors.Is(err, passedOn) {
				t.Errorf("%v became %v", passedOn, err)
			}
		}
	})
}

// Goal: the numbers in docs/operations.md are the program's.
func TestTheDocumentedDescriptors(t *testing.T) {
	for limit, want := range map[int]int{128: 39, 256: 114, 1024: 560, 9400: DefaultConnections} {
		if d, err := Divide(limit, 1, 2, DefaultConnections); err != nil || d.Clients != want {
			t.Errorf("limit %d: %d connections, %v", limit, d.Clients, err)
		}
	}
}
