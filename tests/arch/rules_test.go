package arch

import (
	"fmt"
	"go/importer"
	"slices"
	"strings"
	"testing"
)

// source is a small tree: path of a file to its content.
type source map[string]string

func (s source) tree(t *testing.T) *Tree {
	t.Helper()
	tree, err := Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range s {
		if err := tree.Add(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// expect demands one complaint per wanted text that holds it, and no other.
func expect(t *testing.T, what string, complaints []string, want ...string) {
	t.Helper()
	for _, text := range want {
		i := slices.IndexFunc(complaints, func(c string) bool { return strings.Contains(c, text) })
		if i < 0 {
			t.Errorf("%s: nothing says %q in %q", what, text, complaints)
			continue
		}
		complaints = slices.Delete(slices.Clone(complaints), i, i+1)
	}
	for _, c := range complaints {
		t.Errorf("%s: complains: %s", what, c)
	}
}

// Goal: an arrow that is not drawn is seen, in code and in tests, and so is a
// package that has no place; what is drawn is not complained about.
func TestArrowsAreSeen(t *testing.T) {
	for _, c := range []struct {
		path, imports string
		want          []string
	}{
		{"raft/wal/a.go", "raftkv/raft/core", nil},
		{"raft/wal/a_test.go", "raftkv/raft/wal", nil},
		{"kvserver/a_test.go", "raftkv/raft/core", nil}, // reached through raft
		{"tests/sim/a.go", "raftkv/raft/node", nil},
		{"raft/core/a.go", "raftkv/raft/wal", []string{"raft/core/a.go imports raft/wal: raft/core may import raft/members"}},
		{"raft/members/a.go", "raftkv/raft/core", []string{"raft/members/a.go imports raft/core: raft/members may import nothing of ours"}},
		{"raft/node/a.go", "raftkv/raft/wal", []string{"raft/node/a.go imports raft/wal"}},
		{"raft/wal/a.go", "raftkv/raft/node", []string{"raft/wal/a.go imports raft/node"}},
		{"raft/a.go", "raftkv/raft/wire", []string{"raft/a.go imports raft/wire"}},
		{"kvserver/a.go", "raftkv/raft/core", []string{"kvserver/a.go imports raft/core"}},
		{"kvserver/kv/a.go", "raftkv/kvserver", []string{"kvserver/kv/a.go imports kvserver"}},
		{"kvserver/api/a_test.go", "raftkv/kvserver", []string{"kvserver/api/a_test.go imports kvserver"}},
		{"client/a.go", "raftkv/kvserver", []string{"client/a.go imports kvserver"}},
		{"cmd/raftkv/a.go", "raftkv/labrpc", []string{"cmd/raftkv/a.go imports labrpc"}},
		{"raft/a.go", "raftkv/tests/sim", []string{"raft/a.go imports tests/sim"}},
		{"raft/extra/a.go", "raftkv/raft/core", []string{"package raft/extra has no place"}},
	} {
		tree := source{c.path: "package a\nimport _ \"" + c.imports + "\"\n"}.tree(t)
		expect(t, c.path, CheckArrows(tree), c.want...)
	}
}

// Goal: a module of others is imported only by whom the table names, and the
// table agrees with the document and with what is used.
func TestModulesAreHeldToTheTable(t *testing.T) {
	var document strings.Builder
	for _, module := range sortedKeys(modules) {
		document.WriteString("| `" + module + "` | for | `" + strings.Join(modules[module], "`, `") + "` | why |\n")
	}
	good := source{}
	for i, module := range sortedKeys(modules) {
		good[modules[module][0]+"/"+string(rune('a'+i))+".go"] = "package a\nimport _ \"" + module + "/sub\"\n"
	}
	expect(t, "as it should be", CheckModules(good.tree(t), document.String()))

	good["raft/core/x.go"] = "package a\nimport _ \"github.com/gorilla/mux\"\n"
	expect(t, "wrong importer", CheckModules(good.tree(t), document.String()), "raft/core/x.go imports github.com/gorilla/mux: only kvserver/httpd may")
	good["raft/core/x.go"] = "package a\nimport _ \"github.com/gorilla/muxer\"\n"
	expect(t, "unknown module", CheckModules(good.tree(t), document.String()), "github.com/gorilla/muxer: it is not in docs/dependencies.md")
	delete(good, "raft/core/x.go")

	expect(t, "more in the document", CheckModules(good.tree(t), document.String()+"| `example.com/x` | for | `raft` | why |\n"), "names example.com/x")
	expect(t, "other in the document", CheckModules(good.tree(t), strings.Replace(document.String(), "`kvserver/kv`", "`kvserver`", 1)), "tidwall/btree is imported by kvserver, kvserver/lease, kvserver/lock; tests")
	for path := range good { // the one file that imports it
		if strings.HasPrefix(path, "kvserver/kv/") {
			delete(good, path)
		}
	}
	expect(t, "unused", CheckModules(good.tree(t), document.String()), "github.com/tidwall/btree is in the table")
	expect(t, "go.mod", CheckGoMod("module m\n\ngo 1.26.0\n\nrequire example.com/a v1.0.0\nrequire (\n\tgithub.com/gorilla/mux v1.8.1\n\texample.com/b v1.0.0\n\texample.com/c v1.0.0 // indirect\n)\n"),
		"example.com/a", "example.com/b")
}

// Goal: a clock, a file, a lock or chance of its own is seen in pure code, and
// only there.
func TestImpurityIsSeen(t *testing.T) {
	for _, path := range []string{"time", "os", "os/signal", "net", "net/http", "sync", "sync/atomic", "math/rand", "crypto/rand", "context"} {
		body := "package a\nimport _ \"" + path + "\"\n"
		tree := source{"kvserver/kv/a.go": body, "raft/node/replica.go": body, "raft/node/b.go": body, "kvserver/kv/a_test.go": body}.tree(t)
		expect(t, path, CheckPurity(tree), "kvserver/kv/a.go imports "+path+":", "raft/node/replica.go imports "+path+":")
	}
	expect(t, "core's list", CheckPurity(source{"raft/core/a.go": "package a\nimport (\n\t_ \"strings\"\n\t_ \"fmt\"\n)\n"}.tree(t)), "imports strings: raft/core may import fmt")
	chance := "package a\nimport \"math/rand/v2\"\nvar a = rand.New(rand.NewPCG(1, 2))\nvar _ *rand.Rand\nvar b = rand.IntN(3)\nvar c = a.IntN(3)\n"
	expect(t, "global chance", CheckPurity(source{"raft/core/a.go": chance}.tree(t)), "raft/core/a.go:5: rand.IntN")
	renamed := "package a\nimport r \"math/rand/v2\"\nvar b = r.N(3)\n"
	expect(t, "global chance under another name", CheckPurity(source{"raft/core/a.go": renamed}.tree(t)), "rand.N draws")
	dotted := "package a\nimport . \"math/rand/v2\"\nvar b = IntN(3)\n"
	expect(t, "global chance by a dot", CheckPurity(source{"raft/core/a.go": dotted}.tree(t)), "by a dot")
}

// Goal: a goroutine is seen where none may start, however it is started.
func TestGoroutinesAreSeen(t *testing.T) {
	for body, what := range map[string]string{
		"func f() { go f() }": "a go statement",
		"import \"sync\"\nfunc f() { var w sync.WaitGroup; w.Go(f) }":              "a call of Go",
		"import \"time\"\nfunc f() { time.AfterFunc(1, f) }":                       "time.AfterFunc",
		"import c \"context\"\nfunc f() { c.AfterFunc(c.Background(), func(){}) }": "context.AfterFunc",
	} {
		text := "package a\n" + body + "\n"
		tree := source{
			"raft/core/a.go": text, "raft/wal/a.go": text, "raft/a.go": text, "raft/node/replica.go": text, "kvserver/kv/a.go": text,
			"raft/node/a.go": text, "raft/wire/a.go": text, "kvserver/a.go": text, "client/a.go": text, "cmd/raftkv/a.go": text, "raft/wal/a_test.go": text,
		}.tree(t)
		var want []string
		// kvserver/kv is under kvserver, which may; pure code may not all the same.
		for _, file := range []string{"kvserver/kv/a.go", "raft/a.go", "raft/core/a.go", "raft/node/replica.go", "raft/wal/a.go"} {
			want = append(want, file+":")
		}
		complaints := CheckGoroutines(tree)
		expect(t, what, complaints, want...)
		for _, c := range complaints {
			if !strings.Contains(c, what) {
				t.Errorf("%q does not say %q", c, what)
			}
		}
	}
}

// Goal: a loop whose order differs from run to run is seen in pure code, in all
// its forms, unless its line says why it may.
func TestLoopsOverMapsAreSeen(t *testing.T) {
	body := `package core
import ("maps"; "slices")
type named map[int]string
type holder struct{ m named }
func f(m map[int]int, h holder, s []int, c chan int) {
	for range m { // sums only
	}
	for range m {
	}
	for k := range h.m {
		_ = k
	}
	for range s {
	}
	for range c {
	}
	for range 3 {
	}
	for range maps.Keys(m) {
	}
	for range slices.Sorted(maps.Keys(m)) {
	}
	_ = slices.Collect(maps.Values(m))
	_ = slices.Collect(maps.Values(m)) // a set
}
func g[K comparable, V any](m map[K]V) {
	for range m {
	}
}
func h[M ~map[K]V, K comparable, V any](m M) {
	for range m {
	}
}
`
	tree := source{"raft/core/a.go": body, "raft/core/a_test.go": "package core\nfunc t(m map[int]int) { for range m {} }\n", "raft/wal/a.go": strings.Replace(body, "core", "wal", 1)}.tree(t)
	imports := importer.ForCompiler(tree.Fset, "source", nil)
	expect(t, "map order", CheckMapOrder(tree, imports),
		"a.go:8: a loop", "a.go:10: a loop", "a.go:19: maps.Keys", "a.go:23: maps.Values", "a.go:27: a loop", "a.go:31: a loop")
	expect(t, "what does not compile", CheckMapOrder(source{"raft/core/a.go": "package core\nvar x int = \"\"\n"}.tree(t), imports), "cannot be type-checked")
}

// Goal: a test that opens a bubble itself is seen, under any name of the package,
// and one that only waits in a bubble is not.
func TestBubblesOfTheirOwnAreSeen(t *testing.T) {
	body := "package a\nimport %s \"testing/synctest\"\nfunc TestA(t *testing.T) {\n\t%s.Test(t, nil)\n\t%[2]s.Wait()\n}\n"
	tree := source{
		"raft/a_test.go": fmt.Sprintf(body, "", "synctest"), "client/a_test.go": fmt.Sprintf(body, "s", "s"), "tests/virtual/a.go": fmt.Sprintf(body, "", "synctest"),
	}.tree(t)
	expect(t, "bubbles", CheckBubbles(tree), "client/a_test.go:4: s.Test opens", "raft/a_test.go:4: synctest.Test opens")
}

// Goal: what is too long is seen, with the limit of its place, and an exception
// that nobody needs is seen, too.
func TestSizeIsSeen(t *testing.T) {
	long := func(lines int) string { return "package a\n" + strings.Repeat("\n", lines-1) }
	function := func(lines int) string { return "package a\nfunc f() {\n" + strings.Repeat("\n", lines-2) + "}\n" }
	tree := source{
		"raft/core/a.go": long(401), "raft/core/b.go": long(400), "raft/wal/a.go": long(501), "raft/wal/b.go": long(500),
		"raft/wal/a_test.go": long(900), "raft/wal/c.go": function(81), "raft/wal/d.go": function(80),
	}.tree(t)
	expect(t, "size", CheckSize(tree), "raft/core/a.go has 401 lines; the limit is 400", "raft/wal/a.go has 501", "raft/wal/c.go: f has 81")
	longer["raft/wal/c.go: f"], longer["raft/wal/d.go: f"] = "reason", "reason"
	defer func() { delete(longer, "raft/wal/c.go: f"); delete(longer, "raft/wal/d.go: f") }()
	expect(t, "exceptions", CheckSize(tree), "raft/core/a.go has 401", "raft/wal/a.go has 501", "raft/wal/d.go: f is listed")
}

// Goal: what is exported and has no comment is seen, and so is a package
// without one.
func TestMissingCommentsAreSeen(t *testing.T) {
	body := `package a
func Bare() {}
func bare() {}
// Said.
func Said() {}
type T struct{}
func (T) Method() {}
const (
	A = 1
	B = 2 // said
	// C is said.
	C = 3
	d = 4
)
// All of these.
var (
	E = 1
)
var F, g = 1, 2
`
	expect(t, "comments", CheckComments(source{"raft/a.go": body, "raft/a_test.go": "package a\nfunc Test() {}\n"}.tree(t)),
		"raft/a.go:2: Bare", "raft/a.go:6: T ", "raft/a.go:9: A ", "raft/a.go:19: F ", "package raft has no package comment")
	expect(t, "package comment", CheckComments(source{"raft/a.go": "// Package a is said.\npackage a\n", "raft/b.go": "package a\n", "tests/x/a_test.go": "package x\n"}.tree(t)))
	expect(t, "fields", CheckRaftFields(source{"raft/core/a.go": "package core\ntype Raft struct {\n\ta int // said\n\t// said\n\tb int\n\tc int\n\td, e int\n}\n"}.tree(t)),
		"raft/core/a.go:6:", "raft/core/a.go:7:")
	expect(t, "no Raft", CheckRaftFields(source{"raft/core/a.go": "package core\n"}.tree(t)), "was not found")
}

// Goal: docs/paper.md cannot name what does not exist, leave a rule without a
// function or lose rules unseen.
func TestPaperIsHeldToTheCode(t *testing.T) {
	tree := source{
		"raft/core/election.go": "package core\ntype Raft struct{ votes int }\nfunc (r *Raft) campaign() {}\nfunc solicit() {}\n",
		"raft/node/node.go":     "package node\nfunc loop() {}\n",
	}.tree(t)
	row := "| a rule | `election.go: campaign` |\n"
	head := "# Map\n## Figure 2: rules\n| rule | code |\n|---|---|\n"
	full := head + strings.Repeat(row, figure2Rules)
	expect(t, "as it should be", CheckPaper(tree, full+"\n## Other\nSee `raft/node/node.go: loop`, `election.go: (*Raft).campaign, solicit`, `election.go`.\n| x | y |\n"))
	expect(t, "a function that is gone", CheckPaper(tree, full+"`election.go: stand`\n"), "names stand in raft/core/election.go")
	expect(t, "one of several", CheckPaper(tree, full+"`election.go: solicit, stand`\n"), "names stand")
	expect(t, "a file that is gone", CheckPaper(tree, full+"`votes.go: campaign`\n"), "names raft/core/votes.go")
	expect(t, "a rule without a function", CheckPaper(tree, full+"| a rule | `election.go` |\n"), "docs/paper.md:24: a rule of Figure 2 names no")
	expect(t, "rules that are lost", CheckPaper(tree, head+row), "has 1 table rows")
	expect(t, "no document", CheckPaper(tree, ""), "does not exist")
}

// Goal: every route must stand in a document, and a table of routes that is not
// found is not taken for one without routes.
func TestRoutesMustBeDocumented(t *testing.T) {
	tree := source{"kvserver/httpd/routes.go": `package httpd
var table = []Route{
	{"ignored", "/ignored"},
}
var all = []any{Route{"GET", "/v1/kv/{key}", nil}, Route{Method: "PUT", Path: "/v1/kv/{key}"}, Route{"GET", "/livez", nil}}
`}.tree(t)
	documents := map[string]string{"README.md": "`GET /v1/kv/{key}`\n", "docs/http.md": "`PUT /v1/kv/{key}` and `GET /livez`\n"}
	expect(t, "as it should be", CheckRoutes(tree, documents))
	documents["docs/http.md"] = "PUT a value, GET /livezz\n/v1/kv/{key}\n"
	expect(t, "two that are missing", CheckRoutes(tree, documents), "holds PUT /v1/kv/{key}", "holds GET /livez")
	expect(t, "no table", CheckRoutes(source{"kvserver/httpd/a.go": "package httpd\n"}.tree(t), documents), "no route was found")
}

// Goal: a line of a document that nobody can read is seen, with its place.
// Method: lines at the limit and one beyond it, counted in characters and not in
// bytes.
func TestLongLinesAreSeen(t *testing.T) {
	at := strings.Repeat("é", longestLine)
	expect(t, "lines", CheckLines(map[string]string{
		"README.md": at + "\nshort\n" + at + "!\n", "docs/a.md": at,
	}), "README.md:3 has 401 characters")
}

// Goal: an entry of docs/bugs.md cannot lose a part, or name a test that is gone
// or was moved. Method: a small tree and entries that are right or wrong.
func TestBugsAreHeldToTheCode(t *testing.T) {
	tree := source{
		"raft/wal/a_test.go":  "package wal\nfunc TestKept() {}\nfunc TestBroken_One() {}\n",
		"raft/wire/a_test.go": "package wire\nfunc TestElsewhere() {}\n",
	}.tree(t)
	entry := func(tests string) string {
		return "# Bugs\n\n### It broke\n\nOnce.\n\n**Why:** x.\n\n**Done:** y.\n\n**Found by** z. **Test:** " + tests + ".\n"
	}
	expect(t, "as it should be", CheckBugs(tree, entry("`raft/wal`: `TestKept`,\n`TestBroken_`; `raft/wire`: `TestElsewhere`; `make faults`")))
	expect(t, "a test that is gone", CheckBugs(tree, entry("`raft/wal`: `TestKept`, `TestGone`")), "names TestGone in raft/wal; it is in []")
	expect(t, "a test that was moved", CheckBugs(tree, entry("`raft/wal`: `TestElsewhere`")), `it is in ["raft/wire"]`)
	expect(t, "no test", CheckBugs(tree, strings.Replace(entry(""), "**Test:** ", "", 1)), "0 times \"**Test:** \"")
	expect(t, "no reason", CheckBugs(tree, strings.Replace(entry("`raft/wal`: `TestKept`"), "**Why:** ", "", 1)), "0 times \"**Why:** \"")
	expect(t, "no entry", CheckBugs(tree, "# Bugs\n"), "has no entry")
}

// Goal: a document cannot go on naming a test that is gone. Method: a small tree and names.
func TestNamesOfTestsAreHeldToTheCode(t *testing.T) {
	tree := source{"raft/wal/a_test.go": "package wal\nfunc TestKept() {}\nfunc TestBroken_One() {}\n"}.tree(t)
	expect(t, "as it should be", CheckTestNames(tree, map[string]string{"docs/a.md": "`TestKept` and `TestBroken_`, and TestGone as a word"}))
	expect(t, "a test that is gone", CheckTestNames(tree, map[string]string{"docs/a.md": "`TestKept`", "docs/b.md": "| `TestGone` |"}), "docs/b.md names TestGone")
}

// Goal: a promise that no test holds is found. Method: a small tree and a table of promises.
func TestPromisesAreHeldToTheCode(t *testing.T) {
	tree := source{"raft/wal/a_test.go": "package wal\n\n// Goal: W1, and W12.\nfunc TestKept() {}\n", "raft/wal/a.go": "package wal // W2\n"}.tree(t)
	expect(t, "as it should be", CheckPromises(tree, "| W1 ordered | x |\n| W12 | y |\nW3 is none\n"))
	expect(t, "without a test", CheckPromises(tree, "| W1 | x |\n| W2 | y |\n"), "names the promise W2")
}

// Goal: a package that grows without end is found, and an exception that nobody needs,
// too. Method: a tree with packages of 25 and 26 files, tests not counted.
func TestAPackageOfManyFilesIsSeen(t *testing.T) {
	unneeded := func() (all []string) {
		for _, path := range sortedKeys(bigger) {
			all = append(all, "package "+path+" is listed as bigger")
		}
		return all
	}()
	big := source{}
	for i := range maxPackageFiles + 1 {
		big[fmt.Sprintf("kvserver/port/f%d.go", i)] = "package port\n"
		big[fmt.Sprintf("cmd/raftkv/f%d.go", i)] = "package main\n"
		if i > 0 {
			big[fmt.Sprintf("raft/wal/f%d.go", i)] = "package wal\n"
		}
	}
	big["raft/wal/f_test.go"] = "package wal\n"
	expect(t, "too many files", CheckFiles(big.tree(t)), append([]string{"package cmd/raftkv has 26 files", "package kvserver/port has 26 files"}, unneeded...)...)
	for i := range maxPackageFiles + 1 {
		big[fmt.Sprintf("tests/mutants/f%d.go", i)] = "package main\n"
		delete(big, fmt.Sprintf("kvserver/port/f%d.go", i))
	}
	expect(t, "exceptions", CheckFiles(big.tree(t)), "package cmd/raftkv has 26 files", "package tests/sim is listed as bigger")
}

// Goal: the rooms of the service are kept: a door that names the other and a store
// outside of the machine are found. Method: a tree with each of them, and the same
// where it is allowed.
func TestTheRoomsOfTheServiceAreKept(t *testing.T) {
	doors := source{
		"kvserver/httpd/a.go":      "package httpd\n\nimport \"raftkv/kvserver/clerkd\"\n\nvar _ = clerkd.New\n",
		"kvserver/httpd/a_test.go": "package httpd\n\nimport \"raftkv/kvserver/clerkd\"\n\nvar _ = clerkd.New\n",
		"kvserver/clerkd/a.go":     "package clerkd\n\nimport \"raftkv/kvserver/httpd\"\n\nvar _ = httpd.New\n",
	}
	expect(t, "doors", CheckService(doors.tree(t)), "kvserver/clerkd/a.go names kvserver/httpd", "kvserver/httpd/a.go names kvserver/clerkd")
	const store = "import \"raftkv/kvserver/kv\"\n\nvar s *kv.Store = kv.New()\n"
	stores := source{
		"kvserver/machine/a.go": "package machine\n\n" + store, "kvserver/backup_file.go": "package kvserver\n\n" + store,
		"kvserver/a_test.go": "package kvserver\n\n" + store, "kvserver/httpd/a.go": "package httpd\n\n" + store,
	}
	expect(t, "a store", CheckService(stores.tree(t)), "kv.Store: only kvserver/machine", "kv.New: only kvserver/machine")
	trusting := source{"kvserver/httpd/a.go": `package httpd
import "crypto/tls"
var c = &tls.Config{InsecureSkipVerify: true}
`, "raft/certs/a.go": `package certs
import "crypto/tls"
var c = &tls.Config{InsecureSkipVerify: true}
`}
	expect(t, "verification", CheckVerification(trusting.tree(t)), "kvserver/httpd/a.go:3: InsecureSkipVerify")
}
