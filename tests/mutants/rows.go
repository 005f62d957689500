package main

import (
	"path"
	"slices"
	"strings"
)

// The functions below write a row for what it has in common with its neighbours:
// the folder and the oracles.

// inCore is a mutant of raft/core.
func inCore(id, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: "raft/core/" + file, old: old, new: new, oracles: []string{"test ./raft/core", "sim"}}
}

// inNode is a mutant of raft/node.
func inNode(id, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: "raft/node/" + file, old: old, new: new, oracles: []string{"test ./raft/node", "sim"}}
}

// inLog is a mutant of raft/wal that tests with fitting names should notice. They
// are asked alone first, because some of the others take their time.
func inLog(id, tests, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: "raft/wal/" + file, old: old, new: new, oracles: []string{"test ./raft/wal " + tests, "test ./raft/wal", "sim"}}
}

// onWire is a mutant of raft/wire.
func onWire(id, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: "raft/wire/" + file, old: old, new: new, oracles: []string{"test ./raft/wire"}}
}

// inStore is a mutant of kvserver/kv.
func inStore(id, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: "kvserver/kv/" + file, old: old, new: new, oracles: []string{"test ./kvserver/kv", "sim"}}
}

// notLabs are kvserver's tests without the labs' suites, which know nothing of HTTP
// and of Clerks over TCP.
const notLabs = "!3A|3B|4A|4B|Versioned|LostAnswer"

// inService is a mutant of kvserver or of a package below it that tests with fitting
// names should notice: those of its own package, or those of the doors, which ask
// whole servers. They are asked alone first: the packages have many tests, and on a
// busy machine any of them may fail first.
func inService(id, tests, bug, file, old, new string) mutant {
	const http, clerks = "test ./kvserver/httpd", "test ./kvserver/clerkd"
	own := "test ./" + path.Dir("kvserver/"+file)
	oracles := []string{own + " " + tests, http + " " + tests, clerks + " " + tests, own, http, clerks}
	switch own {
	case "test ./kvserver": // has few tests of its own in addition to the labs' suites
		oracles = []string{http + " " + tests, clerks + " " + tests, own + " " + tests, http, clerks, own + " " + notLabs}
	case "test ./kvserver/failure": // has none
		oracles = []string{http + " " + tests, clerks + " " + tests, http, clerks}
	}
	return mutant{id: id, bug: bug, file: "kvserver/" + file, old: old, new: new, oracles: unique(oracles)}
}

// inMachine is a mutant of kvserver/machine that tests with fitting names, there or
// at the doors, should notice.
func inMachine(id, tests, bug, file, old, new string) mutant {
	return inService(id, tests, bug, "machine/"+file, old, new)
}

// unique returns the texts without those that stand further ahead.
func unique(texts []string) (all []string) {
	for _, text := range texts {
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// inTests is a mutant that tests of its package with fitting names should notice.
// They are asked alone first, because the others take their time.
func inTests(id, tests, bug, file, old, new string) mutant {
	dir := "test ./" + path.Dir(file)
	return mutant{id: id, bug: bug, file: file, old: old, new: new, oracles: []string{dir + " " + tests, dir}}
}

// inSimulator is a mutant that the simulator should notice: it shows when a whole
// cluster lives through something.
func inSimulator(id, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: file, old: old, new: new, oracles: []string{"sim"}}
}

// inExplorer is a mutant that the explorer of raft/core must find alone, within the
// bounds of that name.
func inExplorer(id, bounds, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: file, old: old, new: new, oracles: []string{"explore ^" + strings.ReplaceAll(bounds, " ", "_") + "$"}}
}

// inFile is a mutant of any file, with its oracles.
func inFile(id, bug, file, old, new string, oracles ...string) mutant {
	return mutant{id: id, bug: bug, file: file, old: old, new: new, oracles: oracles}
}

// raftLab is a mutant, as students plant it, that the suites of the Raft lab must
// catch alone: nothing but the courses' parts is run.
func raftLab(id, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: file, old: old, new: new, oracles: []string{"test ./raft 2A|2B|2C|2D"}}
}

// storeLab is a mutant, as students plant it, that one part of the key/value lab
// must catch alone.
func storeLab(id, bug, part, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: file, old: old, new: new, oracles: []string{"test ./kvserver " + part}}
}

// faceOfLabs is a mutant of what the labs' face promises beyond the courses.
func faceOfLabs(id, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: file, old: old, new: new, oracles: []string{"test ./raft"}}
}

// A leader recognises an answer of another term twice, by the call's term and by the
// answer's: either check alone would do.
const (
	staleAnswers = `	if p == nil || r.role != Leader || sentTerm != r.currentTerm {
		return nil
	}
	switch {
	case call.generation < p.minGeneration:
		return nil
	case lost && call.generation == p.generation:
		r.lost(p)
		return nil
	case lost, replyTerm != r.currentTerm:
`
	staleAccepted = `	if p == nil || r.role != Leader {
		return nil
	}
	switch {
	case call.generation < p.minGeneration:
		return nil
	case lost && call.generation == p.generation:
		r.lost(p)
		return nil
	case lost:
`
)
