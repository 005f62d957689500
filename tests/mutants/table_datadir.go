package main

// Data directories (raft/datadir).
var datadirMutants = []mutant{
	inFile("D8", "a small file's name is not synced", "raft/datadir/file.go",
		"\treturn fsys.SyncDir(filepath.Dir(path))\n", "\treturn nil\n", "test ./raft/datadir"),
	inFile("D9", "a file of a newer raftkv is read as ours", "raft/datadir/file.go",
		"if err == nil && version.Format > FormatNewest {", "if err == nil && version.Format > FormatNewest+1 {", "test ./raft/datadir"),
	inFile("D10", "a node's data directory is taken under another name", "raft/datadir/owner.go",
		"case is.NodeID != want.NodeID:", "case is.NodeID == \"\":", "test ./raft/datadir"),
	{
		id: "D1", bug: "a node starts with another list of members than it knows",
		file:    "raft/datadir/owner.go",
		old:     "if !slices.Equal(is.Members, want.Members) {",
		new:     "if len(is.Members) == 0 && !slices.Equal(is.Members, want.Members) {",
		oracles: []string{"test ./raft/datadir"},
	},
	{
		id: "D2", bug: "a node that lost its log starts with an empty one",
		file:    "raft/datadir/owner.go",
		old:     "if err := checkLogIsThere(fsys, dir); err != nil {",
		new:     "if err := checkLogIsThere(fsys, dir); err != nil && is.NodeID == \"\" {",
		oracles: []string{"test ./raft/datadir"},
	},
	{
		id: "D3", bug: "the file that says whose a directory is gets its name before it is synced",
		file:    "raft/datadir/file.go",
		old:     "\tif err == nil {\n\t\terr = file.Sync()\n\t}\n",
		new:     "",
		oracles: []string{"test ./raft/datadir"},
	},
	inTests("D32", "TestALogOfAnother", "a log of another cluster is taken under the directory's identity", "raft/datadir/owner.go",
		"ours == (core.UID{}) || inLog == ours {", "ours == (core.UID{}) || inLog != ours {"),
	inTests("D19", "TestOnlyAMajority", "a fenced directory is used again if there is a log in it", "raft/datadir/life.go",
		"\tcase is.Fenced != \"\":\n", "\tcase is.Fenced != \"\" && void:\n"),
	inTests("D31", "TestOnlyAMajority", "a single peer's word marks a directory for good", "raft/datadir/directory.go",
		"\tif !v.Majority {\n", "\tif len(v.By) == 0 {\n"),
	inTests("D16", "TestPeersAre", "a peer's directory is known before that is durable", "raft/datadir/peers.go",
		"\tcontent := peersContent{", "\tmaps.Copy(m.known, news)\n\tcontent := peersContent{"),
	inTests("D17", "TestPeersAre", "that a peer's directory was put back is known until the node ends", "raft/datadir/peers.go",
		"k.Boot, k.PutBack = p.Boot, p.PutBack", "k.Boot = p.Boot"),
	inTests("D30", "TestAFullDiskTurns", "a full disk ends a node when another one restarts", "raft/datadir/peers.go",
		"err != nil && !vfs.IsNoSpace(err) && m.failed != nil", "err != nil && m.failed != nil"),
}
