package page

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// text is a file of the page.
func text(t *testing.T, name string) string {
	t.Helper()
	file, known := Open(name)
	if !known {
		t.Fatalf("there is no %s", name)
	}
	return string(file.Plain.Content)
}

// block returns what stands between the braces or brackets behind a beginning.
func block(t *testing.T, in, begin, end string) string {
	t.Helper()
	_, rest, found := strings.Cut(in, begin)
	inside, _, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("there is no %q … %q", begin, end)
	}
	return inside
}

// names returns the words before a colon in an object of JavaScript, at its outer level.
func names(object string) (all []string) {
	for _, found := range regexp.MustCompile(`(?m)(?:^  |, )([a-z_]+): `).FindAllStringSubmatch(object, -1) {
		all = append(all, found[1])
	}
	return all
}

// constants returns the texts that a file of Go gives to constants or keys of a type, and
// to the values of a map.
func constants(t *testing.T, path string, of func(ast.Node) []string) (all []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", path), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		all = append(all, of(n)...)
		return true
	})
	if len(all) == 0 {
		t.Fatalf("void: %s", path)
	}
	return all
}

// kinds are the values of the map kindNames or whyNames of the recorder.
func kinds(t *testing.T, variable string) []string {
	t.Helper()
	return constants(t, "recorder/kinds.go", func(n ast.Node) (found []string) {
		spec, is := n.(*ast.ValueSpec)
		if !is || spec.Names[0].Name != variable {
			return nil
		}
		for _, e := range spec.Values[0].(*ast.CompositeLit).Elts {
			if word, _ := strconv.Unquote(e.(*ast.KeyValueExpr).Value.(*ast.BasicLit).Value); word != "" {
				found = append(found, word)
			}
		}
		return found
	})
}

// incidents are the kinds of stories.
func incidents(t *testing.T) []string {
	t.Helper()
	return constants(t, "explain/story.go", func(n ast.Node) []string {
		spec, is := n.(*ast.ValueSpec)
		if !is || len(spec.Values) != 1 {
			return nil
		}
		if kind, is := spec.Type.(*ast.Ident); !is || kind.Name != "Kind" {
			return nil
		}
		word, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		return []string{word}
	})
}

func wantSame(t *testing.T, what string, have, want []string) {
	t.Helper()
	slices.Sort(have)
	slices.Sort(want)
	for _, word := range want {
		if !slices.Contains(have, word) {
			t.Errorf("%s: %q has no words on the page", what, word)
		}
	}
	for _, word := range have {
		if !slices.Contains(want, word) {
			t.Errorf("%s: the page has words for %q, which there is not", what, word)
		}
	}
	if len(slices.Compact(slices.Clone(have))) != len(have) {
		t.Errorf("%s: a word stands there twice: %q", what, have)
	}
}

// Goal: the page names incidents as explain does, and each of them; it has words for each
// kind of event and each reason, and for nothing else.
// Method: the tables of the page against those of the code.
func TestThePageHasTheWordsOfExplain(t *testing.T) {
	words := text(t, "words.js")
	titles := block(t, words, "export const incidents = {\n", "\n};")
	wantSame(t, "incidents", names(titles), incidents(t))
	for _, found := range regexp.MustCompile(`([a-z_]+): "([^"]+)"`).FindAllStringSubmatch(titles, -1) {
		if strings.ToLower(found[2]) != strings.ReplaceAll(found[1], "_", " ") {
			t.Errorf("the story %q is called %q", found[1], found[2])
		}
	}
	var events []string
	for _, found := range regexp.MustCompile(`(?m)^  ([a-z_]+): \(e?\) =>`).FindAllStringSubmatch(block(t, words, "export const events = {\n", "\n};"), -1) {
		events = append(events, found[1])
	}
	wantSame(t, "events", events, kinds(t, "kindNames"))
	wantSame(t, "reasons", names(block(t, words, "const reasons = {\n", "\n};")), kinds(t, "whyNames"))
	for _, word := range quoted(block(t, words, "export const grave = [", "]")) {
		if !slices.Contains(incidents(t), word) {
			t.Errorf("%q is no incident", word)
		}
	}
}

// quoted returns the texts in double quotes.
func quoted(in string) (all []string) {
	for _, found := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(in, -1) {
		all = append(all, found[1])
	}
	return all
}

// Goal: Learn explains each kind of event and of story once, by sections of the paper and
// functions that docs/paper.md names, which a test of the tree holds to the code.
// Method: the topics against the tables of the code and the page.
func TestLearnLeadsToThePaperAndTheCode(t *testing.T) {
	learn := text(t, "learn.js")
	var events []string
	for _, found := range regexp.MustCompile(`events: \[([^\]]*)\]`).FindAllStringSubmatch(learn, -1) {
		events = append(events, quoted(found[1])...)
	}
	wantSame(t, "topics", events, append(kinds(t, "kindNames"), incidents(t)...))
	paper, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "paper.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, found := range regexp.MustCompile("`([a-z_/]+\\.go): ([^`]+)`").FindAllStringSubmatch(string(paper), -1) {
		for name := range strings.SplitSeq(found[2], ", ") {
			known[found[1]+": "+name] = true
		}
	}
	var code []string
	for _, found := range regexp.MustCompile(`code: \[([^\]]*)\]`).FindAllStringSubmatch(learn, -1) {
		code = append(code, quoted(found[1])...)
	}
	if len(code) < 40 {
		t.Fatalf("void: %d functions", len(code))
	}
	for _, name := range code {
		if !known[name] {
			t.Errorf("docs/paper.md does not name %q", name)
		}
	}
	for _, found := range regexp.MustCompile(`paper: "([^"]+)"`).FindAllStringSubmatch(learn, -1) {
		for section := range strings.SplitSeq(found[1], ", ") {
			if name, _, _ := strings.Cut(section, " "); (strings.HasPrefix(name, "§") || name == "Figure" || name == "thesis") && !strings.Contains(string(paper), section) {
				t.Errorf("docs/paper.md does not speak of %q", section)
			}
		}
	}
}
