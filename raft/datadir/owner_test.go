package datadir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

func mustWrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// isFault reports whether an error is about the directory, and not about the request.
func isFault(err error) bool {
	var fault *Fault
	return errors.As(err, &fault)
}

// Goal: a data directory is used by the node it belongs to, with the members it
// knows, and by nobody else; a wrong start touches nothing and says what is
// wrong. Method: one directory, asked for by several identities.
func TestDataDirectoryKnowsWhoseItIs(t *testing.T) {
	dir := t.TempDir()
	owner := NewOwner("blue", "n1", []core.ID{"n1", "n2", "n3"})
	if _, found, err := owner.check(vfs.OS{}, dir); found || err != nil {
		t.Fatalf("a new directory: found %v, %v", found, err)
	}
	if err := owner.Write(vfs.OS{}, dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := owner.check(vfs.OS{}, dir); !isFault(err) || !strings.Contains(err.Error(), "has lost its log") {
		t.Errorf("an identity without a log: %v", err)
	}
	mustWrite(t, filepath.Join(dir, LogDir, "0000000000000001.wal"), "")
	for _, c := range []struct {
		cluster, id, members string
		want                 []string
	}{
		{"blue", "n1", "n1,n2,n3", nil},
		{"blue", "n2", "n1,n2,n3", []string{dir, "belongs to node n1", "--id says n2"}},
		{"green", "n1", "n1,n2,n3", []string{"cluster blue", "--cluster-id says green"}},
		{"blue", "n1", "n1,n2", []string{"a cluster of n1, n2, n3", "--cluster names n1, n2:"}},
		{"blue", "n1", "n1,n2,n3,n4", []string{"--cluster names n1, n2, n3, n4"}},
		{"blue", "n1", "n1,n2,n4", []string{"--cluster names n1, n2, n4"}},
	} {
		var members []core.ID
		for id := range strings.SplitSeq(c.members, ",") {
			members = append(members, core.ID(id))
		}
		_, found, err := NewOwner(c.cluster, core.ID(c.id), members).check(vfs.OS{}, dir)
		if c.want == nil {
			if !found || err != nil {
				t.Errorf("%v: found %v, %v", c, found, err)
			}
			continue
		}
		if err == nil || isFault(err) {
			t.Errorf("%v: %v is called a fault", c, err)
			continue
		}
		for _, word := range c.want {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%v: %q does not say %q", c, err, word)
			}
		}
	}
}

// Goal: an identity that cannot be read stops the node and is not written over.
func TestDamagedIdentityIsRefused(t *testing.T) {
	for content, want := range map[string]string{
		"":               "no format",
		"format = \"x\"": "damaged",
		"form":           "damaged",
		"format = 2":     "newer raftkv",
		"format = 1\n" + strings.Repeat("#", maxFileBytes): "longer than",
	} {
		dir := t.TempDir()
		mustWrite(t, filepath.Join(dir, OwnerFile), content)
		_, _, err := NewOwner("c", "n1", []core.ID{"n1"}).check(vfs.OS{}, dir)
		if !isFault(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v; want %q", content, err, want)
		}
	}
}

// Goal: a log of another cluster under a directory's identity is refused, and one
// of the same is not. Method: uids in raftkv.toml, in entries and in a snapshot.
func TestALogOfAnotherClusterIsRefused(t *testing.T) {
	a, b := core.UID{1}, core.UID{2}
	inEntries := core.State{Entries: []core.Entry{core.NewEntry(1, 1, core.KindNoop, a[:])}}
	inSnapshot := core.State{Snapshot: core.Snapshot{Index: 1, Term: 1, UID: a}}
	for _, state := range []core.State{inEntries, inSnapshot} {
		if err := (Owner{UID: b.String()}).checkUID("/d", &state); err == nil || !strings.Contains(err.Error(), a.String()) || !strings.Contains(err.Error(), b.String()) {
			t.Errorf("another cluster's log: %v", err)
		}
		for _, uid := range []core.UID{a, {}} {
			if err := (Owner{UID: uid.String()}).checkUID("/d", &state); err != nil {
				t.Errorf("uid %v: %v", uid, err)
			}
		}
	}
	if err := (Owner{UID: b.String()}).checkUID("/d", &core.State{}); err != nil {
		t.Errorf("an empty log: %v", err)
	}
}
