package system

import (
	"os"
	"testing"

	"raftkv/tests/cluster"
)

// Most tests here run side by side, because their processes wait most of the time. These run
// alone: those whose clusters have ports that follow one another (dev, and the scripts of the
// documents), and those that count elections or open thousands of connections.
func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }
