package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"raftkv/tests/cluster"
)

// Goal: the walk in docs/security.md leads from nothing to TLS on all ports and identities
// that are enforced, in twelve commands, with files that others cannot read; and the commands for
// a new CA replace that of these nodes, of which each CA has its list at every moment.
// Method: they are run by bash, on ports of their own.
func TestTheWalkToTLSAndTokens(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile(filepath.Join("..", "..", "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, walk, _ := strings.Cut(string(document), "\n## From nothing to TLS and tokens\n")
	walk, _, _ = strings.Cut(walk, "\n## ")
	var script strings.Builder
	script.WriteString("set -euo pipefail\nexport PATH=" + filepath.Dir(cluster.Program) + ":$PATH\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n")
	commands := 0
	twelve, _, _ := strings.Cut(walk, "\n### ")
	for line := range strings.Lines(twelve) {
		if command, is := strings.CutPrefix(line, "    "); is && !strings.HasPrefix(command, " ") && !strings.HasPrefix(command, "export ") && !strings.HasPrefix(command, "members=") {
			commands++
		}
	}
	if commands != 12 {
		t.Errorf("the walk has %d commands", commands)
	}
	for line := range strings.Lines(walk) {
		command, is := strings.CutPrefix(line, "    ")
		if !is {
			continue
		}
		if strings.HasPrefix(command, "raftkv auth init") { // nodes may take a moment, and the level one more
			script.WriteString("for i in $(seq 300); do raftkv auth state >/dev/null 2>&1 && break; sleep 0.1; done\n")
		}
		if strings.HasPrefix(command, "kill ") {
			script.WriteString(newCA(t, string(document)))
		}
		script.WriteString(command)
	}
	port := devPort(t, 3)
	text := strings.NewReplacer("870$i", fmt.Sprintf("$((%d + i - 1))", port)).Replace(script.String())
	for i := range 3 {
		text = strings.ReplaceAll(text, fmt.Sprintf(":%d", 8701+i), fmt.Sprintf(":%d", port+i))
		text = strings.ReplaceAll(text, fmt.Sprintf(":%d", 9701+i), fmt.Sprintf(":%d", port+1000+i))
	}
	dir := t.TempDir()
	bash := exec.Command("bash", "-c", text)
	bash.Dir, bash.Env = dir, append(cluster.CleanEnvironment(), "no_proxy=*")
	output, err := bash.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	for _, want := range []string{"raftkv://kv/node/n1, localhost, 127.0.0.1", "created, revision ", "hello, world", "3 of 3 answer", "speaks TLS only", `"code": "unauthenticated"`} {
		if !strings.Contains(string(output), want) {
			t.Errorf("it does not print %q:\n%s", want, output)
		}
	}
	if n := strings.Count(string(output), "hello, world"); n != 2 { // by the header alone, and by curl's own file
		t.Errorf("curl shows the value %d times, want 2:\n%s", n, output)
	}
	list := string(output[max(strings.LastIndex(string(output), "pki/crl.pem\n"), 0):])
	if n := strings.Count(string(output), "3 of 3 answer"); n != 2 || strings.Count(list, "issuer ") != 1 || !strings.Contains(list, "CN=raftkv CA 2\n") {
		t.Errorf("behind the new CA all nodes answer (%d of 2 times), and the file of lists has: %s\n%s", n, list, output)
	}
	for i := 1; i <= 3; i++ {
		log, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("n%d.log", i)))
		if err != nil || strings.Contains(string(log), "none of this CA of the bundle") {
			t.Errorf("a CA of n%d had no list, %v:\n%s", i, err, log)
		}
	}
	for _, name := range []string{"root.token", "svc.token", "svc.header"} {
		if is, err := os.Stat(filepath.Join(dir, name)); err != nil || is.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; others must not read it", name, is, err)
		}
	}
}

// newCA returns the commands of the page for a new CA. Behind each that changes what the nodes
// read, all of them take it.
func newCA(t *testing.T, page string) string {
	_, part, _ := strings.Cut(page, "\n**A new CA**")
	part, _, _ = strings.Cut(part, "\nBehind each line")
	var script strings.Builder
	script.WriteString(`taken() { grep -c 'new certificates are in use' "$1" || true; }
take() { # runs a command, and waits until each node has taken it on both ports
	local i t before=(0 $(taken n1.log) $(taken n2.log) $(taken n3.log))
	eval "$1"; kill -HUP $(jobs -p)
	for i in 1 2 3; do
		for t in $(seq 300); do [ $(taken n$i.log) -ge $((before[i] + 2)) ] && continue 2; sleep 0.1; done
		echo "n$i has not taken: $1"; tail -5 n$i.log; exit 1
	done
}
kill -HUP $(jobs -p); sleep 1 # what the walk has changed last
`)
	commands := 0
	for line := range strings.Lines(part) {
		command, is := strings.CutPrefix(line, "    ")
		if !is {
			continue
		}
		commands++
		if strings.HasPrefix(command, "raftkv cert") { // for pki-new
			script.WriteString(command)
			continue
		}
		script.WriteString("take '" + strings.ReplaceAll(strings.TrimSpace(command), "'", `'\''`) + "'\n")
	}
	if commands < 5 {
		t.Errorf("the page has %d commands for a new CA", commands)
	}
	return script.String() + "raftkv status\nraftkv cert inspect pki/crl.pem\n"
}
