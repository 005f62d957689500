package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Goal: docs/install.md fits the program and the unit: its settings are taken,
// its commands and flags exist, and its paths are the unit's.
// Method: the TOML block is read as serve reads a file; every command line that
// begins with raftkv is looked up in the command tree.
func TestTheInstallPageFitsTheProgram(t *testing.T) {
	read := func(path ...string) string {
		text, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, path...)...))
		Must(t, err)
		return string(text)
	}
	page, unit := read("docs", "install.md"), read("deploy", "systemd", "raftkv.service")

	block := codeBlock(page, `id = "n1"`)
	pki := t.TempDir() // in place of /etc/raftkv, which this machine may not have
	for _, line := range []string{"ca", "node --cluster-id production --id n1 --hosts kv1,10.0.0.1"} {
		if code := run(append(append([]string{"cert"}, strings.Fields(line)...), "--dir", pki), io.Discard, t.Output()); code != 0 {
			t.Fatalf("raftkv cert %s: code %d", line, code)
		}
	}
	named := strings.NewReplacer("/etc/raftkv/node-key.pem", filepath.Join(pki, "node-n1-key.pem"), "/etc/raftkv/node.pem", filepath.Join(pki, "node-n1.pem"), "/etc/raftkv/ca.pem", filepath.Join(pki, "ca.pem"))
	block = named.Replace(block)
	s, err := parse(t, nil, nil, block)
	if err != nil {
		t.Fatalf("%v\n%s", err, block)
	}
	c, _, err := s.nodeConfig(t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if c.Keys == nil {
		t.Error("the settings give no TLS")
	}
	if len(c.Members) != 3 || !strings.HasPrefix(c.DataDir, "/var/lib/raftkv") || len(c.AllowedHosts) < 4 {
		t.Errorf("the settings give %+v", c)
	}

	for _, path := range []string{"/usr/local/bin/raftkv", "/etc/raftkv/raftkv.toml", "/etc/default/raftkv", "/var/lib/raftkv"} {
		if !strings.Contains(page, path) || !strings.Contains(unit, path) {
			t.Errorf("%s is not in the page and in the unit", path)
		}
	}
	scraper := read("deploy", "prometheus", "prometheus.secured.yml")
	for _, path := range []string{"/etc/prometheus/raftkv-ca.pem", "/etc/prometheus/raftkv.token"} {
		if !strings.Contains(page, " "+path+"\n") || !strings.Contains(scraper, ": "+path+"\n") {
			t.Errorf("%s is not in the page and in the configuration of Prometheus", path)
		}
	}
	if !strings.Contains(unit, "LimitNOFILE=65536") || !strings.Contains(page, "65,536") {
		t.Error("the page and the unit differ in the number of files")
	}

	if !strings.Contains(unit, "\nLimitCORE=0\n") {
		t.Error("the unit lets a node leave core dumps")
	}

	commands := 0
	for _, m := range regexp.MustCompile("(?m)(?:^    |`|; )raftkv ([a-z][^\n`;]*)").FindAllStringSubmatch(page, -1) {
		words := strings.Fields(m[1])
		command, rest, err := newRootCommand().Find(words)
		if err != nil || !command.HasParent() {
			t.Errorf("there is no command for %q: %v", m[0], err)
			continue
		}
		commands++
		for _, word := range rest {
			if flag, is := strings.CutPrefix(word, "--"); is && flag != "help" && command.Flags().Lookup(flag) == nil {
				t.Errorf("%s has no flag %s", command.CommandPath(), word)
			}
		}
	}
	if commands < 6 {
		t.Errorf("void: only %d commands were found", commands)
	}
}

// codeBlock returns the indented block of a page that holds a text.
func codeBlock(page, text string) string {
	var block strings.Builder
	for line := range strings.Lines(page) {
		code, isCode := strings.CutPrefix(line, "    ")
		switch {
		case isCode:
			block.WriteString(code)
		case strings.TrimSpace(line) == "" && block.Len() > 0:
			block.WriteString("\n")
		case strings.Contains(block.String(), text):
			return block.String()
		default:
			block.Reset()
		}
	}
	return block.String()
}
