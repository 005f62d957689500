package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// longestLine is how many characters a line of a document may have: one that is
// longer can be read neither in a terminal nor in a diff.
const longestLine = 400

// figure2Rules is how many rules Figure 2 of the paper has, counted by its
// bullets: five of AppendEntries, two of RequestVote, two for all servers, two
// for followers, four for candidates, four for leaders.
const figure2Rules = 19

var (
	codeReference = regexp.MustCompile("`([\\w./-]+\\.go)(?:: *([^`]*))?`")
	identifier    = regexp.MustCompile(`[A-Za-z_]\w*`)
	testReference = regexp.MustCompile("`([\\w./-]+)`: ((?:`Test\\w+`(?:,\\s+)?)+)")
	testName      = regexp.MustCompile(`Test\w+`)
	tableRule     = regexp.MustCompile(`^\|[\s:|-]+\|?\s*$`)
)

// CheckPaper holds docs/paper.md to the code: every "file.go: function" in
// backticks must exist, and every row of its tables about Figure 2 must name
// one. A file without a folder is one of raft/core.
func CheckPaper(t *Tree, document string) (complaints []string) {
	if document == "" {
		return []string{"docs/paper.md does not exist; it maps every rule of Figure 2 to its function"}
	}
	rules, heading := 0, ""
	lines := strings.Split(document, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "#") {
			heading = line
		}
		references := codeReference.FindAllStringSubmatch(line, -1)
		for _, r := range references {
			complaints = append(complaints, missingCode(t, fmt.Sprintf("docs/paper.md:%d", i+1), r[1], r[2])...)
		}
		if !strings.Contains(heading, "Figure 2") || !isTableRow(lines, i) {
			continue
		}
		rules++
		if !slices.ContainsFunc(references, func(r []string) bool { return r[2] != "" }) {
			complaints = append(complaints, fmt.Sprintf("docs/paper.md:%d: a rule of Figure 2 names no `file.go: function`", i+1))
		}
	}
	if rules < figure2Rules {
		complaints = append(complaints, fmt.Sprintf("docs/paper.md has %d table rows under headings with \"Figure 2\"; the figure has %d rules", rules, figure2Rules))
	}
	return complaints
}

// isTableRow reports whether line i is a row of a Markdown table, not its head.
func isTableRow(lines []string, i int) bool {
	isRow := func(i int) bool { return i >= 0 && i < len(lines) && strings.HasPrefix(lines[i], "|") }
	return isRow(i) && !tableRule.MatchString(lines[i]) && !(isRow(i+1) && tableRule.MatchString(lines[i+1]))
}

// missingCode complains if a file, or one of the names after it, does not
// exist. Names are functions, methods, types and fields; a method may be
// written with its receiver.
func missingCode(t *Tree, where, file, names string) (complaints []string) {
	if !strings.Contains(file, "/") {
		file = path.Join("raft/core", file)
	}
	f := t.file(file)
	if f == nil {
		return []string{fmt.Sprintf("%s names %s, which does not exist", where, file)}
	}
	declared := declaredNames(f)
	for _, name := range identifier.FindAllString(names, -1) {
		if !declared[name] {
			complaints = append(complaints, fmt.Sprintf("%s names %s in %s, which does not declare it", where, name, file))
		}
	}
	return complaints
}

func (t *Tree) file(path string) *File {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if f.Path == path {
				return f
			}
		}
	}
	return nil
}

// declaredNames returns the functions, methods, types, fields and values that a
// file declares, and the types of its receivers.
func declaredNames(f *File) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			names[n.Name.Name] = true
			if n.Recv != nil {
				ast.Inspect(n.Recv.List[0].Type, func(n ast.Node) bool {
					if ident, isIdent := n.(*ast.Ident); isIdent {
						names[ident.Name] = true
					}
					return true
				})
			}
		case *ast.TypeSpec:
			names[n.Name.Name] = true
		case *ast.ValueSpec:
			for _, name := range n.Names {
				names[name.Name] = true
			}
		case *ast.Field:
			for _, name := range n.Names {
				names[name.Name] = true
			}
		}
		return true
	})
	return names
}

// CheckRoutes demands that every route of the service stands in a document: a
// line that holds its method and its path.
func CheckRoutes(t *Tree, documents map[string]string) (complaints []string) {
	routes := declaredRoutes(t)
	if len(routes) == 0 {
		return []string{"no route was found in kvserver/httpd: is the table no longer made of Route{\"METHOD\", \"/path\", …}?"}
	}
	for _, r := range routes {
		method := regexp.MustCompile(`\b` + r[0] + `\b`)
		found := false
		for _, content := range documents { // all are looked at, in any order
			for line := range strings.Lines(content) {
				found = found || method.MatchString(line) && holdsPath(line, r[1])
			}
		}
		if !found {
			complaints = append(complaints, fmt.Sprintf("no line of README.md or docs/*.md holds %s %s", r[0], r[1]))
		}
	}
	return complaints
}

// holdsPath reports whether a line holds the path as a whole, not as the
// beginning of a longer one.
func holdsPath(line, path string) bool {
	for rest := line; ; {
		i := strings.Index(rest, path)
		if i < 0 {
			return false
		}
		rest = rest[i+len(path):]
		if rest == "" || !strings.ContainsRune("/-_", rune(rest[0])) && !identifier.MatchString(rest[:1]) {
			return true
		}
	}
}

// declaredRoutes returns method and path of every Route literal in kvserver/httpd.
func declaredRoutes(t *Tree) (routes [][2]string) {
	p := t.Package("kvserver/httpd")
	if p == nil {
		return nil
	}
	for _, f := range p.Files {
		if f.Test {
			continue
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			literal, isLiteral := n.(*ast.CompositeLit)
			if !isLiteral || !isName(literal.Type, "Route") || len(literal.Elts) < 2 {
				return true
			}
			method, path := textOf(literal.Elts[0]), textOf(literal.Elts[1])
			if method != "" && path != "" {
				routes = append(routes, [2]string{method, path})
			}
			return true
		})
	}
	return routes
}

// textOf returns the value of a string literal, with or without a field name.
func textOf(e ast.Expr) string {
	if field, isField := e.(*ast.KeyValueExpr); isField {
		e = field.Value
	}
	literal, isLiteral := e.(*ast.BasicLit)
	if !isLiteral || literal.Kind != token.STRING {
		return ""
	}
	text, _ := strconv.Unquote(literal.Value)
	return text
}

// CheckLines demands that no line of a document is longer than longestLine.
func CheckLines(documents map[string]string) (complaints []string) {
	for _, name := range sortedKeys(documents) {
		for i, line := range strings.Split(documents[name], "\n") {
			if n := utf8.RuneCountInString(line); n > longestLine {
				complaints = append(complaints, fmt.Sprintf("%s:%d has %d characters; a line may have %d: wrap it, or make a list of the table", name, i+1, n, longestLine))
			}
		}
	}
	return complaints
}

// CheckBugs holds docs/bugs.md to its form and to the code: every entry says why
// it happened, what was done and which test keeps it out, and every test that it
// names as `folder`: `TestName` is in that folder. A name that ends with an
// underscore stands for all tests that begin so.
func CheckBugs(t *Tree, document string) (complaints []string) {
	entries := strings.Split(document, "\n### ")[1:]
	if len(entries) == 0 {
		return []string{"docs/bugs.md has no entry: an entry begins with ###"}
	}
	for _, entry := range entries {
		title, body, _ := strings.Cut(entry, "\n")
		for _, part := range []string{"**Why:** ", "**Done:** ", "**Found by** ", "**Test:** "} {
			if strings.Count(body, part) != 1 {
				complaints = append(complaints, fmt.Sprintf("docs/bugs.md: %q has %d times %q; once is right", title, strings.Count(body, part), part))
			}
		}
		for _, reference := range testReference.FindAllStringSubmatch(body, -1) {
			for _, test := range testName.FindAllString(reference[2], -1) {
				if folders := t.foldersWithTest(test); !slices.Contains(folders, reference[1]) {
					complaints = append(complaints, fmt.Sprintf("docs/bugs.md: %q names %s in %s; it is in %q", title, test, reference[1], folders))
				}
			}
		}
	}
	return complaints
}

// CheckTestNames demands that every test exists that a document names in backquotes. A name
// that ends with an underscore stands for all tests that begin so.
func CheckTestNames(t *Tree, documents map[string]string) (complaints []string) {
	for _, name := range sortedKeys(documents) {
		for _, quoted := range quotedTest.FindAllStringSubmatch(documents[name], -1) {
			if len(t.foldersWithTest(quoted[1])) == 0 {
				complaints = append(complaints, fmt.Sprintf("%s names %s, and there is no such test", name, quoted[1]))
			}
		}
	}
	return complaints
}

// promiseRow is a row of a table that begins with the number of a promise, as W9.
var promiseRow = regexp.MustCompile(`(?m)^\| ([A-Z][0-9]+)\b`)

// CheckPromises demands that the number of every promise in a document stands in a comment of a
// test, so that who breaks the test finds the promise, and who changes the promise the test.
func CheckPromises(t *Tree, document string) (complaints []string) {
	var comments strings.Builder
	for _, p := range t.Packages {
		for _, f := range p.Files {
			for _, c := range f.Syntax.Comments {
				if f.Test {
					comments.WriteString(c.Text())
				}
			}
		}
	}
	for _, row := range promiseRow.FindAllStringSubmatch(document, -1) {
		if !regexp.MustCompile(`\b` + row[1] + `\b`).MatchString(comments.String()) {
			complaints = append(complaints, fmt.Sprintf("no comment of a test names the promise %s", row[1]))
		}
	}
	return complaints
}

var quotedTest = regexp.MustCompile("`(Test\\w+)`")

// foldersWithTest returns the folders that declare a test of that name, or one
// that begins so if the name ends with an underscore.
func (t *Tree) foldersWithTest(name string) (folders []string) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if !f.Test {
				continue
			}
			for _, d := range f.Syntax.Decls {
				function, isFunction := d.(*ast.FuncDecl)
				if isFunction && (function.Name.Name == name || strings.HasSuffix(name, "_") && strings.HasPrefix(function.Name.Name, name)) {
					folders = append(folders, p.Path)
				}
			}
		}
	}
	return slices.Compact(folders)
}

// Documents reads README.md and docs/*.md.
func Documents(root string) map[string]string {
	documents := map[string]string{"README.md": read(root, "README.md")}
	found, _ := filepath.Glob(filepath.Join(root, "docs", "*.md")) // the pattern is well-formed
	for _, file := range found {
		name := path.Join("docs", filepath.Base(file))
		documents[name] = read(root, name)
	}
	return documents
}
