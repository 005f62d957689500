package clerkd

import (
	"context"
	"strings"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/client/verify"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
)

// Goal: verify --watch, --ttl and --locks find a server that keeps its promises to do so, over
// connections that are cut, and one that breaks them not to. Method: the whole of each in
// virtual time; then a write that no client made, a removal before its time, and a release.
func TestVerifyFindsWhatIsPromised(t *testing.T) {
	for name, c := range map[string]struct {
		run     func(context.Context, []*client.Clerk, verify.Config) (verify.Report, error)
		tried   []string
		happens func(ctx context.Context, c *client.Clerk) [][]byte // in addition, by nobody
		says    string
	}{
		"watch":     {verify.RunStreams, []string{"changes", "states", "syncs", "jumps", "writes"}, nil, ""},
		"a write":   {verify.RunStreams, nil, nobody(fakelog.PutCommand("v/k1", "of nobody")), "(W14)"},
		"ttl":       {verify.RunEnds, []string{"ends seen", "leases", "leases kept alive", "keys with a ttl", "keys touched"}, nil, ""},
		"locks":     {verify.RunLocks, []string{"grants", "releases", "guarded writes done"}, nil, ""},
		"a release": {verify.RunLocks, nil, releaseOfNobody, "(K9)"},
		"an end":    {verify.RunEnds, nil, nobody(deleteOfNobody("v/0.0/k"), deleteOfNobody("v/0.0/k0")), "(L1)"}, // a key's life, or a lease's
	} {
		// What nobody asked for is noticed only where somebody stands in its way, so a few
		// runs may pass without that. What is kept must be kept in each.
		for run := 1; ; run++ {
			var r verify.Report
			inBubble(t, func(t *testing.T) { r = verified(t, c.run, c.happens) })
			for _, what := range c.tried {
				if r.Counts[what] < 5 {
					t.Errorf("%s: void: %d %s: %v", name, r.Counts[what], what, r.Counts)
				}
			}
			found := c.says != "" && strings.Contains(strings.Join(r.Faults, "\n"), c.says)
			if c.says == "" && r.Verdict != verify.Kept || c.says != "" && !found && run == 10 {
				t.Errorf("%s: %+v", name, r)
			}
			if c.says == "" || found || run == 10 {
				break
			}
		}
	}
}

// verified lets a workload run for six seconds of a bubble, with connections that are cut
// and with what happens in addition every 100 ms.
func verified(t *testing.T, run func(context.Context, []*client.Clerk, verify.Config) (verify.Report, error), happens func(context.Context, *client.Clerk) [][]byte) verify.Report {
	const duration = 6 * time.Second
	s, log := newServer(t, atLevel3)
	network := servePipes(t, s)
	clerk, err := client.Dial(t.Context(), client.Config{Endpoints: []string{"kv:1"}, Dial: network.Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer clerk.Close()
	for at := time.Duration(0); at < duration; at += 500 * time.Millisecond {
		cut := time.AfterFunc(at, network.Cut)
		defer cut.Stop()
	}
	for at := 600 * time.Millisecond; happens != nil && at < duration; at += 100 * time.Millisecond {
		foreign := time.AfterFunc(at, func() {
			for _, command := range happens(t.Context(), clerk) {
				log.Deliver(command)
			}
		})
		defer foreign.Stop()
	}
	r, err := run(t.Context(), []*client.Clerk{clerk}, verify.Config{
		Clients: 4, Keys: 6, Duration: duration, Timeout: 5 * time.Second, Rate: 200, Prefix: "v/",
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// deleteOfNobody is a delete that no client has asked for.
func deleteOfNobody(key string) []byte {
	return kv.EncodeCommand(kv.Command{Op: kv.OpDelete, ID: kv.RequestID{Origin: 77, Number: 1}, Key: []byte(key)})
}

// nobody are commands that no client has asked for.
func nobody(commands ...[]byte) func(context.Context, *client.Clerk) [][]byte {
	return func(context.Context, *client.Clerk) [][]byte { return commands }
}

// releaseOfNobody takes locks from whoever holds them.
func releaseOfNobody(ctx context.Context, c *client.Clerk) (commands [][]byte) {
	for _, name := range []string{"v/l0", "v/l1"} {
		info, err := c.ShowLock(ctx, name)
		if err != nil {
			continue
		}
		for _, h := range info.Holders {
			release := kv.Release(name, h.Token)
			release.ID = kv.RequestID{Origin: 77, Number: h.Token}
			commands = append(commands, kv.EncodeCommand(release))
		}
	}
	return commands
}
