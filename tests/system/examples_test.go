package system

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/tests/cluster"
)

// Goal: the examples of coordination do what they say, against a cluster that somebody has
// started by one command. Method: run each of them, side by side; each judges itself, and
// its last line says what it has shown. Those whose other programs are not installed are
// skipped, loudly.
func TestTheExamplesOfCoordination(t *testing.T) {
	t.Parallel()
	port := devPort(t, 3)
	dev(t, filepath.Join(t.TempDir(), "data"), port, 3)
	endpoints := fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", port, port+1, port+2)
	t.Run("examples", func(t *testing.T) {
		for name, says := range map[string]string{
			"cron-leader.sh":       ", then b did",
			"locked-command.sh":    "four processes counted to 4",
			"fenced-sqlite.sh":     "could not: balance 110",
			"service-discovery.sh": "its end was seen",
			"rate-limiter.sh":      "the fourth was not",
			"work-queue.sh":        "for a worker that had died",
			"configuration.sh":     "while no watch ran",
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if name == "fenced-sqlite.sh" {
					if _, err := exec.LookPath("sqlite3"); err != nil {
						t.Skip("SKIPPED: sqlite3 is not installed, so nobody has run docs/examples/fenced-sqlite.sh")
					}
				}
				path, err := filepath.Abs(filepath.Join("..", "..", "docs", "examples", name))
				if err != nil {
					t.Fatal(err)
				}
				script := exec.Command("bash", path)
				script.Dir = t.TempDir()
				script.Env = append(cluster.CleanEnvironment(), "RAFTKV="+cluster.Program, "RAFTKV_ENDPOINTS="+endpoints)
				output, err := script.CombinedOutput()
				if err != nil || !strings.Contains(string(output), says) {
					t.Errorf("%v, and it prints\n%s", err, output)
				}
			})
		}
	})
}
