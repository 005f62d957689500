package host

import (
	"fmt"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
)

// Goal: nodes that are started with --rejoin where that cannot succeed give nothing
// up: started on their own directories, they serve with all that was acknowledged,
// and the directories that came in vain are refused. Method: two of three nodes
// come with empty directories, are heard by the third, end, and go back to their own. Both
// end before either goes back: one alone, beside the other on its own directory, would succeed.
func TestWhoeverRejoinsInVainCanGoBack(t *testing.T) {
	nodes, disks := threeNodes(t)
	put(t, nodes[0], "before", "v")
	empty := map[int]*vfs.Crashable{}
	for _, i := range []int{1, 2} {
		if err := nodes[i].Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{1, 2} {
		empty[i] = vfs.NewCrashable()
		c := again(t, nodes[i].config, empty[i])
		c.Rejoin = true
		nodes[i] = runs(t, c)
	}
	for _, i := range []int{1, 2} {
		id := nodes[i].config.ID
		eventually(t, fmt.Sprintf("n1 has heard the new directory of %s", id), func() bool {
			m, err := datadir.OpenPeers(disks[0], nodes[0].config.DataDir)
			return err == nil && m.Known(id).Newcomer == nodes[i].directory.Life().Incarnation
		})
	}
	for _, i := range []int{1, 2} {
		if err := nodes[i].Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{1, 2} {
		nodes[i] = runs(t, again(t, nodes[i].config, disks[i]))
	}
	putAnyhow(t, nodes[1], "after")
	for _, key := range []string{"before", "after"} {
		eventually(t, "GET "+key, func() bool { status, _, _ := ask(t, nodes[2], "GET", "/v1/kv/"+key, ""); return status == 200 })
	}
	if err := nodes[1].Close(); err != nil {
		t.Fatal(err)
	}
	if err := ends(t, again(t, nodes[1].config, empty[1])); err == nil || !strings.Contains(err.Error(), "was replaced") {
		t.Errorf("the directory that came in vain: %v", err)
	}
	nodes[1] = runs(t, again(t, nodes[1].config, disks[1]))
	putAnyhow(t, nodes[1], "at last")
}

// Goal: a node whose --cluster lists only itself ends when one that lists it among
// others talks to it, says what to do, and is not marked: with the right list on an
// empty directory it takes part. Method: n1 and n2 with a list of three, n3 alone.
func TestANodeThatListsOnlyItselfDoesNotServeBesideTheOthers(t *testing.T) {
	disks := []vfs.FS{vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable()}
	configs := testConfigs(t, disks...)
	all := configs[2].Members
	configs[2].Members = Members{configs[2].ID: all[configs[2].ID]}
	ended := make(chan error, 1)
	go func() { ended <- Run(t.Context(), func() {}, configs[2]) }()
	nodes := []*Node{runs(t, configs[0]), runs(t, configs[1])}
	t.Cleanup(func() {
		for _, n := range nodes {
			n.Close()
		}
	})
	err := <-ended
	if !isFailure(err) || !strings.Contains(err.Error(), "lists only itself") || !strings.Contains(err.Error(), "empty data directory") {
		t.Fatalf("it ends with %v", err)
	}
	var content struct {
		Fenced string `toml:"fenced"`
	}
	if _, err := datadir.ReadFile(disks[2], configs[2].DataDir+"/"+datadir.LifeFile, &content, ""); err != nil || content.Fenced != "" {
		t.Errorf("its directory is marked: %+v, %v", content, err)
	}
	putAnyhow(t, nodes[0], "k")
	c := again(t, configs[2], vfs.NewCrashable())
	c.Members = all
	nodes = append(nodes, runs(t, c))
	eventually(t, "n3 serves", func() bool { status, _, _ := ask(t, nodes[2], "GET", "/v1/kv/k", ""); return status == 200 })
}

// Goal: the uid of the cluster is in every directory's identity once it is known,
// the same in all, and stays over restarts; a directory with another one is refused
// by the others, and both sides say so. Method: three nodes; one restarts; then one
// comes with a uid that was changed.
func TestTheUIDIsPartOfTheIdentity(t *testing.T) {
	nodes, disks := threeNodes(t)
	put(t, nodes[0], "k", "v")
	read := func(i int) datadir.Owner {
		is, _, err := datadir.ReadOwner(disks[i], nodes[i].config.DataDir, "")
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	for i := range nodes {
		eventually(t, "the uid is written down", func() bool { return read(i).UID != "" && read(i).UID == read(0).UID })
	}
	if err := nodes[1].Close(); err != nil {
		t.Fatal(err)
	}
	uid := read(1).UID
	nodes[1] = runs(t, again(t, nodes[1].config, disks[1]))
	if got := nodes[1].transport.UID().String(); got != uid {
		t.Errorf("after a restart the uid is %q, not %q", got, uid)
	}
	if err := nodes[1].Close(); err != nil {
		t.Fatal(err)
	}
	foreign := read(1)
	foreign.UID = core.UID{9}.String()
	if err := foreign.Write(disks[1], nodes[1].config.DataDir); err != nil {
		t.Fatal(err)
	}
	c := again(t, nodes[1].config, disks[1])
	if _, err := New(c); !isFailure(err) || !strings.Contains(err.Error(), uid) || !strings.Contains(err.Error(), foreign.UID) {
		t.Errorf("a log under another cluster's identity: %v", err)
	}
	foreign.UID = uid
	if err := foreign.Write(disks[1], nodes[1].config.DataDir); err != nil {
		t.Fatal(err)
	}
	nodes[1] = runs(t, again(t, nodes[1].config, disks[1]))
	putAnyhow(t, nodes[1], "again")
}
