package main

// What a node notes of its own life: the ring and its files (kvserver/recorder).
var recorderMutants = []mutant{
	inTests("I5", "TestEqualEvents", "of equal events within a second the first is lost", "kvserver/recorder/recorder.go",
		"\t\t*free = repeat{key: key, until: e.Mono + repeatWindow}\n\t}\n\treturn false\n", "\t\t*free = repeat{key: key, until: e.Mono + repeatWindow}\n\t\treturn true\n\t}\n\treturn false\n"),
	inTests("I6", "TestTheRingHolds", "the ring shows events that were overwritten", "kvserver/recorder/recorder.go",
		"\tr.first = max(r.first, r.next-min(r.next, Capacity))\n", "\tr.first = max(r.first, r.next-min(r.next, Capacity+1))\n"),
	inTests("I7", "TestManyShortBoots", "each boot begins the older file anew", "kvserver/recorder/flight.go",
		"\tif f.current < 0 || f.size+", "\tif f.current < 0 || f.names < 0 && f.size > 0 || f.size+"),
	inTests("I8", "TestADamagedFile", "a torn end of a flight file stays in front of what follows", "kvserver/recorder/flight.go",
		"f.current >= 0 && disk.Cut(Files[f.current], f.size) != nil", "f.size = int64(MaxFileBytes); f.current >= 0 && disk.Cut(Files[f.current], f.size) != nil"),
	inTests("I9", "TestNothingWaits", "events that the disk did not take are not tried again", "kvserver/recorder/flight.go",
		"\t\tif err := f.append(&ring.Section, events[:n]); err != nil {\n\t\t\treturn err\n\t\t}\n", "\t\t_ = f.append(&ring.Section, events[:n])\n"),
	inTests("I38", "TestNothingWaits", "nothing is looked at between two writes", "kvserver/recorder/flight.go",
		"\t\twatching.Go(func() { eachLook(stop, watch) })\n", "\t\twatch()\n"),
	inFile("UI27", "nodes that come while a process runs have no names in what it records", "kvserver/recorder/recorder.go",
		"\tr.names[name] = uint8(len(s.Names))\n\treturn r.names[name]\n", "\treturn 0\n", "test ./kvserver/recorder"),
}
