package bench

import (
	"os"
	"testing"

	"raftkv/tests/bench/rod"
)

func TestMain(m *testing.M) { os.Exit(rod.Main(m, nil)) }
