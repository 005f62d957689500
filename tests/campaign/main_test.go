package campaign

import (
	"flag"
	"os"
	"testing"

	"raftkv/tests/cluster"
)

func TestMain(m *testing.M) {
	flag.Parse()
	switch {
	case *dripTo != "":
		dripUntilTold()
		return
	case *strangersTo != "":
		beStrangers()
		return
	case *honestTo != "":
		beHonest()
		return
	}
	os.Exit(cluster.Main(m))
}
