package main

// The log of a process (cmd/raftkv/internal/logging).
var loggingMutants = []mutant{
	inTests("HO12", "TestALogThatCannotBeWritten", "lines that could not be written are not counted", "cmd/raftkv/internal/logging/sink.go",
		"if _, err := w.Write(line); err != nil {", "if _, err := w.Write(line); err != nil && told > 0 {"),
}
