package system

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

// calmElection is an election timeout that a busy machine does not reach by
// itself: an election then has a cause that the test made.
const calmElection = 2 * time.Second

// mostResident is more memory than a node with next to nothing in its store may
// take, whatever is asked of it.
const mostResident = 256 << 20

// resident is how much memory a process has, in bytes.
func resident(p *cluster.Process) (bytes int64) {
	p.T.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.Command.Process.Pid), "status"))
	if errors.Is(err, os.ErrNotExist) {
		return 0 // not Linux
	}
	_, line, _ := strings.Cut(string(text), "VmRSS:")
	if _, scanned := fmt.Sscanf(line, "%d kB", &bytes); err != nil || scanned != nil {
		p.T.Fatalf("the memory of %s: %v, %v", p.Name, err, scanned)
	}
	return bytes << 10
}

// mustServeOn writes and reads through every node, each request within the time
// of an ordinary client, and demands the term and the bounds of memory.
func mustServeOn(c *cluster.Cluster, term uint64, rounds int) {
	c.T.Helper()
	for i := range rounds {
		for _, s := range c.Nodes {
			key, value := "/v1/kv/"+s.ID, strconv.Itoa(i)
			if status, _, body, err := s.Ask("PUT", key, value); err != nil || status != 200 && status != 201 {
				c.T.Fatalf("round %d: a write through %s: %d, %v: %s", i, s.ID, status, err, body)
			}
			if got := s.Must(200, "GET", key, ""); got != value {
				c.T.Fatalf("round %d: a read through %s gives %q", i, s.ID, got)
			}
		}
	}
	for _, s := range c.Nodes {
		status, err := s.Status()
		if err != nil || status.Term != term {
			c.T.Errorf("%s is in term %d, was in %d (%v)", s.ID, status.Term, term, err)
		}
		if got := resident(s.Process); got > mostResident {
			c.T.Errorf("%s takes %d MiB", s.ID, got>>20)
		}
	}
}

// Goal: scrapes that hang, and a thousand at once, are noticed by nobody else:
// there is no election, requests are served in time, and memory stays bounded.
// Method: on every node connections that ask for metrics again and again and
// never read; then crowds of scrapes, while clients write and read.
func TestScrapesAreNoticedByNobody(t *testing.T) {
	c := cluster.Start(t, 3, "--election-timeout", calmElection.String())
	term := c.Term()
	for _, s := range c.Nodes {
		for range 20 {
			conn, err := net.Dial("tcp", s.HTTP)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10) // it is a wish
			ask := strings.Repeat("GET /metrics HTTP/1.1\r\nHost: "+s.HTTP+"\r\n\r\n", 100)
			if _, err := conn.Write([]byte(ask)); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustServeOn(c, term, 20)

	var scrapes sync.WaitGroup
	var answered, refused atomic.Int64
	client := &http.Client{Timeout: cluster.Patience, Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	for i := range 1000 {
		scrapes.Go(func() {
			response, err := client.Get("http://" + c.Nodes[i%3].HTTP + "/metrics")
			if err != nil {
				return
			}
			response.Body.Close()
			switch response.StatusCode {
			case 200:
				answered.Add(1)
			case 429:
				refused.Add(1)
			}
		})
	}
	mustServeOn(c, term, 20)
	scrapes.Wait()
	t.Logf("of a thousand scrapes %d were answered and %d refused", answered.Load(), refused.Load())
	if answered.Load()+refused.Load() < 900 {
		t.Errorf("of a thousand scrapes only %d were answered and %d refused", answered.Load(), refused.Load())
	}
	mustServeOn(c, term, 1)
}

// Goal: a node whose log nobody reads serves, leads and ends as any other.
// Method: one node's standard error is a pipe that is full from the beginning,
// at the most talkative level; it gets requests, leadership and a signal.
func TestABlockedLogIsNoticedByNobody(t *testing.T) {
	c := cluster.New(t, 3, "--election-timeout", calmElection.String(), "--log-level", "debug")
	deaf := c.Nodes[2]
	deaf.Process = launchOn(t, deaf.ID, fullPipe(t), deaf.CommandLine())
	for _, s := range c.Nodes[:2] {
		s.Start()
	}
	c.AwaitServing()
	c.Leader()
	for _, to := range []*cluster.Node{deaf, c.Nodes[0], deaf} {
		if leader := c.Leader(); leader != to {
			if status, _, body, err := leader.AskJSON("POST", "/v1/leader", fmt.Sprintf(`{"to":%q}`, to.ID)); err != nil || status != 200 {
				t.Fatalf("handing leadership to %s: %d %v %s", to.ID, status, err, body)
			}
		}
		mustServeOn(c, c.Term(), 10)
	}
	deaf.Signal(syscall.SIGTERM)
	if code := deaf.ExitCode(cluster.Patience); code != 0 {
		t.Errorf("the node that could not log ended with code %d", code)
	}
}

// launchOn is launch with another standard error.
func launchOn(t *testing.T, name string, stderr *os.File, arguments []string) *cluster.Process {
	t.Helper()
	p := cluster.Prepare(t, name, nil, arguments...)
	p.Command.Stderr = stderr
	p.Begin()
	return p
}

// fullPipe returns the writing end of a pipe that takes nothing.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	var ends [2]int
	// As os.Pipe does where there is no pipe2: no process may begin between the two calls.
	syscall.ForkLock.RLock()
	err := syscall.Pipe(ends[:])
	if err == nil {
		syscall.CloseOnExec(ends[0])
		syscall.CloseOnExec(ends[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(ends[1], true); err != nil {
		t.Fatal(err)
	}
	for junk := []byte{'x'}; ; { // byte by byte, so that there is no room for one
		if _, err := syscall.Write(ends[1], junk); errors.Is(err, syscall.EAGAIN) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.SetNonblock(ends[1], false); err != nil {
		t.Fatal(err)
	}
	reading, writing := os.NewFile(uintptr(ends[0]), "pipe"), os.NewFile(uintptr(ends[1]), "pipe")
	t.Cleanup(func() {
		reading.Close()
		writing.Close()
	})
	return writing
}
