package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mutant is one planted bug.
type mutant struct {
	id   string
	bug  string // what is wrong with it, for people
	file string // from the root of the source
	old  string // must be found there exactly once
	new  string
	// oracles are what should notice, the expected one first; see oracle.
	oracles []string
	// hangs says that the bug shows in a test that does not end. Of every other bug
	// such a test says nothing: the machine may have been busy.
	hangs bool
}

// canary is a bug that any test of the core must notice.
var canary = mutant{
	id: "canary", bug: "every log index is one too high",
	file:    "raft/core/log.go",
	old:     `func (l *log) lastIndex() uint64  { return l.base.Index + uint64(len(l.entries)) }`,
	new:     `func (l *log) lastIndex() uint64  { return l.base.Index + uint64(len(l.entries)) + 1 }`,
	oracles: []string{"test ./raft/core"},
}

// tables are the rows by the package that they bite.
var tables = []struct {
	pkg  string // from the root of the source
	rows []mutant
}{
	{"raft/members", membersMutants},
	{"raft/core", coreElectionMutants},
	{"raft/core", coreReplicationMutants},
	{"raft/core", coreLogMutants},
	{"raft/core", coreMembersMutants},
	{"raft/core", coreMutants},
	{"raft/core", coreExplorerMutants},
	{"raft/members", membersExplorerMutants},
	{"raft/node", nodeMutants},
	{"raft/wal", walMutants},
	{"raft/snapshot", snapshotMutants},
	{"raft/vfs", vfsMutants},
	{"raft/certs", certsMutants},
	{"raft/wire", wireMutants},
	{"raft/datadir", datadirMutants},
	{"raft/identity", identityMutants},
	{"raft", raftMutants},
	{"labrpc", labrpcMutants},
	{"labrpc/labgob", labgobMutants},
	{"kvserver/kv", kvMutants},
	{"kvserver/watch", watchMutants},
	{"kvserver", txnMutants},
	{"kvserver", leaseMutants},
	{"kvserver", lockMutants},
	{"kvserver", coordinationMutants},
	{"kvserver", authMutants},
	{"kvserver", kvserverHTTPMutants},
	{"kvserver/httpd", pageMutants},
	{"kvserver", kvserverClerkMutants},
	{"kvserver", kvserverMutants},
	{"kvserver/membership", membershipMutants},
	{"kvserver/clerkwire", clerkwireMutants},
	{"client", clientMutants},
	{"client/bench", benchMutants},
	{"cmd/raftkv", raftkvMutants},
	{"cmd/raftkv/internal/logging", loggingMutants},
	{"cmd/raftkv/internal/inventory", inventoryMutants},
	{"cmd/raftkv/internal/host", hostMutants},
	{"cmd/raftkv/internal/discover", discoverMutants},
	{"cmd/raftkv/internal/secure", secureMutants},
	{"cmd/raftkv/internal/recovery", recoveryMutants},
	{"cmd/raftkv/internal/process", processMutants},
	{"kvserver/recorder", recorderMutants},
	{"kvserver/explain", explainMutants},
	{"cmd/raftkv/internal/flight", flightMutants},
	{"cmd/raftkv/internal/panel", panelMutants},
	{"cmd/raftkv/internal/stage", stageMutants},
}

// all returns the rows of all tables.
func all() []mutant {
	var rows []mutant
	for _, t := range tables {
		rows = append(rows, t.rows...)
	}
	return rows
}

// chosen returns the mutants that a comma-separated list of ids, or of
// beginnings of ids and of files, names; all of them if it is empty.
func chosen(mutants []mutant, only string) []mutant {
	if only == "" {
		return mutants
	}
	var some []mutant
	for _, m := range mutants {
		for name := range strings.SplitSeq(only, ",") {
			if name = strings.TrimSpace(name); m.id == name || strings.HasPrefix(m.file, name+"/") || len(name) > 1 && name == strings.TrimRight(m.id, "0123456789") {
				some = append(some, m)
				break
			}
		}
	}
	return some
}

// mutated returns the mutant's file with the bug in it and as it is.
func (m mutant) mutated(root string) (with, without []byte, err error) {
	without, err = os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return nil, nil, fmt.Errorf("mutant %s: %w", m.id, err)
	}
	switch n := strings.Count(string(without), m.old); {
	case m.old == m.new || m.old == "":
		return nil, nil, fmt.Errorf("mutant %s changes nothing", m.id)
	case n != 1:
		return nil, nil, fmt.Errorf("mutant %s: its text is found %d times in %s, not once: bring the table up to date", m.id, n, m.file)
	}
	return []byte(strings.Replace(string(without), m.old, m.new, 1)), without, nil
}
