package system

import (
	"os"
	"testing"

	"raftkv/tests/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m)) }
