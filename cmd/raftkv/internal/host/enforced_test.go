package host

import (
	"encoding/json"
	"errors"
	"testing"

	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/raft/levels"
	"raftkv/raft/vfs"
)

// enforcedOver makes an admin at the leader and enforces identities.
func enforcedOver(t *testing.T, nodes []*Node) {
	t.Helper()
	var leader *Node
	eventually(t, "a node leads", func() bool {
		for _, n := range nodes {
			if n.Leads() {
				leader = n
			}
		}
		return leader != nil
	})
	if status, body := post(t, leader, "PUT", "/v1/auth/identities/root", `{"rules":[{"rights":["admin"]}]}`); status != 201 {
		t.Fatalf("an admin: %d %s", status, body)
	}
	status, body := post(t, leader, "POST", "/v1/auth/tokens", `{"identity":"root"}`)
	var made api.AuthToken
	if err := json.Unmarshal([]byte(body), &made); status != 201 || err != nil {
		t.Fatalf("its token: %d %s", status, body)
	}
	if status, body := post(t, leader, "PUT", "/v1/auth/state", `{"state":"enforce"}`); status != 200 {
		t.Fatalf("enforcing: %d %s", status, body)
	}
	for _, n := range nodes {
		eventually(t, "it knows that identities are enforced", func() bool { enforces, _ := n.service.Enforces(); return enforces })
	}
}

// noRoom is a file of an audit that takes nothing.
type noRoom struct{}

func (noRoom) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// Goal (S14): new certificates are taken also while the audit takes nothing, and the line that
// they lack is counted. Method: a node's note of a reload, with --audit-required.
func TestAReloadWithoutALineIsCounted(t *testing.T) {
	audit := access.NewAudit(access.AuditConfig{To: noRoom{}, Required: true})
	defer audit.Close()
	n := &Node{config: Config{ID: "n1", Access: access.Config{Audit: audit}}}
	n.noteReload("client", nil) // waits to be written, so nothing else is taken
	eventually(t, "the audit is known to take nothing", func() bool {
		err := audit.Reserve()
		if err == nil {
			audit.Cancel()
		}
		return err != nil
	})
	n.noteReload("peer", nil)
	if lost := audit.Lost(); lost != 1 {
		t.Errorf("%d lines are lost, want 1", lost)
	}
}

// Goal (S7): a node that is killed when it has just applied that identities are enforced, and
// has not noted it yet, serves strangers nothing after its next start, though it does not
// know yet which entries of its log are committed. Method: a node without a leader, whose
// mark is that of before.
func TestANodeThatWasKilledBeforeItsMarkServesNobody(t *testing.T) {
	disks := []*vfs.Crashable{vfs.NewCrashable(), vfs.NewCrashable()}
	nodes := atLevelThree(t, disks[0], disks[1])
	put(t, nodes[0], "k", "secret")
	enforcedOver(t, nodes)
	for _, n := range nodes {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := secure.Remember(disks[1], nodes[1].config.DataDir, false); err != nil {
		t.Fatal(err)
	}
	c := again(t, nodes[1].config, disks[1])
	c.LevelMax = levels.Newest
	nodes[1] = runs(t, c)
	for _, path := range []string{"/v1/kv/k?consistency=stale", "/v1/status"} {
		if status, _, body := ask(t, nodes[1], "GET", path, ""); status != 503 && status != 401 {
			t.Errorf("%s: a stranger is told %d %s", path, status, body)
		}
	}
}
