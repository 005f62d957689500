package campaign

import (
	"flag"
	"os"
	"testing"

	"raftkv/tests/cluster"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *dripTo != "" {
		dripUntilTold()
		return
	}
	os.Exit(cluster.Main(m))
}
