package ui

import (
	"flag"
	"os"
	"os/exec"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

var (
	look  = flag.Bool("ui", false, "look at the page in a browser")
	shots = flag.String("ui.shots", "", "directory for pictures of every view in every state")
	hold  = flag.Duration("ui.for", 30*time.Second, "how long the page is left open, to see whether it grows")
	given = flag.String("ui.origin", "", "look at the page of this http://host:port in place of clusters of the test")
	axe   = flag.String("ui.axe", "", "axe.min.js of axe-core, which judges whether everybody can use the page")
)

// TestMain builds the program only if it is to be looked at.
func TestMain(m *testing.M) {
	flag.Parse()
	if !*look {
		os.Exit(m.Run())
	}
	os.Exit(cluster.Main(m))
}

// chromium returns the program, or passes the test over, and says so.
func chromium(t *testing.T) string {
	t.Helper()
	if !*look {
		t.Skip("NOT LOOKED AT: this needs a browser; make ui-shots installs it and runs this test")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no chromium; make ui-shots installs it")
	return ""
}
