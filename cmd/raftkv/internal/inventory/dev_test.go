package inventory

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/datadir"
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

// isFault reports whether an error is about the disk or damage.
func isFault(err error) bool {
	var fault *datadir.Fault
	return errors.As(err, &fault)
}

// makeDev lays out what a dev cluster of n nodes leaves behind.
func makeDev(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	var members []core.ID
	for i := range n {
		members = append(members, NodeID(i))
	}
	for i := range n {
		of := filepath.Join(dir, string(NodeID(i)))
		mustWrite(t, filepath.Join(of, datadir.LifeFile), "x")
		if err := datadir.NewOwner(DevClusterID, NodeID(i), members).Write(vfs.OS{}, of); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{datadir.LifeFile, datadir.LifeFile + datadir.TmpSuffix, datadir.PeersFile, "wal/LOCK", "wal/spare", "wal/snapshot.tmp", "wal/0000000000000007-0000000000000002.snap", "wal/0000000000000001.wal", "wal/00000000000000ff.wal"} {
			mustWrite(t, filepath.Join(of, name), "x")
		}
	}
	if err := WriteDev(vfs.OS{}, dir, n); err != nil {
		t.Fatal(err)
	}
	return dir
}

func filesIn(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// Goal: --fresh removes all of a dev cluster, and nothing of a directory in
// which it does not know everything. Method: plant one foreign thing at a time.
func TestFreshRemovesOnlyWhatIsOurs(t *testing.T) {
	dir := makeDev(t, 3)
	for _, ours := range []string{DevCAKeyFile, DevTokenFile, DevHeaderFile, DevTokenFile + ".12345.tmp", "dev-n2-key.pem.1.tmp", "n1/secure.toml"} {
		mustWrite(t, filepath.Join(dir, ours), "x")
	}
	if n, err := ReadDev(vfs.OS{}, dir); n != 3 || err != nil {
		t.Fatalf("%d nodes, %v", n, err)
	}
	if err := RemoveDev(vfs.OS{}, dir); err != nil {
		t.Fatal(err)
	}
	if left := filesIn(t, dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := RemoveDev(vfs.OS{}, filepath.Join(dir, "nothing")); err != nil {
		t.Errorf("a directory that does not exist: %v", err)
	}
	for _, foreign := range []string{
		"notes.txt", "dev-admin.tokens", "dev-admin.token.bak", "n8/raftkv.toml", "n1/notes.txt", "n2/wal/notes.txt", "n2/wal/1.wal", "n2/wal/000000000000000G.wal",
		"n3/wal/spare.bak", "raftkv.toml", ".git/config", "N1/raftkv.toml", "n1/wal/sub/0000000000000001.wal",
	} {
		dir := makeDev(t, 3)
		mustWrite(t, filepath.Join(dir, foreign), "precious")
		before := filesIn(t, dir)
		err := RemoveDev(vfs.OS{}, dir)
		if err == nil || isFault(err) {
			t.Errorf("%s: %v", foreign, err)
		}
		if after := filesIn(t, dir); len(after) != len(before) {
			t.Errorf("%s: %d of %d files are left", foreign, len(after), len(before))
		}
		if _, err := ReadDev(vfs.OS{}, dir); err == nil || isFault(err) {
			t.Errorf("%s: dev would run on it: %v", foreign, err)
		}
	}
}

// Goal: --fresh does not pull the disk from under a running cluster.
func TestFreshIsRefusedWhileTheClusterRuns(t *testing.T) {
	dir := makeDev(t, 3)
	lock, err := vfs.OS{}.Lock(filepath.Join(dir, "n2", datadir.LogDir, logLockName))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, removed := range []bool{false, true} {
		if removed { // the running node holds the directory still
			if err := os.Remove(filepath.Join(dir, "n2", datadir.LogDir, logLockName)); err != nil {
				t.Fatal(err)
			}
		}
		before := filesIn(t, dir)
		if err := RemoveDev(vfs.OS{}, dir); !isFault(err) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("LOCK removed %v: %v", removed, err)
		}
		if after := filesIn(t, dir); len(after) < len(before) {
			t.Errorf("LOCK removed %v: %d of %d files are left", removed, len(after), len(before))
		}
	}
}

// Goal: a cluster that was half made or half removed, and one that lost a node,
// never runs with a node that forgot what the others remember.
// Method: fail the removal after each step; take a node away.
func TestPartOfADevClusterDoesNotRun(t *testing.T) {
	for step := 1; ; step++ {
		dir := makeDev(t, 3)
		faulty := vfs.NewFaulty(vfs.OS{})
		faulty.Inject(vfs.Fault{Kind: vfs.OpRemove, Nth: step, Err: vfs.ErrCrashed, Sticky: true})
		if err := RemoveDev(faulty, dir); err == nil {
			break
		}
		n, err := ReadDev(vfs.OS{}, dir)
		if !isFault(err) || !strings.Contains(err.Error(), "--fresh") {
			t.Errorf("after %d removals: %d nodes, %v", step-1, n, err)
		}
		if err := RemoveDev(vfs.OS{}, dir); err != nil {
			t.Errorf("after %d removals, --fresh again: %v", step-1, err)
		}
	}
	dir := makeDev(t, 3)
	if err := os.RemoveAll(filepath.Join(dir, "n2")); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadDev(vfs.OS{}, dir); !isFault(err) || !strings.Contains(err.Error(), "n2 is gone") {
		t.Errorf("without n2: %v", err)
	}
}

// Goal: a dev cluster knows which of its nodes began it by a list, also where the first of
// them has lost its disk and came back, and others have joined since.
// Method: the owners of a cluster of three, of which the first has joined anew, and two more.
func TestWhoBeganADevClusterIsKnown(t *testing.T) {
	dir := makeDev(t, 3)
	for _, i := range []int{0, 3, 4} {
		of := filepath.Join(dir, string(NodeID(i)))
		if err := (vfs.OS{}).MkdirAll(of); err != nil {
			t.Fatal(err)
		}
		if err := datadir.NewOwner(DevClusterID, NodeID(i), nil).Write(vfs.OS{}, of); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := BegunWith(vfs.OS{}, dir, 5); n != 3 || err != nil {
		t.Errorf("it began with %d nodes, %v", n, err)
	}
	mustWrite(t, filepath.Join(dir, "n2", datadir.OwnerFile), "damaged")
	if n, err := BegunWith(vfs.OS{}, dir, 5); err == nil {
		t.Errorf("by a damaged file it began with %d nodes", n)
	}
}
