package rod

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"raftkv/client/bench"
)

// sample is what has been used up to a moment.
type sample struct {
	servers, client time.Duration // processor time
	busy            time.Duration // processor time of all programs of this host
	switches        float64       // context switches of the servers' threads
	messages        float64       // see Side.Messages
	deviceBytes     float64       // written to the device of the data; 0 if that is not known
}

// take reads the sample of a side whose data is in dir.
func take(s Side, dir string) (now sample, err error) {
	var pids []int
	for _, p := range s.Processes() {
		pids = append(pids, p.Pid)
	}
	messages, err := s.Messages() // first: asking is work for the servers
	if err != nil {
		return now, err
	}
	now, err = takeOf(pids, os.Getpid(), dir)
	now.messages = messages
	return now, err
}

// takeOf reads the sample of servers and of a client; 0: the client is one of them.
func takeOf(servers []int, client int, dir string) (now sample, err error) {
	if now.servers, err = bench.CPU(servers...); err != nil {
		return now, err
	}
	if client != 0 {
		if now.client, err = bench.CPU(client); err != nil {
			return now, err
		}
	}
	total, idle, err := bench.HostTimes()
	if err != nil {
		return now, err
	}
	now.busy = total - idle
	for _, pid := range servers {
		now.switches += switches(pid)
	}
	now.deviceBytes = written(dir)
	return now, nil
}

// minus returns what was used since an earlier sample.
func (s sample) minus(before sample) sample {
	return sample{
		s.servers - before.servers, s.client - before.client, s.busy - before.busy,
		s.switches - before.switches, s.messages - before.messages, s.deviceBytes - before.deviceBytes,
	}
}

// Resident returns the memory of a process that is in main memory, in bytes; Linux alone
// says it.
func Resident(pid int) (bytes float64, err error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm is %q; it must have two numbers at least", pid, statm)
	}
	pages, err := strconv.ParseFloat(fields[1], 64)
	return pages * float64(os.Getpagesize()), err
}

// switches returns the context switches of a process's present threads; those that
// cannot be read count nothing.
func switches(pid int) (sum float64) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid)) // the pattern is well-formed
	for _, file := range threads {
		status, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		for line := range bytes.Lines(status) {
			name, number, _ := strings.Cut(string(line), ":")
			if !strings.HasSuffix(name, "voluntary_ctxt_switches") { // and nonvoluntary
				continue
			}
			if n, err := strconv.ParseFloat(strings.TrimSpace(number), 64); err == nil {
				sum += n
			}
		}
	}
	return sum
}

// written returns the bytes that were written to the device that holds a directory; 0
// if that is not known.
func written(dir string) float64 {
	major, minor, known := deviceOf(dir)
	if !known {
		return 0
	}
	stats, err := os.ReadFile("/proc/diskstats")
	if err != nil {
		return 0
	}
	const sectorBytes = 512 // the file's unit, whatever the device's sectors are
	for lines := bufio.NewScanner(bytes.NewReader(stats)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[0] != strconv.Itoa(major) || fields[1] != strconv.Itoa(minor) {
			continue
		}
		sectors, _ := strconv.ParseFloat(fields[9], 64) // 0: not known
		return sectors * sectorBytes
	}
	return 0
}
