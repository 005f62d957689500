package main

// What feeds a node's recorder (cmd/raftkv/internal/flight).
var flightMutants = []mutant{
	inTests("I11", "TestSlowIs", "what is usual follows every write", "cmd/raftkv/internal/flight/usual.go",
		"\tif u.seen >= learning && now.Before(u.due) {\n\t\treturn before\n\t}\n", "\tu.median = took\n"),
}
