package address

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Goal: a socket is there with mode 0600 and nobody else's leavings: one that a killed process
// left is replaced, one on which a process listens is not, nor a file, nor a link, which is not
// followed; the listener takes away its own socket only.
// Method: each of these at the path.
func TestASocketForTheOperator(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "admin.sock")
	listen := func(path string) (net.Listener, error) { return ListenSocket("the operator", "--admin-addr", path) }
	first, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if is, err := os.Lstat(path); err != nil || is.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket has the mode %v, %v", is.Mode(), err)
	}
	if first.Addr().String() != path {
		t.Errorf("the address is %s", first.Addr())
	}
	go func() {
		for {
			conn, err := first.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	if conn, err := net.Dial("unix", path); err != nil {
		t.Errorf("nobody answers: %v", err)
	} else {
		conn.Close()
	}
	if _, err := listen(path); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("in use: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket stays behind a clean end")
	}
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	second, err := listen(path)
	if err != nil {
		t.Fatalf("a socket that a killed process left: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	third, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("an earlier listener took away the later one's socket: %v", err)
	}
	third.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), dangling); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{
		file: "is no socket", dir: "is no socket", link: "symbolic link", dangling: "symbolic link", "": "names no file", "@abstract": "names no file",
		filepath.Join(dir, "none", "s"): "no such file", filepath.Join(dir, strings.Repeat("x", 120)): "bytes too long",
	} {
		if _, err := listen(at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", at, err, want)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".sock*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "elsewhere")); err == nil {
		t.Error("a link was followed")
	}
}
