package auth

import "testing"

// Goal (S18): what proves a connection to be another node's is known to whoever has the
// table, and to no holder of tokens of it only: it depends on the token of each admin, on
// the cluster, and on both nodes and their order.
// Method: one table; then other names, another admin, an admin that is one no more.
func TestWhatProvesALink(t *testing.T) {
	w := &world{t: t}
	if proof := w.table.LinkProof("c1", "n1", "n2"); proof != "" || w.table.IsLinkProof("", "c1", "n1", "n2") {
		t.Errorf("a table without an admin proves %q", proof)
	}
	root := w.add("root", "root0000", 0, adminRule)
	first := w.table.LinkProof("c1", "n1", "n2")
	if first == "" || !w.table.IsLinkProof(first, "c1", "n1", "n2") {
		t.Fatalf("the proof is %q", first)
	}
	for _, other := range [][3]string{{"c2", "n1", "n2"}, {"c1", "n2", "n1"}, {"c1", "n3", "n2"}, {"c1", "n1", "n3"}, {"c1", "n", "1n2"}} {
		if w.table.IsLinkProof(first, other[0], other[1], other[2]) {
			t.Errorf("the proof holds for %v", other)
		}
	}
	for _, wrong := range []string{"", first[1:], first + "0", "0" + first[1:] + "x"} {
		if w.table.IsLinkProof(wrong, "c1", "n1", "n2") {
			t.Errorf("%q is a proof", wrong)
		}
	}
	other := &world{t: t}
	other.must(person, Change{Action: PutIdentity, Identity: &Identity{Name: "root", Rules: []Rule{adminRule}}})
	id, secret := testToken("root0000", 2) // the same name and id
	other.must(person, Change{Action: CreateToken, Name: "root", Token: &Token{ID: id, Hash: HashOf(secret.Reveal())}})
	if other.table.LinkProof("c1", "n1", "n2") == first {
		t.Error("the proof does not depend on the secret of a token")
	}
	w.add("user", "user0000", 0, aRule)
	if w.table.LinkProof("c1", "n1", "n2") != first {
		t.Error("a user's token changes the proof, so nodes disagree more often than they must")
	}
	w.add("second", "second00", 0, adminRule)
	if w.table.LinkProof("c1", "n1", "n2") == first {
		t.Error("the proof does not depend on each admin's token")
	}
	loaded, err := FromImage(w.table.Image(), w.index)
	if err != nil || !loaded.IsLinkProof(w.table.LinkProof("c1", "n1", "n2"), "c1", "n1", "n2") {
		t.Errorf("a table of a snapshot proves something else: %v", err)
	}
	w.must(root, Change{Action: DeleteIdentity, Name: "second"})
	if w.table.LinkProof("c1", "n1", "n2") != first {
		t.Error("who is no admin any more counts")
	}
}
