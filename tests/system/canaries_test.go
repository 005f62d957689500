package system

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"raftkv/tests/cluster"
)

// Goal (S13): of a running process no token, private key or header shows in its log at the
// lowest level, metrics, profiles, command line, recorder, audit, answers and the whole data
// directory; nor do keys and values of the store anywhere but in the log on the disk and, as
// far as keys go, in the audit. Method: a node with TLS, identities, an audit and an admin
// port; canaries through writes, refusals, a backup, a snapshot, a reload and a restart; then
// all bytes are looked through.
func TestNothingSecretIsLeftBehind(t *testing.T) {
	t.Parallel()
	p := newPKI(t, 1)
	c := cluster.New(t, 1)
	node := c.Nodes[0]
	admin := cluster.FreePorts(t, 1)[0]
	audit := filepath.Join(t.TempDir(), "audit.log")
	node.Arguments, node.TLS = append(p.flags("n1", "require", "require"), "--audit-file", audit, "--audit-keys", "hash", "--log-level", "debug", "--admin-addr", admin, "--snapshot-bytes", "4096"), p.trust()
	c.Start()
	raftkv := func(token string, arguments ...string) string {
		t.Helper()
		run := exec.Command(cluster.Program, append(arguments, "--endpoints", node.HTTP, "--tls-ca", p.path("ca.pem"))...)
		run.Env = append(cluster.CleanEnvironment(), "RAFTKV_AUTH_TOKEN="+token)
		text, err := run.CombinedOutput()
		if err != nil && token != "" && !strings.Contains(string(text), "may not") {
			t.Logf("raftkv %v: %v: %s", arguments, err, text)
		}
		return strings.TrimSpace(string(text))
	}
	var root string
	cluster.Eventually(t, cluster.Patience, func() error { // the level takes a moment
		if root = raftkv("", "auth", "init", "root"); !strings.HasPrefix(root, "rkt1_") {
			return fmt.Errorf("auth init prints %s", root)
		}
		return nil
	})
	raftkv(root, "auth", "identity", "put", "svc", "--rule", `{"prefix":"svc/","rights":["read","write","list"]}`)
	svc := raftkv(root, "auth", "token", "create", "svc")
	raftkv(root, "auth", "state", "enforce")
	const header, key, value = "canary-header", "svc/canary-key", "canary-value"
	said := map[string]string{}
	ask := func(token, method, target, body string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("X-Canary", header)
		r.Header.Set("Cookie", "session="+header)
		client := http.Client{Transport: &http.Transport{TLSClientConfig: p.trust(), DisableKeepAlives: true}}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var text bytes.Buffer
		if _, err := text.ReadFrom(answer.Body); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(answer.Status, answer.Header, text.String())
	}
	url := "https://" + node.HTTP
	for i := range 60 { // beyond --snapshot-bytes
		said["a write"] += ask(svc, "PUT", url+"/v1/kv/other/"+fmt.Sprint(i), value)
		if answer := ask(svc, "PUT", url+"/v1/kv/"+key, value+strings.Repeat("x", 200)); !strings.HasPrefix(answer, "20") {
			t.Fatal(answer)
		}
	}
	for _, path := range []string{"/v1/status", "/metrics", "/v1/recorder", "/v1/explain", "/v1/overview", "/v1/auth/identities", "/v1/auth/tokens", "/v1/auth/me", "/v1/auth/state", "/v1/members", "/readyz?verbose", "/v1/nothing"} {
		said[path] = ask(root, "GET", url+path, "")
		said["refused "+path] = ask(svc+"x", "GET", url+path, "")
	}
	for _, path := range []string{"cmdline", "goroutine?debug=2", "heap?debug=1", "allocs?debug=1", "mutex?debug=1"} {
		said["profile "+path] = ask(root, "GET", "http://"+admin+"/debug/pprof/"+path, "")
	}
	said["reload"] = ask(root, "POST", "http://"+admin+"/v1/reload", "")
	commandLine, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", node.Process.Command.Process.Pid))
	if err != nil {
		t.Skip("void: there is no /proc")
	}
	said["the command line"] = string(commandLine)
	log := node.Process.Output
	node.Signal(syscall.SIGTERM)
	<-node.Ended
	said["the log"] = log.String()
	text, err := os.ReadFile(audit)
	if err != nil {
		t.Fatal(err)
	}
	said["the audit"] = string(text)
	disk := ""
	err = filepath.WalkDir(node.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		disk += string(content)
		if mode := must(d.Info()).Mode().Perm(); mode&0o077 != 0 {
			t.Errorf("%s can be read by others (mode %04o)", path, mode)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	said["the disk"] = disk
	keyPEM, err := os.ReadFile(p.path("n1-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(keyPEM)
	secrets := map[string][]string{
		"a token":  {root[13:45], svc[13:45]},
		"a key":    {strings.Split(string(keyPEM), "\n")[1][40:], string(block.Bytes[len(block.Bytes)/4 : len(block.Bytes)/2])},
		"a header": {header},
	}
	looked := 0
	for where, text := range said {
		looked += len(text)
		if text == "" {
			t.Errorf("void: nothing was said by %s", where)
		}
		for what, all := range secrets {
			for _, secret := range all {
				if strings.Contains(text, secret) {
					t.Errorf("%s shows in %s", what, where)
				}
			}
		}
		if where != "the disk" && (strings.Contains(text, "canary-value") || strings.Contains(text, "canary-key") && where != "a write") {
			t.Errorf("a key or a value shows in %s", where)
		}
	}
	if !strings.Contains(disk, value) || !strings.Contains(said["the audit"], "sha256:") {
		t.Error("void: nothing was written")
	}
	t.Logf("%d places, %d bytes: no canary", len(said), looked)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
