package main

// One running node (cmd/raftkv/internal/host).
var hostMutants = []mutant{
	inFile("D11", "nodes do not ask before they stand", "cmd/raftkv/internal/host/consensus.go",
		"PreVote:       true, CheckQuorum: true, Noop: true,", "CheckQuorum: true, Noop: true,", "test ./cmd/raftkv/internal/host"),
	inFile("D12", "leaders lead on without a majority", "cmd/raftkv/internal/host/consensus.go",
		"PreVote:       true, CheckQuorum: true, Noop: true,", "PreVote:       true, Noop: true,", "test ./cmd/raftkv/internal/host"),
	inFile("D13", "a leader whose disk hangs leads on", "cmd/raftkv/internal/host/consensus.go",
		", StallTicks: stallTicks,", ", StallTicks: 0,", "test ./cmd/raftkv/internal/host"),
	inFile("DR14", "a client port that was closed twice is said to have ended too late", "cmd/raftkv/internal/host/port.go",
		"return !errors.Is(p.server.Shutdown(ctx), context.DeadlineExceeded)", "err := p.server.Shutdown(ctx)\n\treturn err == nil || errors.Is(err, context.Canceled)", "test ./cmd/raftkv/internal/host AnEndWith"),
	inTests("D18", "TestHowFar", "how far a node has come back is durable before what it has promised", "cmd/raftkv/internal/host/rejoin.go",
		"\tif err := s.WAL.Save(w); err != nil {\n\t\treturn err\n\t}\n\tif err := s.directory.SetRejoining(w.Rejoining); err != nil {\n",
		"\tif err := s.directory.SetRejoining(w.Rejoining); err != nil {\n\t\treturn err\n\t}\n\tif err := s.WAL.Save(w); err != nil {\n"),
	inTests("D20", "TestHowFar", "a node may have a goal and not know which cluster gave it", "cmd/raftkv/internal/host/rejoin.go",
		"\tif w.GoalUID != (core.UID{}) {\n", "\tif false {\n"),
	inTests("D22", "TestANodeThatHearsOfTheRecordLate", "a goal is made although there is a record", "cmd/raftkv/internal/host/rejoin.go",
		"heard && s.Generation > 0 {", "heard && s.Generation > 1<<40 {"),
	inTests("D21", "TestHowANode", "a node that comes back believes answers of different clusters", "cmd/raftkv/internal/host/rejoin.go",
		"if uid != (core.UID{}) && uid != s.UID {", "if uid != (core.UID{}) && uid == s.UID {"),
	inFile("D14", "a snapshot that a newer one made superfluous is called written", "cmd/raftkv/internal/host/storage.go",
		"\t\treturn fmt.Errorf(\"%w: %w\", raft.ErrCompacted, err)\n", "\t\t_ = fmt.Errorf(\"%w: %w\", raft.ErrCompacted, err)\n\t\treturn nil\n", "test ./cmd/raftkv/internal/host"),
	inFile("D15", "a disk without room for the next segment ends the node", "cmd/raftkv/internal/host/storage.go",
		"if vfs.IsNoSpace(err) {", "if vfs.IsNoSpace(err) && s.logger == nil {", "test ./cmd/raftkv/internal/host"),
}
