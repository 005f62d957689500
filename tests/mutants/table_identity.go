package main

import "path"

// Who a server is: the data directory that speaks, what its peers remember of it,
// and the way back of one that has lost its disk.
var identityMutants = []mutant{
	inTests("C54", "TestScripts", "a server that has lost its disk does not wait until all others have answered", "raft/core/rejoin.go",
		"\t\tcase !r.heardToRejoin(a):\n\t\t\treturn\n", "\t\tcase !r.heardToRejoin(a):\n"),
	inTests("C55", "TestScripts", "full members need not be asked again when another one turns out to have lost its disk, too", "raft/core/rejoin.go",
		"\t\tr.rejoinRound++ // what the full members have said does not count any more\n", ""),
	inTests("C56", "TestScripts", "a server that comes back counts itself among the full members", "raft/core/rejoin.go",
		"return r.members[i].id != r.config.ID && !r.members[i].rejoin.Rejoining", "return !r.members[i].rejoin.Rejoining"),
	inTests("C57", "TestScripts", "a server that has come back may give the vote of the goal's term once more", "raft/core/rejoin.go",
		"\tif r.votedFor == None {\n\t\tr.votedFor = r.config.ID\n\t}\n", ""),
	inTests("C58", "TestScripts", "a leader counts what a lost disk had confirmed as the new one's", "raft/core/rejoin.go",
		"\t\tr.generation++\n\t\ts.progress = progress{\n", "\t\ts.progress = progress{\n"),
	inTests("C59", "TestScripts", "an entry of the goal's own term makes a full member, wherever the goal is", "raft/core/rejoin.go",
		"ok && term > r.rejoining.Term\n", "ok && term >= r.rejoining.Term\n"),
	inTests("C60", "TestRandomRuns", "a server that comes back votes", "raft/core/election.go",
		"\t\tr.role != Leader && !r.rejoining.On && r.isUpToDate", "\t\tr.role != Leader && r.isUpToDate"),
	inTests("C61", "TestScripts", "who has put other entries in the place of what it confirmed is not found out", "raft/core/broken.go",
		"\treturn req.PrevLogIndex <= call.matchIndex\n", "\treturn false\n"),
	inTests("C62", "TestScripts", "a follower that has lost nothing but the last entry that it confirmed is not found out", "raft/core/broken.go",
		"\t\treturn reply.ConflictIndex <= call.matchIndex\n", "\t\treturn reply.ConflictIndex < call.matchIndex\n"),

	inTests("X24", "TestAFenced", "a directory that was found to be put back is taken at its next start", "raft/wire/life.go",
		"case k.PutBack || l.Boot < k.Boot:", "case l.Boot < k.Boot:"),
	inTests("X25", "TestAPeersDirectory", "the count of boots is not compared", "raft/wire/life.go",
		"case k.PutBack || l.Boot < k.Boot:", "case k.PutBack:"),
	inTests("X26", "TestAPeersDirectory", "the directory before the last is forgotten when a new one takes its place", "raft/wire/life.go",
		"all := append(slices.Clone(k.Former), i)", "all := []Incarnation{i}"),
	inTests("X27", "TestReplaced", "of the directories that were replaced the eldest are remembered, not the last", "raft/wire/life.go",
		"return all[max(0, len(all)-maxFormer):]", "return all[:min(len(all), maxFormer)]"),
	inTests("X28", "TestALaterLife", "any life of a directory that is talked to passes: the next process does not end the connections of the one before", "raft/wire/fence.go",
		"\tmet := p.stands(l.use()) && ", "\tmet := p.use.incarnation == l.Incarnation && "),
	inTests("X29", "TestAFenced", "who was found to have forgotten is talked to until its connections end", "raft/wire/fence.go",
		"\tt.endLives(p, use{})\n", ""),

	inTests("D16", "TestPeersAre", "a peer's directory is known before that is durable", "cmd/raftkv/peers.go",
		"\tcontent := peersContent{", "\tmaps.Copy(m.known, news)\n\tcontent := peersContent{"),
	inTests("D17", "TestPeersAre", "that a peer's directory was put back is known until the node ends", "cmd/raftkv/peers.go",
		"k.Boot, k.PutBack = p.Boot, p.PutBack", "k.Boot = p.Boot"),
	inTests("D18", "TestHowFar", "how far a node has come back is durable before what it has promised", "cmd/raftkv/rejoin.go",
		"\tif err := s.WAL.Save(w); err != nil {\n\t\treturn err\n\t}\n\tif err := s.directory.setRejoining(w.Rejoining); err != nil {\n",
		"\tif err := s.directory.setRejoining(w.Rejoining); err != nil {\n\t\treturn err\n\t}\n\tif err := s.WAL.Save(w); err != nil {\n"),
	inTests("D19", "TestADirectoryThatWasPutBackOrCopied", "a fenced directory is used again if there is a log in it", "cmd/raftkv/life.go",
		"\tcase is.Fenced != \"\":\n", "\tcase is.Fenced != \"\" && void:\n"),

	inService("G43", "TestTenures", "who waits for a leader is ended though it leads again", "tenures.go",
		" && p.term == term && p.timer.Stop() {", " && p.term == term {"),
	inService("G44", "TestALaterTerm", "who waited for a cut-off leader's answer waits on when it leads again in a later term", "tenures.go",
		"\t\tif p.leader == leader && p.term == term && p.timer.Stop() {", "\t\tif p.leader == leader && p.timer.Stop() {"),
	inService("G45", "TestTenures", "the tenures of leaders that are gone are kept", "tenures.go",
		"\t\t\tt.past = append(t.past[:i], t.past[i+1:]...)\n\t\t\treturn\n", "\t\t\treturn\n"),
	inService("G46", "TestAFullHouse", "the youngest of the slow connections has to go first", "http_conns.go",
		"min(max(a.since-b.since, -1), 1)", "min(max(b.since-a.since, -1), 1)"),
	inService("G47", "TestAPlaceIsFreed", "a connection that is closed twice frees two places of its address", "http_conns.go",
		"\tif !cs.all[c] {\n\t\treturn\n\t}\n", ""),
	inService("G48", "TestSlowClientsThatCame", "a slow client may be left no time at all", "http_conns.go",
		"time.Duration(c.haste*float64(d)/2)", "time.Duration(c.haste*float64(d))"),
	inService("G49", "TestCrumbs", "the end of a header that comes in two pieces is not seen", "http_conns.go",
		"searched := max(len(c.record)-3, 0)", "searched := len(c.record)"),
	inService("G50", "TestSlowClientsGetLess", "slow clients have all the time they like where places are short", "http_conns.go",
		"\tif c.conns.short() {\n\t\tleft /= 3\n\t}\n", ""),
}

// inTests is a mutant that tests of its package whose names fit should notice.
// They are asked alone first; the others take their time.
func inTests(id, tests, bug, file, old, new string) mutant {
	dir := "test ./" + path.Dir(file)
	return mutant{id: id, bug: bug, file: file, old: old, new: new, oracles: []string{dir + " " + tests, dir}}
}
