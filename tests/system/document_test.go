package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"raftkv/tests/cluster"
)

// example is one command of a document and the output that the document shows.
type example struct {
	line    int
	command string
	output  []string
}

// examplesOf returns the commands of a document's indented blocks: the lines
// that begin with "$ ", each with what stands below it.
func examplesOf(document string) (all []example) {
	var last *example
	for i, line := range strings.Split(document, "\n") {
		text, isCode := strings.CutPrefix(line, "    ")
		switch command, isCommand := strings.CutPrefix(text, "$ "); {
		case isCode && isCommand:
			all = append(all, example{line: i + 1, command: command})
			last = &all[len(all)-1]
		case isCode && last != nil:
			last.output = append(last.output, text)
		case line != "":
			last = nil
		}
	}
	return all
}

// matches reports whether an output is what a document shows. "…" stands for
// any text, alone on a line for any lines; empty lines of the output need not be
// shown.
func matches(shown []string, output string) bool {
	pattern := `(?s)\A`
	for _, line := range shown {
		if strings.TrimSpace(line) == "…" {
			pattern += `(?:[^\n]*\n)*?`
			continue
		}
		pattern += `\n*` + strings.ReplaceAll(regexp.QuoteMeta(line), "…", `[^\n]*`) + `\n`
	}
	output = strings.ReplaceAll(output, "\r\n", "\n")
	if output != "" && !strings.HasSuffix(output, "\n") {
		output += "\n"
	}
	return regexp.MustCompile(pattern + `\n*\z`).MatchString(output)
}

// Goal: every command in the documents does what the document shows.
// Method: each document's commands are run in a shell, in order, against a
// cluster of its own that begins empty; those of docs/http.md once more in their TLS form,
// against a cluster that speaks nothing else, with the CA in curl's own file.
func TestDocumentsShowWhatHappens(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"README.md", "docs/http.md", "docs/operations.md", "TLS docs/http.md"} {
		name, secret := strings.CutPrefix(name, "TLS ")
		t.Run(fmt.Sprint(filepath.Base(name), " with TLS ", secret), func(t *testing.T) {
			t.Parallel()
			document, err := os.ReadFile(filepath.Join("..", "..", name))
			if err != nil {
				t.Fatal(err)
			}
			port, data, scheme := devPort(t, 3), filepath.Join(t.TempDir(), "data"), ""
			var more, environment []string
			if secret {
				scheme, more = "https://", []string{"--tls"}
				home, ca := t.TempDir(), filepath.Join(data, "dev-ca.pem")
				if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte("cacert = \""+ca+"\"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				environment = []string{"CURL_HOME=" + home, "RAFTKV_TLS_CA=" + ca}
			}
			dev(t, data, port, 3, more...)
			examples := examplesOf(string(document))
			if len(examples) < 3 {
				t.Fatalf("%s has only %d examples", name, len(examples))
			}
			dir := t.TempDir()
			for _, e := range examples {
				command := e.command
				for i := range 3 {
					command = strings.ReplaceAll(command, fmt.Sprintf("localhost:%d", 8701+i), fmt.Sprintf("%slocalhost:%d", scheme, port+i))
				}
				command = strings.ReplaceAll(command, "bin/raftkv", cluster.Program)
				shell := exec.Command("bash", "-c", command)
				shell.Dir = dir
				shell.Env = append(append(cluster.CleanEnvironment(), environment...), "no_proxy=*", fmt.Sprintf("RAFTKV_ENDPOINTS=127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", port, port+1, port+2))
				output, err := shell.Output()
				if err != nil {
					t.Errorf("%s:%d: %s: %v", name, e.line, e.command, err)
				}
				if !matches(e.output, string(output)) {
					t.Errorf("%s:%d: %s\nprints\n%s\nand not\n%s", name, e.line, e.command, output, strings.Join(e.output, "\n"))
				}
			}
			t.Logf("%d examples", len(examples))
		})
	}
}

// Goal: the script of docs/http.md shows what the page says it does: a write
// that is sent again after the leader died is there once.
// Method: run it, on ports of its own; its output must be the one on the page.
func TestTheExactlyOnceScript(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile(filepath.Join("..", "..", "docs", "http.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, shown, found := strings.Cut(string(document), "and prints:\n\n")
	if !found {
		t.Fatal("docs/http.md does not say what the script prints")
	}
	shown, _, _ = strings.Cut(shown, "\n\n")
	var lines []string
	for line := range strings.Lines(shown) {
		lines = append(lines, strings.TrimSuffix(strings.TrimPrefix(line, "    "), "\n"))
	}
	path, err := filepath.Abs(filepath.Join("..", "..", "docs", "examples", "exactly-once.sh"))
	if err != nil {
		t.Fatal(err)
	}
	script := exec.Command("bash", path)
	script.Dir = t.TempDir()
	script.Env = append(cluster.CleanEnvironment(), "RAFTKV="+cluster.Program, fmt.Sprintf("PORT=%d", devPort(t, 6)), "no_proxy=*")
	output, err := script.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	// Now and then the leader takes the append with it; then the script says so
	// and goes on until it had what it wants to show.
	last := string(output)
	if i := strings.LastIndex(last, "once more.\n"); i >= 0 {
		last = last[i+len("once more.\n"):]
		lines = lines[:len(lines)-3] // the numbers are others then
		last = last[:strings.LastIndex(last, `{"key"`)]
	}
	if !matches(lines, last) {
		t.Errorf("it prints\n%s\nand not\n%s", output, strings.Join(lines, "\n"))
	}
}

// Goal: docs/first-five-minutes.md is what its script prints, in one run: what was put in
// by hand later would show other sentences, or times that go back. Method: run it, on ports
// of its own; it must type the same commands and sentences under the same headings, and
// the times of the page must rise.
func TestTheFirstFiveMinutes(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile(filepath.Join("..", "..", "docs", "first-five-minutes.md"))
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(filepath.Join("..", "..", "docs", "examples", "first-five-minutes.sh"))
	if err != nil {
		t.Fatal(err)
	}
	passed := -1
	for _, m := range regexp.MustCompile(`(?m)^## (\d+):(\d\d) .*`).FindAllStringSubmatch(string(document), -1) {
		minutes, _ := strconv.Atoi(m[1]) // digits, as the pattern says
		seconds, _ := strconv.Atoi(m[2])
		if at := 60*minutes + seconds; at < passed {
			t.Errorf("on the page time goes back: %s", m[0])
		} else {
			passed = at
		}
	}
	if passed < 1 {
		t.Error("void: the page shows no time")
	}
	script := exec.Command("bash", path)
	script.Env = append(cluster.CleanEnvironment(), "RAFTKV="+cluster.Program, fmt.Sprintf("PORT=%d", devPort(t, 3)), "no_proxy=*")
	var errs strings.Builder
	script.Stderr = &errs
	output, err := script.Output()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, errs.String(), output)
	}
	typed, shown := typedIn(string(output)), typedIn(strings.ReplaceAll(string(document), "    $ make build\n", ""))
	if typed != shown {
		t.Errorf("it types\n%s\nand the page shows\n%s", typed, shown)
	}
	for _, line := range []string{"linearizable: ", "not linearizable: ", "Idempotency-Replayed: true", "nothing failed", "hello, world", " leads term ",
		`"op":"expire"`, `"token":10`, "lock_lost", `"succeeded":true`, `"text":"70"`} {
		if !strings.Contains(string(output), line) {
			t.Errorf("it does not print %q:\n%s", line, output)
		}
	}
}

// typedIn returns the headings, without their times, the sentences and the commands of a
// transcript.
func typedIn(transcript string) string {
	var b strings.Builder
	for line := range strings.Lines(transcript) {
		if heading, isHeading := strings.CutPrefix(line, "## "); isHeading {
			_, title, _ := strings.Cut(heading, " ")
			b.WriteString(title)
		} else if said := !strings.HasPrefix(line, "    ") && line != "\n"; said || strings.HasPrefix(line, "    $ ") {
			b.WriteString(line)
		}
	}
	return b.String()
}
