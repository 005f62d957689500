package gate

import (
	"flag"
	"os"
	"testing"

	"raftkv/tests/cluster"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *base == "" {
		os.Exit(m.Run()) // no program is needed
	}
	os.Exit(cluster.Main(m))
}
