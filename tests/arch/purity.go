package arch

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// pure are the packages and files that must give the same run for the same
// calls: no clock, no goroutine, no lock, no chance of their own.
var pure = []string{"raft/members", "raft/core", "raft/identity", "raft/msgpack", "kvserver/fields", "kvserver/auth", "kvserver/kv", "kvserver/lease", "kvserver/lock", "kvserver/watch", "raft/node/replica.go"}

// coreImports is all that raft/core may import.
var coreImports = []string{"fmt", "slices", "errors", "math/rand/v2", "encoding/binary", "hash/crc32"}

// impure are the packages of the standard library that a pure package may not
// import, with what is below them.
var impure = []string{
	"time", "os", "net", "sync", "syscall", "runtime", "context", "log", "unsafe", "io/fs", "path/filepath", "math/rand", "crypto/rand", "testing",
}

// concurrent are the packages and files that may start goroutines. labrpc is a
// network that the labs simulate with them, and a call over it blocks, so the
// labs' transport needs one for each.
var concurrent = []string{"raft/node", "raft/wire", "kvserver", "client", "bench", "verify", "cmd", "tests", "labrpc", "raft/lab_rpc.go"}

// isPure reports whether the rules for pure code apply to a file.
func isPure(f *File, p *Package) bool {
	return !f.Test && (slices.Contains(pure, p.Path) || slices.Contains(pure, f.Path))
}

// CheckPurity holds the pure packages to what they may import and use.
func CheckPurity(t *Tree) (complaints []string) {
	t.eachFile(func(p *Package, f *File) {
		if !isPure(f, p) {
			return
		}
		for _, path := range f.imports() {
			// What begins with math/rand/v2 is chance under a seed.
			banned := path != "math/rand/v2" && slices.ContainsFunc(impure, func(folder string) bool { return isUnder(path, folder) })
			switch {
			case banned:
				complaints = append(complaints, fmt.Sprintf("%s imports %s: pure code has no clock, file, socket, lock, goroutine or chance of its own", f.Path, path))
			case p.Path == "raft/core" && !slices.Contains(coreImports, path) && !strings.HasPrefix(path, Module+"/"):
				complaints = append(complaints, fmt.Sprintf("%s imports %s: raft/core may import %s", f.Path, path, strings.Join(coreImports, ", ")))
			}
		}
		complaints = append(complaints, globalChance(t, f)...)
	})
	return complaints
}

// globalChance finds uses of math/rand/v2 that draw from its global source. Only
// its types and constructors are allowed.
func globalChance(t *Tree, f *File) (complaints []string) {
	name := importName(f, "math/rand/v2", "rand")
	if name == "" {
		return nil
	}
	if name == "." {
		return []string{fmt.Sprintf("%s imports math/rand/v2 by a dot: name what is used", f.Path)}
	}
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		selector, isSelector := n.(*ast.SelectorExpr)
		if !isSelector || !isName(selector.X, name) {
			return true
		}
		used := selector.Sel.Name
		if !strings.HasPrefix(used, "New") && !slices.Contains([]string{"Rand", "Source", "PCG", "ChaCha8", "Zipf"}, used) {
			complaints = append(complaints, fmt.Sprintf("%s: rand.%s draws from the global source; draw from the configured *rand.Rand", t.at(f, n.Pos()), used))
		}
		return true
	})
	return complaints
}

// CheckGoroutines finds goroutines that are started where none may be.
func CheckGoroutines(t *Tree) (complaints []string) {
	t.eachFile(func(p *Package, f *File) {
		allowed := slices.ContainsFunc(concurrent, func(folder string) bool { return isUnder(p.Path, folder) || f.Path == folder })
		if allowed && !isPure(f, p) {
			return
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			if what := startsGoroutine(f, n); what != "" {
				complaints = append(complaints, fmt.Sprintf("%s: %s starts a goroutine; only %s may", t.at(f, n.Pos()), what, strings.Join(concurrent, ", ")))
			}
			return true
		})
	})
	return complaints
}

// startsGoroutine names what starts a goroutine at a node, if anything does. A
// method called Go is taken for that of a sync.WaitGroup or its like.
func startsGoroutine(f *File, n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a go statement"
	case *ast.CallExpr:
		selector, isSelector := n.Fun.(*ast.SelectorExpr)
		if !isSelector {
			return ""
		}
		for _, path := range []string{"time", "context"} {
			if name := importName(f, path, path); name != "" && isName(selector.X, name) && selector.Sel.Name == "AfterFunc" {
				return path + ".AfterFunc"
			}
		}
		if selector.Sel.Name == "Go" {
			return "a call of Go"
		}
	}
	return ""
}

// importName returns the name by which a file knows a package, "" if it does
// not import it.
func importName(f *File, path, usual string) string {
	for _, spec := range f.Syntax.Imports {
		if strings.Trim(spec.Path.Value, "`\"") != path {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return usual
	}
	return ""
}

func isName(e ast.Expr, name string) bool {
	ident, isIdent := e.(*ast.Ident)
	return isIdent && ident.Name == name
}

// CheckBubbles finds tests that open a bubble of virtual time on their own. What
// tests/virtual does for them keeps the race detector from ending the program.
func CheckBubbles(t *Tree) (complaints []string) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			name := importName(f, "testing/synctest", "synctest")
			if name == "" || p.Path == "tests/virtual" {
				continue
			}
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				if selector, isSelector := n.(*ast.SelectorExpr); isSelector && isName(selector.X, name) && selector.Sel.Name == "Test" {
					complaints = append(complaints, fmt.Sprintf("%s: %s.Test opens a bubble: call virtual.Time of tests/virtual", t.at(f, n.Pos()), name))
				}
				return true
			})
		}
	}
	return complaints
}
