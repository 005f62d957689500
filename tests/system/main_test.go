package system

import (
	"os"
	"os/signal"
	"syscall"
	"testing"

	"raftkv/tests/cluster"
)

// Most tests here run side by side, because their processes wait most of the time. These run
// alone: those whose clusters have ports that follow one another (dev, and the scripts of the
// documents), and those that count elections or open thousands of connections.
func TestMain(m *testing.M) {
	// Under nohup SIGHUP is ignored, by all processes that are started here, too, and these
	// tests look at what it does. A signal that is caught is as usual in a process that is
	// started.
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	os.Exit(cluster.Main(m))
}
