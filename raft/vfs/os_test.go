//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Goal: nobody but the owner reads a log, whatever the umask lets through.
// Method: create a directory and a file, look at their modes.
func TestOSModesKeepOthersOut(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "data", "n1")
	must(t, OS{}.MkdirAll(dir))
	name := filepath.Join(dir, "f")
	must(t, create(t, OS{}, name, "secret").Close())
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Dir(dir): 0o700, name: 0o600} {
		info, err := os.Stat(path)
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

// Goal: a symbolic link, a pipe or a directory in place of a file is refused and
// what it leads to is left alone. Method: plant each under a name and open,
// lock and create it.
func TestOSRefusesWhatIsNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	must(t, create(t, OS{}, target, "precious").Close())
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	must(t, os.Symlink(target, link))
	must(t, syscall.Mkfifo(pipe, 0o600))
	for _, name := range []string{link, pipe} {
		if _, err := (OS{}).Open(name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("open of %s: %v, want ErrNotRegular", name, err)
		}
		if _, err := (OS{}).Lock(name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("lock of %s: %v, want ErrNotRegular", name, err)
		}
		if _, err := (OS{}).Create(name); !errors.Is(err, os.ErrExist) {
			t.Errorf("create of %s: %v, want fs.ErrExist", name, err)
		}
	}
	if got := read(t, OS{}, target); got != "precious" {
		t.Errorf("the link's target now reads %q", got)
	}
}

// Goal: the lock excludes other processes and dies with its holder, kill -9
// included. Method: this test binary runs itself as the other process.
func TestOSLockBetweenProcesses(t *testing.T) {
	if name := os.Getenv("VFS_TEST_LOCK"); name != "" {
		lock, err := OS{}.Lock(name)
		must(t, err)
		os.Stdout.WriteString("locked\n")
		time.Sleep(time.Hour) // until killed
		must(t, lock.Close()) // keeps it: a file that nobody refers to is closed by the collector
	}
	name := filepath.Join(t.TempDir(), "LOCK")
	holder := exec.Command(os.Args[0], "-test.run=^TestOSLockBetweenProcesses$")
	holder.Env = append(os.Environ(), "VFS_TEST_LOCK="+name)
	out, err := holder.StdoutPipe()
	must(t, err)
	must(t, holder.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	if _, err := (OS{}).Lock(name); !errors.Is(err, ErrLocked) {
		t.Errorf("lock held by another process: %v, want ErrLocked", err)
	}
	must(t, holder.Process.Kill())
	holder.Wait()
	lock, err := OS{}.Lock(name)
	must(t, err)
	must(t, lock.Close())
}
