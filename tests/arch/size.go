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

// maxPackageFiles is how many files, tests not counted, a package may have. A package
// that needs more has two subjects.
const maxPackageFiles = 25

// bigger lists packages that may have more files, each with the reason.
var bigger = map[string]string{
	"tests/mutants": "a table for each package of the program",
	"tests/sim":     "one world, whose parts name each other's fields",
}

// CheckFiles finds packages that have too many files, and exceptions that are not
// needed any more.
func CheckFiles(t *Tree) (complaints []string) {
	needed := map[string]bool{}
	for _, p := range t.Packages {
		count := 0
		for _, f := range p.Files {
			if !f.Test {
				count++
			}
		}
		if count <= maxPackageFiles {
			continue
		}
		needed[p.Path] = true
		if _, excepted := bigger[p.Path]; !excepted {
			complaints = append(complaints, fmt.Sprintf("package %s has %d files; the limit is %d: it has more than one subject", p.Path, count, maxPackageFiles))
		}
	}
	for _, path := range sortedKeys(bigger) {
		if !needed[path] {
			complaints = append(complaints, fmt.Sprintf("package %s is listed as bigger than the limit and is not", path))
		}
	}
	return complaints
}

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
