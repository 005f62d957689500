package main

// The page by which nodes of raftkv dev are broken (cmd/raftkv/internal/panel).
var panelMutants = []mutant{
	inFile("UI16", "the panel takes what a page of another site makes a browser send", "cmd/raftkv/internal/panel/panel.go",
		"\tif err := p.origin.Check(r); err != nil {", "\tif err := p.origin.Check(r); err != nil && r.Method == \"GET\" {", "test ./cmd/raftkv/internal/panel"),
	inFile("UI17", "the panel serves any name that leads to it", "cmd/raftkv/internal/panel/panel.go",
		"\tif !isLoopback(r.Host) {", "\tif !isLoopback(r.Host) && r.Host == \"\" {", "test ./cmd/raftkv/internal/panel"),
}

// What lets nodes of raftkv dev be broken (cmd/raftkv/internal/stage).
var stageMutants = []mutant{
	inFile("UI24", "a disk may be emptied that is one of the last", "cmd/raftkv/internal/stage/stage.go",
		"\t\tif 2*whole <= len(s.actors) {", "\t\tif whole < 0 {", "test ./cmd/raftkv/internal/stage FaultsThat"),
	inFile("UI25", "a disk that is lost keeps everything", "cmd/raftkv/internal/stage/stage.go",
		"\t\treturn empty(a.disk.FS, a.dataDir)\n", "\t\treturn nil\n", "test ./cmd/raftkv/internal/stage TestPlays"),
}
