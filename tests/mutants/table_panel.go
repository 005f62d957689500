package main

// The page by which nodes of raftkv dev are broken (cmd/raftkv/internal/panel).
var panelMutants = []mutant{
	inFile("UI16", "the panel takes what a page of another site makes a browser send", "cmd/raftkv/internal/panel/panel.go",
		"\tif err := p.origin.Check(r); err != nil {", "\tif err := p.origin.Check(r); err != nil && r.Method == \"GET\" {", "test ./cmd/raftkv/internal/panel"),
	inFile("UI17", "the panel serves any name that leads to it", "cmd/raftkv/internal/panel/panel.go",
		"\tif !isLoopback(r.Host) {", "\tif !isLoopback(r.Host) && r.Host == \"\" {", "test ./cmd/raftkv/internal/panel"),
}
