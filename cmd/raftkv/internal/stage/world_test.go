package stage

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"raftkv/cmd/raftkv/internal/flight"
	"raftkv/cmd/raftkv/internal/host"
	"raftkv/kvserver/recorder"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
	"raftkv/tests/virtual"
)

// The runtime's goroutine for signals must not begin inside a bubble.
func init() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGCONT)
	signal.Stop(c)
}

// memory is a network in memory.
type memory struct {
	mu    sync.Mutex
	ports map[string]*port
}

// port is a listener in memory.
type port struct {
	address memoryAddress
	calls   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

type memoryAddress string

func (memoryAddress) Network() string  { return "tcp" }
func (a memoryAddress) String() string { return string(a) }

func (m *memory) listen(address string) net.Listener {
	p := &port{address: memoryAddress(address), calls: make(chan net.Conn), closed: make(chan struct{})}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ports[address] = p
	return p
}

func (m *memory) dial(ctx context.Context, address string) (net.Conn, error) {
	m.mu.Lock()
	p := m.ports[address]
	m.mu.Unlock()
	if p == nil {
		return nil, errGone
	}
	ours, theirs := net.Pipe()
	select {
	case p.calls <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, errGone
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *port) Accept() (net.Conn, error) {
	select {
	case conn := <-p.calls:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *port) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *port) Addr() net.Addr { return p.address }

// world is a stage in virtual time: nodes on disks and a network in memory, and a client
// that writes all the time.
type world struct {
	t      *testing.T
	stage  *Stage
	net    *memory
	ids    []core.ID
	disks  map[core.ID]vfs.FS
	client *http.Client
	stop   chan struct{}
	done   chan struct{}
}

func (w *world) address(id core.ID, base int) string {
	return fmt.Sprintf("127.0.0.1:%d", base+int(id[1]-'0'))
}

func dataDir(id core.ID) string { return "/data/" + string(id) }

// newWorld starts nodes and waits until they serve. writes says that a client writes all
// the time, small that nodes keep little of their logs.
func newWorld(t *testing.T, nodes int, writes, small bool) *world {
	w := &world{t: t, net: &memory{ports: map[string]*port{}}, disks: map[core.ID]vfs.FS{}, stop: make(chan struct{}), done: make(chan struct{})}
	w.stage = New(w.net.dial)
	members := host.Members{}
	for i := range nodes {
		id := core.ID(fmt.Sprintf("n%d", i+1))
		w.ids = append(w.ids, id)
		members[id] = w.address(id, 9700)
		w.disks[id] = vfs.NewCrashable()
	}
	for _, id := range w.ids {
		w.stage.Add(id, func() (host.Config, error) {
			c := host.Config{
				ClusterID: "test", ID: id, Members: members, FS: w.disks[id], DataDir: dataDir(id), MaxValueBytes: 1 << 10, SegmentBytes: 1 << 16,
				RequestTimeout: 5 * time.Second, ElectionTimeout: 300 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
				HTTP: w.net.listen(w.address(id, 8700)), Peer: w.net.listen(w.address(id, 9700)),
			}
			if small {
				c.SnapshotBytes, c.TrailingBytes = 16<<10, 4<<10
			}
			return c, nil
		})
		w.must(w.stage.Start(id))
	}
	w.client = &http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, address string) (net.Conn, error) { return w.net.dial(ctx, address) },
	}}
	for _, id := range w.ids {
		if !w.stage.Node(id).AwaitServing(t.Context()) {
			t.Fatalf("%s does not serve", id)
		}
	}
	if writes {
		go w.write()
	} else {
		close(w.done)
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// ask sends a request to a node and reports whether it was done.
func (w *world) ask(id core.ID, method, path, body string) bool {
	request, err := http.NewRequest(method, "http://"+w.address(id, 8700)+path, strings.NewReader(body))
	if err != nil {
		return false
	}
	response, err := w.client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body) // the status says it
	return response.StatusCode < 300
}

// writePause is the time between two writes of the client.
const writePause = 50 * time.Millisecond

// write writes until the end, to one node after the other where one does not answer.
func (w *world) write() {
	defer close(w.done)
	for at := 0; ; {
		select {
		case <-w.stop:
			return
		case <-time.After(writePause):
		}
		if !w.ask(w.ids[at%len(w.ids)], "PUT", "/v1/kv/k", "v") {
			at++
		}
	}
}

// end ends the nodes and returns what they recorded: the last processes that still ran
// tell themselves, and of those that are gone the disk does.
func (w *world) end() (rings []recorder.Ring) {
	close(w.stop)
	<-w.done
	time.Sleep(300 * time.Millisecond) // what was recorded is in the files
	for _, id := range w.ids {
		if n := w.stage.Node(id); n != nil {
			rings = append(rings, n.Rings()...)
			continue
		}
		of, err := flight.ReadDirectory(w.disks[id], dataDir(id))
		w.must(err)
		rings = append(rings, of...)
	}
	w.stage.End(false)
	w.client.CloseIdleConnections()
	time.Sleep(2 * longestCut) // whatever still waits for a time comes to its end
	return rings
}

// inVirtualTime runs play in a bubble.
func inVirtualTime(t *testing.T, play func(t *testing.T)) {
	t.Helper()
	virtual.Time(t, play)
}
