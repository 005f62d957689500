package system

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// goPrograms are the complete Go programs that a document shows.
var goPrograms = regexp.MustCompile("(?s)```go\n(package main\n.*?)```")

// run runs a command of the go tool in a folder. What needs modules that cannot
// be had is skipped, and says so.
func goTool(t *testing.T, dir string, args ...string) {
	t.Helper()
	command := exec.Command("go", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	output, err := command.CombinedOutput()
	for _, sign := range []string{"dial tcp", "module lookup disabled", "no such host", "i/o timeout", "connection refused"} {
		if err != nil && strings.Contains(string(output), sign) {
			t.Skipf("SKIPPED: the modules cannot be had here: go %s: %s", strings.Join(args, " "), output)
		}
	}
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

// Goal: another module can use the client by the two lines that the documents
// show, and the programs that they show compile.
// Method: a module of its own; the lines are those of README.md, with the path of
// this source in place of the one shown.
func TestTheClientIsUsedByAnotherModule(t *testing.T) {
	t.Parallel()
	source, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "docs/go-client.md"} {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			t.Fatal(err)
		}
		line := regexp.MustCompile(`(?m)^ *go mod edit (.*)$`).FindStringSubmatch(string(text))
		programs := goPrograms.FindAllStringSubmatch(string(text), -1)
		if line == nil || len(programs) == 0 || !strings.Contains(string(text), "go mod tidy") {
			t.Fatalf("%s shows no way to use the client, or no program", name)
		}
		for _, program := range programs {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			goTool(t, dir, "mod", "init", "example.org/scratch")
			goTool(t, dir, append([]string{"mod", "edit"}, strings.Fields(strings.ReplaceAll(line[1], "/path/to/raftkv", source))...)...)
			goTool(t, dir, "mod", "tidy")
			goTool(t, dir, "vet", ".")
		}
	}
}

// Goal: the source can be published under another path.
// Method: make rename on a copy. Every import of it is then found, in tests, too, and
// the client builds. The rest need not be built: a path is no part of a type.
func TestTheModuleCanBeRenamed(t *testing.T) {
	t.Parallel()
	source, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, part := range []string{"go.mod", "go.sum", "README.md", "client", "cmd", "deploy", "docs", "kvserver", "labrpc", "raft", "tests"} {
		if output, err := exec.Command("cp", "-R", filepath.Join(source, part), dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
	}
	const module = "example.org/you/store"
	goTool(t, dir, "run", "./deploy/rename", "-module", module)
	goTool(t, dir, "list", "-deps", "-test", "./...")
	goTool(t, dir, "build", "./client")
	goTool(t, dir, "vet", "./client", "./tests/arch")
	for _, name := range []string{"README.md", "docs/go-client.md"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !strings.Contains(string(text), `"`+module+`/client"`) {
			t.Errorf("%s does not show the new path: %v", name, err)
		}
	}
}
