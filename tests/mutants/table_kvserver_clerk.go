package main

// The Clerk's door (kvserver/clerk_*.go).
var kvserverClerkMutants = []mutant{
	inService("G19", "TestClerkReads", "a Clerk's read does not wait for the revision that it names", "clerkd/read.go",
		"\tg.minRevision = max(g.minRevision, minRevision)\n", ""),
	inService("G20", "TestClerkReads", "a Clerk's linearizable read is served without asking anybody", "clerkd/read.go",
		"\tif !g.linearizable {\n", "\tif !g.linearizable || len(g.reads) > 0 {\n"),
	inMachine("G25", "TestClerkWrites", "a Clerk's write waits for ever when its leader is replaced", "async.go",
		"case placed != 0 && placed != present:", "case placed != 0 && placed == present && placed == 0:"),
	inService("G21", "TestClerkSessions", "a Clerk hears nothing of a session that was forgotten", "clerkd/write.go",
		"\t\trefused.Code = api.CodeSessionExpired // which HTTP does not have\n", ""),
	inService("G22", "TestClerkSessions", "a call that a lane has moved on from is answered as done", "clerkd/write.go",
		"case r.Status == kv.StatusSessionExpired, r.Status == kv.StatusStale:", "case r.Status == kv.StatusSessionExpired:"),
	inService("G23", "TestClerkIsTold", "a node that does not lead proposes the writes of Clerks", "leader.go",
		"\tcase leader == s.config.NodeID:\n\t\treturn nil\n", "\tcase leader == s.config.NodeID, leader == \"n2\":\n\t\treturn nil\n"),
	inService("G24", "TestClerkRequests", "a Clerk's refusal by the store may be taken for a server's", "clerkd/write.go",
		"\t\trefused.Decided = true\n", ""),
	inFile("Y19", "a connection from before the uid may write", "kvserver/clerkd/write.go",
		"if err == nil && w.conn.uid != d.server.UID() {", "if err == nil && w.conn.uid != d.server.UID() && w.conn.uid != \"\" {",
		"test ./kvserver/clerkd TestAClerkThatCame"),
}
