package main

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

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

// exitCodeOf is what a command that ends with err exits with.
func exitCodeOf(err error) int {
	var failed *failure
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &failed):
		return exitFailed
	}
	return exitUsage
}

// Goal: a data directory is used by the node it belongs to, with the members it
// knows, and by nobody else; a wrong start touches nothing and says what is
// wrong. Method: one directory, asked for by several identities.
func TestDataDirectoryKnowsWhoseItIs(t *testing.T) {
	m, err := parseMembers("n1=a:1,n2=b:1,n3=c:1")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	owner := newOwner("blue", "n1", m)
	if known, err := owner.checkDirectory(vfs.OS{}, dir); known != nil || err != nil {
		t.Fatalf("a new directory: known %v, %v", known, err)
	}
	if err := writeSmallFile(vfs.OS{}, filepath.Join(dir, identityName), "whose", owner); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.checkDirectory(vfs.OS{}, dir); exitCodeOf(err) != exitFailed || !strings.Contains(err.Error(), "has lost its log") {
		t.Errorf("an identity without a log: %v", err)
	}
	mustWrite(t, filepath.Join(dir, logName, "0000000000000001.wal"), "")
	for _, c := range []struct {
		cluster, id, members string
		want                 []string
	}{
		{"blue", "n1", "n1=a:1,n2=b:1,n3=c:1", nil},
		{"blue", "n1", "n3=z:1,n2=y:1,n1=x:1", nil},
		{"blue", "n2", "n1=a:1,n2=b:1,n3=c:1", []string{dir, "belongs to node n1", "--id says n2"}},
		{"green", "n1", "n1=a:1,n2=b:1,n3=c:1", []string{"cluster blue", "--cluster-id says green"}},
		{"blue", "n1", "n1=a:1,n2=b:1", []string{"a cluster of n1, n2, n3", "--cluster names n1, n2:"}},
		{"blue", "n1", "n1=a:1,n2=b:1,n3=c:1,n4=d:1", []string{"--cluster names n1, n2, n3, n4"}},
		{"blue", "n1", "n1=a:1,n2=b:1,n4=c:1", []string{"--cluster names n1, n2, n4"}},
	} {
		m, err := parseMembers(c.members)
		if err != nil {
			t.Fatal(err)
		}
		known, err := newOwner(c.cluster, "n1", m).checkDirectory(vfs.OS{}, dir)
		if c.id != "n1" {
			known, err = newOwner(c.cluster, "n2", m).checkDirectory(vfs.OS{}, dir)
		}
		if c.want == nil {
			if known == nil || err != nil {
				t.Errorf("%v: known %v, %v", c, known, err)
			}
			continue
		}
		if exitCodeOf(err) != exitUsage {
			t.Errorf("%v: %v has exit code %d, want %d", c, err, exitCodeOf(err), exitUsage)
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
	m, err := parseMembers("n1=a:1")
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		"":               "no format",
		"format = \"x\"": "damaged",
		"form":           "damaged",
		"format = 2":     "newer raftkv",
		"format = 1\n" + strings.Repeat("#", maxSmallFileBytes): "longer than",
	} {
		dir := t.TempDir()
		mustWrite(t, filepath.Join(dir, identityName), content)
		_, err := newOwner("c", "n1", m).checkDirectory(vfs.OS{}, dir)
		if exitCodeOf(err) != exitFailed || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v; want %q", content, err, want)
		}
	}
}

// Goal: a crash at any moment leaves the old file or the new one, whole.
// Method: cut the power before each file-system operation of a replacement, with
// every model of what survives, and read what is there.
func TestSmallFilesAreReplacedWhole(t *testing.T) {
	type content struct {
		Format int    `toml:"format"`
		Text   string `toml:"text"`
	}
	const path = "/d/small.toml"
	long := strings.Repeat("x", 3000)
	cuts := 0
	for step := 1; ; step++ {
		var finished bool
		for seed := range uint64(40) {
			rng := rand.New(rand.NewPCG(seed, uint64(step)))
			disk := vfs.NewCrashable()
			if err := errors.Join(disk.MkdirAll("/d"), disk.SyncDir("/"), writeSmallFile(disk, path, "old", content{1, "old"})); err != nil {
				t.Fatal(err)
			}
			var after *vfs.Crashable
			faulty := vfs.NewFaulty(disk)
			faulty.Hook(func(op vfs.Op) error {
				if op.Step == step {
					after = disk.Crash(rng, vfs.Models[seed%uint64(len(vfs.Models))])
					return vfs.ErrCrashed
				}
				return nil
			})
			err := writeSmallFile(faulty, path, "new", content{1, long})
			if finished = after == nil; finished {
				after = disk.Crash(rng, vfs.LoseUnsynced)
			}
			cuts++
			var got content
			found, readErr := readSmallFile(after, path, &got, "remedy")
			if readErr != nil || !found || got.Text != "old" && got.Text != long {
				t.Fatalf("step %d, seed %d: found %v, %v, %d bytes", step, seed, found, readErr, len(got.Text))
			}
			if err == nil && got.Text != long {
				t.Fatalf("step %d, seed %d: was written, and is gone after the crash", step, seed)
			}
		}
		if finished {
			break
		}
	}
	if cuts < 200 {
		t.Errorf("void: only %d cuts", cuts)
	}
}

// makeDev lays out what a dev cluster of n nodes leaves behind.
func makeDev(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	m := members{}
	for i := range n {
		m[devID(i)] = "127.0.0.1:1"
	}
	for i := range n {
		of := filepath.Join(dir, string(devID(i)))
		mustWrite(t, filepath.Join(of, lifeName), "x")
		if err := writeSmallFile(vfs.OS{}, filepath.Join(of, identityName), identityComment, newOwner(devClusterID, devID(i), m)); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{lifeName, lifeName + tmpSuffix, peersName, "wal/LOCK", "wal/spare", "wal/snapshot.tmp", "wal/0000000000000007-0000000000000002.snap", "wal/0000000000000001.wal", "wal/00000000000000ff.wal"} {
			mustWrite(t, filepath.Join(of, name), "x")
		}
	}
	if err := writeDevData(vfs.OS{}, dir, n); err != nil {
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
	if n, err := readDevData(vfs.OS{}, dir); n != 3 || err != nil {
		t.Fatalf("%d nodes, %v", n, err)
	}
	if err := removeDevData(vfs.OS{}, dir); err != nil {
		t.Fatal(err)
	}
	if left := filesIn(t, dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := removeDevData(vfs.OS{}, filepath.Join(dir, "nothing")); err != nil {
		t.Errorf("a directory that does not exist: %v", err)
	}
	for _, foreign := range []string{
		"notes.txt", "n8/raftkv.toml", "n1/notes.txt", "n2/wal/notes.txt", "n2/wal/1.wal", "n2/wal/000000000000000G.wal",
		"n3/wal/spare.bak", "raftkv.toml", ".git/config", "N1/raftkv.toml", "n1/wal/sub/0000000000000001.wal",
	} {
		dir := makeDev(t, 3)
		mustWrite(t, filepath.Join(dir, foreign), "precious")
		before := filesIn(t, dir)
		err := removeDevData(vfs.OS{}, dir)
		if exitCodeOf(err) != exitUsage {
			t.Errorf("%s: %v", foreign, err)
		}
		if after := filesIn(t, dir); len(after) != len(before) {
			t.Errorf("%s: %d of %d files are left", foreign, len(after), len(before))
		}
		if _, err := readDevData(vfs.OS{}, dir); exitCodeOf(err) != exitUsage {
			t.Errorf("%s: dev would run on it: %v", foreign, err)
		}
	}
}

// Goal: --fresh does not pull the disk from under a running cluster.
func TestFreshIsRefusedWhileTheClusterRuns(t *testing.T) {
	dir := makeDev(t, 3)
	lock, err := vfs.OS{}.Lock(filepath.Join(dir, "n2", logName, logLockName))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, removed := range []bool{false, true} {
		if removed { // the running node holds the directory still
			if err := os.Remove(filepath.Join(dir, "n2", logName, logLockName)); err != nil {
				t.Fatal(err)
			}
		}
		before := filesIn(t, dir)
		if err := removeDevData(vfs.OS{}, dir); exitCodeOf(err) != exitFailed || !strings.Contains(err.Error(), "in use") {
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
		if err := removeDevData(faulty, dir); err == nil {
			break
		}
		n, err := readDevData(vfs.OS{}, dir)
		if exitCodeOf(err) != exitFailed || !strings.Contains(err.Error(), "--fresh") {
			t.Errorf("after %d removals: %d nodes, %v", step-1, n, err)
		}
		if err := removeDevData(vfs.OS{}, dir); err != nil {
			t.Errorf("after %d removals, --fresh again: %v", step-1, err)
		}
	}
	dir := makeDev(t, 3)
	if err := os.RemoveAll(filepath.Join(dir, "n2")); err != nil {
		t.Fatal(err)
	}
	if _, err := readDevData(vfs.OS{}, dir); exitCodeOf(err) != exitFailed || !strings.Contains(err.Error(), "n2 is gone") {
		t.Errorf("without n2: %v", err)
	}
}
