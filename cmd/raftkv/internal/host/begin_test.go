package host

import (
	"strings"
	"sync"
	"testing"

	"raftkv/kvserver/api"
	"raftkv/raft/core"
	"raftkv/raft/levels"
	"raftkv/raft/members"
	"raftkv/raft/vfs"
	"raftkv/raft/wire"
)

// Goal: M16: a node that has both a list and nodes to join begins only if a majority of its
// list answers, it among them, and no server that answers belongs to a cluster; it joins a
// cluster that does not know it, begins late in one that does, and waits while it cannot
// tell. Method: a table of what was heard.
func TestHowANodeWithAListBeginsBesideACluster(t *testing.T) {
	uid, other := core.UID{1}, core.UID{2}
	list := Members{"n1": "a:1", "n2": "b:1", "n3": "c:1"}
	fresh := func(id core.ID) wire.Shown { return wire.Shown{ID: id} }
	of := func(id core.ID, uid core.UID, generation uint64) wire.Shown {
		return wire.Shown{ID: id, UID: uid, Generation: generation}
	}
	says := func(uid core.UID, version uint64, ids ...string) seenMembers {
		m := seenMembers{Members: api.Members{UID: uid.String(), Generation: 1, Version: version}}
		for _, id := range ids {
			m.Members.Members = append(m.Members.Members, api.Member{ID: id})
		}
		return m
	}
	for name, c := range map[string]struct {
		shown, more []wire.Shown
		known       []seenMembers
		replaces    core.ID
		want        beginning
		why         string
	}{
		"nobody answers":                     {want: waits, why: "1 of the 3 nodes of --cluster answer, and 2 are needed"},
		"a majority is new":                  {shown: []wire.Shown{fresh("n2")}, want: begins, why: "2 of the 3 nodes"},
		"a node to join is new, too":         {known: []seenMembers{says(core.UID{}, 0)}, want: waits, why: "1 of the 3"},
		"one knows the cluster":              {shown: []wire.Shown{fresh("n2"), of("n3", uid, 1)}, want: waits, why: "no node of it has said"},
		"found by discovery":                 {shown: []wire.Shown{fresh("n2"), fresh("n3")}, more: []wire.Shown{of("n9", uid, 1)}, want: waits, why: "no node of it has said"},
		"a cluster of level 2":               {shown: []wire.Shown{of("n3", uid, 0)}, want: begins, why: "knows it"},
		"two clusters":                       {shown: []wire.Shown{of("n2", uid, 1), of("n3", other, 1)}, want: waits, why: "different clusters"},
		"two clusters, one at a client port": {shown: []wire.Shown{of("n2", uid, 1)}, known: []seenMembers{says(other, 7, "n1")}, want: waits, why: "different clusters"},
		"it is a member":                     {known: []seenMembers{says(uid, 7, "n1", "n2", "n3")}, want: begins, why: "knows it"},
		"it is no member":                    {shown: []wire.Shown{of("n2", uid, 1)}, known: []seenMembers{says(uid, 9, "n2", "n3")}, want: willAsk, why: "does not know it"},
		"it is none any more":                {known: []seenMembers{says(uid, 9, "n2", "n3"), says(uid, 7, "n1", "n2", "n3")}, want: willAsk, why: "does not know it"},
		"it replaces itself":                 {known: []seenMembers{says(uid, 7, "n1", "n2")}, replaces: "n1", want: willAsk, why: "replace its own"},
		"somebody to join says it to nobody": {shown: []wire.Shown{of("n2", core.UID{}, 0), of("n3", core.UID{}, 0)}, known: []seenMembers{{hidden: true}}, want: willAsk, why: "without a token"},
		"they say it to nobody":              {shown: []wire.Shown{of("n2", uid, 1)}, known: []seenMembers{{hidden: true}}, want: willAsk, why: "without a token"},
	} {
		got, why := judgeBeginning("n1", c.replaces, list, c.shown, c.more, c.known)
		if got != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%s: %d (%s), not %d (%s)", name, got, why, c.want, c.why)
		}
	}
}

// alike returns the configurations of nodes that are all started with the same list and the
// same nodes to join, as the pods of a StatefulSet are.
func alike(t *testing.T, size int) []Config {
	t.Helper()
	var disks []vfs.FS
	for range size {
		disks = append(disks, vfs.NewCrashable())
	}
	configs := atNewestLevel(testConfigs(t, disks...))
	for i := range configs {
		for _, c := range configs {
			configs[i].Join.Addresses = append(configs[i].Join.Addresses, c.HTTP.Addr().String())
		}
	}
	return configs
}

// Goal: M16: nodes that are all started alike, with a list and with nodes to join, make one
// cluster; one of the list that starts late takes its place, and one that the cluster has
// removed joins with a token when it comes with an empty directory. Method: two of three
// start together, the third later; then it is removed and comes back.
func TestNodesThatAreStartedAlikeMakeOneCluster(t *testing.T) {
	configs := alike(t, 3)
	nodes := make([]*Node, 3)
	t.Cleanup(func() {
		for _, n := range nodes {
			if n != nil {
				n.Close()
			}
		}
	})
	configs[2].HTTP.Close()
	configs[2].Peer.Close()
	var starting sync.WaitGroup
	for i := range 2 {
		starting.Go(func() {
			n, err := New(configs[i])
			if err == nil {
				err = n.Start()
			}
			if err != nil {
				t.Error(err)
				return
			}
			nodes[i] = n
		})
	}
	if starting.Wait(); t.Failed() {
		return
	}
	put(t, nodes[0], "k", "v")
	late := again(t, configs[2], configs[2].FS)
	late.LevelMax, late.Join = levels.Newest, configs[2].Join
	nodes[2] = runs(t, late)
	if nodes[2].Joins() {
		t.Error("a member that starts late joins")
	}
	eventually(t, "n3 has taken its place", func() bool {
		return membersOf(t, nodes[0]).Level.Level == levels.Newest && votes(t, nodes[2], "n1", "n2", "n3")
	})
	uid := membersOf(t, nodes[0]).UID

	if status, body := post(t, nodes[0], "DELETE", "/v1/members/n3", ""); status != 200 {
		t.Fatalf("removing n3: %d %s", status, body)
	}
	nodes[2].Close()
	token := joinToken(t, nodes[0], "{}")
	c := again(t, configs[2], vfs.NewCrashable())
	c.LevelMax, c.Join = levels.Newest, Join{Addresses: []string{nodes[0].Address()}, Token: token}
	nodes[2] = runs(t, c)
	eventually(t, "n3 is a member again", func() bool {
		return strings.Contains(roles(membersOf(t, nodes[0])), "n3 learner") || votes(t, nodes[0], "n1", "n2", "n3")
	})
	if is := membersOf(t, nodes[0]).UID; is != uid {
		t.Errorf("the cluster is %s and was %s", is, uid)
	}
}

// Goal: a node says when its --cluster names others than the record, and not when it names
// the same or there is no record or no list. Method: a table.
func TestANodeSaysThatItsListDiffers(t *testing.T) {
	record := members.First(members.UID{1}, levels.Members, []members.ID{"n1", "n2"})
	same, fewer, others := Members{"n1": "a:1", "n2": "b:1"}, Members{"n1": "a:1"}, Members{"n1": "a:1", "n3": "b:1"}
	for name, c := range map[string]struct {
		list   Members
		record *members.Record
		want   bool
	}{
		"the same": {same, &record, false}, "fewer": {fewer, &record, true}, "others": {others, &record, true},
		"no record": {fewer, nil, false}, "no list": {nil, &record, false},
	} {
		n := &Node{config: Config{Members: c.list}}
		if got := n.listDiffers(c.record); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
