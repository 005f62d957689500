package system

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

// withFiles is surroundings in which a process may open this number of files.
func withFiles(limit int) cluster.Surroundings {
	return cluster.Surroundings{Wrapper: []string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, limit), "sh"}}
}

var manyDescriptors = flag.Bool("descriptors", false, "run TestIdleClientsTakeNoDescriptorOfTheLog with limits of 256 and 1,024, too")

// Goal: idle clients take no file descriptor that the log or a peer needs: no
// node ends, nothing acknowledged is lost, and a new client is served.
// Method: three nodes under a small limit; as many idle clients as fit, and more,
// at each of them, half of which have asked something and half of which never
// say anything; in addition writers, until every node has begun several segments
// and taken snapshots.
func TestIdleClientsTakeNoDescriptorOfTheLog(t *testing.T) {
	for _, limit := range []int{128, 256, 1024} {
		if limit > 128 && !*manyDescriptors {
			continue
		}
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			c := cluster.New(t, 3, "--snapshot-bytes", fmt.Sprint(2<<20))
			for _, s := range c.Nodes {
				s.In = withFiles(limit)
			}
			c.Start()
			for _, s := range c.Nodes {
				s.Says("fewer connections of clients", cluster.Patience)
			}
			l := cluster.StartLoad("a", 3, cluster.Addresses(c.Nodes), nil)
			defer l.End()
			for _, s := range c.Nodes {
				crowd(t, s.HTTP, limit+32)
			}
			l.AwaitProgress(t, 10)
			value := strings.Repeat("x", 512<<10)
			cluster.Eventually(t, 2*cluster.Patience, func() error {
				for _, s := range c.Nodes {
					if _, _, _, err := s.Ask("PUT", "/v1/kv/big", value); err != nil {
						return err
					}
				}
				for _, s := range c.Nodes {
					if s.HasEnded() {
						t.Fatalf("%s has ended", s.ID)
					}
					if rolled(t, s.Dir) < 3 {
						return fmt.Errorf("%s has begun %d segments", s.ID, rolled(t, s.Dir))
					}
				}
				return nil
			})
			for _, s := range c.Nodes {
				cluster.Eventually(t, cluster.Patience, func() error { return writeAfresh(s.HTTP) })
			}
			l.AwaitProgress(t, 10)
			l.End()
			for _, s := range c.Nodes {
				s.AwaitServing()
				l.Verify(t, s)
			}
			cluster.AwaitEqual(t, c)
			for _, s := range c.Nodes {
				s.Signal(15)
			}
			for _, s := range c.Nodes {
				if code := s.ExitCode(cluster.Patience); code != 0 {
					t.Errorf("%s ended with code %d", s.ID, code)
				}
				if strings.Contains(s.Output.String(), "too many open files") {
					t.Errorf("%s ran out of descriptors", s.ID)
				}
			}
		})
	}
}

// crowd opens connections that stay idle until the test ends.
func crowd(t *testing.T, address string, n int) {
	t.Helper()
	for i := range n {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			continue // there is no room, and the server says so
		}
		t.Cleanup(func() { conn.Close() })
		if i%2 == 0 {
			fmt.Fprintf(conn, "GET /livez HTTP/1.1\r\nHost: %s\r\n\r\n", address)
		}
	}
}

// writeAfresh writes on a connection of its own.
func writeAfresh(address string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: cluster.Patience}
	request, err := http.NewRequest("PUT", "http://"+address+"/v1/kv/honest", strings.NewReader("x"))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusCreated {
		return fmt.Errorf("a new client was answered with %s", response.Status)
	}
	return nil
}

// rolled returns the generation of the newest segment of a node's log.
func rolled(t *testing.T, dir string) (generation int) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "wal", "*.wal"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments: %v, %v", segments, err)
	}
	last := strings.TrimSuffix(filepath.Base(segments[len(segments)-1]), ".wal")
	if _, err := fmt.Sscanf(last, "%x", &generation); err != nil {
		t.Fatal(err)
	}
	return generation
}

// Goal: a limit that is too small for a node is refused with the one that is
// enough, and a soft limit below the hard one is raised.
func TestALimitThatIsTooSmallIsRefused(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, 3)
	s := c.Nodes[0]
	s.In = withFiles(60)
	s.Start()
	if code := s.ExitCode(cluster.Patience); code != 1 || !strings.Contains(s.Output.String(), "may open 60 files and sockets") {
		t.Errorf("code %d: %s", code, s.Output.String())
	}
	if _, err := os.Stat(s.Dir); err == nil {
		t.Error("a start that could not be left a directory")
	}
	soft := cluster.New(t, 1)
	soft.Nodes[0].In = cluster.Surroundings{Wrapper: []string{"/bin/sh", "-c", `ulimit -Sn 64 && exec "$@"`, "sh"}}
	soft.Start()
}
