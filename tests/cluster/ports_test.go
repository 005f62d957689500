package cluster

import (
	"net"
	"testing"
)

// Goal: a port that a node left is free when it comes back. Method: the kernel gives
// away as many ports as a busy machine takes; none of them is one of FreePorts.
func TestTheKernelGivesAwayNoPortOfANode(t *testing.T) {
	chosen := map[string]bool{}
	for _, address := range FreePorts(t, 50) {
		if chosen[address] {
			t.Errorf("%s was chosen twice", address)
		}
		chosen[address] = true
	}
	if len(chosen) != 50 {
		t.Fatalf("%d ports, not 50", len(chosen))
	}
	for range 200 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if port := l.Addr().(*net.TCPAddr).Port; port < ephemeral() || chosen[l.Addr().String()] {
			t.Fatalf("the kernel gave away port %d", port)
		}
	}
}
