package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver"
	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// runLine runs a command line and returns what it printed.
func runLine(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

// wantLine runs a command line that has to end with a code and, if it fails, to
// say something.
func wantLine(t *testing.T, want int, says string, args ...string) string {
	t.Helper()
	code, stdout, stderr := runLine(args...)
	if code != want || !strings.Contains(stdout+stderr, says) {
		t.Errorf("raftkv %.150s: code %d, want %d and %q:\n%s%s", strings.Join(args, " "), code, want, says, stdout, stderr)
	}
	return stdout
}

// savedBackup is a backup of a cluster named "test" with some keys, and where
// that cluster serves.
func savedBackup(t *testing.T) (file string, endpoint string) {
	t.Helper()
	nodes := startNodes(t, testConfigs(t, vfs.NewCrashable()))
	t.Cleanup(func() { nodes[0].Close() })
	for i := range 50 {
		if status, _, body := askKey(t, nodes[0], "PUT", fmt.Sprintf("/v1/kv/key%d", i), strings.Repeat("v", i)); status != 201 {
			t.Fatalf("%d %s", status, body)
		}
	}
	file, endpoint = filepath.Join(t.TempDir(), "a.snapshot"), nodes[0].Address()
	wantLine(t, exit.Done, "cluster test", "snapshot", "save", file, "--endpoints", endpoint)
	return file, endpoint
}

// namesIn lists a directory.
func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Goal: save leaves one whole file with what the cluster holds, does not
// replace another by accident, and asks the next node if one cannot be reached.
// Method: a node on a disk in memory; save, inspect, save again.
func TestABackupIsSavedAndInspected(t *testing.T) {
	file, endpoint := savedBackup(t)
	var b kvserver.Backup
	if err := json.Unmarshal([]byte(wantLine(t, exit.Done, "", "snapshot", "inspect", "--json", file)), &b); err != nil {
		t.Fatal(err)
	}
	if b.Cluster != "test" || b.Keys != 50 || b.Revision != 51 || b.Index < 50 || b.Term == 0 || b.Bytes < 49*50/2 || len(b.Hash) != 64 {
		t.Errorf("%+v", b)
	}
	wantLine(t, exit.Done, "idempotency records  0", "snapshot", "inspect", file)

	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wantLine(t, exit.Usage, "--force", "snapshot", "save", file, "--endpoints", endpoint)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	wantLine(t, exit.Unavailable, "no node sent a backup", "snapshot", "save", file, "--force", "--endpoints", dead.Addr().String())
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the old backup was changed by one that failed: %v", err)
	}
	wantLine(t, exit.Done, `"node":"n1"`, "snapshot", "save", file, "--json", "--force", "--endpoints", dead.Addr().String()+","+endpoint)
	if names := namesIn(t, filepath.Dir(file)); len(names) != 1 {
		t.Errorf("beside the backup there is something: %v", names)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("who may read it: %v, %v", info.Mode(), err)
	}
	wantLine(t, exit.Usage, "does not exist", "snapshot", "save", filepath.Join(t.TempDir(), "missing", "b"), "--endpoints", endpoint)
}

// Goal: a backup that broke off leaves nothing behind. Method: a server that
// sends every proper part of a real one, with and without saying that it was
// all, and one that sends nothing more.
func TestABackupThatBrokeOffIsNotKept(t *testing.T) {
	file, _ := savedBackup(t)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	type sending struct {
		part  []byte
		abort bool // the connection, behind it
	}
	var now atomic.Pointer[sending]
	stall := make(chan struct{})
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/status" {
			fmt.Fprint(w, `{"node":"n1","cluster":"test","role":"follower"}`)
			return
		}
		send := now.Load()
		_, _ = w.Write(send.part)
		switch {
		case send.abort:
			panic(http.ErrAbortHandler)
		case len(send.part) == len(whole)-1:
			w.(http.Flusher).Flush()
			<-stall
		}
	}))
	defer node.Close()
	defer close(stall)
	to := filepath.Join(t.TempDir(), "b.snapshot")
	for _, abort := range []bool{true, false} {
		for _, n := range []int{0, 1, 100, 128, 200, len(whole) / 2, len(whole) - 32, len(whole) - 1} {
			now.Store(&sending{whole[:n], abort})
			wantLine(t, exit.Unavailable, "no node sent", "snapshot", "save", to, "--timeout", "500ms", "--endpoints", node.URL)
			if names := namesIn(t, filepath.Dir(to)); len(names) != 0 {
				t.Fatalf("%d bytes left %v", n, names)
			}
		}
	}
	now.Store(&sending{part: whole})
	wantLine(t, exit.Done, "node n1", "snapshot", "save", to, "--endpoints", node.URL)
}

// Goal: what is no whole backup is refused with its place, by inspect and by
// restore, which then leaves no directory. Method: cuts, changed bytes, other
// files.
func TestADamagedBackupIsRefused(t *testing.T) {
	file, _ := savedBackup(t)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	refused := func(content []byte, says string) {
		t.Helper()
		if err := os.WriteFile(bad, content, 0o600); err != nil {
			t.Fatal(err)
		}
		wantLine(t, exit.Failed, says, "snapshot", "inspect", bad)
		data := filepath.Join(dir, "n1")
		wantLine(t, exit.Failed, says, "snapshot", "restore", bad, "--data-dir", data, "--id", "n1", "--cluster", "n1=127.0.0.1:1", "--cluster-id", "new")
		if _, err := os.Stat(data); !os.IsNotExist(err) {
			t.Fatalf("restoring a damaged backup made a directory: %v", err)
		}
	}
	for _, n := range []int{0, 1, 15, 127, 128, 300, len(whole) / 2, len(whole) - 1} {
		refused(whole[:n], fmt.Sprintf("byte %d", n))
	}
	for _, n := range []int{0, 9, 50, 130, 150, len(whole) / 2, len(whole) - 40, len(whole) - 1} {
		changed := bytes.Clone(whole)
		changed[n] ^= 0x10
		refused(changed, "byte ")
	}
	refused(append(bytes.Clone(whole), 0), "byte ")
	refused([]byte(strings.Repeat("no backup at all\n", 30)), "byte 0")
	newer := bytes.Clone(whole)
	newer[8]++
	refused(newer, "byte 8")
	wantLine(t, exit.Failed, "there is no backup", "snapshot", "inspect", filepath.Join(dir, "missing"))
	wantLine(t, exit.Failed, "must be a file", "snapshot", "inspect", dir)
}

// Goal: restore makes the directory of a node of a new cluster, whose log begins
// with the backup, and touches nothing that is there. Method: every refusal,
// then a restore, and the log is opened as a node would.
func TestABackupIsRestoredIntoAnEmptyDirectoryOfANewCluster(t *testing.T) {
	file, _ := savedBackup(t)
	var b kvserver.Backup
	if err := json.Unmarshal([]byte(wantLine(t, exit.Done, "", "snapshot", "inspect", "--json", file)), &b); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "deep", "n2")
	line := func(change ...string) []string {
		flags := map[string]string{"--data-dir": data, "--id": "n2", "--cluster": "n1=127.0.0.1:1,n2=127.0.0.1:2", "--cluster-id": "new"}
		for i := 0; i < len(change); i += 2 {
			flags[change[i]] = change[i+1]
		}
		args := []string{"snapshot", "restore", file}
		for _, flag := range []string{"--data-dir", "--id", "--cluster", "--cluster-id"} {
			if flags[flag] != "" {
				args = append(args, flag, flags[flag])
			}
		}
		return args
	}
	for _, flag := range []string{"--data-dir", "--id", "--cluster", "--cluster-id"} {
		wantLine(t, exit.Usage, flag+" is missing", line(flag, "")...)
	}
	wantLine(t, exit.Usage, "another --cluster-id", line("--cluster-id", "test")...)
	wantLine(t, exit.Usage, "not this node", line("--id", "n3")...)
	wantLine(t, exit.Usage, "--cluster-id", line("--cluster-id", "a b")...)
	if _, err := os.Stat(filepath.Dir(data)); !os.IsNotExist(err) {
		t.Fatalf("a refused restore made a directory: %v", err)
	}
	wantLine(t, exit.Done, "50 keys at revision 1099511627827", line()...)
	wantLine(t, exit.Usage, "not empty", line()...)
	occupied := t.TempDir()
	if err := os.WriteFile(filepath.Join(occupied, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantLine(t, exit.Usage, "thesis.txt", line("--data-dir", occupied)...)

	owner := datadir.NewOwner("new", "n2", []core.ID{"n1", "n2"})
	if _, err := datadir.Check(vfs.OS{}, data, owner); err != nil {
		t.Fatalf("whose directory it is: %v", err)
	}
	if is, found, err := datadir.ReadOwner(vfs.OS{}, data, ""); err != nil || !found || is.UID == "" {
		t.Fatalf("whose directory it is: %+v, found %v, %v", is, found, err)
	}
	log, state, err := wal.Open(wal.Options{FS: vfs.OS{}, Dir: filepath.Join(data, datadir.LogDir), ClusterID: "new", NodeID: "n2"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if state.Term != b.Term || state.VotedFor != "" || state.Snapshot.Index != b.Index || state.Snapshot.Term != b.Term || len(state.Entries) != 0 {
		t.Errorf("the log begins with %+v, the backup is of %+v", state, b)
	}
}
