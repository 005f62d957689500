package main

// The Clerk's protocol (kvserver/clerkwire).
var clerkwireMutants = []mutant{
	inFile("Q1", "the length that a Clerk's frame claims has no limit", "kvserver/clerkwire/frame.go",
		"if length > limit {", "if length > limit && limit == 0 {", "test ./kvserver/clerkwire"),
	inFile("Q2", "frames are taken that have no meaning in that direction", "kvserver/clerkwire/frame.go",
		"if !known {", "if !known && h.Number == 0 {", "test ./kvserver/clerkwire"),
	inFile("Q6", "a consistency that is unknown is taken for stale", "kvserver/clerkwire/message.go",
		"if v > uint64(Stale) {", "if v > uint64(Stale)+1 {", "test ./kvserver/clerkwire", "test ./kvserver/clerkd"),
	inFile("Q5", "the last answers are lost when a connection closes", "kvserver/clerkwire/outbox.go",
		"if o.dead || len(o.pending) == 0 && len(o.later) == 0 {", "if o.closing || len(o.pending) == 0 && len(o.later) == 0 {", "test ./kvserver/clerkwire", "test ./kvserver/clerkd"),
	inFile("Q3", "what was begun may be left unfinished for ever", "kvserver/clerkwire/reader.go",
		"_ = f.conn.SetReadDeadline(time.Now().Add(StallTimeout))", "_ = f.conn.SetReadDeadline(time.Time{})", "test ./kvserver/clerkwire", "test ./kvserver/clerkd"),
	inFile("Q4", "the end of a connection inside of a frame looks like one between two", "kvserver/clerkwire/reader.go",
		"if errors.Is(err, io.EOF) {", "if errors.Is(err, io.ErrNoProgress) {", "test ./kvserver/clerkwire"),
}
