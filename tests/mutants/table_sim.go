package main

// What the simulator's coordinators show of leases, locks and transactions.
var coordinationMutants = []mutant{
	inWorlds("SC1", "one step of lease time is as long as it was", "lease/table.go",
		"t.time = min(t.time+min(step, MaxStep), maxTime)", "t.time = min(t.time+step, maxTime)"),
	inWorlds("SC2", "a lease ends a tenth of a second early", "lease/change.go",
		"due.Deadline > t.time {", "due.Deadline > t.time+100 {"),
	inWorlds("SC3", "the keys of a lease go one by one", "kv/lease.go",
		"\ts.end(all, func()", "\tfor _, key := range all {\n\t\ts.end([]string{key}, nil)\n\t}\n\ts.end(nil, func()"),
	inWorlds("SC4", "stamps of different servers are subtracted", "kv/store.go",
		"\ts.stamped = stamp{origin: c.ID.Origin, time: c.Time}\n",
		"\tif before := s.stamped; before.origin != c.ID.Origin && before.time < c.Time && s.level >= LevelHistory {\n\t\ts.leases.Pass(c.Time - before.time)\n\t}\n\ts.stamped = stamp{origin: c.ID.Origin, time: c.Time}\n"),
	inWorlds("SC5", "the last one in the queue is next", "lock/change.go",
		"\t\tw := l.Queue[0]\n\t\tt.unqueue(name, &w)\n\t\tif l.Queue = l.Queue[1:]; len", "\t\tw := l.Queue[len(l.Queue)-1]\n\t\tt.unqueue(name, &w)\n\t\tif l.Queue = l.Queue[:len(l.Queue)-1]; len"),
	inWorlds("SC6", "a guard is not judged in the log", "kv/operations.go",
		"\tif !s.Keeps(c.Guard) {", "\tif false {"),
	inWorlds("SC7", "the token counts per lock and begins anew when the lock is gone", "kv/lock.go",
		"\th := lock.Holder{Token: s.revision, Lease: id,", "\tl, _ := s.locks.Get(name)\n\tnext := uint64(2)\n\tfor i := range l.Holders {\n\t\tnext = l.Holders[i].Token + 1\n\t}\n\th := lock.Holder{Token: next, Lease: id,"),
	inWorlds("SC8", "a transaction that is refused leaves the operations before", "txn/run.go",
		"\t\treturn nil, nil, r.refused\n\t}\n\treturn outcome,", "\t\treturn nil, r.over.changes(), r.refused\n\t}\n\treturn outcome,"),
	inWorlds("SC9", "a release hands the lock to nobody", "kv/lock.go",
		"\tr := Result{Revision: s.revision}\n\ts.handOver(name)\n", "\tr := Result{Revision: s.revision}\n"),
	inWorlds("SC10", "lease time goes back with a snapshot", "kv/snapshot_history.go",
		"d.check(s.leases.Load(leaseTime))", "d.check(s.leases.Load(leaseTime / 2))"),
}

// inWorlds is a mutant of a folder of kvserver that the simulator is to notice.
func inWorlds(id, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: "kvserver/" + file, old: old, new: new, oracles: []string{"sim"}}
}
