package main

// Mistakes that show when a whole cluster lives through something: who is who
// after a disk was lost or put back, how long a request is remembered, what is
// delivered and not applied yet.
var simulatorMutants = []mutant{
	inSimulator("SI1", "who comes back without its disk believes the first leader that answers, of whatever term", "raft/core/rejoin.go",
		"if a.Term > latest.Term || a.Term == latest.Term && a.Leads {", "if a.Leads || a.Term > latest.Term && !latest.Leads {"),
	inSimulator("SI2", "the log forgets what is committed and not delivered yet", "raft/core/forget.go",
		"keep = r.log.tail(r.lastApplied, r.config.TrailingBytes)", "keep = r.log.tail(r.commitIndex, r.config.TrailingBytes)"),
	inSimulator("SI3", "an empty directory passes for the server's own at its first start", "raft/identity/life.go",
		"case l.Incarnation != k.Incarnation && !l.Rejoined:", "case l.Incarnation != k.Incarnation && !l.Rejoined && l.Boot > 1:"),
	inSimulator("SI4", "a copy that starts in the boot that was met is believed", "raft/identity/life.go",
		"then == k.Nonce {", "then == k.Nonce || l.Boot == k.Boot {"),
	inSimulator("SI5", "the word of a server that has lost its disk counts against another's directory", "raft/identity/acquaint.go",
		"case them.Life.Asking:", "case false:"),
	inSimulator("SI6", "the word of any server of no other cluster counts, whoever it is", "raft/identity/acquaint.go",
		"case reason != \"\":\n\t\treturn \"it is not on", "case false:\n\t\treturn \"it is not on"),
	inSimulator("SI7", "a server that has no goal yet is remembered as the first directory of a peer", "raft/identity/life.go",
		"\tcase k.Boot == 0 && l.Asking:\n\t\treturn k, false, \"\" // nobody yet: the directory it is to replace may come instead\n", ""),
	inSimulator("SI8", "a request under an idempotency key is forgotten after half of the window", "kvserver/kv/idempotency.go",
		"if s.logTime-eldest.time < IdempotencyWindow {", "if s.logTime-eldest.time < IdempotencyWindow/2 {"),
	inSimulator("SI9", "log time passes by what clocks of different servers show", "kvserver/kv/store.go",
		"if before := s.stamped; before.origin == c.ID.Origin {", "if before := s.stamped; before.origin != 0 {"),
	inSimulator("SI10", "log time has no longest step", "kvserver/kv/store.go",
		"min(c.Time-before.time, MaxTimeStep, math.MaxUint64-s.logTime)", "min(c.Time-before.time, math.MaxUint64-s.logTime)"),
}

// inSimulator is a mutant that the simulator should notice.
func inSimulator(id, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: file, old: old, new: new, oracles: []string{"sim"}}
}
