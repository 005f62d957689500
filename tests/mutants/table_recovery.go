package main

// The command recover (cmd/raftkv/internal/recovery).
var recoveryMutants = []mutant{
	inFile("RC5", "a recovery repeats revisions", "cmd/raftkv/internal/recovery/survivor.go",
		"kv.Raise(kvserver.RevisionLift)", "kv.Raise(kvserver.RevisionLift * 0)", "test ./cmd/raftkv/internal/recovery ARecoveryIsDone"),
	inFile("RC6", "a recovery is two writes", "cmd/raftkv/internal/recovery/survivor.go",
		"\treturn s.log.Save(&core.Write{\n\t\tSeq: 1,", "\tif err := s.log.Save(&core.Write{Seq: 1, Term: term, VotedFor: s.id(), Commit: s.state.Commit}); err != nil {\n\t\treturn err\n\t}\n\treturn s.log.Save(&core.Write{\n\t\tSeq: 2,",
		"test ./cmd/raftkv/internal/recovery ARecoveryIsDone"),
	inFile("RC7", "a node recovers though it is a majority with those that answer", "cmd/raftkv/internal/recovery/ask.go",
		"present := append(slices.Clone(alive), s.id())", "present := slices.Clone(alive)", "test ./cmd/raftkv/internal/recovery WhileAMajority"),
	inFile("RC8", "of a joint configuration only the new half is asked", "cmd/raftkv/internal/recovery/ask.go",
		"{c.Voters(), c.OldVoters()}", "{c.Voters()}", "test ./cmd/raftkv/internal/recovery WhileAMajority"),
	inFile("AU32", "a recovery leaves identities enforced though it was told otherwise", "cmd/raftkv/internal/recovery/survivor.go",
		"\tif resetAuth {\n", "\tif resetAuth && term == 0 {\n", "test ./cmd/raftkv/internal/recovery EndsTheEnforcing"),
}
