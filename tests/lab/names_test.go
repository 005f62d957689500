package lab

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// takenFiles are the files that an edition's own suite brings along; its
// persister.go may replace ours.
var takenFiles = []string{"config.go", "test_test.go", "raft_test.go", "kvraft_test.go", "server.go", "test.go", "proxy.go", "util.go"}

// takenNames are what those files declare, by the directory they go into.
var takenNames = map[string][]string{
	"raft": {
		"Debug", "DPrintf", "randstring", "makeSeed", "config", "ncpu_once", "make_config", "clone",
		"RaftElectionTimeout", "SnapShotInterval", "MAXLOGSIZE", "internalChurn", "snapcommon",
		"Test", "makeTest", "rfsrv", "newRfsrv", "raftServer", "StartArgs", "StartReply", "GetStateArgs", "GetStateReply",
	},
	"kvserver": {
		"Debug", "DPrintf", "randstring", "makeSeed", "random_handles", "config", "ncpu_once", "make_config",
		"electionTimeout", "linearizabilityCheckTimeout", "OpLog", "Op", "Get", "Put", "Append", "check",
		"run_client", "spawn_clients_and_wait", "NextValue", "checkClntAppends", "checkConcurrentAppends",
		"repartitioner", "GenericTest", "GenericTestLinearizability", "GenericTestSpeed", "Test", "MakeTest",
	},
}

// Goal: an edition's own files can stand in one folder with ours. Method: no file of ours
// has a name of theirs, and nothing that they declare is declared by our packages
// or by tests inside these.
func TestNamesOfTheEditionsAreFree(t *testing.T) {
	for pkg, taken := range takenNames {
		dir := filepath.Join("..", "..", pkg)
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			name := f.Name()
			if !strings.HasSuffix(name, ".go") {
				continue
			}
			if slices.Contains(takenFiles, name) && !(pkg == "kvserver" && name == "server.go") { // in the key/value labs that one is the student's
				t.Errorf("%s/%s has the name of an edition's own file", pkg, name)
			}
			for _, declared := range declarations(t, filepath.Join(dir, name), pkg) {
				if slices.Contains(taken, declared) {
					t.Errorf("%s/%s declares %s, as an edition's own files do", pkg, name, declared)
				}
			}
		}
	}
}

// declarations returns the names that a file declares in package pkg; none if it
// is of another package, such as a test outside.
func declarations(t *testing.T, path, pkg string) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if file.Name.Name != pkg {
		return nil
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				names = append(names, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					names = append(names, s.Name.Name)
				case *ast.ValueSpec:
					for _, n := range s.Names {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}
