package inventory

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// makeNode makes the data directory of a node with a real log, which holds an
// entry if written says so. Without known the directory does not say whose it is.
func makeNode(t *testing.T, dir, cluster, id string, known, written bool) {
	t.Helper()
	log, _, err := wal.Open(wal.Options{Dir: filepath.Join(dir, datadir.LogDir), ClusterID: cluster, NodeID: id})
	if err != nil {
		t.Fatal(err)
	}
	if written {
		if err := log.Save(&core.Write{Seq: 1, Term: 1, From: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if known {
		if err := datadir.NewOwner(cluster, core.ID(id), []core.ID{"n1", "n2", "n3"}).Write(vfs.OS{}, dir); err != nil {
			t.Fatal(err)
		}
	}
}

// Goal: --fresh, and dev itself, never take the data of nodes of serve for
// their own: n1, n2, n3 in one folder is how anybody lays out a cluster.
// Method: every shape that such a folder can have, with all files compared
// before and after.
func TestFreshNeverRemovesTheNodesOfServe(t *testing.T) {
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string)
		want string
	}{
		"three nodes of serve": {func(t *testing.T, dir string) {
			for _, id := range []string{"n1", "n2", "n3"} {
				makeNode(t, filepath.Join(dir, id), "raftkv", id, true, true)
			}
		}, "n1 is node n1 of cluster raftkv"},
		"one copied node": {func(t *testing.T, dir string) {
			makeNode(t, filepath.Join(dir, "n1"), "raftkv", "n1", true, true)
		}, "nothing is removed"},
		"a node of serve among those of dev": {func(t *testing.T, dir string) {
			must(t, os.Rename(makeDev(t, 3), dir))
			must(t, os.RemoveAll(filepath.Join(dir, "n2")))
			makeNode(t, filepath.Join(dir, "n2"), "prod", "n2", true, true)
		}, "n2 is node n2 of cluster prod"},
		"a node under another name": {func(t *testing.T, dir string) {
			makeNode(t, filepath.Join(dir, "n1"), DevClusterID, "n7", true, false)
		}, "n1 is node n7"},
		"a cluster of serve that is called dev": {func(t *testing.T, dir string) {
			makeNode(t, filepath.Join(dir, "n1"), DevClusterID, "n1", true, true)
		}, "a log that has been written to"},
		"a node without raftkv.toml": {func(t *testing.T, dir string) {
			makeNode(t, filepath.Join(dir, "n1"), "raftkv", "n1", false, true)
		}, "the log of node n1 of cluster raftkv"},
		"a node of a cluster called dev without raftkv.toml": {func(t *testing.T, dir string) {
			makeNode(t, filepath.Join(dir, "n1"), DevClusterID, "n1", false, true)
		}, "a log that has been written to"},
		"raftkv.toml that cannot be read": {func(t *testing.T, dir string) {
			mustWrite(t, filepath.Join(dir, "n1", datadir.OwnerFile), "format =")
		}, "nobody can tell"},
		"raftkv.toml of a newer raftkv": {func(t *testing.T, dir string) {
			mustWrite(t, filepath.Join(dir, "n1", datadir.OwnerFile), "format = 99")
		}, "newer raftkv"},
		"a log that cannot be read": {func(t *testing.T, dir string) {
			mustWrite(t, filepath.Join(dir, "n1", datadir.LogDir, "0000000000000001.wal"), strings.Repeat("x", 8192))
		}, "cannot be read"},
		"a snapshot alone": {func(t *testing.T, dir string) {
			mustWrite(t, filepath.Join(dir, "n1", datadir.LogDir, "0000000000000007-0000000000000002.snap"), "x")
		}, "a snapshot"},
		"a node behind a link": {func(t *testing.T, dir string) {
			elsewhere := t.TempDir()
			makeNode(t, filepath.Join(elsewhere, "n1"), DevClusterID, "n1", true, false)
			must(t, os.MkdirAll(dir, 0o700))
			must(t, os.Symlink(filepath.Join(elsewhere, "n1"), filepath.Join(dir, "n1")))
		}, "a symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "all")
			c.make(t, dir)
			before := contentOf(t, dir)
			for _, fresh := range []bool{false, true} {
				var err error
				if fresh {
					err = RemoveDev(vfs.OS{}, dir)
				} else {
					_, err = ReadDev(vfs.OS{}, dir)
				}
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("fresh %v: %v; want %q", fresh, err, c.want)
				}
				if err != nil && strings.Contains(err.Error(), "--fresh") {
					t.Errorf("fresh %v: advises to remove it: %v", fresh, err)
				}
				if after := contentOf(t, dir); !slices.Equal(before, after) {
					t.Fatalf("fresh %v: %d of %d files are left", fresh, len(after), len(before))
				}
			}
		})
	}
}

// Goal: a dev cluster that was being made when the process was killed is
// removed by --fresh, although nothing says that dev made it: nothing was ever
// acknowledged on it.
// Method: directories as dev makes them, before dev.toml; then the removal.
func TestFreshRemovesAHalfMadeCluster(t *testing.T) {
	dir := t.TempDir()
	makeNode(t, filepath.Join(dir, "n1"), DevClusterID, "n1", true, false)
	makeNode(t, filepath.Join(dir, "n2"), DevClusterID, "n2", false, false)
	must(t, os.Mkdir(filepath.Join(dir, "lost+found"), 0o700))
	if _, err := ReadDev(vfs.OS{}, dir); err == nil || !strings.Contains(err.Error(), "--fresh") {
		t.Errorf("dev: %v", err)
	}
	must(t, RemoveDev(vfs.OS{}, dir))
	if left := filesIn(t, dir); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
}

// Goal: what a directory holds is judged once, for all commands.
// Method: a table of directories; what serve, restore and dev each make of them.
func TestADirectoryIsJudgedOnce(t *testing.T) {
	for _, c := range []struct {
		name  string
		holds []string // paths; those that end in / are directories
		want  contents
		// What the three say; empty if they go on.
		serve, warned, restore, dev string
	}{
		{"missing", nil, holdsNothing, "", "", "", ""},
		{"empty", []string{"./"}, holdsNothing, "", "", "", ""},
		{"the root of a volume", []string{"lost+found/", ".Trash-1000/", ".DS_Store"}, holdsNothing, "", "", "", ""},
		{"a node", []string{"raftkv.toml", "life.toml", "wal/LOCK"}, holdsNode, "", "", "it is a node's already", "one node of 'raftkv serve'"},
		{"a node and a note", []string{"raftkv.toml", "notes.txt"}, holdsNode, "", "notes.txt", "it is a node's already", "one node"},
		{"a node among nodes", []string{"raftkv.toml", "n2/"}, holdsNode, "", "n2", "it is a node's already", "one node"},
		{"part of a node", []string{"wal/LOCK", "wal/spare", "raftkv.toml.tmp"}, holdsPartOfNode, "", "", "part of a node's data", "one node of 'raftkv serve'"},
		{"dev", []string{"dev.toml", "n1/"}, holdsDev, "a cluster of 'raftkv dev'", "", "data directories of nodes", "damaged"},
		{"dev, being removed", []string{"dev.removing", "n1/"}, holdsDev, "a cluster of 'raftkv dev'", "", "data directories of nodes", "--fresh"},
		{"nodes", []string{"n1/raftkv.toml", "n2/"}, holdsNodes, "must name the one of this node", "", "data directories of nodes", "nobody can tell"},
		{"somebody's", []string{"readme.txt"}, holdsForeign, "", "readme.txt", "holds readme.txt", "readme.txt"},
		{"somebody's log", []string{"wal/000000010000000000000001"}, holdsForeign, "", "wal", "holds wal", "wal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			for _, path := range c.holds {
				if strings.HasSuffix(path, "/") {
					must(t, os.MkdirAll(filepath.Join(dir, path), 0o700))
				} else {
					mustWrite(t, filepath.Join(dir, path), "")
				}
			}
			v, err := Take(vfs.OS{}, dir)
			if err != nil || v.contents != c.want {
				t.Fatalf("holds %d, %v; want %d", v.contents, err, c.want)
			}
			strange, err := v.CheckForServe(dir)
			says(t, "serve", err, c.serve)
			if filepath.Base(strange) != c.warned && (strange != "" || c.warned != "") {
				t.Errorf("serve warns about %q, want %q", strange, c.warned)
			}
			says(t, "restore", v.CheckForRestore(dir), c.restore)
			_, err = ReadDev(vfs.OS{}, dir)
			says(t, "dev", err, c.dev)
		})
	}
}

// Goal: a data directory that is a link to nothing, or a file, is called that.
func TestADirectoryThatIsNone(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink(filepath.Join(dir, "unmounted"), filepath.Join(dir, "link")))
	mustWrite(t, filepath.Join(dir, "file"), "")
	for path, want := range map[string]string{"link": "a symbolic link to " + filepath.Join(dir, "unmounted"), "file": "is a file", "file/below": "is a file"} {
		_, err := Take(vfs.OS{}, filepath.Join(dir, path))
		says(t, path, err, want)
	}
	for _, path := range []string{"~", "~/raftkv"} {
		_, err := Take(vfs.OS{}, path)
		says(t, path, err, "only a shell")
	}
}

func says(t *testing.T, who string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: %v; want %q", who, err, want)
	}
}

// contentOf lists the files in a directory with what is in them.
func contentOf(t *testing.T, dir string) (all []string) {
	t.Helper()
	for _, path := range filesIn(t, dir) {
		content, err := os.ReadFile(path)
		if err != nil {
			content = nil // a directory
		}
		all = append(all, path+": "+string(content))
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
