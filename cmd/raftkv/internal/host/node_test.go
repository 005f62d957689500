package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
)

// testElectionTimeout is the default of the command line.
const testElectionTimeout = 300 * time.Millisecond

// nodeID names the nodes n1, n2, ….
func nodeID(i int) core.ID { return core.ID(fmt.Sprintf("n%d", i+1)) }

// isFailure reports whether an error is one of the world, and not of the configuration.
func isFailure(err error) bool {
	var failed *Failure
	var fault *datadir.Fault
	return errors.As(err, &failed) || errors.As(err, &fault)
}

// testConfigs returns the configuration of a cluster whose ports are open.
func testConfigs(t *testing.T, disks ...vfs.FS) []Config {
	t.Helper()
	m := Members{}
	var configs []Config
	for i, disk := range disks {
		// A disk in memory is found again by its path. Its segments are small: with
		// the race detector a spare of 16 MiB takes seconds of a busy processor.
		data, SegmentBytes := "/data", int64(1<<20)
		if disk == (vfs.OS{}) {
			data, SegmentBytes = t.TempDir(), 0
		}
		c := Config{
			ClusterID: "test", ID: nodeID(i), Members: m, FS: disk, DataDir: filepath.Join(data, string(nodeID(i))),
			MaxValueBytes: 1 << 10, RequestTimeout: 5 * time.Second, ElectionTimeout: testElectionTimeout, lostAfter: testElectionTimeout,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), SegmentBytes: SegmentBytes,
		}
		for _, l := range []*net.Listener{&c.HTTP, &c.Peer} {
			var err error
			if *l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
				t.Fatal(err)
			}
		}
		m[c.ID] = c.Peer.Addr().String()
		configs = append(configs, c)
	}
	return configs
}

func startNodes(t *testing.T, configs []Config) []*Node {
	t.Helper()
	var nodes []*Node
	for _, c := range configs {
		n, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a busy machine takes its time
	defer cancel()
	for _, n := range nodes {
		if !n.AwaitServing(ctx) {
			t.Fatal("the cluster does not serve")
		}
	}
	return nodes
}

// ask sends a request to a node and returns status, Kv-Error header and body.
func ask(t *testing.T, n *Node, method, path, body string) (status int, kvError, got string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.config.HTTP.Addr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header.Get(api.HeaderError), string(b)
}

// Goal: what was acknowledged survives a power cut, by way of everything a node
// is made of. Method: one node on a disk that crashes; write, cut, start, read.
func TestAcknowledgedWritesSurviveAPowerCut(t *testing.T) {
	disk := vfs.NewCrashable()
	nodes := startNodes(t, testConfigs(t, disk))
	for i := range 20 {
		if status, _, body := ask(t, nodes[0], "PUT", fmt.Sprintf("/v1/kv/k%d", i), "v"); status != 201 {
			t.Fatalf("PUT: %d %s", status, body)
		}
	}
	after := disk.Crash(rand.New(rand.NewPCG(1, 2)), vfs.LoseUnsynced)
	nodes[0].Close()
	nodes = startNodes(t, testConfigs(t, after))
	defer nodes[0].Close()
	for i := range 20 {
		if status, _, body := ask(t, nodes[0], "GET", fmt.Sprintf("/v1/kv/k%d", i), ""); status != 200 || body != "v" {
			t.Fatalf("k%d: %d %q", i, status, body)
		}
	}
}

// Goal: a node whose disk fails acknowledges nothing more, says why, and ends
// as a failure. Method: run one as serve does, fail every sync, write.
func TestFailedDiskEndsTheNode(t *testing.T) {
	disk := vfs.NewFaulty(vfs.NewCrashable())
	config := testConfigs(t, disk)[0]
	ended := make(chan error, 1)
	go func() { ended <- Run(t.Context(), func() {}, config) }()
	n := &Node{config: config}
	awaitStatus(t, n, "/readyz", 200)
	disk.Inject(vfs.Fault{Kind: vfs.OpSync, Nth: disk.Count(vfs.OpSync) + 1, Err: syscall.EIO, Sticky: true})
	status, kvError, body := ask(t, n, "PUT", "/v1/kv/k", "v")
	if status < 500 || !strings.Contains(kvError, "outcome=unknown") {
		t.Errorf("PUT on a failed disk: %d %q %s", status, kvError, body)
	}
	select {
	case err := <-ended:
		if !isFailure(err) || !strings.Contains(err.Error(), "node n1 failed") || !strings.Contains(err.Error(), "input/output error") {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the node has not ended")
	}
}

// awaitStatus asks until the answer has a status.
func awaitStatus(t *testing.T, n *Node, path string, want int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		status, _, body := ask(t, n, "GET", path, "")
		if status == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d %s", path, status, body)
		}
	}
}

// Goal: a leader that ends hands over, keeps answering until it has, and leaves
// the others serving. Method: end the leader of three in order while it gets
// requests, which must all be answered well.
func TestEndingLeaderHandsOver(t *testing.T) {
	nodes := startNodes(t, testConfigs(t, vfs.OS{}, vfs.OS{}, vfs.OS{}))
	var leader, other *Node
	for _, n := range nodes {
		if n.raft.Status().Role == core.Leader {
			leader = n
		} else {
			other = n
		}
	}
	ended := make(chan struct{})
	go func() {
		leader.StopListening()
		leader.HandOver()
		leader.Drain()
		close(ended)
	}()
	for i, going := 0, true; going; i++ {
		// A slow machine may need longer for the election than a request waits for
		// a leader; then the client is told that nothing happened.
		status, kvError, _ := ask(t, other, "PUT", fmt.Sprintf("/v1/kv/k%d", i), "v")
		if status != 201 && !(status == 503 && strings.Contains(kvError, "outcome=not_applied")) {
			t.Errorf("PUT %d while the leader ends: %d %s", i, status, kvError)
		}
		select {
		case <-ended:
			going = false
		default:
		}
	}
	if s := other.raft.Status(); s.Leader == leader.config.ID || s.Leader == core.None {
		t.Errorf("%q leads", s.Leader)
	}
	for _, n := range nodes {
		if err := n.Close(); err != nil {
			t.Errorf("%s: %v", n.config.ID, err)
		}
	}
}

// Goal: a second node on the same directory is refused at once and disturbs the
// first in nothing.
func TestDirectoryInUseIsRefused(t *testing.T) {
	disk := vfs.NewCrashable()
	nodes := startNodes(t, testConfigs(t, disk))
	defer nodes[0].Close()
	if _, err := New(testConfigs(t, disk)[0]); !isFailure(err) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("%v", err)
	}
	if status, _, body := ask(t, nodes[0], "PUT", "/v1/kv/k", "v"); status != 201 {
		t.Errorf("the first: %d %s", status, body)
	}
}
