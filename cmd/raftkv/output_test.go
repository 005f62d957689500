package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"raftkv/client/verify"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
)

// full is an output without room, or of which nobody reads.
type full struct{ err error }

func (f full) Write([]byte) (int, error) { return 0, f.err }

// fakeNode is a server that answers /v1/status and what else a test says.
func fakeNode(t *testing.T, status api.Status, more map[string]http.HandlerFunc) (endpoint string) {
	t.Helper()
	mux := http.NewServeMux()
	for path, handler := range more {
		mux.HandleFunc(path, handler)
	}
	mux.HandleFunc("/v1/status", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(status) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func leading(node string, term uint64) api.Status {
	return api.Status{Node: node, Cluster: "c1", Role: "leader", Leader: node, Term: term}
}

// Goal: no command ends well when what it printed was not written, in text and in
// JSON, and a script can tell that from "no such key" and from wrong usage. When
// the reader of a pipe has gone, nothing is said.
// Method: every command that can print without a cluster, and those that need
// only a status; an output that fails as a full disk does, then as a pipe.
func TestAnOutputThatCannotBeWrittenIsAnError(t *testing.T) {
	endpoint := fakeNode(t, leading("n1", 3), map[string]http.HandlerFunc{"/readyz": func(http.ResponseWriter, *http.Request) {}})
	for _, args := range [][]string{
		{"status"}, {"status", "--json"}, {"status", "--wide"}, {"leader"}, {"leader", "--json"}, {"health"}, {"health", "--json"},
		{"version"}, {"version", "--json"}, {"--version"}, {"help"}, {"help", "put"}, {"put", "--help"}, {"completion", "bash"}, {"completion", "zsh"},
	} {
		if args[0] == "status" || args[0] == "leader" || args[0] == "health" {
			args = append(args, "--endpoints", endpoint)
		}
		var said strings.Builder
		if code := run(args, full{syscall.ENOSPC}, &said); code != exit.Output || !strings.Contains(said.String(), "no space left") {
			t.Errorf("%q on a full disk: code %d, said %q", args, code, said.String())
		}
		said.Reset()
		if code := run(args, full{syscall.EPIPE}, &said); code != exit.ReaderGone || said.Len() > 0 {
			t.Errorf("%q without a reader: code %d, said %q", args, code, said.String())
		}
	}
	var out strings.Builder
	if code := run([]string{"version", "--json"}, &out, io.Discard); code != exit.Done || !json.Valid([]byte(out.String())) {
		t.Errorf("version --json: code %d, %q", code, out.String())
	}
}

// Goal: a value that begins with - is never taken for a request for help that
// ends well with nothing written; the message says how to write it. A flag that
// is misspelt is named.
// Method: no server listens, so what gets as far as asking one would end with
// another code.
func TestWhatBeginsWithADash(t *testing.T) {
	for _, c := range []struct {
		args string
		says string
	}{
		{"put k -h", "put k -- -h"}, {"put k --help", "nothing was done"}, {"put -h k v", "nothing was done"}, {"append k -h", "nothing was done"},
		{"get k -h", "nothing was done"}, {"delete k --help", "nothing was done"}, {"put k -5", "put KEY -- -5"}, {"put k --", "VALUE is missing"},
		{"put k", "VALUE is missing"}, {"put", "KEY is missing"}, {"put k v w", `"w" is too much`}, {"get", "KEY is missing"}, {"status x", "no arguments"},
		{"get --endpoint x k", "did you mean --endpoints?"}, {"bench --client 4", "did you mean --clients?"}, {"list --value", "did you mean --values?"},
		{"get k --timeout 5", "write 5s"}, {"put k v --if-absent --if-revision 3", "choose one of --if-revision, --if-absent, --if-present"},
		{"delete --prefix a", "--yes"}, {"delete --yes k", "--prefix"}, {"delete k --prefix a", "leave"}, {"get k --prefix a", "leave"},
		{"wal inspect /there/is/nothing", "there is no /there/is/nothing"},
	} {
		var out, said strings.Builder
		code := run(append(strings.Split(c.args, " "), "--endpoints", "127.0.0.1:1")[:], &out, &said)
		if strings.HasPrefix(c.args, "wal") {
			said.Reset()
			code = run(strings.Split(c.args, " "), &out, &said)
		}
		if strings.HasSuffix(c.args, " --") {
			said.Reset()
			code = run(strings.Split(c.args, " "), &out, &said)
		}
		if code != exit.Usage || !strings.Contains(said.String(), c.says) || out.Len() > 0 {
			t.Errorf("%s: code %d, printed %.60q, said %q; want %q", c.args, code, out.String(), said.String(), c.says)
		}
	}
	var out strings.Builder
	if code := run([]string{"put", "--help"}, &out, io.Discard); code != exit.Done || !strings.Contains(out.String(), "goes behind --") {
		t.Errorf("put --help: code %d, %q", code, out.String())
	}
}

// Goal: a slip in the command line is answered with what was meant or what to do:
// a command that does not exist, a flag for an argument, a file that is missing.
func TestASlipIsExplained(t *testing.T) {
	missing := t.TempDir() + "/missing"
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"snapshot", "foo"}, exit.Usage, `unknown command "foo" for "raftkv snapshot"; it has inspect, restore, save`},
		{[]string{"wal", "foo"}, exit.Usage, `unknown command "foo" for "raftkv wal"; it has inspect`},
		{[]string{"list", "--prefix", "g"}, exit.Usage, "the prefix is an argument: raftkv list PREFIX"},
		{[]string{"import", missing}, exit.Failed, "cannot open the file to import " + missing + ": no such file or directory"},
		{[]string{"put", "k", "@" + missing}, exit.Usage, "cannot open the value's file " + missing + ": no such file or directory"},
	} {
		var said strings.Builder
		if code := run(c.args, io.Discard, &said); code != c.code || !strings.Contains(said.String(), c.says) {
			t.Errorf("%q: code %d, said %q; want %q", c.args, code, said.String(), c.says)
		}
	}
}

// Goal: the help of raftkv itself fits into 80 columns.
func TestTheFirstHelpFitsIntoEightyColumns(t *testing.T) {
	var out strings.Builder
	run([]string{"--help"}, &out, io.Discard)
	for line := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// Goal: the help of every command fits into 80 columns.
func TestHelpFitsIntoEightyColumns(t *testing.T) {
	for _, command := range newRootCommand().Commands() {
		if command.Name() == "serve" || command.Name() == "dev" {
			continue
		}
		var out strings.Builder
		run([]string{command.Name(), "--help"}, &out, io.Discard)
		for line := range strings.Lines(out.String()) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
				t.Errorf("%s --help: %d columns: %s", command.Name(), n, line)
			}
		}
	}
}

// Goal: what a file is to be made of is never fetched before its name was looked
// at, and what is no file is never replaced, with --force or without.
// Method: names of every kind; no server listens, so a command that asks one first ends with
// another code.
func TestANameIsLookedAtBeforeAnybodyIsAsked(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(at("file"), []byte("kept"), 0o600))
	must(os.Symlink(at("file"), at("link")))
	must(os.Symlink(at("nothing"), at("dangling")))
	must(syscall.Mkfifo(at("pipe"), 0o600))
	for _, c := range []struct {
		name, says string
	}{
		{"", "is empty"}, {at("link"), "symbolic link to " + at("file")}, {at("dangling"), "symbolic link"}, {at("pipe"), "a pipe"}, {dir, "a directory"},
		{"/dev/null", "a device"}, {at("no/where"), "does not exist"}, {at("file/x"), "cannot be looked at"}, {dir + "/new/", "names a directory"},
	} {
		for _, command := range [][]string{{"snapshot", "save"}, {"export"}} {
			for _, force := range []string{"", "--force"} {
				args := append(append([]string{}, command...), c.name, "--endpoints", "127.0.0.1:1")
				if force != "" {
					args = append(args, force)
				}
				var said strings.Builder
				code := run(args, io.Discard, &said)
				if code != exit.Usage && code != exit.Failed || !strings.Contains(said.String(), c.says) || strings.Contains(said.String(), "say --force") {
					t.Errorf("%q: code %d, said %q; want %q", args, code, said.String(), c.says)
				}
			}
		}
	}
	var said strings.Builder
	if code := run([]string{"snapshot", "save", at("file"), "--endpoints", "127.0.0.1:1"}, io.Discard, &said); code != exit.Usage || !strings.Contains(said.String(), "--force") {
		t.Errorf("a file that is there: code %d, said %q", code, said.String())
	}
	if text, err := os.ReadFile(at("file")); err != nil || string(text) != "kept" {
		t.Errorf("the file is %q, %v", text, err)
	}
	// A backup is read more than once: a pipe that nobody writes to is not opened.
	for _, c := range []struct{ name, says string }{{at("pipe"), "is a pipe"}, {dir, "is a directory"}, {"/dev/null", "is a device"}, {at("none"), "there is no backup"}} {
		var said strings.Builder
		if code := run([]string{"snapshot", "inspect", c.name}, io.Discard, &said); code != exit.Failed || !strings.Contains(said.String(), c.says) {
			t.Errorf("inspect %s: code %d, said %q", c.name, code, said.String())
		}
	}
}

// Goal: nothing that a command makes takes the place of what is no file, and of a file only
// with --force: certificates and keys, and the picture of a violation, too. Where no name
// was given for the picture, the one of an earlier run stays and this one has another name.
// Method: links, pipes and files in the way, with nobody to be asked; a picture is drawn of
// a history that is wrong.
func TestNothingElseIsReplaced(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	does := func(want int, says string, args ...string) {
		t.Helper()
		var said strings.Builder
		if code := run(args, io.Discard, &said); code != want || !strings.Contains(said.String(), says) || strings.Contains(said.String(), "standard output") {
			t.Errorf("%q: code %d, said %q; want %d, %q", args, code, said.String(), want, says)
		}
	}
	Must(t, os.WriteFile(at("file"), []byte("kept"), 0o600))
	Must(t, os.Symlink(at("file"), at("ca-key.pem")))
	Must(t, syscall.Mkfifo(at("crl.pem"), 0o600))
	does(exit.Failed, "symbolic link to "+at("file"), "cert", "ca", "--dir", dir, "--force")
	Must(t, os.Remove(at("ca-key.pem")))
	does(exit.Done, "", "cert", "ca", "--dir", dir)
	does(exit.Failed, "a pipe", "cert", "crl", "--dir", dir, "--force")
	does(exit.Done, "", "cert", "ca", "--dir", dir, "--force")
	Must(t, os.Symlink(at("file"), at("link")))
	for name, says := range map[string]string{at("file"): "say --force", at("link"): "symbolic link", at("crl.pem"): "a pipe", "/dev/null": "a device", at("no/where"): "does not exist"} {
		does(exit.Usage, says, "verify", "--picture", name, "--endpoints", "127.0.0.1:1", "--timeout", "1ms")
	}
	if text, err := os.ReadFile(at("file")); err != nil || string(text) != "kept" {
		t.Errorf("the file is %q, %v", text, err)
	}

	t.Chdir(dir)
	for _, want := range []string{"raftkv-verify.html", "raftkv-verify-2.html", "raftkv-verify-3.html"} {
		s := verifySettings{clerkSettings: clerkSettings{endpoints: nowhere(t), timeout: time.Millisecond}}
		Must(t, s.settlePicture())
		Must(t, s.draw(verify.Finding{}))
		if info, err := os.Stat(want); s.picture.Path != want || err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("the picture is %s, want %s: %v", s.picture.Path, want, err)
		}
	}
}

// Goal: standard input that was closed is no empty value and no transaction; /dev/null that
// somebody redirected is one. Method: the files as the Go runtime opens them.
func TestAClosedInputIsNoEmptyValue(t *testing.T) {
	open := func(flags int) *os.File {
		f, err := os.OpenFile(os.DevNull, flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	if _, err := readValue("-", open(os.O_RDWR)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("as the runtime opens it: %v", err)
	}
	if value, err := readValue("-", open(os.O_RDONLY)); err != nil || len(value) != 0 {
		t.Errorf("redirected: %q, %v", value, err)
	}
	if value, err := readValue("-", strings.NewReader("x")); err != nil || string(value) != "x" {
		t.Errorf("a text: %q, %v", value, err)
	}
	for flags, says := range map[int]string{os.O_RDWR: "standard input is closed", os.O_RDONLY: ""} {
		for _, args := range [][]string{{"txn"}, {"txn", "-"}} {
			root := newRootCommand()
			root.SetArgs(append(args, "--endpoints", "127.0.0.1:1", "--timeout", "1ms"))
			root.SetIn(open(flags))
			if err := root.Execute(); err == nil || says == "" == strings.Contains(err.Error(), "is closed") || !strings.Contains(err.Error(), says) {
				t.Errorf("%q of standard input with flags %d: %v", args, flags, err)
			}
		}
	}
}

// fakeServer answers every request by a function.
func fakeServer(t *testing.T, answer http.HandlerFunc) (endpoint string) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
