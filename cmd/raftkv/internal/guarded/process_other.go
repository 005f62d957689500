//go:build !linux

package guarded

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup reports that a command has no process group of its own.
func ownGroup(*exec.Cmd) bool { return false }

// terminate asks a command to end, or ends it where it cannot be asked.
func terminate(child *exec.Cmd, grouped bool) {
	if child.Process.Signal(syscall.SIGTERM) != nil {
		kill(child, grouped)
	}
}

// kill ends a command. One that has ended needs none.
func kill(child *exec.Cmd, _ bool) { _ = child.Process.Kill() }

func signalOf(*os.ProcessState) int { return int(syscall.SIGTERM) }
