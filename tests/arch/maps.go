package arch

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// CheckMapOrder finds loops over maps in pure code. Their order differs from
// run to run; a comment on the loop's own line must say why it does not escape.
// The iterators of package maps are loops like any other, unless they are
// sorted at once.
func CheckMapOrder(t *Tree, imports types.Importer) (complaints []string) {
	for _, p := range t.Packages {
		if !slices.ContainsFunc(p.Files, func(f *File) bool { return isPure(f, p) }) {
			continue
		}
		info, err := typesOf(t, p, imports)
		if err != nil {
			complaints = append(complaints, fmt.Sprintf("package %s cannot be type-checked: %v", p.Path, err))
			continue
		}
		for _, f := range p.Files {
			if isPure(f, p) {
				complaints = append(complaints, mapLoops(t, f, info)...)
			}
		}
	}
	return complaints
}

// typesOf type-checks a package without its tests.
func typesOf(t *Tree, p *Package, imports types.Importer) (*types.Info, error) {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	var files []*ast.File
	for _, f := range p.Files {
		if !f.Test {
			files = append(files, f.Syntax)
		}
	}
	_, err := (&types.Config{Importer: imports}).Check(Module+"/"+p.Path, t.Fset, files, info)
	return info, err
}

func mapLoops(t *Tree, f *File, info *types.Info) (complaints []string) {
	explained := map[int]bool{} // lines that end in a comment
	for _, group := range f.Syntax.Comments {
		explained[t.line(group.Pos())] = true
	}
	complain := func(n ast.Node, what string) {
		if !explained[t.line(n.Pos())] {
			complaints = append(complaints, fmt.Sprintf("%s: %s has a random order; say on the same line why it does not escape, or sort", t.at(f, n.Pos()), what))
		}
	}
	sorted := map[ast.Expr]bool{}
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.RangeStmt:
			if isMap(info.Types[n.X].Type) {
				complain(n, "a loop over a map")
			}
		case *ast.CallExpr:
			if strings.HasPrefix(calledFunction(info, n), "slices.Sorted") {
				for _, argument := range n.Args {
					sorted[argument] = true
				}
			}
			if slices.Contains([]string{"maps.Keys", "maps.Values", "maps.All"}, calledFunction(info, n)) && !sorted[n] {
				complain(n, calledFunction(info, n))
			}
		}
		return true
	})
	return complaints
}

// isMap reports whether a value of the type is ranged over as a map, also when
// the type is a parameter that stands for maps only.
func isMap(t types.Type) bool {
	if t == nil {
		return false
	}
	if parameter, isParameter := t.(*types.TypeParam); isParameter {
		union, isUnion := parameter.Constraint().Underlying().(*types.Interface)
		if !isUnion || union.NumEmbeddeds() == 0 {
			return false
		}
		for i := range union.NumEmbeddeds() {
			embedded, isTerms := union.EmbeddedType(i).(*types.Union)
			if isTerms && embedded.Len() > 0 && isMap(embedded.Term(0).Type()) {
				return true
			}
		}
		return false
	}
	_, is := t.Underlying().(*types.Map)
	return is
}

// calledFunction names the package-level function that is called, as
// "package.Function"; "" if it is something else.
func calledFunction(info *types.Info, call *ast.CallExpr) string {
	fun := call.Fun
	if indexed, isIndexed := fun.(*ast.IndexExpr); isIndexed {
		fun = indexed.X
	}
	selector, isSelector := fun.(*ast.SelectorExpr)
	if !isSelector {
		return ""
	}
	function, isFunction := info.Uses[selector.Sel].(*types.Func)
	if !isFunction || function.Pkg() == nil || function.Signature().Recv() != nil {
		return ""
	}
	return function.Pkg().Path() + "." + function.Name()
}

// Importer returns an importer for everything that the packages need. It asks
// the go tool for compiled packages and so costs a build, mostly from its cache.
func Importer(root string, fset *token.FileSet, packages ...string) (types.Importer, error) {
	arguments := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}"}
	command := exec.Command("go", append(arguments, packages...)...)
	command.Dir = root
	var problems strings.Builder
	command.Stderr = &problems
	listed, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, problems.String())
	}
	compiled := map[string]string{}
	for line := range strings.Lines(string(listed)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		compiled[path] = file
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		file, found := compiled[path]
		if !found || file == "" {
			return nil, fmt.Errorf("%s was not built", path)
		}
		return os.Open(file)
	}), nil
}
