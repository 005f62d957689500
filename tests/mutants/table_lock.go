package main

// Locks (kvserver/lock), and what store, machine and doors make of them.
var lockMutants = []mutant{
	inLocks("LK12", "the queue keeps leases that have ended", "kv/lock.go",
		"\t\ts.leave(name, id)\n\t}\n\treturn events", "\t\ts.leases.CountLock(id, -1)\n\t}\n\treturn events"),
	inLocks("LK13", "the token counts per lock and begins anew when the lock is gone", "kv/lock.go",
		"\th := lock.Holder{Token: s.revision, Lease: id,", "\tl, _ := s.locks.Get(name)\n\tnext := uint64(2)\n\tfor i := range l.Holders {\n\t\tnext = l.Holders[i].Token + 1\n\t}\n\th := lock.Holder{Token: next, Lease: id,"),
	inLocks("LK14", "a guard is not judged in the log", "kv/operations.go",
		"\tif !s.Keeps(c.Guard) {", "\tif false {"),
	inLocks("LK1", "one holder more than the limit", "lock/change.go",
		"\tcase l.places() < l.Limit:\n\t\treturn Free\n\t}\n\treturn Taken", "\tcase l.places() <= l.Limit:\n\t\treturn Free\n\t}\n\treturn Taken"),
	inLocks("LK2", "the last one in the queue is next", "lock/change.go",
		"\t\tw := l.Queue[0]\n\t\tt.unqueue(name, &w)\n\t\tif l.Queue = l.Queue[1:]; len", "\t\tw := l.Queue[len(l.Queue)-1]\n\t\tt.unqueue(name, &w)\n\t\tif l.Queue = l.Queue[:len(l.Queue)-1]; len"),
	inLocks("LK3", "a release hands the lock to nobody", "kv/lock.go",
		"\tr := Result{Revision: s.revision}\n\ts.handOver(name)\n", "\tr := Result{Revision: s.revision}\n"),
	inLocks("LK4", "a delay comes behind a release, too", "kv/lock.go",
		"h.Delay > 0 && op != EventReleased {", "h.Delay > 0 {"),
	inLocks("LK5", "the delay of a lease that ends is forgotten", "kv/lock.go",
		"h.Delay > 0 && op != EventReleased {", "h.Delay > 0 && op == EventLockExpired {"),
	inLocks("LK6", "without a lease there are no ticks that end a delay", "kv/lock.go",
		"\treturn delay || v.leases.CanEnd()\n", "\treturn delay && false || v.leases.CanEnd()\n"),
	inLocks("LK7", "a release of another token frees the lock", "kv/lock.go",
		"\t\tif h := &l.Holders[i]; h.Token == token {\n\t\t\treturn s.uses(c, h.Lease)", "\t\tif h := &l.Holders[i]; h.Token <= token {\n\t\t\treturn s.uses(c, h.Lease)"),
	inLocks("LK8", "a lease that does not wait any more keeps its place", "kv/lock.go",
		"\t\ts.leave(name, a.Lease)\n\t\treturn s.refusedLock(StatusLockHeld)", "\t\treturn s.refusedLock(StatusLockHeld)"),
	inLocks("LK9", "a repetition gets another place in the queue", "kv/lock.go",
		"\t\tif a.Queue { // it keeps its place\n", "\t\tif a.Queue { // it keeps its place\n\t\t\ts.leave(name, a.Lease)\n\t\t\ts.enter(name, a, c, false)\n"),
	inLocks("LK10", "everybody releases the locks of all", "kv/lock.go",
		"\t\t\treturn s.uses(c, h.Lease)\n", "\t\t\treturn true\n"),
	inLocks("LK11", "what a lease ends is not handed over", "kv/lease.go",
		"\tfor _, name := range names {\n\t\ts.handOver(name)\n\t}\n", "\t_ = names\n"),
	inLocks("LK15", "the locks of a lease end in changes of their own", "kv/lease.go",
		"\ts.end(all, func() []Event { return s.endLocks(id, op) })\n", "\ts.end(all, nil)\n\ts.end(nil, func() []Event { return s.endLocks(id, op) })\n"),
	inLocks("LK16", "the order of a queue is not in the digest", "kv/lock.go",
		"lockHash(name), 3), w.Since)", "lockHash(name), 3), 0)"),
	inLockDoors("LK17", "a key with a lock's name changes with it", "watch/selectors.go",
		"\tif e.OfLock() {\n\t\treturn slices.Contains(s.Locks, e.Key)\n\t}\n\treturn s.Match(e.Key)", "\treturn s.Match(e.Key) || slices.Contains(s.Locks, e.Key)"),
	inLockDoors("LK18", "reads of the past take a lock for a key", "past/past.go",
		"if e.Key != key || e.OfLock() {", "if e.Key != key {"),
	inLockDoors("LK19", "a request whose time is over stays in the queue", "lock.go",
		"\t\t\treturn w.leave(nil)\n", "\t\t\treturn kv.Result{}, w.refused(true)\n"),
	inLockDoors("LK20", "the queue of a client that is gone keeps its lease", "lock.go",
		"\t\t\tw.forsake()\n", ""),
	inLockDoors("LK21", "a request that waits does not keep its lease alive", "lock.go",
		"\t\t\tif lease := w.lease; w.acquire.KeepAlive {", "\t\t\tif lease := w.lease; false {"),
	inLockDoors("LK22", "a grant wakes nobody", "machine/lockwait.go",
		"\t\twakeAll(of.waiting[d.Lease])\n", ""),
	inLockDoors("LK23", "a transaction of reads passes any guard", "machine/reads.go",
		"\tif !m.store.Keeps(guard) {", "\tif false {"),
	inLockDoors("LK24", "to watch a lock takes the right to watch keys", "access/decide.go",
		"\tright = r.Right(right)\n", ""),
	// At the Clerks' door.
	inFile("LK25", "a write of a Clerk forgets its guard", "kvserver/clerkd/write.go",
		"\tc.Previous, c.Guard = w.previous, w.guard()\n", "\tc.Previous = w.previous\n", "test ./kvserver/clerkd TestTheLifeOfALock"),
	inFile("LK26", "who waits for a lock of a Clerk hears of the grant at the end of its time", "kvserver/lock.go",
		"\t\tcase <-queued.Woken():\n\t\tcase <-timer.C:\n\t\t\texpired = true", "\t\tcase <-timer.C:\n\t\t\texpired = true", "test ./kvserver/clerkd TestTheLifeOfALock"),
	inFile("LK28", "a grant of an earlier time ends a wait at a node that lags", "kvserver/lock.go",
		"\t\tcase token > after: //", "\t\tcase token != 0: //", "test ./kvserver/clerkd TestALaggingNode"),
	inFile("LK29", "a wait for a lock outlives its connection", "kvserver/clerkd/lock.go",
		"\t\tdefer context.AfterFunc(conn.lifetime, cancel)()", "\t\t_ = conn.lifetime", "test ./kvserver/clerkd TestAWaitForALockEnds"),
	inFile("LK30", "a request that left the queue is answered for an hour that it waits", "kvserver/kv/idempotency.go",
		"\tcase !s.hasLeft(r, &c):\n", "\tdefault:\n", "test ./kvserver/kv TestARequestThatLeft", "test ./kvserver/httpd TestAClientThatIsGone"),
	inFile("LK31", "a record that counts no more takes the name with it when it ends", "kvserver/kv/idempotency.go",
		"\t\tif s.recordAt[eldest.name()] == s.records.first {\n", "\t\tif true {\n", "test ./kvserver/kv TestARequestThatLeft", "test ./kvserver/kv"),
	inFile("LK32", "the lease lives on that was made for a client that is gone", "kvserver/lock.go",
		"\t\t\t_, err = w.command(ctx, kv.Revoke(w.lease))\n", "", "test ./kvserver/httpd TestAClientThatIsGone"),
	inFile("LK33", "a client that comes back under its key finds no place", "kvserver/lock.go",
		"\tif key != \"\" {\n", "\tif false {\n", "test ./kvserver/httpd TestAClientThatIsGone"),
	inFile("LK34", "a request of the lease that is withdrawn under another key is over", "kvserver/kv/idempotency.go",
		"\treturn withdrawn && left > s.recordAt[r.name()]\n", "\t_, _ = left, withdrawn\n\treturn false\n", "test ./kvserver/kv TestARequestThatLeft", "test ./kvserver/httpd TestAnAbandoned"),
	inFile("LK35", "a withdrawal counts for requests of later, too", "kvserver/kv/idempotency.go",
		"return withdrawn && left > s.recordAt[r.name()]", "return withdrawn && left > 0", "test ./kvserver/kv TestARequestThatLeft"),
	inFile("LK36", "a request ends with another one of its lease", "kvserver/lock.go",
		"\tif w.acquire.IdempotencyKey == \"\" {\n\t\treturn r, true, w.refused(alive)", "\tif true {\n\t\treturn r, true, w.refused(alive)", "test ./kvserver/httpd TestAnAbandoned"),
	inFile("LK37", "a request that was made again waits with a lease that has ended", "kvserver/lock.go",
		"\tw.lease = r.Lease()\n\ttoken, waits", "\ttoken, waits", "test ./kvserver/httpd TestAnAbandoned"),
	// On the way from level 2.
	inFile("LV1", "a snapshot is written in a format that old programs do not know", "kvserver/kv/snapshot.go",
		"\tif v.level >= LevelHistory {\n\t\tn = 1", "\tif v.level >= LevelBase {\n\t\tn = 1", "test ./tests/sim TestClustersAreUpgraded"),
	inFile("LV2", "an upgraded store that was empty gives the number of the empty store to its first change", "kvserver/kv/level.go",
		"\t\ts.revision = max(1, s.revision)\n", "", "test ./kvserver/kv Level", "test ./kvserver/kv", "test ./tests/sim TestClustersAreUpgraded"),
	inFile("LK27", "a watch of a Clerk does not know that keys end", "kvserver/clerkwire/notes.go",
		"op == 0 || op > uint64(EventPublished):", "op == 0 || op > uint64(EventPublished) || op == 3:", "test ./kvserver/clerkd TestAWatchOfAClerkHears"),
}

// inLocks is a mutant of what locks are made of, in a folder of kvserver.
func inLocks(id, bug, file, old, new string) mutant {
	return mutant{id: id, bug: bug, file: "kvserver/" + file, old: old, new: new, oracles: []string{
		"test ./kvserver/kv Lock|Guard|Delay", "test ./kvserver/lock", "test ./kvserver/httpd Lock|Queue|Guarded|MatrixOfRights",
	}}
}

// inLockDoors is one that shows to clients.
func inLockDoors(id, bug, file, old, new string) mutant {
	m := inLocks(id, bug, file, old, new)
	m.oracles = []string{"test ./kvserver/httpd Lock|Queue|Guarded|MatrixOfRights", "test ./kvserver/kv Lock|Guard|Delay"}
	return m
}
