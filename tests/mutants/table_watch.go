package main

// Watches (kvserver/watch); what machine, hall and door make of them is in the tables of
// those.
var watchMutants = []mutant{
	inWatch("WT2", "a bookmark is sent when it is confirmed, not behind what stands before it", "watch/stream.go",
		"\tcase s.bookmark != 0 && s.position >= s.bookmark:\n\t\touts = append(outs, Out{Kind: Progress, Revision: s.position, ",
		"\tcase s.bookmark != 0:\n\t\touts = append(outs, Out{Kind: Progress, Revision: s.bookmark, "),
	inWatch("WT42", "a piece that does not fit into a step is left until something wakes the watch", "watch/stream.go",
		"\t\tif outs = s.look(&h); len(s.due) > 0 {\n\t\t\treturn outs, true\n", "\t\tif outs = s.look(&h); len(s.due) > 0 {\n\t\t\treturn outs, false\n"),
	inWatch("WT43", "a watch sleeps though something came between two pieces", "watch/stream.go",
		"\tmore = !took\n", "\tmore = false\n"),
	inWatch("WT3", "the place of a mirror is the one before its state was frozen", "watch/stream.go",
		"\t\ts.place(view.Revision())\n", "\t\ts.place(s.position)\n"),
	inWatch("WT4", "a history that reaches the place just so is said to be gone", "watch/stream.go",
		"case s.scans && !h.Reaches(s.position),", "case s.scans && h.Oldest() > 1 && !h.Reaches(s.position-min(s.position, 1)),"),
	inWatch("WT5", "a watch whose ring overflows goes on behind what overflowed", "watch/hub.go",
		"c.behind, c.at, c.due = true, c.due[0]-1, nil", "c.behind, c.at, c.due = true, revision, nil"),
	inWatch("WT6", "behind a gap in the history watches are moved to its end", "watch/hub.go",
		"\t\tc.behind, c.due = c.at < revision, nil\n", "\t\tc.at, c.behind, c.due = revision, false, nil\n"),
	inWatch("WT7", "a change is split where a piece is full", "watch/stream.go",
		"\t\tif e.Revision != last {\n\t\t\tif changes == PieceChanges || size >= pieceBytes {\n\t\t\t\tfull = true\n\t\t\t\treturn false\n\t\t\t}\n",
		"\t\tif size >= pieceBytes {\n\t\t\tfull = true\n\t\t\treturn false\n\t\t}\n\t\tif e.Revision != last {\n\t\t\tif changes == PieceChanges {\n\t\t\t\tfull = true\n\t\t\t\treturn false\n\t\t\t}\n"),
	inWatch("WT9", "a watch that is ahead of the hub is told again of what it knows", "watch/hub.go",
		"\tcase c.behind, revision <= c.at, ", "\tcase c.behind, "),
	inWatch("WT10", "a watch that fell behind while it looked is not woken", "watch/hub.go",
		"\tif c.behind {\n\t\tc.rouse()\n\t}\n}\n\n// History", "}\n\n// History"),
	inWatch("WT11", "a stream without a majority goes on for ever", "watch/stream.go",
		"func (s *Stream) Unconfirmed(at Millis) {\n\ts.asked = false\n", "func (s *Stream) Unconfirmed(at Millis) {\n\ts.asked, s.unheard = false, at\n"),
	inWatch("WT12", "a stream is silent for too long", "watch/stream.go",
		"Silence Millis = 15_000", "Silence Millis = 45_000"),
	inWatch("WT13", "a mirror is reset as often as the history is gone", "watch/stream.go",
		"\tcase now-s.lastReset < resetPause:\n", "\tcase now < s.lastReset:\n"),
	inWatch("WT14", "a state is frozen before a read index was asked for", "watch/stream.go",
		"\t\tif !s.fresh || now < s.retry {\n", "\t\tif now < s.retry {\n"),
	inWatch("WT17", "a copy of the history that comes late takes the hub back", "watch/hub.go",
		"if newer.Revision() < h.history.Revision() {", "if newer.Revision() < 1 {"),
	inWatch("WT18", "a confirmation is asked for only when a bookmark is due", "watch/stream.go",
		"\ts.nextAsk = min(begun+askEvery, s.nextMark)\n", "\ts.nextAsk = s.nextMark\n"),
	ofClerks("WT19", "a bookmark that is asked for rests on a question from before", "TestSync", "watch/stream.go",
		"\t\ts.syncs.later++\n", "\t\ts.syncs.next++\n"),
	inFile("WT36", "a state loses a key where a piece ends", "kvserver/watch/state.go",
		"part.From, whole = key, false", "part.From, whole = key+\"\\x00\", false", "test ./kvserver/watch"),
	inFile("WT37", "ranges of selectors that overlap are both walked", "kvserver/watch/selectors.go",
		"joined[last].To != \"\" && joined[last].To < r.From:", "joined[last].From < r.From:", "test ./kvserver/watch"),
	inWatch("WT40", "a watch that leaves a group takes the place of another with it", "watch/hub.go",
		"\t\tg.at[moved] = at\n", ""),
}

// ofClerks is a mutant of watches that tests of a name see, at one of the doors.
func ofClerks(id, bug, tests, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: "kvserver/" + file, old: old, new: new, oracles: []string{
		"test ./kvserver/clerkd " + tests, "test ./kvserver/httpd " + tests,
	}}
}

// inWatch is a mutant of what watches are made of, in a folder of kvserver.
func inWatch(id, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: "kvserver/" + file, old: old, new: new, oracles: []string{
		"test ./kvserver/watch", "test ./kvserver/httpd Watch|Wait|Mirror|Reads", "test ./kvserver TestWatchesAreToldTheTruth",
	}}
}
