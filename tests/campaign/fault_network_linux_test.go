package campaign

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"raftkv/tests/cluster"
)

// network is network namespaces, one for each node, joined by a bridge on which
// the test has an address, too. Nothing on it is known outside.
type network struct {
	t      *testing.T
	undo   *undo
	tag    string // what the names of all that it made begin with
	subnet string // the first three bytes of all addresses, and a point
}

var networksMade atomic.Int64

// newNetwork makes a network for nodes 0 to size-1.
func newNetwork(t *testing.T, u *undo, size int) *network {
	t.Helper()
	n := &network{t: t, undo: u, tag: fmt.Sprintf("rk%d%c", os.Getpid(), 'a'+rune(networksMade.Add(1)-1)%26)}
	n.subnet = unusedSubnet(t)
	must := func(arguments ...string) {
		t.Helper()
		if _, err := run("ip", arguments...); err != nil {
			t.Skipf("NOT RUN: network namespaces cannot be made: %v", err)
		}
	}
	bridge := n.tag + "b"
	must("link", "add", bridge, "type", "bridge")
	u.later(func() {
		_, err := run("ip", "link", "del", bridge)
		complain(err)
	})
	must("addr", "add", n.subnet+"254/24", "dev", bridge)
	must("link", "set", bridge, "up")
	for i := range size {
		space, cable := n.space(i), n.cable(i)
		must("netns", "add", space)
		u.later(func() {
			_, err := run("ip", "netns", "del", space)
			complain(err)
		})
		must("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
		u.later(func() {
			_, err := run("ip", "link", "del", cable)
			complain(err)
		})
		must("link", "set", cable, "master", bridge, "up")
		must("-n", space, "addr", "add", n.address(i)+"/24", "dev", "eth0")
		must("-n", space, "link", "set", "eth0", "up")
		must("-n", space, "link", "set", "lo", "up")
	}
	return n
}

// unusedSubnet draws one that no interface of the machine is in.
func unusedSubnet(t *testing.T) string {
	t.Helper()
	taken, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
draw:
	for range 100 {
		subnet := fmt.Sprintf("10.%d.%d.", 64+rand.IntN(128), rand.IntN(256))
		for _, a := range taken {
			if network, ok := a.(*net.IPNet); ok && network.Contains(net.ParseIP(subnet+"1")) {
				continue draw
			}
		}
		return subnet
	}
	t.Skip("NOT RUN: no subnet of 10.0.0.0/8 is free")
	return ""
}

// space is the name of a node's namespace.
func (n *network) space(i int) string { return fmt.Sprintf("%sn%d", n.tag, i) }

// cable is the name of the end of a node's link that is on the bridge.
func (n *network) cable(i int) string { return fmt.Sprintf("%sv%d", n.tag, i) }

// address is the IP address of a node.
func (n *network) address(i int) string { return n.subnet + strconv.Itoa(i+1) }

// inside runs a program in a node's namespace.
func (n *network) inside(i int, command ...string) (string, error) {
	return run("nsenter", append([]string{"--net=" + filepath.Join("/run/netns", n.space(i))}, command...)...)
}

// newClusterOn chooses addresses on a network and starts nothing.
func newClusterOn(t *testing.T, u *undo, size int, arguments ...string) (*cluster.Cluster, *network) {
	t.Helper()
	n := newNetwork(t, u, size)
	// The addresses are not loopback, and nobody but the test reaches them.
	c := cluster.New(t, size, append(slices.Clone(arguments), "--insecure", "client,peer,auth")...)
	var peers []string
	for i, s := range c.Nodes {
		s.HTTP = n.address(i) + ":8701"
		s.In.Wrapper = []string{"nsenter", "--net=" + filepath.Join("/run/netns", n.space(i))}
		peers = append(peers, fmt.Sprintf("%s=%s:9701", s.ID, n.address(i)))
	}
	c.Peers = strings.Join(peers, ",")
	return c, n
}

// way is what gets through from one node to another, or does not.
type way struct{ from, to int }

// bothWays lists the ways between two groups of nodes, in both directions.
func bothWays(some, others []int) (ways []way) {
	return append(oneWay(some, others), oneWay(others, some)...)
}

// oneWay lists the ways from some nodes to others.
func oneWay(some, others []int) (ways []way) {
	for _, a := range some {
		for _, b := range others {
			if a != b {
				ways = append(ways, way{a, b})
			}
		}
	}
	return ways
}

// cut is rules of iptables in the receivers' namespaces.
type cut struct {
	network *network
	rules   map[int][]string // by receiver; the arguments behind -A and -D, each rule one string
	mend    func()
}

// cutWays drops all packets on some ways. The rest of the rule can say which
// packets, or what else becomes of them; see iptables(8).
func (n *network) cutWays(ways []way, rest ...string) (*cut, error) {
	if len(rest) == 0 {
		rest = []string{"-j", "DROP"}
	}
	c := &cut{network: n, rules: map[int][]string{}}
	for _, w := range ways {
		c.rules[w.to] = append(c.rules[w.to], strings.Join(append([]string{"INPUT", "-s", n.address(w.from)}, rest...), " "))
	}
	c.mend = n.undo.later(func() { c.apply("-D") })
	if err := c.apply("-A"); err != nil {
		c.mend()
		return nil, err
	}
	return c, nil
}

// apply adds or deletes all rules, those of one namespace at once.
func (c *cut) apply(action string) error {
	for i, rules := range c.rules {
		var script strings.Builder
		script.WriteString("*filter\n")
		for _, rule := range rules {
			fmt.Fprintf(&script, "%s %s\n", action, rule)
		}
		script.WriteString("COMMIT\n")
		if err := c.network.feed(i, script.String(), "iptables-restore", "--noflush", "-w"); err != nil {
			return err
		}
	}
	return nil
}

// feed runs a program with a text to read in a node's namespace.
func (n *network) feed(i int, text string, command ...string) error {
	_, err := runWith(text, "nsenter", append([]string{"--net=" + filepath.Join("/run/netns", n.space(i))}, command...)...)
	return err
}

// hit returns how many packets the rules have met. It is asked before the mend.
func (c *cut) hit() (packets int) {
	for i := range c.rules {
		out, err := c.network.inside(i, "iptables", "-w", "-n", "-v", "-x", "-L", "INPUT")
		if err != nil {
			complain(err)
			return 0
		}
		for _, line := range strings.Split(out, "\n")[2:] { // behind two of headings
			if fields := strings.Fields(line); len(fields) > 2 {
				count, _ := strconv.Atoi(fields[0])
				packets += count
			}
		}
	}
	return packets
}

// narrow is a link that lets little through.
type narrow struct {
	network *network
	node    int
	mend    func()
}

// slow bounds what goes to a node and what comes from it, in kbit/s each.
func (n *network) slow(i, kilobits int) (*narrow, error) {
	shape := []string{"root", "tbf", "rate", fmt.Sprintf("%dkbit", kilobits), "burst", "8k", "latency", "400ms"}
	l := &narrow{network: n, node: i}
	l.mend = n.undo.later(func() {
		_, err := n.inside(i, "tc", "qdisc", "del", "dev", "eth0", "root")
		_, other := run("tc", "qdisc", "del", "dev", n.cable(i), "root")
		complain(errors.Join(err, other))
	})
	_, err := n.inside(i, append([]string{"tc", "qdisc", "add", "dev", "eth0"}, shape...)...)
	_, other := run("tc", append([]string{"qdisc", "add", "dev", n.cable(i)}, shape...)...)
	if err := errors.Join(err, other); err != nil {
		l.mend()
		return nil, err
	}
	return l, nil
}

// late is how many packets had to wait for their turn, or found no room to.
func (l *narrow) late() (packets int) {
	from, err := l.network.inside(l.node, "tc", "-s", "qdisc", "show", "dev", "eth0")
	to, other := run("tc", "-s", "qdisc", "show", "dev", l.network.cable(l.node))
	complain(errors.Join(err, other))
	for _, found := range regexp.MustCompile(`overlimits (\d+)`).FindAllStringSubmatch(from+to, -1) {
		count, _ := strconv.Atoi(found[1])
		packets += count
	}
	return packets
}

// state is the letter by which the kernel calls the state of a process: T if it
// is stopped, D if it waits for a disk.
func state(p *cluster.Process) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Command.Process.Pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	state, _, _ := strings.Cut(rest, " ")
	return state
}

// pause stops a process until the returned function is called.
func pause(p *cluster.Process, u *undo) (resume func()) {
	resume = u.later(func() { _ = p.Command.Process.Signal(syscall.SIGCONT) })
	p.Signal(syscall.SIGSTOP)
	return resume
}
