package host

import (
	"encoding/json"
	"testing"

	"raftkv/cmd/raftkv/internal/recovery"
	"raftkv/kvserver"
	"raftkv/raft/levels"
	"raftkv/raft/vfs"
)

// Goal (M18): after two of three nodes are lost for good, the third one is recovered and goes
// on alone, with all that it had; no revision of before names another value. A lost node that
// comes back after all is turned away and ends for good, also on its next start, and changes
// nothing; on an empty directory it joins and is a member again. Method: three nodes; the
// recovery on the disk of one; the old disk of another, and then an empty one.
func TestTheNodeThatIsLeftGoesOn(t *testing.T) {
	disks := []*vfs.Crashable{vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable()}
	nodes := atLevelThree(t, disks[0], disks[1], disks[2])
	put(t, nodes[0], "k", "v")
	eventually(t, "all have it", func() bool {
		for _, n := range nodes {
			if status, _, got := ask(t, n, "GET", "/v1/kv/k?consistency=stale", ""); status != 200 || got != "v" {
				return false
			}
		}
		return true
	})
	for _, n := range nodes {
		n.Close()
	}
	left, err := recovery.Open(disks[0], nodes[0].config.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := left.Recover(false); err != nil {
		t.Fatal(err)
	}
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	alone := runs(t, comesBack(t, nodes[0].config, disks[0], false))
	t.Cleanup(func() { alone.Close() })
	eventually(t, "it serves what it had", func() bool {
		status, _, got := ask(t, alone, "GET", "/v1/kv/k", "")
		return status == 200 && got == "v"
	})
	if m := membersOf(t, alone); m.Generation != 2 || roles(m) != "n1 voter" {
		t.Errorf("generation %d, and the members are %s", m.Generation, roles(m))
	}
	status, _, body := ask(t, alone, "PUT", "/v1/kv/after", "x")
	var written struct{ Revision uint64 }
	if err := json.Unmarshal([]byte(body), &written); err != nil || status != 201 || written.Revision <= kvserver.RevisionLift {
		t.Errorf("a write: %d %s", status, body)
	}

	for range 2 {
		if err := ends(t, comesBack(t, nodes[1].config, disks[1], false)); !IsRemoved(err) {
			t.Errorf("a node that was left behind ends with %v", err)
		}
	}
	token := joinToken(t, alone, `{"for":"n2"}`)
	fresh := joiner(t, nodes[1].config, "n2", token, alone)
	fresh.LevelMax = levels.Newest
	back := runs(t, fresh)
	t.Cleanup(func() { back.Close() })
	eventually(t, "it joins with an empty directory", func() bool {
		status, _, got := ask(t, back, "GET", "/v1/kv/after?consistency=stale", "")
		return status == 200 && got == "x" && roles(membersOf(t, alone)) == "n1 voter, n2 learner"
	})
}
