package host

import (
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver/api"
	"raftkv/raft/core"
	"raftkv/raft/levels"
	"raftkv/raft/vfs"
	"raftkv/raft/wire"
)

// atLevelThree starts a cluster and waits until it has its record.
func atLevelThree(t *testing.T, disks ...vfs.FS) []*Node {
	t.Helper()
	nodes := startNodes(t, atNewestLevel(testConfigs(t, disks...)))
	t.Cleanup(func() {
		for _, n := range nodes {
			n.Close()
		}
	})
	eventually(t, "the level is raised", func() bool { return membersOf(t, nodes[0]).Level.Level == levels.Newest })
	if status, body := post(t, nodes[0], "PUT", "/v1/cluster/settings", `{"promote_after_ms":300}`); status != 200 {
		t.Fatalf("the settings: %d %s", status, body)
	}
	return nodes
}

// comesBack returns the configuration of a node that lost its disk.
func comesBack(t *testing.T, before Config, disk vfs.FS, flag bool) Config {
	t.Helper()
	c := again(t, before, disk)
	c.LevelMax, c.Rejoin = levels.Newest, flag
	return c
}

// votes reports whether a node says that all these vote, as far as it knows.
func votes(t *testing.T, at *Node, want ...string) bool {
	var voters []string
	for _, m := range membersOf(t, at).Members {
		if m.Role == "voter" {
			voters = append(voters, m.ID)
		}
	}
	slices.Sort(voters)
	return slices.Equal(voters, want)
}

// Goal: M10, M14: in a cluster with a record a node that lost its disk comes back by
// --rejoin with a majority of the others, though one of them is down and the list in
// --cluster does not name them all: it joins anew, is caught up, and votes. Killed in
// between, it goes on when it is started again, with the flag or without. Its old
// directory is refused from then on. Method: five nodes and a sixth that joined; one is
// down, one gets an empty disk and is ended as soon as it has begun.
func TestANodeThatLostItsDiskComesBackByTheRecord(t *testing.T) {
	disks := []vfs.FS{vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable()}
	nodes := atLevelThree(t, disks...)
	put(t, nodes[0], "k", "v")
	token := joinToken(t, nodes[0], "{}")
	config := joiner(t, nodes[0].config, "n6", token, nodes[0])
	config.Join.Role = "replica" // else it would vote in the place of the node that left
	sixth := runs(t, config)
	t.Cleanup(func() { sixth.Close() })
	eventually(t, "n6 is a member", func() bool { return len(membersOf(t, nodes[0]).Members) == 6 })

	w := aFollower(nodes)
	down := (w + 1) % 5
	other := nodes[(w+2)%5]
	all := []string{"n1", "n2", "n3", "n4", "n5"}
	nodes[down].Close()
	nodes[w].Close()
	empty := vfs.NewCrashable()
	runs(t, comesBack(t, nodes[w].config, empty, true)).Close()
	back := runs(t, comesBack(t, nodes[w].config, empty, false))
	eventually(t, "it votes again", func() bool {
		return votes(t, other, all...) && votes(t, back, all...) && membersOf(t, other).Version == membersOf(t, back).Version
	})
	putAnyhow(t, other, "after")
	eventually(t, "it has what was written", func() bool {
		status, _, got := ask(t, back, "GET", "/v1/kv/k", "")
		return status == 200 && got == "v"
	})
	back.Close()
	back = runs(t, comesBack(t, nodes[w].config, empty, true)) // the flag was left in place
	eventually(t, "it serves with the flag left in place", func() bool {
		status, _, _ := ask(t, back, "GET", "/v1/kv/k", "")
		return status == 200
	})
	back.Close()
	old := comesBack(t, nodes[w].config, disks[w], false)
	if err := ends(t, old); err == nil || !strings.Contains(err.Error(), "removed") && !strings.Contains(err.Error(), "--rejoin") {
		t.Errorf("the old directory: %v", err)
	}
}

// Goal: a node that comes back asks those to let it in that show the record, and believes
// nobody while the answers name different clusters. Method: answers of two nodes.
func TestHowANodeComesBackIsKnown(t *testing.T) {
	has := wire.Shown{UID: core.UID{1}, Generation: 1, Addresses: []wire.Address{{Name: wire.AddressHTTP, Address: "a:1"}}}
	secret, none, other := has, wire.Shown{UID: core.UID{1}}, has
	secret.ClientTLS, other.UID = true, core.UID{2}
	for name, c := range map[string]struct {
		shown  []wire.Shown
		silent []core.ID
		at     string
		waits  string
	}{
		"nobody answers":                  {nil, []core.ID{"n1", "n2"}, "", "n1, n2"},
		"one has none, one is silent":     {[]wire.Shown{none}, []core.ID{"n2"}, "", "n2"},
		"one has a record, one is silent": {[]wire.Shown{has}, []core.ID{"n2"}, "a:1", ""},
		"one has a record, one has not":   {[]wire.Shown{none, secret}, nil, "https://a:1", ""},
		"none has a record":               {[]wire.Shown{none, {}}, nil, "", "no node that was heard"},
		"two clusters":                    {[]wire.Shown{has, other}, nil, "", "different clusters"},
	} {
		addresses, waits := judgeReturn(c.shown, c.silent)
		if strings.Join(addresses, ",") != c.at || !strings.Contains(waits, c.waits) || c.waits == "" && waits != "" {
			t.Errorf("%s: ask at %v, wait because %q", name, addresses, waits)
		}
	}
}

// Goal: a node that was not told of the record when it began to come back makes no goal of
// what the nodes in its list say, and ends with a sentence when it hears of the record;
// started again, it joins. Method: the other nodes are down at first.
func TestANodeThatHearsOfTheRecordLateStartsAgain(t *testing.T) {
	disks := []vfs.FS{vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable()}
	nodes := atLevelThree(t, disks...)
	configs := make([]Config, 3)
	for i, n := range nodes {
		n.Close()
		configs[i] = n.config
	}
	empty := vfs.NewCrashable()
	late, err := NewUntil(t.Context(), comesBack(t, configs[2], empty, true)) // it asks, and hears nobody
	if err != nil {
		t.Fatal(err)
	}
	if err := late.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		nodes[i] = runs(t, comesBack(t, configs[i], disks[i], false))
	}
	eventually(t, "it ends", func() bool {
		select {
		case err := <-late.Failed():
			if !strings.Contains(err.Error(), "start it again, and it joins anew") {
				t.Errorf("it ends with %v", err)
			}
			return true
		default:
		}
		if r := late.directory.Rejoining(); r.Term != 0 {
			t.Fatalf("it has made a goal, %+v", r)
		}
		return false
	})
	late.Close()
	nodes[2] = runs(t, comesBack(t, configs[2], empty, true))
	eventually(t, "it votes again", func() bool { return votes(t, nodes[2], "n1", "n2", "n3") && votes(t, nodes[0], "n1", "n2", "n3") })
}

// Goal: a node whose list is older than the cluster neither begins a second cluster beside it on
// an empty directory, nor is kept by the length of its list from coming back (M10, M16): it asks
// those whom discovery finds. Where there is nobody to ask, it says so and what to do. Method: a
// node of three gets an empty disk and the list of itself alone with which it may have begun.
func TestANodeWithTheListOfItsFirstDayAsksTheClusterThatIsThere(t *testing.T) {
	nodes := atLevelThree(t, vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable())
	w := aFollower(nodes)
	eventually(t, "the record names its directory", func() bool {
		for _, m := range membersOf(t, nodes[w]).Members {
			if m.Incarnation == "" {
				return false
			}
		}
		return true
	})
	if err := nodes[w].Close(); err != nil {
		t.Fatal(err)
	}
	empty := vfs.NewCrashable()
	oldList := func(flag bool) []Config {
		c := comesBack(t, nodes[w].config, empty, flag)
		c.Members = Members{c.ID: c.Members[c.ID]}
		return []Config{c}
	}
	if _, err := New(oldList(true)[0]); err == nil || !strings.Contains(err.Error(), "nobody to ask") || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("with nobody to ask: %v", err)
	}
	var at []string
	for id, address := range nodes[w].config.Members {
		if id != nodes[w].config.ID {
			at = append(at, address)
		}
	}
	for _, flag := range []bool{false, true} {
		c := oldList(flag)
		lookAt(t, c, at...)
		if !flag {
			if _, err := New(c[0]); err == nil || !strings.Contains(err.Error(), "start the node on that, or if it is lost, with --rejoin") {
				t.Errorf("without --rejoin: %v", err)
			}
			continue
		}
		nodes[w] = runs(t, c[0])
	}
	eventually(t, "it votes again", func() bool { return votes(t, nodes[w], "n1", "n2", "n3") && votes(t, nodes[(w+1)%3], "n1", "n2", "n3") })
}

// Goal: what a node with an empty directory and a list makes of a cluster that discovery finds
// (M16). Method: a table of what was heard.
func TestAListGivesWayToTheRecord(t *testing.T) {
	alone, two := Members{"n1": "a:1"}, Members{"n1": "a:1", "n2": "b:1"}
	fresh, has := wire.Shown{ID: "n3"}, wire.Shown{ID: "n3", UID: core.UID{1}, Generation: 1, ClusterID: "c"}
	names := func(members ...api.Member) []seenMembers {
		return []seenMembers{{Members: api.Members{UID: core.UID{1}.String(), Generation: 1, Version: 7, Members: members}}}
	}
	for name, c := range map[string]struct {
		list  Members
		met   []wire.Shown
		known []seenMembers
		want  string
	}{
		"nobody":                 {alone, nil, nil, ""},
		"nobody of a cluster":    {alone, []wire.Shown{fresh}, nil, ""},
		"it keeps its members":   {alone, []wire.Shown{fresh, has}, []seenMembers{{hidden: true}}, "would begin a second one"},
		"it keeps them from two": {two, []wire.Shown{has}, []seenMembers{{hidden: true}}, ""},
		"it does not know n1":    {two, []wire.Shown{has}, names(api.Member{ID: "n2"}, api.Member{ID: "n3"}), "its record does not name node n1"},
		"it knows its directory": {two, []wire.Shown{has}, names(api.Member{ID: "n1", Incarnation: "0123"}, api.Member{ID: "n3"}), "by another data directory (0123)"},
		"n1 is late":             {two, []wire.Shown{has}, names(api.Member{ID: "n1"}, api.Member{ID: "n2"}, api.Member{ID: "n3"}), ""},
		"n1 is late, by itself":  {alone, []wire.Shown{has}, names(api.Member{ID: "n1"}, api.Member{ID: "n3"}), "name them in --cluster, too"},
	} {
		err := judgeList("n1", c.list, c.met, c.known)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

// Goal: as long as the cluster has no record, --rejoin is that of level 2, and asks all
// others. Method: a held cluster.
func TestWithoutARecordANodeComesBackAsBefore(t *testing.T) {
	configs := atNewestLevel(testConfigs(t, vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable()))
	for i := range configs {
		configs[i].HoldLevel = true
	}
	nodes := startNodes(t, configs)
	t.Cleanup(func() {
		for _, n := range nodes {
			n.Close()
		}
	})
	w := aFollower(nodes)
	nodes[w].Close()
	back := runs(t, comesBack(t, nodes[w].config, vfs.NewCrashable(), true))
	eventually(t, "it is a full member", func() bool { return !back.raft.Status().Rejoining.On })
	if n := len(back.config.Members); n != 3 || membersOf(t, back).Version != 0 {
		t.Errorf("it came back with a list of %d, and %+v", n, membersOf(t, back))
	}
	nodes[w] = back
}
