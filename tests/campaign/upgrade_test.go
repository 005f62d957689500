package campaign

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/kvserver/api"
	"raftkv/tests/cluster"
)

var upgradeProgress = flag.Int("upgrade.appends", 0, "how many appends TestUpgrade wants in each of its phases; 0: it does not run")

// upgradeClerks is how many goroutines append by Clerks of the new program's client.
// upgradePatience bounds the time in which an append must succeed.
const (
	upgradeClerks   = 4
	upgradePatience = cluster.Patience
)

// upgrade is a cluster of which some nodes run the old program and some the new one, under
// load whose answers are counted.
type upgrade struct {
	t       *testing.T
	c       *cluster.Cluster
	old     string // path of the old program
	kills   int
	compare int // how often digests were compared

	http   *cluster.Load
	stop   context.CancelFunc
	ctx    context.Context
	clerks sync.WaitGroup
	byNew  [upgradeClerks]atomic.Int64 // tokens appended by Clerks of the new client
	byOld  atomic.Int64                // and by the old program's
}

// Goal: M19: the programs of two levels work together in any order of restarts: a cluster
// of the last program of level 2 becomes one of this program node by node, goes back, and
// forward again, while the level is held. No append is lost or doubled, no Clerk of either
// client sees an error, and equal indices have equal digests. Then the level is let go and
// rises, and the old program is refused with a sentence and changes nothing.
// Method: three processes under appends by HTTP, by Clerks of this client and by the old
// program; nodes end by SIGTERM and kill -9 in turn; half way the new node leads old ones
// and an old node a new one; in each phase the leader is killed.
func TestUpgrade(t *testing.T) {
	if *upgradeProgress == 0 {
		t.Skip("SKIPPED: make upgrade runs it; to build the old program alone takes more than half a minute")
	}
	u := &upgrade{t: t, c: cluster.New(t, 3), old: oldProgram(t)}
	for _, n := range u.c.Nodes {
		n.Program = u.old
	}
	begun := time.Now()
	u.c.Start()
	u.begin()
	u.phase("all old")
	n1, n2, n3 := u.c.Nodes[0], u.c.Nodes[1], u.c.Nodes[2]

	u.change(n1, true)
	u.lead(n1)
	u.phase("n1 new and leading")
	u.lead(n2)
	u.phase("n1 new, n2 old and leading")
	u.change(n1, false)
	u.phase("all old again")

	u.change(n1, true)
	u.change(n2, true)
	u.lead(n3)
	u.phase("n3 old and leading")
	u.lead(n2)
	u.phase("n3 old, n2 new and leading")
	u.change(n3, true)
	u.phase("all new, held")
	for _, n := range []*cluster.Node{n3, n1, n2} { // all the way back
		u.change(n, false)
		u.phase(n.ID + " went back")
	}
	for _, n := range []*cluster.Node{n2, n3, n1} {
		u.change(n, true)
		u.phase(n.ID + " new again")
	}
	u.wantLevel(2)

	if status, _, body, err := n2.AskJSON("POST", "/v1/level", `{"hold":false}`); err != nil || status != 200 {
		t.Fatalf("letting the level go: %d %s (%v)", status, body, err)
	}
	cluster.Eventually(t, cluster.Patience, func() error { return u.level(3) })
	u.phase("at level 3")
	u.refused(n1)
	u.phase("at level 3, after the old program was refused")
	u.end()
	t.Logf("%d appends by HTTP (%d unknown), %d by Clerks of the new client, %d by the old program in %v; %d nodes killed, digests equal at %d indices; nothing lost or doubled",
		u.http.Acknowledged(), u.http.Unknown(), u.sum(), u.byOld.Load(), time.Since(begun).Round(time.Second), u.kills, u.compare)
	if u.compare < 10 || u.byOld.Load() == 0 || u.kills == 0 {
		t.Errorf("void: %d comparisons, %d appends by the old program, %d kills", u.compare, u.byOld.Load(), u.kills)
	}
}

// begin starts the load.
func (u *upgrade) begin() {
	u.ctx, u.stop = context.WithCancel(u.t.Context())
	addresses := cluster.Addresses(u.c.Nodes)
	u.http = cluster.StartLoad("http", 2, addresses, nil)
	for i := range upgradeClerks {
		clerk, err := client.Dial(u.ctx, client.Config{Endpoints: addresses})
		if err != nil {
			u.t.Fatal(err)
		}
		u.clerks.Go(func() {
			defer clerk.Close()
			for token := 0; u.ctx.Err() == nil; token++ {
				ctx, cancel := context.WithTimeout(context.Background(), upgradePatience)
				_, err := clerk.Append(ctx, fmt.Sprintf("new-%d", i), fmt.Appendf(nil, cluster.TokenFormat, token))
				cancel()
				if err != nil {
					u.t.Errorf("append %d by Clerk %d of the new client: %v", token, i, err)
					return
				}
				u.byNew[i].Add(1)
				cluster.Sleep(u.ctx, 5*time.Millisecond)
			}
		})
	}
	u.clerks.Go(func() {
		for token := 0; u.ctx.Err() == nil; token++ {
			command := exec.Command(u.old, "append", "--endpoints", strings.Join(addresses, ","), "--timeout", upgradePatience.String(), "old", fmt.Sprintf(cluster.TokenFormat, token))
			command.Env = cluster.CleanEnvironment()
			if out, err := command.CombinedOutput(); err != nil {
				u.t.Errorf("append %d by the old program: %v: %s", token, err, out)
				return
			}
			u.byOld.Add(1)
		}
	})
}

func (u *upgrade) sum() (n int64) {
	for i := range u.byNew {
		n += u.byNew[i].Load()
	}
	return n
}

// phase kills the leader, wants progress of all that append, and compares digests.
func (u *upgrade) phase(name string) {
	u.t.Helper()
	leader := u.c.Leader()
	leader.Kill()
	u.kills++
	leader.Start()
	leader.AwaitServing()
	u.progress(name)
	u.compareDigests(name)
	if u.t.Failed() {
		u.t.Fatalf("in the phase %q", name)
	}
}

// progress waits until all that append have gone on.
func (u *upgrade) progress(name string) {
	u.t.Helper()
	byNew, byOld := u.sum(), u.byOld.Load()
	u.http.AwaitProgress(u.t, *upgradeProgress)
	cluster.Eventually(u.t, cluster.Patience, func() error {
		if u.t.Failed() {
			u.t.Fatalf("in the phase %q", name)
		}
		if u.sum() < byNew+int64(*upgradeProgress) || u.byOld.Load() < byOld+2 {
			return fmt.Errorf("%s: %d appends by the new client and %d by the old program more", name, u.sum()-byNew, u.byOld.Load()-byOld)
		}
		return nil
	})
}

// digestStep is the distance of the indices at which nodes note their digests.
const digestStep = 256

// compareDigests wants equal digests of all nodes at the newest index at which all have
// noted one.
func (u *upgrade) compareDigests(name string) {
	u.t.Helper()
	cluster.Eventually(u.t, cluster.Patience, func() error {
		least := uint64(1<<64 - 1)
		for _, n := range u.c.Nodes {
			status, err := n.Status()
			if err != nil {
				return err
			}
			least = min(least, status.Applied)
		}
		at := least / digestStep * digestStep
		if at == 0 {
			return nil // too early to have any
		}
		digests := map[string][]string{}
		for _, n := range u.c.Nodes {
			_, _, body, err := n.Ask("GET", fmt.Sprintf("/v1/integrity?at=%d", at), "")
			var d api.Digest
			if err == nil {
				err = json.Unmarshal([]byte(body), &d)
			}
			if err != nil {
				return err
			}
			if d.Digest == "" {
				return nil // it was started behind this index
			}
			key := fmt.Sprintf("%s, version %d", d.Digest, d.Version)
			digests[key] = append(digests[key], n.ID)
		}
		if len(digests) != 1 {
			u.t.Fatalf("%s: the digests at index %d are %v", name, at, digests)
		}
		u.compare++
		return nil
	})
}

// change ends a node, in order or by kill -9 in turn, and starts it with the new or with the
// old program. The new one is told to hold the level.
func (u *upgrade) change(n *cluster.Node, isNew bool) {
	u.t.Helper()
	if u.kills%2 == 0 {
		n.Signal(syscall.SIGTERM)
		<-n.Ended
	} else {
		n.Kill()
		u.kills++
	}
	n.Program, n.Arguments = u.old, nil
	if isNew {
		n.Program, n.Arguments = "", []string{"--hold-level"}
	}
	n.Start()
	n.AwaitServing()
}

// lead hands leadership to a node.
func (u *upgrade) lead(n *cluster.Node) {
	u.t.Helper()
	cluster.Eventually(u.t, cluster.Patience, func() error {
		status, _, body, err := n.AskJSON("POST", "/v1/leader", fmt.Sprintf(`{"to":%q}`, n.ID))
		if err == nil && status != 200 {
			err = fmt.Errorf("leadership to %s: %d %s", n.ID, status, body)
		}
		if err == nil && u.c.Leader() != n {
			err = fmt.Errorf("%s does not lead", n.ID)
		}
		return err
	})
}

// level wants all nodes at a level.
func (u *upgrade) level(want uint32) error {
	for _, n := range u.c.Nodes {
		status, _, body, err := n.Ask("GET", "/v1/members?consistency=stale", "")
		var m api.Members
		if err == nil {
			err = json.Unmarshal([]byte(body), &m)
		}
		if err != nil || status != 200 || m.Level.Level != want {
			return fmt.Errorf("%s works at level %d, not %d (%d, %v)", n.ID, m.Level.Level, want, status, err)
		}
	}
	return nil
}

func (u *upgrade) wantLevel(want uint32) {
	u.t.Helper()
	if err := u.level(want); err != nil {
		u.t.Fatal(err)
	}
}

// refused wants the old program not to start on a directory of level 3, and to change
// nothing there that matters: the new program goes on with it.
func (u *upgrade) refused(n *cluster.Node) {
	u.t.Helper()
	n.Signal(syscall.SIGTERM)
	<-n.Ended
	program, arguments := n.Program, n.Arguments
	n.Program, n.Arguments = u.old, nil
	n.Start()
	if code := n.ExitCode(cluster.Patience); code == 0 {
		u.t.Errorf("the old program ends with code 0 at level 3")
	}
	said := n.Output.String()
	u.t.Logf("the old program says: %s", strings.TrimSpace(said[strings.LastIndex(strings.TrimSpace(said), "\n")+1:]))
	n.Program, n.Arguments = program, arguments
	n.Start()
	n.AwaitServing()
}

// end stops the load and counts what is there.
func (u *upgrade) end() {
	u.t.Helper()
	u.stop()
	u.http.End()
	u.clerks.Wait()
	cluster.AwaitEqual(u.t, u.c)
	for _, n := range u.c.Nodes {
		u.http.Verify(u.t, n)
		for i := range u.byNew {
			checkOnce(u.t, n, fmt.Sprintf("new-%d", i), int(u.byNew[i].Load()))
		}
		checkOnce(u.t, n, "old", int(u.byOld.Load()))
	}
}
