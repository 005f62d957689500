package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Module is the path of the module that the rules are about.
const Module = "raftkv"

// File is one Go file.
type File struct {
	Path   string // from the module's root, with slashes
	Syntax *ast.File
	Lines  int
	Test   bool
}

// Package is the Go files of one folder, tests included.
type Package struct {
	Path  string // of its folder from the module's root; "raft/core"
	Files []*File
}

// Tree is a parsed module.
type Tree struct {
	Root     string // folder on disk
	Fset     *token.FileSet
	Packages []*Package // sorted by Path
}

// Load parses all Go files under root. It leaves out folders that the go tool
// leaves out, and modules of their own.
func Load(root string) (*Tree, error) {
	t := &Tree{Root: root, Fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && isLeftOut(path):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return t.Add(filepath.ToSlash(name), content)
	})
	return t, err
}

func isLeftOut(dir string) bool {
	name := filepath.Base(dir)
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "vendor"
}

// Add parses one file and adds it. path is from the module's root.
func (t *Tree) Add(path string, content []byte) error {
	syntax, err := parser.ParseFile(t.Fset, filepath.Join(t.Root, filepath.FromSlash(path)), content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	folder := strings.TrimSuffix(path[:strings.LastIndex(path, "/")+1], "/")
	i, found := slices.BinarySearchFunc(t.Packages, folder, func(p *Package, folder string) int { return strings.Compare(p.Path, folder) })
	if !found {
		t.Packages = slices.Insert(t.Packages, i, &Package{Path: folder})
	}
	p := t.Packages[i]
	p.Files = append(p.Files, &File{Path: path, Syntax: syntax, Lines: bytes.Count(content, []byte("\n")), Test: strings.HasSuffix(path, "_test.go")})
	return nil
}

// Package returns the package in a folder, nil if there is none.
func (t *Tree) Package(path string) *Package {
	for _, p := range t.Packages {
		if p.Path == path {
			return p
		}
	}
	return nil
}

// at names a position for a complaint.
func (t *Tree) at(f *File, pos token.Pos) string {
	return fmt.Sprintf("%s:%d", f.Path, t.Fset.Position(pos).Line)
}

// line returns the line of a position in its file.
func (t *Tree) line(pos token.Pos) int { return t.Fset.Position(pos).Line }

// imports returns the paths that a file imports, in order.
func (f *File) imports() []string {
	var paths []string
	for _, spec := range f.Syntax.Imports {
		paths = append(paths, strings.Trim(spec.Path.Value, "`\""))
	}
	return paths
}

// eachFile calls visit for every file of the tree that is not a test.
func (t *Tree) eachFile(visit func(*Package, *File)) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if !f.Test {
				visit(p, f)
			}
		}
	}
}
