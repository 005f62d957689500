package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// site is one place at which a mutant can be made, and the text that makes it.
type site struct {
	file     string // from the root of the source
	line     int
	start    int // the text from start to end, in bytes, is replaced
	end      int
	new      string
	operator string // what kind of change it is
	old      string // the first line of the text that is replaced, for people
}

func (s site) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", s.file, s.line, s.operator, s.old)
}

// equalMark marks a line whose mutants nobody could tell from the original; the reason
// follows it.
const equalMark = "//mutant:equal because "

// reader finds the sites of one file.
type reader struct {
	name  string
	text  []byte
	fset  *token.FileSet
	sites []site
	equal map[int]bool // lines that are marked
	types []ast.Expr   // results of the function that is being read
}

// sitesOf returns the sites of a package's files that this machine builds, in order,
// and how many lines are marked as equal. dir is from the root of the source.
func sitesOf(root, dir string, files []string) (sites []site, marked int, err error) {
	for _, name := range files {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return nil, 0, err
		}
		r, err := readSites(filepath.ToSlash(path), text)
		if err != nil {
			return nil, 0, err
		}
		sites = append(sites, r.sites...)
		marked += len(r.equal)
	}
	return sites, marked, nil
}

// readSites finds the sites of one file.
func readSites(name string, text []byte) (*reader, error) {
	r := &reader{name: name, text: text, fset: token.NewFileSet(), equal: map[int]bool{}}
	file, err := parser.ParseFile(r.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(file) {
		return r, nil
	}
	for _, group := range file.Comments {
		for _, c := range group.List {
			if strings.Contains(c.Text, equalMark) {
				r.equal[r.fset.Position(c.Pos()).Line] = true
			}
		}
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil && !isForPeople(f) {
			r.types = nil
			if f.Type.Results != nil {
				for _, field := range f.Type.Results.List {
					for range max(1, len(field.Names)) {
						r.types = append(r.types, field.Type)
					}
				}
			}
			ast.Inspect(f.Body, r.visit)
		}
	}
	return r, nil
}

// isForPeople reports whether a function makes texts that no program depends on.
func isForPeople(f *ast.FuncDecl) bool {
	return f.Recv != nil && slices.Contains([]string{"String", "Error", "GoString", "Format", "LogValue"}, f.Name.Name)
}

// visit adds the sites of one node. Calls that write logs are left out with all they
// hold, and so are assertions: these speak only when something else is wrong.
func (r *reader) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncLit: // its results are others; what is returned there is left alone
		types := r.types
		r.types = nil
		ast.Inspect(n.Body, r.visit)
		r.types = types
		return false
	case *ast.CallExpr:
		if speaks(n) {
			return false
		}
		r.arguments(n)
	case *ast.IfStmt:
		r.condition(n.Cond)
	case *ast.ForStmt:
		if n.Cond != nil {
			r.replace(n.Cond, "negated condition", "!("+r.source(n.Cond)+")")
		}
	case *ast.BinaryExpr:
		r.binary(n)
	case *ast.BasicLit:
		if n.Kind == token.INT {
			r.replace(n, "constant + 1", "("+n.Value+" + 1)")
			if n.Value != "0" {
				r.replace(n, "constant - 1", "("+n.Value+" - 1)")
			}
		}
	case *ast.ReturnStmt:
		r.results(n)
	case *ast.CaseClause:
		if n.List != nil {
			r.replace(n, "case dropped", "")
		}
	default:
		r.statement(n)
	}
	return true
}

// statement adds what can be dropped.
func (r *reader) statement(n ast.Node) {
	switch n := n.(type) {
	case *ast.ExprStmt:
		if call, ok := n.X.(*ast.CallExpr); ok && !speaks(call) && !isName(call.Fun, "panic") {
			r.replace(n, "call dropped", "")
		}
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			r.replace(n, "assignment dropped", "")
		}
	case *ast.IncDecStmt:
		swapped := map[token.Token]string{token.INC: "--", token.DEC: "++"}
		r.replace(n, "++ and -- swapped", r.source(n.X)+swapped[n.Tok])
	case *ast.BranchStmt:
		if n.Tok == token.CONTINUE || n.Tok == token.BREAK {
			r.replace(n, n.Tok.String()+" dropped", "")
		}
	}
}

// condition adds the mutants of an if.
func (r *reader) condition(cond ast.Expr) {
	if b, ok := cond.(*ast.BinaryExpr); ok && b.Op == token.NEQ && isName(b.X, "err") && isName(b.Y, "nil") {
		r.replace(cond, "error ignored", "err != nil && false")
		return
	}
	r.replace(cond, "negated condition", "!("+r.source(cond)+")")
}

// binary adds the mutants of an operator.
func (r *reader) binary(n *ast.BinaryExpr) {
	other := map[token.Token][2]string{
		token.LSS: {"boundary moved", "<="}, token.LEQ: {"boundary moved", "<"},
		token.GTR: {"boundary moved", ">="}, token.GEQ: {"boundary moved", ">"},
		token.ADD: {"+ and - swapped", "-"}, token.SUB: {"+ and - swapped", "+"},
		token.LAND: {"&& and || swapped", "||"}, token.LOR: {"&& and || swapped", "&&"},
	}
	if to, ok := other[n.Op]; ok {
		start := r.fset.Position(n.OpPos).Offset
		r.add(start, start+len(n.Op.String()), to[0], to[1], r.source(n))
	}
}

// arguments adds swaps of neighbours that may be of one type; the compiler knows.
func (r *reader) arguments(call *ast.CallExpr) {
	for i := 1; i < len(call.Args); i++ {
		a, b := call.Args[i-1], call.Args[i]
		if isPlain(a) && isPlain(b) && r.source(a) != r.source(b) && !isName(call.Fun, "append", "min", "max") {
			start, end := r.fset.Position(a.Pos()).Offset, r.fset.Position(b.End()).Offset
			between := string(r.text[r.fset.Position(a.End()).Offset:r.fset.Position(b.Pos()).Offset])
			r.add(start, end, "arguments swapped", r.source(b)+between+r.source(a), r.source(call))
		}
	}
}

// results adds returns of zero values, and the end of a function that goes on.
func (r *reader) results(n *ast.ReturnStmt) {
	if len(n.Results) == 0 {
		r.replace(n, "return dropped", "")
		return
	}
	if len(n.Results) != len(r.types) {
		return
	}
	for i, result := range n.Results {
		if zero := zeroOf(r.types[i]); zero != "" && zero != r.source(result) {
			r.replace(result, "result replaced by "+zero, zero)
		}
	}
}

// zeroOf returns the zero value of a type that is known by its name, or "".
func zeroOf(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr, *ast.ArrayType, *ast.MapType, *ast.FuncType, *ast.ChanType:
		if array, ok := t.(*ast.ArrayType); ok && array.Len != nil {
			return ""
		}
		return "nil"
	case *ast.Ident:
		switch t.Name {
		case "bool":
			return "false"
		case "string":
			return `""`
		case "error":
			return "nil"
		case "int", "int64", "int32", "uint", "uint64", "uint32", "uint8", "byte", "float64":
			return "0"
		}
	}
	return ""
}

// speaks reports whether a call only says something, or is an assertion.
func speaks(call *ast.CallExpr) bool {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return slices.Contains([]string{"assert", "broken", "contradiction"}, f.Name)
	case *ast.SelectorExpr:
		on := f.X
		if field, ok := on.(*ast.SelectorExpr); ok {
			on = field.Sel
		}
		return isName(on, "log", "slog", "logger", "errors") || isName(f.X, "fmt") || isName(f.Sel, "note")
	}
	return false
}

func isName(e ast.Expr, names ...string) bool {
	id, ok := e.(*ast.Ident)
	return ok && slices.Contains(names, id.Name)
}

// isPlain reports whether an expression is a name or a field.
func isPlain(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return true
	case *ast.SelectorExpr:
		return isPlain(e.X)
	}
	return false
}

func (r *reader) source(n ast.Node) string {
	return string(r.text[r.fset.Position(n.Pos()).Offset:r.fset.Position(n.End()).Offset])
}

func (r *reader) replace(n ast.Node, operator, text string) {
	r.add(r.fset.Position(n.Pos()).Offset, r.fset.Position(n.End()).Offset, operator, text, r.source(n))
}

func (r *reader) add(start, end int, operator, text, old string) {
	line := 1 + strings.Count(string(r.text[:start]), "\n")
	if r.equal[line] {
		return
	}
	first, _, more := strings.Cut(old, "\n")
	if more {
		first += " …"
	}
	r.sites = append(r.sites, site{file: r.name, line: line, start: start, end: end, new: text, operator: operator, old: strconv.Quote(first)})
}

// mutated returns the text of the site's file with the mutant in it.
func (s site) mutated(text []byte) []byte {
	return slices.Concat(text[:s.start], []byte(s.new), text[s.end:])
}
