package arch

import (
	"os"
	"path/filepath"
	"testing"
)

// root finds the folder that holds go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
}

// Goal: the module keeps its own rules. Method: parse it and run each rule.
func TestTheTreeKeepsItsRules(t *testing.T) {
	dir := root(t)
	tree, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) < 10 {
		t.Fatalf("void: only %d packages were found under %s", len(tree.Packages), dir)
	}
	for _, rule := range []struct {
		name  string
		check func() []string
	}{
		{"arrows", func() []string { return CheckArrows(tree) }},
		{"modules", func() []string { return CheckModules(tree, read(dir, "docs/dependencies.md")) }},
		{"go.mod", func() []string { return CheckGoMod(read(dir, "go.mod")) }},
		{"files", func() []string { return CheckFiles(tree) }},
		{"service", func() []string { return CheckService(tree) }},
		{"verification", func() []string { return CheckVerification(tree) }},
		{"purity", func() []string { return CheckPurity(tree) }},
		{"goroutines", func() []string { return CheckGoroutines(tree) }},
		{"bubbles", func() []string { return CheckBubbles(tree) }},
		{"map order", func() []string {
			imports, err := Importer(dir, tree.Fset, "./raft/members", "./raft/core", "./raft/identity", "./kvserver/auth", "./kvserver/kv", "./raft/node")
			if err != nil {
				return []string{err.Error()}
			}
			return CheckMapOrder(tree, imports)
		}},
		{"size", func() []string { return CheckSize(tree) }},
		{"comments", func() []string { return CheckComments(tree) }},
		{"fields of core.Raft", func() []string { return CheckRaftFields(tree) }},
		{"paper", func() []string { return CheckPaper(tree, read(dir, "docs/paper.md")) }},
		{"bugs", func() []string { return CheckBugs(tree, read(dir, "docs/bugs.md")) }},
		{"tests in documents", func() []string { return CheckTestNames(tree, Documents(dir)) }},
		{"promises", func() []string { return CheckPromises(tree, read(dir, "docs/coordination.md")) }},
		{"lines of documents", func() []string { return CheckLines(Documents(dir)) }},
		{"routes", func() []string { return CheckRoutes(tree, Documents(dir)) }},
	} {
		t.Run(rule.name, func(t *testing.T) {
			for _, complaint := range rule.check() {
				t.Error(complaint)
			}
		})
	}
}
