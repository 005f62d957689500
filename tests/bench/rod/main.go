package rod

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"raftkv/tests/bench/bare"
	"raftkv/tests/bench/pipeline"
	"raftkv/tests/cluster"
)

var (
	role      = flag.String("rod.role", "", "be a server that is measured: leader, follower or echo")
	listen    = flag.String("rod.listen", "", "the server's address")
	dir       = flag.String("rod.dir", "", "the server's directory")
	followers = flag.String("rod.followers", "", "addresses of the leader's two followers")
)

// Main is for TestMain of a package that starts sides. The test binary is started
// again for each server that is not raftkv; in there Main serves, and never returns.
func Main(m *testing.M) int {
	flag.Parse()
	if *role == "" {
		return cluster.Main(m)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends when the test binary has
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, serve())
	return 1
}

// serve serves in the role that was asked for, until it fails.
func serve() error {
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	switch *role {
	case "leader":
		first, second, _ := strings.Cut(*followers, ",")
		return pipeline.Lead(l, *dir, [2]string{first, second})
	case "follower":
		return pipeline.Follow(l, *dir)
	case "echo":
		return bare.Serve(l, ValueBytes)
	}
	return fmt.Errorf("-rod.role is %q; choose leader, follower or echo", *role)
}
