package main

// The stories that are made of recorded events (kvserver/explain).
var explainMutants = []mutant{
	inTests("I12", "TestIncidents", "a process that ran on counts as ended when its connections were refused", "kvserver/explain/absence.go",
		"\tcase len(closed) > 0 && len(refused) > 0 && !ran:\n", "\tcase len(closed) > 0:\n"),
	inTests("I13", "TestARecordedLife", "an end of an earlier boot is told of a later one", "kvserver/explain/absence.go",
		"\t\t\treturn e.process == process\n\t\t}, kinds...)", "\t\t\treturn e.node == node && process >= -1\n\t\t}, kinds...)"),
	inTests("I14", "TestClocksDoNotMatter", "times are what the machines' wall clocks say", "kvserver/explain/order.go",
		"\to.setClocks(edges)\n", "\to.setClocks(nil)\n"),
	inTests("I15", "TestIncidents", "a busy leader is certainly why it was not heard", "kvserver/explain/changes.go",
		"\t\ts.Culprits, s.Certainty = []string{l}, Likely\n\t\ts.say(\"%s's turns came", "\t\ts.Culprits, s.Certainty = []string{l}, Certain\n\t\ts.say(\"%s's turns came"),
	inTests("I16", "TestIncidents", "where nobody had written for long, that time is told as a gap", "kvserver/explain/changes.go",
		"\tif still <= possible+possible/2+200*millisecond {\n", "\tif still >= 0 {\n"),
	inTests("I17", "TestNoCulprit", "the leader that was lost is a culprit without evidence", "kvserver/explain/changes.go",
		"\tcase c.sign >= 0 && !t.hasRing(l, c.loss+second)", "\tcase !t.hasRing(l, c.loss+second)"),
	inTests("I18", "TestIncidents", "every leader that hears nothing is said to have been heard", "kvserver/explain/changes.go",
		"\t\tif heard := t.events[i].at - t.events[i].A; heard < e.at-100*millisecond {\n\t\t\treturn false\n\t\t}\n", "\t\t_ = i\n"),
	inTests("I19", "TestIncidents", "a disk is slow though its node's processor was busy", "kvserver/explain/slow.go",
		"\treturn late < d.most/3\n", "\treturn late >= 0\n"),
	inTests("I20", "TestIncidents", "a wait for the leader that ended well is taken for its loss", "kvserver/explain/changes.go",
		"if at < c.loss && at >= led && !t.followedAgain(i, a, c.at) {", "if at < c.loss && at >= led {"),
	inTests("I21", "TestIncidents", "a leader under whom entries were committed is taken for lost", "kvserver/explain/changes.go",
		"\t\tled = max(led, t.events[b.first].at-t.events[b.first].A-witnessBefore)\n", "\t\tled = max(led, 0)\n"),
	inTests("I22", "TestIncidents", "writes are said not to have waited for a node that was away while too few were there", "kvserver/explain/absences.go",
		"\tif t.tooFew(from, away) {\n", "\tif t.tooFew(from, away) && away < from {\n"),
	inTests("I23", "TestTheWayOfARequest", "an entry of another term counts as committed with a later one", "kvserver/explain/request.go",
		"\t\treturn e.node == r.Node && e.Term == r.Term && e.Index >= r.Index\n", "\t\treturn e.node == r.Node && e.Index >= r.Index\n"),
}
