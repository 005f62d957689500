package main

// The container of a snapshot (raft/snapshot).
var snapshotMutants = []mutant{
	{
		id: "S4", bug: "the trailer does not say which blocks there were",
		file: "raft/snapshot/format.go", old: "t.blocks = crc32.Update(t.blocks, castagnoli, b[:])", new: "t.blocks = crc32.Update(0, castagnoli, b[:])",
		oracles: []string{"test ./raft/snapshot"},
	},
	{
		id: "S5", bug: "a block may come from another place of the snapshot",
		file: "raft/snapshot/format.go", old: "identity^uint32(offset)^uint32(offset>>32)", new: "identity^uint32(offset>>32)",
		oracles: []string{"test ./raft/snapshot"},
	},
	{
		id: "S6", bug: "the header of a snapshot is believed unchecked",
		file: "raft/snapshot/format.go", old: "if identity != checksum(b[20:headerBytes]) {", new: "if identity == 0 {",
		oracles: []string{"test ./raft/snapshot"},
	},
	inFile("Y10", "bytes behind the uid are ignored", "raft/snapshot/format.go",
		"firstNonZero(b, uidTo, headerBytes)", "firstNonZero(b, headerBytes, headerBytes)",
		"test ./raft/snapshot"),
	inFile("Y11", "the uid of a snapshot is not written", "raft/snapshot/format.go",
		"\tcopy(b[uidAt:uidTo], h.UID[:])\n", "",
		"test ./raft/snapshot"),
	{
		id: "S1", bug: "the checksums of blocks are not compared",
		file:    "raft/snapshot/reader.go",
		old:     "if checksum(payload) != h.payload {",
		new:     "if checksum(payload) != h.payload && h.length == 0 {",
		oracles: []string{"test ./raft/snapshot"},
	},
	{
		id: "S2", bug: "a snapshot with a block too few is whole",
		file:    "raft/snapshot/reader.go",
		old:     "if string(payload) != string(s.sum.encode()) {",
		new:     "if len(payload) != len(s.sum.encode()) {",
		oracles: []string{"test ./raft/snapshot"},
	},
	{
		id: "S3", bug: "what follows the trailer is ignored",
		file:    "raft/snapshot/reader.go",
		old:     "case n > 0:\n\t\treturn s.damaged(\"something follows",
		new:     "case n > 1:\n\t\treturn s.damaged(\"something follows",
		oracles: []string{"test ./raft/snapshot"},
	},
	inFile("Y9", "a block of a later version counts as damage", "raft/snapshot/reader.go",
		"\tcase h.kind < kindBlock || h.kind > kindConfiguration:\n", "\tcase h.kind < kindBlock:\n",
		"test ./raft/snapshot"),
	{
		id: "S7", bug: "a short write of a snapshot is taken for a whole one",
		file: "raft/snapshot/writer.go", old: "if err == nil && n < len(b) {", new: "if err == nil && n < 0 {",
		oracles: []string{"test ./raft/snapshot"},
	},
	inFile("MN8", "a second configuration is taken for the first", "raft/snapshot/reader.go",
		"case h.kind == kindConfiguration && s.offset == headerBytes &&", "case h.kind == kindConfiguration &&",
		"test ./raft/snapshot TestAConfiguration"),
	inFile("MN9", "the configuration counts as payload", "raft/snapshot/reader.go",
		"\tif h.kind == kindConfiguration {\n\t\ts.header", "\tif h.kind == kindConfiguration && len(payload) == 0 {\n\t\ts.header",
		"test ./raft/snapshot TestAConfiguration"),
}
