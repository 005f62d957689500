package httpd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Goal: every command of docs/coordination.md does what the page shows. Method: they are
// run in a shell, in order, against a server at the level of the history. "…" stands for
// any text, alone on a line for any lines; empty lines of the output need not be shown.
func TestTheExamplesOfCoordination(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl")
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "coordination.md"))
	if err != nil {
		t.Fatal(err)
	}
	s, _ := newServer(t, atLevel3)
	at := strings.TrimPrefix(serveHTTP(t, s).URL, "http://")
	count := 0
	for block := range strings.SplitSeq(string(page), "\n    $ ") {
		command, rest, _ := strings.Cut(block, "\n")
		if !strings.HasPrefix(command, "curl ") {
			continue
		}
		for strings.Count(command, "'")%2 == 1 { // it goes on in the next line
			more, behind, found := strings.Cut(rest, "\n")
			if !found {
				t.Fatalf("%s: a quote has no end", command)
			}
			command, rest = command+"\n"+more, behind
		}
		count++
		pattern := `(?s)\A`
		for line := range strings.SplitSeq(rest, "\n") {
			shown, isCode := strings.CutPrefix(line, "    ")
			if !isCode {
				break
			}
			if strings.TrimSpace(shown) == "…" {
				pattern += `(?:[^\n]*\n)*?`
				continue
			}
			pattern += `\n*` + strings.ReplaceAll(regexp.QuoteMeta(shown), "…", `[^\n]*`) + `\n`
		}
		out, err := exec.Command("sh", "-c", strings.ReplaceAll(command, "localhost:8701", at)).CombinedOutput()
		output := strings.ReplaceAll(string(out), "\r\n", "\n")
		if output != "" && !strings.HasSuffix(output, "\n") {
			output += "\n"
		}
		if !regexp.MustCompile(pattern+`\n*\z`).MatchString(output) || err != nil {
			t.Errorf("%s: %v\n%s\nwhere the page shows\n%s", command, err, output, pattern)
		}
	}
	if count < 9 {
		t.Errorf("void: the page has %d commands", count)
	}
}
