package host

import (
	"slices"
	"strings"
	"testing"
	"time"

	"raftkv/cmd/raftkv/internal/discover"
	"raftkv/raft/core"
	"raftkv/raft/levels"
	"raftkv/raft/members"
	"raftkv/raft/vfs"
	"raftkv/raft/wire"
)

// elsewhere returns the configuration with which a node is started again on a disk, at new
// addresses: its list still has the old ones.
func elsewhere(t *testing.T, before Config, disk vfs.FS) Config {
	t.Helper()
	c := testConfigs(t, disk)[0]
	c.ID, c.DataDir, c.Members, c.LevelMax = before.ID, before.DataDir, before.Members, levels.Newest
	c.AdvertisePeer, c.discoverPause = c.Peer.Addr().String(), 10*time.Millisecond
	return c
}

// lookAt lets nodes look for each other.
func lookAt(t *testing.T, configs []Config, addresses ...string) {
	t.Helper()
	sources, err := discover.Parse(strings.Join(addresses, ","))
	if err != nil {
		t.Fatal(err)
	}
	for i := range configs {
		configs[i].Discover = sources
	}
}

// Goal: M15: nodes that are all restarted at new addresses lead again without a hand, given
// discovery, and are the cluster that they were. M16: an empty directory that finds the
// cluster of its name by discovery makes no second one: it is refused, and ends. Method:
// three nodes with a record; new ports for all, which --discover names without saying whose
// they are; then one of them with an empty disk.
func TestNodesWithNewAddressesLeadAgainByDiscovery(t *testing.T) {
	disks := []vfs.FS{vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable()}
	nodes := atLevelThree(t, disks...)
	put(t, nodes[0], "k", "v")
	uid := membersOf(t, nodes[0]).UID
	var configs []Config
	var at []string
	for i, n := range nodes {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		configs = append(configs, elsewhere(t, n.config, disks[i]))
		at = append(at, configs[i].AdvertisePeer)
	}
	lookAt(t, configs, at...)
	for i := range nodes {
		nodes[i] = runs(t, configs[i])
	}
	putAnyhow(t, nodes[1], "after")
	eventually(t, "n3 has met the leader", func() bool { status, _, _ := ask(t, nodes[2], "GET", "/v1/kv/k", ""); return status == 200 })
	eventually(t, "n3 has read the record", func() bool { return membersOf(t, nodes[2]).Level.Level == levels.Newest })
	if is := membersOf(t, nodes[2]).UID; is != uid {
		t.Errorf("it is another cluster: uid %s and before %s", is, uid)
	}
	if err := nodes[2].Close(); err != nil {
		t.Fatal(err)
	}
	empty := []Config{elsewhere(t, configs[2], vfs.NewCrashable())}
	lookAt(t, empty, at[:2]...)
	if err := ends(t, empty[0]); err == nil || !strings.Contains(err.Error(), "empt") {
		t.Errorf("an empty directory that found its cluster ends with %v", err)
	}
}

// Goal: a node looks for members by discovery while it is connected with fewer than a
// majority of the voters, itself among them, in either direction, or knows no leader, and then
// for all that are missing; a learner that is connected does not count. Method: a table.
func TestWhoIsMissing(t *testing.T) {
	record := members.First(members.UID{1}, levels.Members, []members.ID{"n1", "n2", "n3"})
	record.Put(members.Member{ID: "n4", Role: members.Learner})
	list := Members{"n1": "a:1", "n2": "b:1", "n3": "c:1"}
	on, in := wire.PeerStats{Connected: true}, wire.PeerStats{Accepted: true}
	for name, c := range map[string]struct {
		record *members.Record
		peers  map[core.ID]wire.PeerStats
		led    bool
		want   []core.ID
	}{
		"alone":                {&record, nil, false, []core.ID{"n2", "n3", "n4"}},
		"alone, by the list":   {nil, nil, false, []core.ID{"n2", "n3"}},
		"a majority":           {&record, map[core.ID]wire.PeerStats{"n2": on}, true, nil},
		"one that called":      {&record, map[core.ID]wire.PeerStats{"n3": in}, true, nil},
		"a learner only":       {&record, map[core.ID]wire.PeerStats{"n4": on}, false, []core.ID{"n2", "n3"}},
		"all but the leader":   {&record, map[core.ID]wire.PeerStats{"n2": on, "n4": on}, false, []core.ID{"n3"}},
		"a leader without any": {&record, nil, true, []core.ID{"n2", "n3", "n4"}},
	} {
		got := missing("n1", c.record, list, wire.Stats{Peers: c.peers}, c.led)
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v are missing, not %v", name, got, c.want)
		}
	}
}
