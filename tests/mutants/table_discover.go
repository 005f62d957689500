package main

// Finding members at addresses that nobody has written down (cmd/raftkv/internal/discover).
var discoverMutants = []mutant{
	inTests("DI2", "TestASeeker", "whoever is found is told, also a stranger", "cmd/raftkv/internal/discover/seeker.go",
		"case slices.Contains(missing, id):", "case len(missing) > 0 && slices.Contains(missing, missing[0]):"),
	inTests("DI3", "TestASeeker", "the pauses grow without an end", "cmd/raftkv/internal/discover/seeker.go",
		"pause = min(2*pause, longestPause)", "pause = max(2*pause, longestPause)"),
	inTests("DI4", "TestASeeker", "a node looks before it knows that somebody is missing", "cmd/raftkv/internal/discover/seeker.go",
		"		if len(missing) == 0 {\n			pause = first\n			continue\n		}\n", "		if len(missing) == 0 {\n			pause = first\n		}\n"),
}
