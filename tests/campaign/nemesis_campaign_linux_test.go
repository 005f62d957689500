package campaign

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"raftkv/client/verify"
	"raftkv/tests/cluster"
)

var (
	nemesisTime = flag.Duration("nemesis", 0, "how long TestCampaignOfNemeses runs; 0 skips it")
	nemesisSeed = flag.Uint64("nemesis.seed", 1, "what draws the faults of the campaign")
	nemesisOnly = flag.String("nemesis.only", "", "only faults whose names contain this")
	nemesisRate = flag.Float64("nemesis.rate", 3500, "operations per second of all clients together, at most")
)

const (
	nemesisClients = 56
	nemesisKeys    = 20
	// nemesisPatience is when a client gives a request up. It is short, so that
	// longer faults leave writes whose outcome nobody knows.
	nemesisPatience = time.Second
	// leastWrites is how many writes must be acknowledged before a fault and after
	// it. A run with fewer is void: nothing was there to be disturbed.
	leastWrites = 50
	// searchLimit is how long the search for an order of one history may take.
	searchLimit = time.Minute
	// mostVoid is the share of runs that may be void.
	mostVoid = 0.05
)

// Goal: whatever happens to processes, networks and disks, the store is
// linearizable, and nothing acknowledged is lost or doubled.
// Method: three and then five real processes, each with a network namespace and
// an ext4 file system of its own, under clients that put, append, delete, swap,
// list, and read in every mode, some through all nodes, some through one only.
// One fault after the other, of kinds that a seed draws evenly. Each must show
// that it happened. After each the history, of keys of its own, is searched for
// an order; a search that does not end has failed. At the same time run, over all faults, a
// ledger of appends under idempotency keys, and workloads that judge themselves: watches
// that are compared event by event with what was written (W1 to W4, W6 to W8, W10, W14),
// locks with fenced writes (K1 to K3, K5, K7 to K9), the ends of leases and keys (L1 to L3,
// L6, L7, L9), and a bank of transactions (T1, T2, T3, T5, T6).
func TestCampaignOfNemeses(t *testing.T) {
	if *nemesisTime == 0 {
		t.Skip("say -nemesis")
	}
	need(t, "ip", "tc", "nsenter", "unshare", "iptables", "iptables-restore", "mkfs.ext4", "losetup", "mount", "fsfreeze", "strace")
	all := newTallies()
	begun := time.Now()
	for _, size := range []int{3, 5} {
		t.Run(fmt.Sprintf("%d nodes", size), func(t *testing.T) {
			u := newUndo(t)
			c := &campaign{site: newSite(t, u, size, true, *nemesisSeed), tallies: all}
			c.run(*nemesisTime / 2)
		})
		if t.Failed() {
			break
		}
	}
	all.print(t, time.Since(begun))
	all.checkBeside(t)
	if runs := all.faults() + len(all.void); float64(len(all.void)) > mostVoid*float64(runs) {
		t.Errorf("void: %d of %d runs are void", len(all.void), runs)
	}
}

// Goal: the same in small, wherever tests run: processes that share loopback and
// file system, killed and stopped.
func TestNemesesOfProcesses(t *testing.T) {
	u := newUndo(t)
	c := &campaign{site: newSite(t, u, 3, false, uint64(time.Now().UnixNano())), tallies: newTallies()}
	c.startBeside("watch,locks,txn", 5*time.Second)
	for _, name := range []string{"kill -9 the leader", "stop the leader", "kill -9 all"} {
		for _, k := range kinds() {
			if k.name == name {
				k.hold = min(k.hold, 1500*time.Millisecond)
				c.disturb(k)
			}
		}
	}
	c.endBeside()
	cluster.AwaitEqual(t, c.cluster)
	c.tallies.print(t, time.Since(c.begun))
	if len(c.void) > 0 {
		t.Errorf("void: %v", c.void)
	}
}

// campaign disturbs one cluster.
type campaign struct {
	*site
	*tallies
	epochs int
	beside *beside
}

// run disturbs until the time is over, each kind once before any comes again.
func (c *campaign) run(limit time.Duration) {
	var fitting []kind
	for _, k := range kinds() {
		if k.least <= len(c.cluster.Nodes) && strings.Contains(k.name, *nemesisOnly) {
			fitting = append(fitting, k)
		}
	}
	l := startLedger("ledger", c.cluster.Nodes)
	c.startBeside(*nemesisBeside, besideRound)
	var deck []kind
	for time.Since(c.begun) < limit {
		if len(deck) == 0 {
			deck = slices.Clone(fitting)
			c.rand.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		c.disturb(deck[0])
		if c.t.Failed() {
			break
		}
		deck = deck[1:]
	}
	l.end()
	c.endBeside()
	cluster.AwaitEqual(c.t, c.cluster)
	for _, n := range c.cluster.Nodes {
		tokens := l.verify(c.t, n)
		if n == c.cluster.Nodes[0] {
			c.appended, c.attempted = c.appended+tokens, c.attempted+int(l.attempts.Load())
		}
	}
	if c.t.Failed() && c.disks != nil {
		keepData(c.undo.dir, c.disks)
	}
}

// disturb lets one fault come and go under load and judges what the clients
// heard.
func (c *campaign) disturb(k kind) {
	c.epochs++
	c.forget()
	driving, stop := c.cancelled()
	done := make(chan *verify.History, 1)
	begun := time.Now()
	term := c.cluster.Term()
	go func() {
		done <- verify.Run(driving, c.clerks, verify.Config{
			Clients: nemesisClients, Keys: nemesisKeys, Duration: time.Hour, Timeout: nemesisPatience, Rate: *nemesisRate,
			Prefix: fmt.Sprintf("e%d/", c.epochs), Answered: c.answered,
		})
	}()
	evidence, stopped, healed, err := c.inject(k, begun)
	stop()
	history := <-done
	switch {
	case err != nil:
		c.t.Errorf("%s: %v", k.name, err)
	case evidence == "":
		c.void = append(c.void, k.name)
		c.say("%-46s VOID", k.name)
	default:
		c.had(k.name, stopped, healed)
	}
	searching := time.Now()
	finding := history.Check(searchLimit, nil)
	c.searched += time.Since(searching)
	c.checks, c.keys = c.checks+1, c.keys+nemesisKeys
	c.elections += c.cluster.Term() - term
	c.say("%-46s no write for %.2f s, first after the end %.2f s; %d operations %s in %.1f s (%s)",
		k.name, stopped.Seconds(), healed.Seconds(), history.Size(), finding.Verdict, time.Since(begun).Seconds(), evidence)
	if finding.Verdict != verify.Linearizable {
		c.t.Errorf("%s: key %s: %s %s", k.name, finding.Key, finding.Verdict, finding.Stale)
		c.keepHistory(history, finding)
	}
	for _, n := range c.cluster.Nodes {
		if status, err := n.Status(); err != nil || status.Integrity.Fault != "" {
			c.t.Errorf("%s: %s: %v %s", k.name, n.ID, err, status.Integrity.Fault)
		}
	}
}

// inject does the work of disturb under load that flows. It returns how the fault
// showed itself, the longest time without an acknowledged write since it began,
// and the time from its end to the first write after it.
func (c *campaign) inject(k kind, begun time.Time) (evidence string, stopped, healed time.Duration, err error) {
	if !c.flows(begun) {
		return "", 0, 0, nil
	}
	from := time.Now()
	fault, err := k.begin(c.site)
	if err != nil {
		return "", 0, 0, err
	}
	begins := time.Now()
	hold := k.hold
	if hold > 0 {
		hold = hold/2 + time.Duration(c.rand.Int64N(int64(hold)))
	}
	time.Sleep(hold)
	evidence = fault.evidence()
	if fault.allDown && c.beside != nil {
		c.beside.outages.Add(begins.Add(100*time.Millisecond), time.Now()) // signals take a moment
	}
	if err := fault.end(); err != nil {
		return "", 0, 0, err
	}
	ended := time.Now()
	if !c.flows(ended) {
		c.t.Errorf("%s: fewer than %d writes were acknowledged in %v after its end", k.name, leastWrites, cluster.Patience)
	}
	stopped, healed = c.longestStop(from), c.firstSince(ended)
	c.cluster.AwaitServing()
	return evidence, stopped, healed, nil
}

// flows waits until writes are acknowledged that were asked for after a moment.
func (c *campaign) flows(since time.Time) bool {
	ctx, cancel := context.WithTimeout(c.t.Context(), cluster.Patience)
	defer cancel()
	for c.writesSince(since) < leastWrites || time.Since(since) < time.Second {
		if !cluster.Sleep(ctx, 20*time.Millisecond) {
			return false
		}
	}
	return true
}

// keepHistory writes what the clients heard of a key, as text and as a picture.
func (c *campaign) keepHistory(h *verify.History, f verify.Finding) {
	name := filepath.Join(c.undo.dir, "history-"+strings.ReplaceAll(f.Key, "/", "-"))
	text, err := os.Create(name + ".txt")
	if err == nil {
		err = h.Dump(text, f.Key)
		complain(text.Close())
	}
	complain(err)
	picture, err := os.Create(name + ".html")
	if err == nil {
		err = f.Draw(picture, verify.Caption{At: time.Now()})
		complain(picture.Close())
	}
	complain(err)
}
