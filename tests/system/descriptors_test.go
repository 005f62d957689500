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
)

// withFiles is surroundings in which a process may open so many files.
func withFiles(limit int) surroundings {
	return surroundings{wrapper: []string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, limit), "sh"}}
}

var manyDescriptors = flag.Bool("system.descriptors", false, "run TestIdleClientsTakeNoDescriptorOfTheLog with limits of 256 and 1,024, too")

// Goal: idle clients take no file descriptor that the log or a peer needs: no
// node ends, nothing acknowledged is lost, and a new client is served.
// Method: three nodes under a small limit; as many idle clients as fit, and more,
// at each of them, half of which have asked something and half of which never
// say anything; beside them writers, until every node has begun several segments
// and taken snapshots.
func TestIdleClientsTakeNoDescriptorOfTheLog(t *testing.T) {
	for _, limit := range []int{128, 256, 1024} {
		if limit > 128 && !*manyDescriptors {
			continue
		}
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			c := newCluster(t, 3, "--snapshot-bytes", fmt.Sprint(2<<20))
			for _, s := range c.nodes {
				s.in = withFiles(limit)
			}
			c.start()
			for _, s := range c.nodes {
				s.says("fewer connections of clients", patience)
			}
			l := startLoad("a", 3, addresses(c.nodes), nil)
			defer l.end()
			for _, s := range c.nodes {
				crowd(t, s.http, limit+32)
			}
			l.awaitProgress(t, 10)
			value := strings.Repeat("x", 512<<10)
			eventually(t, 2*patience, func() error {
				for _, s := range c.nodes {
					if _, _, _, err := s.ask("PUT", "/v1/kv/big", value); err != nil {
						return err
					}
				}
				for _, s := range c.nodes {
					if s.hasEnded() {
						t.Fatalf("%s has ended", s.id)
					}
					if rolled(t, s.dir) < 3 {
						return fmt.Errorf("%s has begun %d segments", s.id, rolled(t, s.dir))
					}
				}
				return nil
			})
			for _, s := range c.nodes {
				eventually(t, patience, func() error { return writeAfresh(s.http) })
			}
			l.awaitProgress(t, 10)
			l.end()
			for _, s := range c.nodes {
				s.awaitServing()
				l.verify(t, s)
			}
			awaitEqual(t, c)
			for _, s := range c.nodes {
				s.signal(15)
			}
			for _, s := range c.nodes {
				if code := s.exitCode(patience); code != 0 {
					t.Errorf("%s ended with code %d", s.id, code)
				}
				if strings.Contains(s.output.String(), "too many open files") {
					t.Errorf("%s ran out of descriptors", s.id)
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
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
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
	c := newCluster(t, 3)
	s := c.nodes[0]
	s.in = withFiles(60)
	s.start()
	if code := s.exitCode(patience); code != 1 || !strings.Contains(s.output.String(), "may open 60 files and sockets") {
		t.Errorf("code %d: %s", code, s.output.String())
	}
	if _, err := os.Stat(s.dir); err == nil {
		t.Error("a start that could not be left a directory")
	}
	soft := newCluster(t, 1)
	soft.nodes[0].in = surroundings{wrapper: []string{"/bin/sh", "-c", `ulimit -Sn 64 && exec "$@"`, "sh"}}
	soft.start()
}
