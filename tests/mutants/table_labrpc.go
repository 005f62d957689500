package main

// The labs' network (labrpc).
var labrpcMutants = []mutant{
	{
		id: "R1", bug: "the unreliable network loses no replies",
		file:    "labrpc/call.go",
		old:     "if !ok || f.replyLost || !n.pass(f.replyLate)",
		new:     "if !ok || !n.pass(f.replyLate)",
		oracles: []string{"test ./labrpc"},
	},
	{
		id: "R3", bug: "the reply of a server that was deleted arrives",
		file:    "labrpc/call.go",
		old:     "return answer, e.leadsTo(f.to)",
		new:     "return answer, true",
		oracles: []string{"test ./labrpc"},
	},
	inFile("R5", "a deleted server's calls go on", "labrpc/call.go",
		"return answer, e.leadsTo(f.to)", "return answer, f.to != nil", "test ./labrpc"),
	{
		id: "R2", bug: "calls go on waiting after Cleanup",
		file:    "labrpc/fate.go",
		old:     "\tcase <-n.done:\n\t\treturn false\n",
		new:     "",
		oracles: []string{"test ./labrpc"},
	},
}
