package system

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"raftkv/client"
	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/tests/cluster"
)

// askOnce sends an append under an idempotency key and returns whether it was
// answered as a repeat.
func askOnce(t *testing.T, s *cluster.Node, key, value, idempotencyKey string) (replayed bool) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+s.HTTP+"/v1/kv/"+key+"?op=append", strings.NewReader(value))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set(api.HeaderIdempotencyKey, idempotencyKey)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 200 {
		t.Fatalf("append %q: %s", value, response.Status)
	}
	return response.Header.Get(api.HeaderIdempotencyReplayed) == "true"
}

// inspectBackup runs snapshot inspect.
func inspectBackup(c *cluster.Cluster, file string) (b kvserver.Backup) {
	c.T.Helper()
	said := command(c, "", "snapshot", "inspect", "--json", file)
	if said.code != 0 {
		c.T.Fatalf("inspect: code %d: %s", said.code, said.errors)
	}
	if err := json.Unmarshal([]byte(said.out), &b); err != nil {
		c.T.Fatal(err)
	}
	return b
}

// Goal: a cluster that lost all its machines lives on in a new one made from a
// backup: every key with its revision, every session and every remembered
// request, so that what was asked of the old one is not done again by the new.
// Method: three processes, with Clerks' sessions and idempotency keys; save
// while writes go on, kill everything, restore three directories, start, and
// ask for everything.
func TestABackupBecomesANewCluster(t *testing.T) {
	t.Parallel()
	old := cluster.Start(t, 3)
	clerk, err := client.Dial(t.Context(), client.Config{Endpoints: cluster.Addresses(old.Nodes)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := clerk.Put(t.Context(), fmt.Sprintf("key%d", i), fmt.Appendf(nil, "value%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	clerk.Close()
	for i := range 20 {
		askOnce(t, old.Nodes[i%3], "list", fmt.Sprintf("%d;", i), fmt.Sprintf("request-%d", i))
	}
	want := map[string]string{}
	for i := range 100 {
		key := fmt.Sprintf("key%d", i)
		_, header, body, err := old.Nodes[0].Ask("GET", "/v1/kv/"+key, "")
		if err != nil {
			t.Fatal(err)
		}
		want[key] = body + header.Get("Etag") + header.Get(api.HeaderVersion)
	}
	list := old.Nodes[0].Must(200, "GET", "/v1/kv/list", "")

	var writing sync.WaitGroup
	var stop atomic.Bool
	writing.Go(func() {
		for i := 0; !stop.Load(); i++ {
			old.Nodes[i%3].Must(201, "PUT", fmt.Sprintf("/v1/kv/later%d", i), "x")
		}
	})
	file := filepath.Join(t.TempDir(), "backup")
	if said := command(old, "", "snapshot", "save", file); said.code != 0 || !strings.Contains(said.out, "cluster raftkv") {
		t.Fatalf("save: code %d: %s%s", said.code, said.out, said.errors)
	}
	stop.Store(true)
	writing.Wait()
	backup := inspectBackup(old, file)
	if backup.Sessions == 0 || backup.IdempotencyRecords != 20 || backup.Keys < 101 {
		t.Fatalf("the backup holds %+v", backup)
	}
	old.KillAll()
	for _, s := range old.Nodes[1:] {
		if err := os.RemoveAll(s.Dir); err != nil {
			t.Fatal(err)
		}
	}

	again := cluster.New(t, 3, "--cluster-id", "restored")
	for _, s := range again.Nodes {
		said := command(again, "", "snapshot", "restore", file, "--data-dir", s.Dir, "--id", s.ID, "--cluster", again.Peers, "--cluster-id", "restored")
		if said.code != 0 {
			t.Fatalf("restore of %s: code %d: %s", s.ID, said.code, said.errors)
		}
	}
	again.Start()
	for key, held := range want {
		_, header, body, err := again.Nodes[1].Ask("GET", "/v1/kv/"+key, "")
		if got := body + header.Get("Etag") + header.Get(api.HeaderVersion); err != nil || got != held {
			t.Errorf("%s: %q, it was %q (%v)", key, got, held, err)
		}
	}
	for i := range 20 {
		if !askOnce(t, again.Nodes[i%3], "list", fmt.Sprintf("%d;", i), fmt.Sprintf("request-%d", i)) {
			t.Errorf("request-%d was taken for a new one", i)
		}
	}
	if got := again.Nodes[2].Must(200, "GET", "/v1/kv/list", ""); got != list {
		t.Errorf("the list is %q, it was %q", got, list)
	}
	for _, s := range again.Nodes {
		status, err := s.Status()
		if err != nil || status.Cluster != "restored" || status.Store.Sessions != backup.Sessions || status.Store.Keys != backup.Keys || status.Store.Revision != backup.Revision+kvserver.RevisionLift {
			t.Errorf("%s: %+v, %v; the backup holds %+v", s.ID, status.Store, err, backup)
		}
	}
	var written struct{ Revision uint64 }
	if body := again.Nodes[0].Must(201, "PUT", "/v1/kv/new", "x"); json.Unmarshal([]byte(body), &written) != nil || written.Revision != backup.Revision+kvserver.RevisionLift+1 {
		t.Errorf("the next change is %s, the last one was %d", body, backup.Revision)
	}

	file += ".second"
	if said := command(again, "", "snapshot", "save", file); said.code != 0 {
		t.Fatalf("save: code %d: %s", said.code, said.errors)
	}
	if second := inspectBackup(again, file); second.Cluster != "restored" || second.Index <= backup.Index || second.Revision != backup.Revision+kvserver.RevisionLift+1 || second.UID == backup.UID || second.UID == "" || second.Sessions != backup.Sessions || second.IdempotencyRecords != 20 {
		t.Errorf("the restored cluster's backup holds %+v", second)
	}
	again.KillAll()
	again.Start()
	again.Nodes[0].Must(200, "GET", "/v1/kv/new", "")
}

// Goal: a store at its quota refuses what would make it larger and nothing
// else, says so, and takes writes again when there is room. Method: fill three
// processes to the byte.
func TestAFullStoreServesOn(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, 3, "--max-store-bytes", "1000")
	s := c.Nodes[1]
	s.Must(201, "PUT", "/v1/kv/a", strings.Repeat("a", 899))
	s.Must(201, "PUT", "/v1/kv/b", strings.Repeat("b", 99))
	for _, full := range [][3]string{
		{"PUT", "/v1/kv/c", ""}, {"PUT", "/v1/kv/b", strings.Repeat("b", 100)}, {"POST", "/v1/kv/a?op=append", "a"},
	} {
		status, header, body, err := s.Ask(full[0], full[1], full[2])
		if err != nil || status != 507 || header.Get(api.HeaderError) != "quota_exceeded; outcome=not_applied" {
			t.Errorf("%s %s: %d %s %v", full[0], full[1], status, body, err)
		}
	}
	if said := command(c, "", "put", "c", "x"); said.code == 0 || !strings.Contains(said.errors, "the store is full (quota 1000 bytes") {
		t.Errorf("put: code %d: %s", said.code, said.errors)
	}
	s.Must(200, "GET", "/v1/kv/a", "")
	s.Must(200, "PUT", "/v1/kv/b", strings.Repeat("x", 99)) // as long as before
	s.Must(204, "DELETE", "/v1/kv/b", "")
	s.Must(201, "PUT", "/v1/kv/c", strings.Repeat("c", 99))
}
