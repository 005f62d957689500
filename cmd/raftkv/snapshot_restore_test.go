package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/host"
	"raftkv/kvserver"
	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// restoredUID restores a directory and returns the uid that its log begins with.
func restoredUID(t *testing.T, file, id, cluster, clusterID string, more ...string) core.UID {
	t.Helper()
	data := filepath.Join(t.TempDir(), id)
	args := append([]string{"snapshot", "restore", file, "--data-dir", data, "--id", id, "--cluster", cluster, "--cluster-id", clusterID}, more...)
	said := wantLine(t, exit.Done, "", args...)
	log, state, err := wal.Open(wal.Options{FS: vfs.OS{}, Dir: filepath.Join(data, datadir.LogDir), ClusterID: clusterID, NodeID: id})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if !strings.Contains(said, "uid "+state.Snapshot.UID.String()+",") {
		t.Errorf("the log begins with the uid %s, and restore said %s", state.Snapshot.UID, said)
	}
	return state.Snapshot.UID
}

// Goal: directories that were made from the same backup for the same cluster have
// the same uid, wherever and in whatever order their members are written; another
// backup, another name, other members or another revision give another uid, and
// none of them is the old cluster's. Method: restore, and compare what the logs
// begin with.
func TestRestoredDirectoriesKnowWhatTheyBeganWith(t *testing.T) {
	file, endpoint := savedBackup(t)
	const three = "n1=127.0.0.1:1,n2=127.0.0.1:2,n3=127.0.0.1:3"
	first := restoredUID(t, file, "n1", three, "new")
	if first == (core.UID{}) {
		t.Fatal("a restored log begins without a uid")
	}
	for id, cluster := range map[string]string{"n1": three, "n2": "n3=10.0.0.1:3,n1=10.0.0.2:1,n2=10.0.0.3:1", "n3": three} {
		if uid := restoredUID(t, file, id, cluster, "new"); uid != first {
			t.Errorf("%s of the same cluster has the uid %s, n1 has %s", id, uid, first)
		}
	}
	again := file + ".again"
	wantLine(t, exit.Done, "", "snapshot", "save", again, "--endpoints", endpoint)
	if uid := restoredUID(t, again, "n1", three, "new"); uid != first {
		t.Errorf("a second file with the same backup gives the uid %s, not %s", uid, first)
	}
	wantLine(t, exit.Done, "", "put", "one", "more", "--endpoints", endpoint)
	other := file + ".other"
	wantLine(t, exit.Done, "", "snapshot", "save", other, "--endpoints", endpoint)
	seen := map[core.UID]string{first: "the first"}
	for name, uid := range map[string]core.UID{
		"another backup":  restoredUID(t, other, "n1", three, "new"),
		"another name":    restoredUID(t, file, "n1", three, "newer"),
		"fewer members":   restoredUID(t, file, "n1", "n1=127.0.0.1:1,n2=127.0.0.1:2", "new"),
		"another member":  restoredUID(t, file, "n1", "n1=127.0.0.1:1,n2=127.0.0.1:2,n4=127.0.0.1:3", "new"),
		"no lift":         restoredUID(t, file, "n1", three, "new", "--no-lift"),
		"no identities":   restoredUID(t, file, "n1", three, "new", "--reset-auth"),
		"the old cluster": uidOf(t, file),
	} {
		if before, taken := seen[uid]; taken {
			t.Errorf("%s has the uid of %s, %s", name, before, uid)
		}
		seen[uid] = name
	}
}

// Goal: a restored directory says whose it is from the beginning: a log that was
// made from another backup, and put into it before its first start, is refused with
// both uids. Method: two directories for the same node, from a backup as it is and
// lifted; the identity of the one with the log of the other.
func TestARestoredDirectoryRefusesAnotherLog(t *testing.T) {
	file, _ := savedBackup(t)
	c := testConfigs(t, vfs.OS{})[0]
	c.ClusterID = "restored"
	var uids []string
	for i, more := range [][]string{{"--no-lift"}, nil} {
		to := filepath.Join(filepath.Dir(c.DataDir), []string{"other", "n1"}[i])
		wantLine(t, exit.Done, "", append([]string{"snapshot", "restore", file, "--data-dir", to, "--id", "n1", "--cluster", "n1=127.0.0.1:1", "--cluster-id", "restored"}, more...)...)
		is, _, err := datadir.ReadOwner(vfs.OS{}, to, "")
		if err != nil {
			t.Fatal(err)
		}
		uids = append(uids, is.UID)
	}
	if uids[0] == "" || uids[0] == uids[1] {
		t.Fatalf("the directories say the uids %q", uids)
	}
	for _, move := range [][2]string{{"n1/" + datadir.LogDir, "n1-log"}, {"other/" + datadir.LogDir, "n1/" + datadir.LogDir}} {
		if err := os.Rename(filepath.Join(filepath.Dir(c.DataDir), move[0]), filepath.Join(filepath.Dir(c.DataDir), move[1])); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := host.New(c); ExitCodeOf(err) != exit.Failed || !strings.Contains(fmt.Sprint(err), uids[0]) || !strings.Contains(fmt.Sprint(err), uids[1]) {
		t.Errorf("the log of another restore: %v", err)
		if n != nil {
			n.Close()
		}
	}
}

// uidOf returns the uid in a backup.
func uidOf(t *testing.T, file string) (uid core.UID) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := kvserver.ReadBackup(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := hex.DecodeString(b.UID)
	if err != nil || len(text) != len(uid) {
		t.Fatalf("the backup has the uid %q: %v", b.UID, err)
	}
	return core.UID(text)
}

// Goal: a revision that the old cluster gave after the backup names nothing in
// the new one: a condition on it fails, and so does every later one of the old
// cluster; with --no-lift it would fit another value. Keys keep their revisions.
// Method: a backup, one write more, a restore; the same key written in the new
// cluster, and the old ETag.
func TestARevisionIsNeverGivenTwiceByARestore(t *testing.T) {
	file, endpoint := savedBackup(t) // revisions 2 to 51: at level 3 the empty store has revision 1
	_, _, after := runLine("put", "key7", "after the backup", "--endpoints", endpoint)
	t.Log(after)
	for _, lift := range []bool{true, false} {
		configs := testConfigs(t, vfs.OS{})
		configs[0].ClusterID = "restored"
		args := []string{"snapshot", "restore", file, "--data-dir", configs[0].DataDir, "--id", "n1", "--cluster", "n1=127.0.0.1:1", "--cluster-id", "restored"}
		if !lift {
			args = append(args, "--no-lift")
		}
		wantLine(t, exit.Done, "", args...)
		n := startNodes(t, configs)[0]
		defer n.Close()
		if status, header, _ := request(t, n, "GET", "key6", "", ""); status != 200 || header.Get("ETag") != `"8"` {
			t.Errorf("key6 has the ETag %s, code %d", header.Get("ETag"), status)
		}
		status, header, _ := request(t, n, "PUT", "key7", "in the new cluster", "")
		want := uint64(52)
		if lift {
			want += 1 << 40
		}
		if status != 200 || header.Get("ETag") != fmt.Sprintf("%q", fmt.Sprint(want)) {
			t.Errorf("the first write has the ETag %s, code %d, want %d", header.Get("ETag"), status, want)
		}
		status, _, body := request(t, n, "PUT", "key7", "on the old ETag", `"52"`)
		if refused := status == 412; refused != lift {
			t.Errorf("lifted %t: a write on an ETag of the old cluster: %d %s", lift, status, body)
		}
	}
}

func request(t *testing.T, n *host.Node, method, key, body, ifMatch string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+n.Address()+"/v1/kv/"+key, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if ifMatch != "" {
		r.Header.Set("If-Match", ifMatch)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(text)
}
