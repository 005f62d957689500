package guarded

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup lets a command have a process group of its own, and lets the kernel end the
// command with this program, however that ends. What the command has started itself may
// then go on.
func ownGroup(child *exec.Cmd) bool {
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return true
}

// terminate asks a command, or its whole group, to end.
func terminate(child *exec.Cmd, grouped bool) { signal(child, grouped, syscall.SIGTERM) }

// kill ends a command, or its whole group.
func kill(child *exec.Cmd, grouped bool) { signal(child, grouped, syscall.SIGKILL) }

// signal sends a signal. One that has ended needs none.
func signal(child *exec.Cmd, grouped bool, s syscall.Signal) {
	if grouped {
		_ = syscall.Kill(-child.Process.Pid, s)
		return
	}
	_ = child.Process.Signal(s)
}

func signalOf(ended *os.ProcessState) int {
	if status, known := ended.Sys().(syscall.WaitStatus); known {
		return int(status.Signal())
	}
	return 0
}
