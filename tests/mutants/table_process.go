package main

// What a process may use (cmd/raftkv/internal/process).
var processMutants = []mutant{
	inTests("HO9", "TestTheDocumentedDescriptors", "connections to the leader are not counted in what clients take", "cmd/raftkv/internal/process/descriptors.go",
		"return clients + 2*forwardsFor(clients) + max(", "return clients + max("),
	inTests("HO10", "TestALackOfDescriptors", "a lack of descriptors ends the log at once", "cmd/raftkv/internal/process/shortage.go",
		"if !vfs.IsShortage(err) || time.Since(begun) >= shortageLimit {", "if !vfs.IsShortage(err) || time.Since(begun) >= 0 {"),
	inTests("HO11", "TestAPortOutlasts", "an error of the network ends a port", "cmd/raftkv/internal/process/shortage.go",
		"\treturn errors.As(err, &errno)\n", "\treturn errors.As(err, &errno) && errno.Temporary()\n"),
}
