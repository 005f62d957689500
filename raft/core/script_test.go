package core

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// A script in testdata is a story told to a few servers: each line is a
// command, the indented lines below it are what it brought about. Lines that
// begin with # and empty lines are for the reader.
//
//	new 5 [noop] [prevote] [checkquorum] [bytes N] [window N]
//	      [trailing N] [stall N]
//	                       that many fresh servers; bytes bound one AppendEntries,
//	                       trailing is what stays in memory of what is applied,
//	                       stall the ticks after which a disk counts as hanging;
//	                       no entries are held back (Config.BatchBytes)
//	      [voters N]       only the first N found the cluster; the others join
//	log 1 1 1 4            server 1 starts with a log of these terms on its disk
//	term 1 8 [vote 2]      server 1 starts in this term, with this vote
//	campaign 1             it campaigns now
//	timeout 1              ticks until it stands by itself
//	tick 1 20              this number of ticks passes for it
//	elect 1                campaign and settle; it must lead
//	propose 1 x y          commands for its log, in one turn
//	read 1 [n]             n linearizable reads in one turn
//	suspect 2 1            server 2 lost the connection to 1; transfer 1 2
//	deliver 1->2 [all|last|N] [drop|vanish|copy|told]
//	                       hand over the oldest message on that way, or the Nth oldest;
//	                       drop loses it and says so, vanish does not, copy leaves it in
//	                       flight; told says that the call was lost, and it is in flight
//	heartbeat 1->2         a heartbeat to one follower is due
//	again 1                lost requests for votes, or to rejoin, are due again
//	unheard 1              it has not heard its leader for an election timeout
//	check 1                it leads, and looks whether it has heard from a quorum
//	late 1                 its next round of reads need not wait for the present one
//	save 1                 its outstanding write is on the platter
//	hold 1->2, hold 1      settle leaves these messages, or this disk, alone; release undoes it
//	cut 1-2, cut 1->2, cut 1   what is sent this way is lost; heal undoes it
//	compact 1              its snapshot of now stands for its log
//	crash 1 [written]      what was not saved is lost; the write under way may have reached the disk
//	restart 1
//	keep 1, putback 1      a copy is made of its disk; it starts on that copy
//	wipe 1                 it is down and up again with an empty disk, to rejoin
//	settle [1 2 …]         save and deliver until nothing is left, or only among these
//	found 1                leader 1 asks for the first record of the members
//	change 1 voter 4 learner 5 replica 6 remove 2 address 3
//	                       … for one in which 4 votes, 5 and 6 do not, 2 is gone
//	                       and 3 has another address
//	members                by which configuration each server counts; "1 2 3 => 1 2 4 (5)"
//	                       is joint, with 5 a learner
//	learners 1             how the learners of leader 1 catch up
//	show, progress 1, flight
//
// The outputs in the files are expectations; -rewrite replaces them.
var rewrite = flag.Bool("rewrite", false, "replace the expected outputs in testdata/*.txt")

// Goal: every story in testdata ends as it is written down there.
// Method: run its commands one by one and compare what they print.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts found: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, path, string(text))
			if *rewrite {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("%s went another way:\n%s", path, firstDifference(string(text), got))
			}
		})
	}
}

// runScript returns the script with the outputs that its commands really have.
func runScript(t *testing.T, path, text string) string {
	var out strings.Builder
	s := &script{}
	for number, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "    "): // an old output
		case line == "" || line[0] == '#':
			fmt.Fprintln(&out, line)
		default:
			fmt.Fprintln(&out, line)
			if err := s.guarded(line); err != nil {
				t.Fatalf("%s:%d: %s: %v\nbefore it:\n%s", path, number+1, line, err, s.output.String())
			}
			for _, printed := range strings.Split(strings.TrimSuffix(s.output.String(), "\n"), "\n") {
				if printed != "" {
					fmt.Fprintf(&out, "    %s\n", printed)
				}
			}
		}
	}
	return out.String()
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	last := ""
	for i := 0; i < len(w) && i < len(g); i++ {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d, after %q\n  want %q\n  got  %q", i+1, last, w[i], g[i])
		}
		if !strings.HasPrefix(w[i], "    ") && w[i] != "" {
			last = w[i]
		}
	}
	return fmt.Sprintf("%d lines wanted, %d lines got", len(w), len(g))
}

// script is the state between two commands.
type script struct {
	*cluster
	output strings.Builder
	reads  int // reads so far: they are called r1, r2, …
	names  map[Tag]string
	kept   map[ID]State // copies of disks
}

func (s *script) printf(format string, args ...any) {
	fmt.Fprintf(&s.output, format+"\n", args...)
}

// guarded runs one command; a broken assertion of the core is an error of it.
func (s *script) guarded(line string) (err error) {
	defer func() {
		if broken := recover(); broken != nil {
			err = fmt.Errorf("the core stopped itself: %v\n%s", broken, debug.Stack())
		}
	}()
	s.output.Reset()
	fields := strings.Fields(line)
	name, args := fields[0], fields[1:]
	command, known := commands[name]
	switch {
	case !known:
		return fmt.Errorf("unknown command %q", name)
	case s.cluster == nil && name != "new":
		return fmt.Errorf("a script begins with new")
	}
	if err := command(s, args); err != nil {
		return err
	}
	return s.fault
}

var idPattern = regexp.MustCompile(`^[1-9]$`)

// id reads the name of a server.
func (s *script) id(args []string, i int) (*server, error) {
	if i >= len(args) || !idPattern.MatchString(args[i]) || int(args[i][0]-'1') >= len(s.servers) {
		return nil, fmt.Errorf("server expected as argument %d of %v", i+1, args)
	}
	return s.server(ID(args[i])), nil
}

func numbers(args []string) ([]uint64, error) {
	var list []uint64
	for _, arg := range args {
		n, err := strconv.ParseUint(arg, 10, 64)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

// ways reads "1->2" (one way), "1-2" (both) or "1" (all from and to it).
func (s *script) ways(args []string) ([][2]ID, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("1->2, 1-2 or 1 expected")
	}
	valid := func(ids ...string) error {
		for _, id := range ids {
			if _, err := s.id([]string{id}, 0); err != nil {
				return err
			}
		}
		return nil
	}
	if from, to, ok := strings.Cut(args[0], "->"); ok {
		return [][2]ID{{ID(from), ID(to)}}, valid(from, to)
	}
	if a, b, ok := strings.Cut(args[0], "-"); ok {
		return [][2]ID{{ID(a), ID(b)}, {ID(b), ID(a)}}, valid(a, b)
	}
	var all [][2]ID
	for _, other := range s.servers {
		if id := ID(args[0]); other.id != id {
			all = append(all, [2]ID{id, other.id}, [2]ID{other.id, id})
		}
	}
	return all, valid(args[0])
}

func has(args []string, word string) bool {
	for _, arg := range args {
		if arg == word {
			return true
		}
	}
	return false
}
