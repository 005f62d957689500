package main

// What feeds a node's recorder (cmd/raftkv/internal/flight).
var flightMutants = []mutant{
	inTests("I11", "TestSlowIs", "what is usual follows every write", "cmd/raftkv/internal/flight/usual.go",
		"\tif u.seen >= learning && now.Before(u.due) {\n\t\treturn before\n\t}\n", "\tu.median = took\n"),
	inTests("I39", "TestALongOutage", "every wait for a leader is recorded", "cmd/raftkv/internal/flight/wait.go",
		"\tif w.seen > firstWaits && ", "\tif w.seen < 0 && "),
	inTests("I40", "TestLooksRecord", "a viewer too many is recorded as a request that found no room", "cmd/raftkv/internal/flight/watch.go",
		"\tif failure.IsCrowded(err) {\n", "\tif failure.IsCrowded(err) || err != nil {\n"),
	inTests("I41", "TestLooksRecord", "a follower that has not answered lags by everything", "cmd/raftkv/internal/flight/watch.go",
		"\t\tif p.MatchIndex == 0 {\n", "\t\tif p.MatchIndex == 1 {\n"),
}
