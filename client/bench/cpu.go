package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of the times in /proc/PID/stat; Linux has no other
// for programs.
const ticksPerSecond = 100

// CPU returns the processor time that processes of this host have used so far. An
// error names the process for which it is not known.
func CPU(pids ...int) (total time.Duration, err error) {
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("the processor time of process %d: %w", pid, err)
		}
		// The second field is the name in brackets and may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 13 {
			return 0, fmt.Errorf("the processor time of process %d cannot be read", pid)
		}
		for _, field := range fields[11:13] { // utime and stime
			ticks, err := strconv.ParseUint(field, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("the processor time of process %d cannot be read: %w", pid, err)
			}
			total += time.Duration(ticks) * time.Second / ticksPerSecond
		}
	}
	return total, nil
}

// Listeners returns the processes of this host that listen on one of the ports
// and may be inspected. Processes that cannot be found are left out.
func Listeners(ports []int) (pids []int) {
	sockets := map[string]bool{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		addListening(sockets, file, ports)
	}
	if len(sockets) == 0 {
		return nil
	}
	open, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is well-formed
	seen := map[int]bool{}
	for _, fd := range open {
		target, err := os.Readlink(fd)
		if err != nil || !sockets[target] {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(fd, "/")[2]); err == nil && !seen[pid] {
			seen[pid] = true
			pids = append(pids, pid)
		}
	}
	return pids
}

// addListening adds the sockets of a table that listen on one of the ports.
func addListening(sockets map[string]bool, file string, ports []int) {
	table, err := os.ReadFile(file)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		const listening = "0A"
		if len(fields) < 10 || fields[3] != listening {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		port, err := strconv.ParseUint(hex, 16, 16)
		for _, p := range ports {
			if err == nil && int(port) == p {
				sockets["socket:["+fields[9]+"]"] = true
			}
		}
	}
}

// HostTimes returns the processor time of this host that has passed since it
// started, of all processors together, and the part of it that was not used.
func HostTimes() (total, idle time.Duration, err error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("the processor times of this host: %w", err)
	}
	first, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(first)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("the processor times of this host cannot be read: /proc/stat has another form")
	}
	for i, field := range fields[1:9] { // user, nice, system, idle, iowait, irq, softirq, steal
		ticks, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("the processor times of this host cannot be read: %w", err)
		}
		d := time.Duration(ticks) * time.Second / ticksPerSecond
		total += d
		if i == 3 || i == 4 {
			idle += d
		}
	}
	return total, idle, nil
}

// Load returns the load average of the last minute; an error if the system does
// not tell.
func Load() (float64, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, fmt.Errorf("the load of this host: %w", err)
	}
	first, _, _ := strings.Cut(string(text), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0, fmt.Errorf("the load of this host cannot be read: %w", err)
	}
	return load, nil
}
