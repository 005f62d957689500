package main

// The program as its host sees it: data directories, descriptors, signals and
// the environment.
var hostMutants = []mutant{
	inTests("HO1", "TestFreshNever", "--fresh takes the node of another cluster for dev's", "cmd/raftkv/devdata.go",
		"case known && (is.ClusterID != devClusterID || is.NodeID != name):", "case known && is.NodeID != name:"),
	inTests("HO2", "TestFreshNever", "--fresh removes a log that holds something, though no mark says that dev made it", "cmd/raftkv/devdata.go",
		"\tcase known && marked:\n", "\tcase known:\n"),
	inTests("HO3", "TestPartOfADevCluster", "an interrupted removal leaves no mark", "cmd/raftkv/devdata.go",
		"if err := fsys.Rename(mark, removing); err == nil {", "if err := fsys.Remove(mark); err == nil {"),
	inTests("HO4", "TestADirectoryIsJudged", "lost+found makes a directory foreign", "cmd/raftkv/inventory.go",
		"return slices.DeleteFunc(names, isHarmless), nil", "return names, nil"),
	inTests("HO5", "TestALockIsNotLost", "only the lock file is locked, and it can be removed", "raft/vfs/hold.go",
		"\terr = lockFile(l.dir)\n", "\terr = nil\n"),
	inTests("HO6", "TestALogThatWasTakenAway", "nobody looks at the directory before a segment is begun", "raft/wal/spare.go",
		"\tif err := w.checkNames(); err != nil {\n\t\treturn err\n\t}\n", ""),
	inTests("HO7", "TestALogThatWasTakenAway", "the segment's own name is not looked at", "raft/wal/held.go",
		"if err := w.active.file.CheckName(w.active.path); err != nil {", "if err := w.active.file.CheckName(w.active.path); err != nil && w.closed {"),
	inTests("HO8", "TestWhatIsAShortage", "a sync that failed for lack of memory is tried again", "raft/vfs/fs.go",
		"if !errors.As(err, &opening) || opening.Op != \"open\" {", "if !errors.As(err, &opening) {"),
	inTests("HO9", "TestTheDocumentedDescriptors", "connections to the leader are not counted in what clients take", "cmd/raftkv/internal/process/descriptors.go",
		"return clients + 2*forwardsFor(clients) + max(", "return clients + max("),
	inTests("HO10", "TestALackOfDescriptors", "a lack of descriptors ends the log at once", "cmd/raftkv/internal/process/shortage.go",
		"if !vfs.IsShortage(err) || time.Since(begun) >= shortageLimit {", "if !vfs.IsShortage(err) || time.Since(begun) >= 0 {"),
	inTests("HO11", "TestAPortOutlasts", "an error of the network ends a port", "cmd/raftkv/internal/process/shortage.go",
		"\treturn errors.As(err, &errno)\n", "\treturn errors.As(err, &errno) && errno.Temporary()\n"),
	inTests("HO12", "TestALogThatCannotBeWritten", "lines that could not be written are not counted", "cmd/raftkv/logging.go",
		"if _, err := w.Write(line); err != nil {", "if _, err := w.Write(line); err != nil && told > 0 {"),
	inTests("HO13", "TestDoubtfulAddresses", "a loopback address is given to other machines without a word", "cmd/raftkv/address.go",
		"if remote > 0 && isLoopback(clients) {", "if remote < 0 && isLoopback(clients) {"),
	inTests("HO14", "TestAMisspeltVariable", "what an orchestrator puts into the environment is warned about", "cmd/raftkv/variables.go",
		" || ofOrchestrator.MatchString(name) {", " {"),
}
