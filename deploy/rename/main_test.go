package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Goal: what names the module is renamed, and nothing else is.
// Method: a small module with every kind of place.
func TestRename(t *testing.T) {
	root := t.TempDir()
	files := map[string][2]string{
		"go.mod":        {"module kv\n\ngo 1.26\n", "module example.org/you/kv\n\ngo 1.26\n"},
		"a/a.go":        {"package a\n\nimport \"kv/b\" // kv/b\n\nvar _ = \"kv/nothing\"\n", "package a\n\nimport \"example.org/you/kv/b\" // kv/b\n\nvar _ = \"kv/nothing\"\n"},
		"b/b.go":        {"package b\n\nconst Module = \"kv\"\n\nvar Name = \"kv\"\n\nvar stack = \"kv/a.\"\n", "package b\n\nconst Module = \"example.org/you/kv\"\n\nvar Name = \"kv\"\n\nvar stack = \"example.org/you/kv/a.\"\n"},
		"README.md":     {"go mod edit -require kv@v0.0.0 -replace kv=../kv\n\"kv/b\" kv/b\n", "go mod edit -require example.org/you/kv@v0.0.0 -replace example.org/you/kv=../kv\n\"example.org/you/kv/b\" kv/b\n"},
		".git/x.go":     {"package x // \"kv/b\"\n", "package x // \"kv/b\"\n"},
		"testdata/x.go": {"package x\nimport \"kv/b\"\n", "package x\nimport \"kv/b\"\n"},
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text[0]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"", "kv", "kv/x", "https://example.org/kv", "example.org/a b", "kv.", "example.org/"} {
		if _, err := rename(root, bad); err == nil || !strings.Contains(err.Error(), "example.org/you/raftkv") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if changed, err := rename(root, "example.org/you/kv"); err != nil || changed != 4 {
		t.Fatalf("%d files, %v", changed, err)
	}
	for name, text := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || string(got) != text[1] {
			t.Errorf("%s, %v:\n%s\nwant\n%s", name, err, got, text[1])
		}
	}
	if _, err := rename(root, "example.org/you/kv"); err == nil {
		t.Error("a second time is let through")
	}
}
