package compat

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"raftkv/tests/compat/golden"
)

// registry is docs/formats.md: the first cells of the rows that are not kept, by
// section and by the head of their column, and the words in backticks by section.
type registry struct {
	cells map[string]map[string]bool
	words map[string]map[string]bool
	kept  map[string]map[string]bool // the words in backticks of the rows that are kept
}

var (
	inBackticks = regexp.MustCompile("`([^`]+)`")
	keptWords   = regexp.MustCompile(`Kept: [^.]*\.`)
)

// parseRegistry reads the document.
func parseRegistry(text string) registry {
	r := registry{map[string]map[string]bool{}, map[string]map[string]bool{}, map[string]map[string]bool{}}
	section, head := "", ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(keptWords.ReplaceAllString(line, ""))
		if name, ok := strings.CutPrefix(line, "## "); ok {
			section = name
			r.words[section], r.kept[section] = map[string]bool{}, map[string]bool{}
		}
		row, isRow := strings.CutPrefix(line, "| ")
		if !isRow {
			if !strings.HasPrefix(line, "|") {
				head = ""
			}
			noteWords(r.words[section], line)
			continue
		}
		cells := strings.Split(row, " | ")
		switch {
		case head == "":
			head = section + ": " + cells[0]
			r.cells[head] = map[string]bool{}
		case cells[0] == "kept" || len(cells) > 1 && strings.HasPrefix(cells[1], "kept"):
			noteWords(r.kept[section], line)
		default:
			for cell := range strings.SplitSeq(cells[0], ", ") {
				r.cells[head][cell] = true
			}
			noteWords(r.words[section], line)
		}
	}
	return r
}

// noteWords adds what stands in backticks; nil takes nothing.
func noteWords(words map[string]bool, line string) {
	for _, m := range inBackticks.FindAllStringSubmatch(line, -1) {
		if words != nil {
			words[m[1]] = true
		}
	}
}

// has reports whether the place has a number or word.
func (r registry) has(place, what string) bool { return r.cells[place][what] || r.words[place][what] }

// registered says where numbers and words of the code stand in the document.
var registered = []struct {
	place   string // section, or section and head of a column
	file    string
	pattern string // its group is the number or word
}{
	{"The log: record type", "raft/wal/record.go", `\bType\w+ +Type += (\d+)`},
	{"The log: entry kind", "raft/core/entry.go", `\bKind\w+ +Kind += (\d+)`},
	{"Commands: op", "kvserver/kv/command.go", `\bOp\w+ +Op += (\d+)`},
	{"Commands: flag", "kvserver/kv/command.go", `\bflag\w+ += (1 << \d+)\n`},
	{"Commands: status of a result", "kvserver/kv/result.go", `\bStatus\w+ Status = (\d+)`},
	{"Snapshots", "kvserver/kv/snapshot.go", `\{"(\w+)", write`},
	{"Between peers: frame kind", "raft/wire/frame.go", `\bkind\w+ +kind += (0x\w+)`},
	{"Between peers", "raft/wire/hello.go", `\bReason\w+ +identity\.Reason += "([^"]+)"`},
	{"Between peers", "raft/identity/reason.go", `\b\w+ +Reason += "([^"]+)"`},
	{"Between peers", "raft/wire/snapshot_frames.go", `\bfailure\w+ +failure += "([^"]+)"`},
	{"Clerks: frame kind", "kvserver/clerkwire/frame.go", `\bKind\w+ +Kind += (0x\w+)`},
	{"HTTP", "kvserver/api/headers.go", `\bHeader\w+ += "([^"]+)"`},
	{"HTTP", "kvserver/api/headers.go", `\bConsistency\w+ += "([^"]+)"`},
	{"HTTP", "kvserver/api/outcome.go", `\bCode\w+ +Code += "([^"]+)"`},
	{"The command line: exit code", "cmd/raftkv/internal/exit/exit.go", `\t[A-Z]\w+ += (\d+)`},
	{"The command line", "cmd/raftkv/clerk.go", `\b\w+Variable += "([^"]+)"`},
	{"Versions", "kvserver/clerkwire/frame.go", `\b\w*Protocol += "([^"]+)"`},
}

// versions says where the versions stand: the beginning of a row of the first
// table, and what the code has.
var versions = []struct{ row, file, pattern string }{
	{"| frames and hello between peers |", "raft/wire/hello.go", `const version = (\d+)`},
	{"| log segment,", "raft/wal/segment.go", `const formatVersion = (\d+)`},
	{"| command in an entry |", "kvserver/kv/command.go", `const commandVersion = (\d+)`},
	{"| snapshot container,", "raft/snapshot/format.go", `formatVersion += (\d+)`},
	{"| the state in a snapshot (payload) |", "kvserver/kv/snapshot.go", `snapshotVersion += (\d+)`},
	{"| digest of a state,", "kvserver/kv/digest.go", `const DigestVersion = (\d+)`},
	{"| `raftkv.toml`,", "raft/datadir/file.go", `const FormatNewest = (\d+)`},
}

// Goal: docs/formats.md lists every number and name that is stored or sent, and
// says the versions that the code has. Method: what the declarations in the code
// say, against the rows that are not kept.
func TestTheRegistryHasEveryNumber(t *testing.T) {
	text := source(t, "docs/formats.md")
	r := parseRegistry(text)
	for _, c := range registered {
		found := regexp.MustCompile(c.pattern).FindAllStringSubmatch(source(t, c.file), -1)
		if len(found) == 0 {
			t.Errorf("void: %s has nothing like %s", c.file, c.pattern)
		}
		for _, m := range found {
			if what := strings.ReplaceAll(m[1], " << ", "<<"); !r.has(c.place, what) {
				t.Errorf("%s: %s is not in docs/formats.md, %q", c.file, m[0], c.place)
			}
		}
	}
	for _, v := range versions {
		m := regexp.MustCompile(v.pattern).FindStringSubmatch(source(t, v.file))
		row := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(v.row) + `.*\| (\d+)[ ;]`).FindStringSubmatch(text)
		if m == nil || row == nil || m[1] != row[1] {
			t.Errorf("%s has the version %q and docs/formats.md %q", v.row, m, row)
		}
	}
	shape := regexp.MustCompile(`(?s)helloShape = shape\{(.*?)\}`).FindString(source(t, "raft/wire/hello.go"))
	fields := strings.Count(shape, "Element")
	for i := range fields {
		if !r.has("Between peers: hello field", strconv.Itoa(i+1)) {
			t.Errorf("field %d of the hello is not in docs/formats.md", i+1)
		}
	}
	if fields < 20 || r.has("Between peers: hello field", strconv.Itoa(fields+1)) {
		t.Errorf("the hello has %d fields, and docs/formats.md more", fields)
	}
}

// Goal: nothing that is in use is called kept, which says that it means nothing today: no
// word of a section stands in both kinds of rows, and the prefix of every metric has a row.
// Method: the rows of docs/formats.md, and the list in docs/metrics.md, which other tests
// hold to what nodes show.
func TestNothingInUseIsCalledKept(t *testing.T) {
	r := parseRegistry(source(t, "docs/formats.md"))
	for section, words := range r.kept { // any order will do
		for word := range words {
			if r.words[section][word] {
				t.Errorf("docs/formats.md, %s: %s is in use and kept", section, word)
			}
		}
	}
	metrics := regexp.MustCompile("(?m)^\\| `raftkv_(\\w+)`").FindAllStringSubmatch(source(t, "docs/metrics.md"), -1)
	for _, m := range metrics {
		known := false
		for prefix := range r.cells["Metrics: prefix"] {
			known = known || strings.HasPrefix(m[1], strings.Trim(prefix, "`"))
		}
		if !known {
			t.Errorf("no row of docs/formats.md has a prefix of the metric raftkv_%s", m[1])
		}
	}
	if len(metrics) < 100 || len(r.kept["HTTP"]) == 0 {
		t.Errorf("void: %d metrics, and of HTTP %v is kept", len(metrics), r.kept["HTTP"])
	}
}

func source(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(golden.Root(t), filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
