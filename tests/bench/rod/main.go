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
	role   = flag.String("rod.role", "", "be a server that is measured: leader, follower, echo, or another one of the package's")
	listen = flag.String("rod.listen", "", "the server's address")
	dir    = flag.String("rod.dir", "", "the server's directory")
	peers  = flag.String("rod.peers", "", "addresses of the other servers; for a library, of all, in the order of their numbers")
)

// Server is what a server of a role is told.
type Server struct {
	Listen, Dir string
	Peers       []string
}

// roles are the servers of this package, which return only with an error.
var roles = map[string]func(Server) error{
	"leader": func(s Server) error {
		l, err := net.Listen("tcp", s.Listen)
		if err != nil {
			return err
		}
		if len(s.Peers) != 2 {
			return fmt.Errorf("the leader has %d followers; give it two", len(s.Peers))
		}
		return pipeline.Lead(l, s.Dir, [2]string(s.Peers))
	},
	"follower": func(s Server) error {
		l, err := net.Listen("tcp", s.Listen)
		if err != nil {
			return err
		}
		return pipeline.Follow(l, s.Dir)
	},
	"echo": func(s Server) error {
		l, err := net.Listen("tcp", s.Listen)
		if err != nil {
			return err
		}
		return bare.Serve(l, ValueBytes)
	},
}

// Main is for TestMain of a package that starts sides. The test binary is started
// again for each server that is not raftkv; in there Main serves in one of the roles of
// this package or of more, and returns when that fails. Servers must end when their
// standard input does: those of this package are ended by Main, those of more end by
// themselves.
func Main(m *testing.M, more map[string]func(Server) error) int {
	flag.Parse()
	if *role == "" {
		return cluster.Main(m)
	}
	serve, ours := roles[*role]
	if ours {
		go EndWithInput()
	} else if serve = more[*role]; serve == nil {
		fmt.Fprintf(os.Stderr, "-rod.role is %q, which this package does not have\n", *role)
		return 1
	}
	fmt.Fprintln(os.Stderr, serve(Server{*listen, *dir, strings.Split(*peers, ",")}))
	return 1
}

// EndWithInput ends the process when its standard input ends: the test that started it
// has gone.
func EndWithInput() {
	_, _ = io.Copy(io.Discard, os.Stdin) // any end will do
	os.Exit(0)
}
