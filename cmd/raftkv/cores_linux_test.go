package main

import (
	"io"
	"syscall"
	"testing"

	"raftkv/cmd/raftkv/internal/exit"
)

// Goal (S13): a process that runs nodes leaves no core dump, in which keys, values and tokens
// would be, unless --core-dumps asks for one; others may raise the limit again. Method: serve
// and dev with settings that end them at once, under a limit that is not 0.
func TestNodesLeaveNoCoreDumps(t *testing.T) {
	var before syscall.Rlimit
	Must(t, syscall.Getrlimit(syscall.RLIMIT_CORE, &before))
	t.Cleanup(func() { Must(t, syscall.Setrlimit(syscall.RLIMIT_CORE, &before)) })
	if before.Max == 0 {
		t.Skip("SKIPPED: no process here may leave core dumps (ulimit -Hc is 0)")
	}
	for _, command := range [][]string{{"serve"}, {"dev", "--data-dir", ""}} {
		for _, asked := range []bool{false, true} {
			some := syscall.Rlimit{Cur: min(before.Max, 4096), Max: before.Max}
			Must(t, syscall.Setrlimit(syscall.RLIMIT_CORE, &some))
			arguments := command
			want := syscall.Rlimit{Max: before.Max}
			if asked {
				arguments, want = append(arguments[:len(arguments):len(arguments)], "--core-dumps"), some
			}
			if code := run(arguments, io.Discard, io.Discard); code != exit.Usage {
				t.Fatalf("%v ends with code %d", arguments, code)
			}
			var now syscall.Rlimit
			if Must(t, syscall.Getrlimit(syscall.RLIMIT_CORE, &now)); now != want {
				t.Errorf("%v leaves the limit %+v, want %+v", arguments, now, want)
			}
		}
	}
}
