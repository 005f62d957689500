package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/host"
	"raftkv/cmd/raftkv/internal/inventory"
	"raftkv/kvserver/api"
	"raftkv/raft/levels"
	"raftkv/raft/vfs"
)

// testConfigs returns the configuration of a cluster whose ports are open.
func testConfigs(t *testing.T, disks ...vfs.FS) []host.Config {
	t.Helper()
	m := host.Members{}
	var configs []host.Config
	for i, disk := range disks {
		// A disk in memory is found again by its path. Its segments are small: with
		// the race detector a spare of 16 MiB takes seconds of a busy processor.
		data, SegmentBytes := "/data", int64(1<<20)
		if disk == (vfs.OS{}) {
			data, SegmentBytes = t.TempDir(), 0
		}
		c := host.Config{
			ClusterID: "test", ID: inventory.NodeID(i), Members: m, FS: disk, DataDir: filepath.Join(data, string(inventory.NodeID(i))),
			MaxValueBytes: 1 << 10, RequestTimeout: 5 * time.Second, ElectionTimeout: defaultElectionTimeout,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), SegmentBytes: SegmentBytes,
		}
		for _, l := range []*net.Listener{&c.HTTP, &c.Peer} {
			var err error
			if *l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
				t.Fatal(err)
			}
		}
		m[c.ID] = c.Peer.Addr().String()
		configs = append(configs, c)
	}
	return configs
}

func startNodes(t *testing.T, configs []host.Config) []*host.Node {
	t.Helper()
	var nodes []*host.Node
	for _, c := range configs {
		n, err := host.New(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a busy machine takes its time
	defer cancel()
	for _, n := range nodes {
		if !n.AwaitServing(ctx) {
			t.Fatal("the cluster does not serve")
		}
	}
	for _, n := range nodes { // what is compared must not change by itself
		for m := (api.Members{}); m.Level.Level != levels.Released; time.Sleep(5 * time.Millisecond) {
			_, _, body := askKey(t, n, "GET", "/v1/members?consistency=stale", "")
			if err := json.Unmarshal([]byte(body), &m); err != nil || ctx.Err() != nil {
				t.Fatalf("the level is not raised: %s (%v)", body, err)
			}
		}
	}
	return nodes
}

// askKey sends a request to a node and returns status, Kv-Error header and body.
func askKey(t *testing.T, n *host.Node, method, path, body string) (status int, kvError, got string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.Address()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header.Get(api.HeaderError), string(b)
}

// ExitCodeOf is what a command that ends with err exits with.
func ExitCodeOf(err error) int {
	switch {
	case err == nil:
		return exit.Done
	case isFailure(err):
		return exit.Failed
	}
	return exit.Usage
}

// Must ends a test that cannot go on.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Goal (X4, X5): dev refuses a stage that cannot be, with the number and what to do; serve
// has none of its flags.
func TestAStageThatCannotBeIsRefused(t *testing.T) {
	for _, c := range []struct {
		arguments []string
		says      string
	}{
		{[]string{"dev", "--scenario", "hamlet"}, "choose one of figure8, leader-crash, partition, rejoin, snapshot, split-vote"},
		{[]string{"dev", "--scenario", "figure8", "--nodes", "3"}, "needs 5 nodes, and there are 3; add --nodes 5 --fresh"},
		{[]string{"dev", "--panel", "--tls"}, "leave out --tls"},
		{[]string{"dev", "--panel", "--port", "1"}, "choose 2 or more"},
		{[]string{"dev", "--panel", "--auth"}, "leave out --auth"},
		{[]string{"dev", "--auth", "--hold-level"}, "leave one of them out"},
		{[]string{"serve", "--panel"}, "unknown flag"},
		{[]string{"serve", "--scenario", "figure8"}, "unknown flag"},
	} {
		var out, said strings.Builder
		if code := run(append(c.arguments, "--data-dir", t.TempDir()), &out, &said); code != exit.Usage || !strings.Contains(said.String(), c.says) {
			t.Errorf("%q: code %d, %s", c.arguments, code, said.String())
		}
	}
	s := devSettings{held: 3, nodes: 5, port: 8701, panel: true}
	if err := s.settleStage(true); err == nil || !strings.Contains(err.Error(), "need the 3 nodes that the data directory holds") {
		t.Errorf("where the cluster is to grow: %v", err)
	}
}
