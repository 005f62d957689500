package main

// What a directory holds (cmd/raftkv/internal/inventory).
var inventoryMutants = []mutant{
	inTests("HO1", "TestFreshNever", "--fresh takes the node of another cluster for dev's", "cmd/raftkv/internal/inventory/dev.go",
		"case known && (is.ClusterID != DevClusterID || is.NodeID != name):", "case known && is.NodeID != name:"),
	inTests("HO2", "TestFreshNever", "--fresh removes a log that holds something, though no mark says that dev made it", "cmd/raftkv/internal/inventory/dev.go",
		"\tcase known && marked:\n", "\tcase known:\n"),
	inTests("HO3", "TestPartOfADevCluster", "an interrupted removal leaves no mark", "cmd/raftkv/internal/inventory/dev.go",
		"if err := fsys.Rename(mark, removing); err == nil {", "if err := fsys.Remove(mark); err == nil {"),
	inTests("HO4", "TestADirectoryIsJudged", "lost+found makes a directory foreign", "cmd/raftkv/internal/inventory/inventory.go",
		"return slices.DeleteFunc(names, isHarmless), nil", "return names, nil"),
	inFile("D7", "a backup is restored over what is there", "cmd/raftkv/internal/inventory/inventory.go",
		"case len(others) > 0:", "case len(others) > 1<<20:", "test ./cmd/raftkv/internal/inventory"),
}
