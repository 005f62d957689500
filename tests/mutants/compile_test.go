package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Goal: a row that does not compile judges nothing, and nobody sees it before the row
// is run, which takes hours for all of them. Method: the type checker reads each
// mutated package, as the compiler would, against the export data of its imports.
func TestEveryMutantCompiles(t *testing.T) {
	packages, exports := compiled(t)
	rows := make(chan mutant)
	var working sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		c := newChecker(packages, exports)
		working.Go(func() {
			for m := range rows {
				if err := c.check(m); err != nil {
					t.Errorf("mutant %s does not compile: %v", m.id, err)
				}
			}
		})
	}
	for _, m := range append(all(), canary) {
		if strings.HasSuffix(m.file, ".go") {
			rows <- m
		}
	}
	close(rows)
	working.Wait()
}

// Goal: the check above can fail. Method: rows that it must turn down.
func TestAMutantThatDoesNotCompileIsFound(t *testing.T) {
	c := newChecker(compiled(t))
	for name, text := range map[string]string{
		"a name that is not there": "return l.base.Index + nothing",
		"a value that is not used": "unused := 1; return l.base.Index",
		"another type":             "return l.base",
	} {
		m := canary
		m.new = strings.Replace(m.old, "return l.base.Index + uint64(len(l.entries))", text, 1)
		if err := c.check(m); err == nil || m.new == m.old {
			t.Errorf("%s: the row is said to compile", name)
		}
	}
}

// compiled returns the files of each package of the module, by its folder, and where the
// export data of everything it imports is, by import path. It has them compiled.
func compiled(t *testing.T) (packages map[string][]string, exports map[string]string) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Export,GoFiles,Module", "./...")
	list.Dir, list.Stderr = root, os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages, exports = map[string][]string{}, map[string]string{}
	for read := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Export string
			GoFiles            []string
			Module             *struct{ Main bool }
		}
		switch err := read.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages, exports
		case err != nil:
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Main {
			packages[strings.TrimPrefix(p.ImportPath, "raftkv/")] = p.GoFiles
		}
	}
}

// checker checks the types of mutated packages, one at a time.
type checker struct {
	fset     *token.FileSet
	packages map[string][]string
	imports  types.Importer
	parsed   map[string]*ast.File // unchanged files, by path
}

func newChecker(packages map[string][]string, exports map[string]string) *checker {
	c := &checker{fset: token.NewFileSet(), packages: packages, parsed: map[string]*ast.File{}}
	c.imports = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	return c
}

// check says why a mutated package does not compile, or nil.
func (c *checker) check(m mutant) error {
	with, _, err := m.mutated(root)
	if err != nil {
		return err
	}
	folder := path.Dir(m.file)
	if len(c.packages[folder]) == 0 {
		return fmt.Errorf("%s is in no package", m.file)
	}
	var files []*ast.File
	for _, name := range c.packages[folder] {
		name = path.Join(folder, name)
		file := c.parsed[name]
		switch {
		case name == m.file:
			file, err = parser.ParseFile(c.fset, name, with, parser.SkipObjectResolution)
		case file == nil:
			file, err = parser.ParseFile(c.fset, filepath.Join(root, name), nil, parser.SkipObjectResolution)
			c.parsed[name] = file
		}
		if err != nil {
			return err
		}
		files = append(files, file)
	}
	_, err = (&types.Config{Importer: c.imports}).Check("raftkv/"+folder, c.fset, files, nil)
	return err
}
