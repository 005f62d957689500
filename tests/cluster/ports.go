package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
)

// taken holds every address that FreePorts returned in this process. It returns none
// twice: tests run side by side, and a node that is down for a moment does not listen.
var taken sync.Map

// lowestPort is the first port that FreePorts may choose.
const lowestPort = 10000

// FreePorts returns addresses on which nobody listens at the moment. The kernel gives
// their ports to no process that does not name them: so a node finds its port free again
// after a restart, whatever connections were made meanwhile.
func FreePorts(t *testing.T, n int) (addresses []string) {
	t.Helper()
	end := ephemeral()
	for range 1000 {
		if len(addresses) == n {
			return addresses
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowestPort+rand.IntN(end-lowestPort)))
		if err != nil {
			continue // somebody listens there
		}
		defer l.Close() // only now, so that no port is chosen twice
		if _, before := taken.LoadOrStore(l.Addr().String(), true); before {
			continue
		}
		addresses = append(addresses, l.Addr().String())
	}
	t.Fatalf("only %d of %d free ports were found from %d to %d", len(addresses), n, lowestPort, end-1)
	return nil
}

// FreeRows returns a port from which n ports are free, as FreePorts says it, and n more
// that are apart ports higher.
func FreeRows(t *testing.T, n, apart int) (first int) {
	t.Helper()
	end := ephemeral() - apart - n
	for range 1000 {
		first = lowestPort + rand.IntN(end-lowestPort)
		if takeRow(first, n) && takeRow(first+apart, n) {
			return first
		}
	}
	t.Fatalf("no two rows of %d free ports were found from %d on", n, lowestPort)
	return 0
}

// takeRow takes n ports, unless one of them is not free.
func takeRow(first, n int) bool {
	for port := first; port < first+n; port++ {
		address := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", address)
		if err != nil {
			return false
		}
		l.Close()
		if _, before := taken.LoadOrStore(address, true); before {
			return false
		}
	}
	return true
}

// ephemeral returns the first port of those that the kernel gives away by itself.
func ephemeral() int {
	const usual = 32768
	content, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return usual
	}
	var first int
	if _, err := fmt.Sscan(string(content), &first); err != nil || first <= lowestPort {
		return usual
	}
	return first
}
