package arch

import (
	"fmt"
	"go/ast"
	"slices"
)

// Limits of size, for code that is not a test.
const (
	maxFileLines     = 500
	maxCoreFileLines = 400
	maxFunctionLines = 80
)

// longer lists files ("folder/file.go") and functions ("folder/file.go:
// function") that may be longer than the limits, each with the reason.
var longer = map[string]string{}

// CheckSize finds files and functions that are too long to be read in one go,
// and exceptions that are not needed any more.
func CheckSize(t *Tree) (complaints []string) {
	needed := map[string]bool{}
	judge := func(name string, lines, limit int) {
		if lines <= limit {
			return
		}
		needed[name] = true
		if _, excepted := longer[name]; !excepted {
			complaints = append(complaints, fmt.Sprintf("%s has %d lines; the limit is %d", name, lines, limit))
		}
	}
	t.eachFile(func(p *Package, f *File) {
		limit := maxFileLines
		if p.Path == "raft/core" {
			limit = maxCoreFileLines
		}
		judge(f.Path, f.Lines, limit)
		for _, d := range f.Syntax.Decls {
			if function, isFunction := d.(*ast.FuncDecl); isFunction {
				judge(f.Path+": "+function.Name.Name, t.line(function.End())-t.line(function.Pos())+1, maxFunctionLines)
			}
		}
	})
	for _, name := range sortedKeys(longer) {
		if !needed[name] {
			complaints = append(complaints, fmt.Sprintf("%s is listed as longer than the limits and is not", name))
		}
	}
	return complaints
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
