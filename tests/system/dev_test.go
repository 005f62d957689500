package system

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/tests/cluster"
)

// devPort finds a port such that all ports of a dev cluster of n are free.
func devPort(t *testing.T, n int) int {
	t.Helper()
	return cluster.FreeRows(t, n, 1000)
}

// dev starts a dev cluster and waits until it says that it serves. It returns
// the process and how to ask its i-th node.
func dev(t *testing.T, dir string, port, nodes int, arguments ...string) (*cluster.Process, func(i int) *cluster.Node) {
	t.Helper()
	begun := time.Now()
	p := cluster.Launch(t, "dev", nil, append([]string{"dev", "--data-dir", dir, "--port", fmt.Sprint(port)}, arguments...)...)
	p.Says("Ctrl-C ends it.", cluster.Patience)
	t.Logf("serves after %v", time.Since(begun).Round(time.Millisecond))
	return p, func(i int) *cluster.Node {
		if i >= nodes {
			t.Fatalf("node %d of %d", i, nodes)
		}
		return &cluster.Node{Cluster: &cluster.Cluster{T: t}, ID: fmt.Sprintf("n%d", i+1), HTTP: fmt.Sprintf("127.0.0.1:%d", port+i), Process: p}
	}
}

// Goal: dev is a durable cluster in one command: it says what to type, ends
// cleanly by Ctrl-C, and finds its data again. Method: the issue's own lines.
func TestDevIsADurableCluster(t *testing.T) {
	t.Parallel()
	dir, port := filepath.Join(t.TempDir(), "data"), devPort(t, 3)
	p, node := dev(t, dir, port, 3)
	said := p.Output.String()
	for i := range 3 {
		if address := fmt.Sprintf("http://127.0.0.1:%d", port+i); !strings.Contains(said, address) {
			t.Errorf("does not say %s: %s", address, said)
		}
	}
	if !strings.Contains(said, "curl -X PUT --data-binary 'hello' http://127.0.0.1:") {
		t.Errorf("does not say what to type: %s", said)
	}
	node(0).Must(201, "PUT", "/v1/kv/greeting", "hello")
	if got := node(1).Must(200, "GET", "/v1/kv/greeting", ""); got != "hello" {
		t.Errorf("read %q", got)
	}
	for _, end := range []func(){
		func() {
			p.Signal(syscall.SIGINT)
			if code := p.ExitCode(cluster.Patience); code != 0 {
				t.Errorf("Ctrl-C: exit code %d", code)
			}
			if said := p.Output.String(); strings.Contains(said, "level=") {
				t.Errorf("a clean end is logged as if it were none: %s", said)
			}
		},
		func() { p.Kill() },
	} {
		end()
		p, node = dev(t, dir, port, 3)
		if got := node(2).Must(200, "GET", "/v1/kv/greeting", ""); got != "hello" {
			t.Errorf("after the restart: %q", got)
		}
	}
	second := cluster.Launch(t, "second", nil, "dev", "--data-dir", filepath.Join(t.TempDir(), "other"), "--port", fmt.Sprint(port+2))
	if code := second.ExitCode(cluster.Patience); code != 1 || !strings.Contains(second.Output.String(), fmt.Sprintf("127.0.0.1:%d", port+2)) || !strings.Contains(second.Output.String(), "--port") {
		t.Errorf("a port in use: exit code %d, %s", code, second.Output.String())
	}
	fresh := cluster.Launch(t, "fresh", nil, "dev", "--data-dir", dir, "--fresh", "--port", fmt.Sprint(port+10))
	if code := fresh.ExitCode(cluster.Patience); code != 1 || !strings.Contains(fresh.Output.String(), "in use") {
		t.Errorf("--fresh under a running cluster: exit code %d, %s", code, fresh.Output.String())
	}
	p.Kill()
	_, node = dev(t, dir, port, 3, "--fresh")
	node(0).Must(404, "GET", "/v1/kv/greeting", "")
}

// Goal: a dev cluster grows when more nodes are asked for than it has, and shrinks when fewer
// are, and keeps its data; what it has become is there at the next start without the flag.
// Method: one node, three, those three again after a kill, and one.
func TestDevGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	dir, port := filepath.Join(t.TempDir(), "data"), devPort(t, 3)
	p, node := dev(t, dir, port, 1, "--nodes", "1")
	node(0).Must(201, "PUT", "/v1/kv/k", "v")
	for _, step := range []struct {
		nodes int
		flags []string
	}{{3, []string{"--nodes", "3"}}, {3, nil}, {1, []string{"--nodes", "1"}}, {1, nil}} {
		p.Kill()
		p, node = dev(t, dir, port, step.nodes, step.flags...)
		if got := node(step.nodes-1).Must(200, "GET", "/v1/kv/k", ""); got != "v" {
			t.Errorf("%d nodes: read %q", step.nodes, got)
		}
		members := node(0).Must(200, "GET", "/v1/members", "")
		if got := strings.Count(members, `"role":"voter"`); got != step.nodes {
			t.Errorf("%d nodes: %d vote: %s", step.nodes, got, members)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "n*")); err != nil || len(left) != 1 {
		t.Errorf("the directories %v are left, %v", left, err)
	}
}

// Goal: dev ends by code 6 when the last of its nodes was removed from the cluster, with a
// sentence that says so, and so does each later start; the cluster goes on without it. Method: dev of one node; a node
// joins it by serve; dev's node, which leads, is removed.
func TestDevEndsWithItsLastNode(t *testing.T) {
	t.Parallel()
	dir, port := filepath.Join(t.TempDir(), "data"), devPort(t, 1)
	p, node := dev(t, dir, port, 1, "--nodes", "1")
	first := node(0)
	var token api.JoinToken
	if status, _, body, err := first.AskJSON("POST", "/v1/join-tokens", `{"for":"n2"}`); err != nil || status != 201 || json.Unmarshal([]byte(body), &token) != nil {
		t.Fatalf("a token: %d %s (%v)", status, body, err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	ports := cluster.FreePorts(t, 2)
	cluster.Launch(t, "n2", nil, "serve", "--cluster-id", "dev", "--id", "n2", "--data-dir", filepath.Join(t.TempDir(), "n2"),
		"--http", ports[0], "--peer", ports[1], "--join", first.HTTP, "--join-token-file", file)
	second := &cluster.Node{Cluster: first.Cluster, ID: "n2", HTTP: ports[0]}
	cluster.Eventually(t, cluster.Patience, func() error {
		status, _, body, err := second.Ask("POST", "/v1/members/n2?op=promote", "")
		if err != nil || status != 200 && status != 409 {
			return fmt.Errorf("promoting n2: %d %s (%v)", status, body, err)
		}
		_, _, members, _ := second.Ask("GET", "/v1/members", "")
		if strings.Count(members, `"role":"voter"`) != 2 {
			return fmt.Errorf("the members are %s", members)
		}
		return nil
	})
	cluster.Eventually(t, cluster.Patience, func() error {
		if status, _, body, err := second.Ask("DELETE", "/v1/members/n1", ""); err != nil || status != 200 {
			return fmt.Errorf("removing n1: %d %s (%v)", status, body, err)
		}
		return nil
	})
	if code := p.ExitCode(cluster.Patience); code != 6 || !strings.Contains(p.Output.String(), "never a member again") {
		t.Errorf("dev without a node ends by code %d: %s", code, p.Output.String())
	}
	second.Must(201, "PUT", "/v1/kv/after", "x")
	again := cluster.Launch(t, "again", nil, "dev", "--data-dir", dir, "--port", fmt.Sprint(port))
	if code := again.ExitCode(cluster.Patience); code != 6 {
		t.Errorf("dev that is started again without a node ends by code %d: %s", code, again.Output.String())
	}
}

// Goal: a dev cluster of one and of five work as well.
func TestDevOfOtherSizes(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 5} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			p, node := dev(t, filepath.Join(t.TempDir(), "data"), devPort(t, size), size, "--nodes", fmt.Sprint(size))
			node(0).Must(201, "PUT", "/v1/kv/k", "v")
			node(size-1).Must(200, "GET", "/v1/kv/k", "")
			p.Signal(syscall.SIGTERM)
			if code := p.ExitCode(cluster.Patience); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// Goal: raftkv dev --tls --auth serves by TLS alone and nobody without a token; it prints lines
// for curl, for commands and for the shell that work as they are, and the token once; it finds
// its CA and its admin again, goes on with TLS and to ask for tokens without the flags, and is
// removed whole by --fresh.
// Method: start it twice on one directory, type what it prints, and start it afresh.
func TestDevSpeaksTLSAndAsksForTokens(t *testing.T) {
	t.Parallel()
	dir, port := filepath.Join(t.TempDir(), "dev"), devPort(t, 3)
	bash := func(command string) (string, error) {
		run := exec.Command("bash", "-c", strings.ReplaceAll(command, "raftkv ", cluster.Program+" "))
		run.Env = append(cluster.CleanEnvironment(), "no_proxy=*")
		output, err := run.CombinedOutput()
		return string(output), err
	}
	for _, round := range []string{"new", "again", "fresh"} {
		arguments := map[string][]string{"new": {"--tls", "--auth"}, "fresh": {"--tls", "--fresh"}}[round]
		asks := round != "fresh"
		d, _ := dev(t, dir, port, 3, arguments...)
		said := d.Output.String()
		exports := ""
		for line := range strings.Lines(said) {
			command := strings.TrimSpace(line)
			if strings.HasPrefix(command, "export ") {
				exports += command + "; "
			}
			if !strings.HasPrefix(command, "curl ") && !strings.HasPrefix(command, "raftkv status") {
				continue
			}
			output, err := bash(strings.Replace(command, " --watch", "", 1))
			if err != nil || !strings.Contains(command, "-X PUT") && !strings.Contains(output, "hello") && !strings.Contains(output, "3 of 3 answer") {
				t.Errorf("%s: %s: %v: %s", round, command, err, output)
			}
		}
		if strings.Count(said, "--cacert") != 2 || !strings.Contains(said, "https://127.0.0.1:") || strings.Contains(said, "rkt1_") != (round == "new") || strings.Contains(said, "token-file = ") != asks {
			t.Errorf("%s: it says %s", round, said)
		}
		stranger, err := bash(fmt.Sprintf("curl -sS --cacert %s/dev-ca.pem https://127.0.0.1:%d/v1/kv/greeting", dir, port))
		if err != nil || strings.Contains(stranger, "unauthenticated") != asks {
			t.Errorf("%s: without a token: %v, %s", round, err, stranger)
		}
		if asks {
			output, err := bash(exports + fmt.Sprintf("raftkv get greeting --endpoints 127.0.0.1:%d && raftkv auth state --endpoints 127.0.0.1:%d", port+1, port+2))
			if err != nil || !strings.Contains(output, "hello") || !strings.Contains(output, "enforce") {
				t.Errorf("%s: %s: %v: %s", round, exports, err, output)
			}
		}
		if left, err := filepath.Glob(filepath.Join(dir, "dev-admin.*")); err != nil || (len(left) == 2) != asks {
			t.Errorf("%s: the files of the admin are %v, %v", round, left, err)
		}
		d.Signal(syscall.SIGINT)
		<-d.Ended
	}
}
