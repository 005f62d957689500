package main

// Peers over TCP (raft/wire).
var wireMutants = []mutant{
	{
		id: "X1", bug: "a server of another cluster is welcome",
		file:    "raft/wire/judge.go",
		old:     "if h.ClusterID != c.ClusterID {",
		new:     "if h.ClusterID != c.ClusterID && h.From == \"\" {",
		oracles: []string{"test ./raft/wire"},
	},
	{
		id: "X2", bug: "an answer of another kind is given to a call",
		file:    "raft/wire/outbound.go",
		old:     "if k != want && k != kindNoReply {",
		new:     "if k != want && k == kindHello {",
		oracles: []string{"test ./raft/wire"},
	},
	{
		id: "X3", bug: "calls on a connection that died are not reported lost",
		file:    "raft/wire/outbound.go",
		old:     "\tfor _, p := range lost {\n\t\tc.peer.lose(p.call, p.done)\n\t}\n",
		new:     "\t_ = lost\n",
		oracles: []string{"test ./raft/wire"},
	},
	{
		id: "X4", bug: "a peer may have any number of requests without an answer",
		file:    "raft/wire/inbound.go",
		old:     "for c.cause == nil && (c.slots.len() >= c.t.config.MaxRequests || c.bytes >= c.t.config.MaxRequestBytes) {",
		new:     "for c.cause == nil && c.bytes >= c.t.config.MaxRequestBytes && c.slots.len() >= c.t.config.MaxRequests {",
		oracles: []string{"test ./raft/wire"},
	},
	{
		id: "X5", bug: "pieces of a snapshot are taken in any order",
		file:    "raft/wire/snapshot_receive.go",
		old:     "if chunk.Offset != uint64(have) || int64(len(chunk.Data)) > size-have {",
		new:     "if int64(len(chunk.Data)) > size-have {",
		oracles: []string{"test ./raft/wire"},
	},
	{
		id: "X6", bug: "the length that a frame claims has no limit",
		file:    "raft/wire/frame.go",
		old:     "length > limit {",
		new:     "length > limit && limit == 0 {",
		oracles: []string{"test ./raft/wire"},
	},
	{
		id: "X7", bug: "a request is handed over before the snapshot is durable",
		file:    "raft/wire/snapshot_receive.go",
		old:     "\tif err := snapshots.FinishReceive(); err != nil {\n\t\treturn r.giveUp(failureStorage, err)\n\t}\n",
		new:     "",
		oracles: []string{"test ./raft/wire"},
	},
}

// The state machine (kvserver/kv).
var storeMutants = []mutant{
	{
		id: "M20", bug: "sessions are not restored with a snapshot",
		file:    "kvserver/kv/snapshot.go",
		old:     "\td.end()\n\tif d.err != nil {\n\t\treturn nil, d.err\n\t}\n\treturn s, nil",
		new:     "\td.end()\n\tif d.err != nil {\n\t\treturn nil, d.err\n\t}\n\ts.sessions.Clear()\n\ts.recency.Clear()\n\ts.lanes.Clear()\n\treturn s, nil",
		oracles: []string{"test ./kvserver/kv", "sim"},
	},
	{
		id: "M21", bug: "the last call of a lane is run again when it is repeated",
		file:    "kvserver/kv/sessions.go",
		old:     "if found && c.Session.Seq <= last.seq {",
		new:     "if found && c.Session.Seq < last.seq {",
		oracles: []string{"test ./kvserver/kv", "sim"},
	},
	{
		id: "K1", bug: "the session that is forgotten is not the one used least recently",
		file:    "kvserver/kv/sessions.go",
		old:     "\ts.setSession(id, session{lastUsed: index})\n\treturn true",
		new:     "\ts.setSession(id, old)\n\treturn true",
		oracles: []string{"test ./kvserver/kv"},
	},
	{
		id: "K2", bug: "a condition holds for any revision that is new enough",
		file:    "kvserver/kv/condition.go",
		old:     "return item.Revision == c.Number",
		new:     "return item.Revision >= c.Number",
		oracles: []string{"test ./kvserver/kv"},
	},
	{
		id: "K3", bug: "an idempotency key answers for another request",
		file:    "kvserver/kv/idempotency.go",
		old:     "if r.fingerprint != print {",
		new:     "if r.fingerprint != print && r.length == 0 {",
		oracles: []string{"test ./kvserver/kv"},
	},
	{
		id: "K4", bug: "idempotency records are forgotten before their hour is over",
		file:    "kvserver/kv/idempotency.go",
		old:     "if s.logTime-eldest.time < IdempotencyWindow {",
		new:     "if s.logTime-eldest.time < IdempotencyWindow-1 {",
		oracles: []string{"test ./kvserver/kv"},
	},
	{
		id: "K5", bug: "log time follows the clocks of different servers",
		file:    "kvserver/kv/store.go",
		old:     "before.origin == c.ID.Origin {",
		new:     "before.time != 0 {",
		oracles: []string{"test ./kvserver/kv", "sim"},
	},
	{
		id: "K6", bug: "the size of a deleted key is never given back",
		file:    "kvserver/kv/items.go",
		old:     "s.bytes -= len(c.Key) + len(old.Value)",
		new:     "s.bytes -= len(old.Value)",
		oracles: []string{"test ./kvserver/kv"},
	},
	{
		id: "K7", bug: "an append writes into a value that a reader holds",
		file:    "kvserver/kv/view.go",
		old:     "\treturn item.clipped(), ok",
		new:     "\treturn item, ok",
		oracles: []string{"test ./kvserver/kv"},
	},
	{
		id: "K8", bug: "a quota refuses what makes the store smaller",
		file:    "kvserver/kv/items.go",
		old:     "case c.Quota != 0 && grown > s.bytes && uint64(grown) > c.Quota:",
		new:     "case c.Quota != 0 && uint64(grown) > c.Quota:",
		oracles: []string{"test ./kvserver/kv"},
	},
	{
		id: "K9", bug: "a failed condition under an idempotency key is not remembered",
		file:    "kvserver/kv/idempotency.go",
		old:     "if result.Status != StatusOK && result.Status != StatusConditionFailed {",
		new:     "if result.Status != StatusOK {",
		oracles: []string{"test ./kvserver/kv", "sim"},
	},
}

// The service (kvserver).
var serviceMutants = []mutant{
	{
		id: "M24", bug: "a write whose leader was replaced is called not applied",
		file:    "kvserver/propose.go",
		old:     "return fail(errLeadershipLost, nil, \"the leader of term %d",
		new:     "return fail(errNoLeader, nil, \"the leader of term %d",
		oracles: []string{"test ./kvserver"},
	},
	{
		id: "M28", bug: "a read does not wait until the store has come to its index",
		file:    "kvserver/read.go",
		old:     "return s.awaitApplied(ctx, index)",
		new:     "_ = index\n\treturn nil",
		oracles: []string{"test ./kvserver"},
	},
	{
		id: "M41", bug: "a write is answered before it is committed",
		file:    "kvserver/propose.go",
		old:     "\tm.launch(c, w)\n\tselect {",
		new:     "\tm.launch(c, w)\n\tif w.number > 0 {\n\t\treturn kv.Result{Revision: 1, Version: 1}, nil\n\t}\n\tselect {",
		oracles: []string{"test ./kvserver"},
	},
	{
		id: "G1", bug: "a write that a snapshot covers is called not applied",
		file:    "kvserver/propose.go",
		old:     "return fail(errLeadershipLost, err, \"another leader's snapshot",
		new:     "return fail(errNoLeader, err, \"another leader's snapshot",
		oracles: []string{"test ./kvserver"},
	},
	{
		id: "G2", bug: "a write under way when the node stops is called not applied",
		file:    "kvserver/propose.go",
		old:     "case errors.Is(err, raft.ErrStopped) && !placed:",
		new:     "case errors.Is(err, raft.ErrStopped) && (!placed || err != nil):",
		oracles: []string{"test ./kvserver"},
	},
	{
		id: "G3", bug: "waiting for an index ends one too early",
		file:    "kvserver/progress.go",
		old:     "\tif p.applied >= index {\n\t\treturn nil\n\t}\n\tif p.changed == nil",
		new:     "\tif p.applied+1 >= index {\n\t\treturn nil\n\t}\n\tif p.changed == nil",
		oracles: []string{"test ./kvserver"},
	},
	{
		id: "G4", bug: "a command of an earlier life is taken for one of this",
		file:    "kvserver/machine.go",
		old:     "m.origin = drawOrigin()",
		new:     "m.origin = 1",
		oracles: []string{"test ./kvserver", "process Kill"},
	},
	{
		id: "G5", bug: "a node that found its state wrong goes on serving",
		file:    "kvserver/fence.go",
		old:     "if reason := m.fault(); reason != \"\" {",
		new:     "if reason := m.fault(); reason == \"-\" {",
		oracles: []string{"test ./kvserver"},
	},
	{
		id: "G6", bug: "a write is tried again after an outcome that is unknown",
		file:    "kvserver/write.go",
		old:     "if !errors.Is(err, errNoLeader) {",
		new:     "if !errors.Is(err, errNoLeader) && !errors.Is(err, errLeadershipLost) {",
		oracles: []string{"test ./kvserver"},
	},
	{
		id: "G7", bug: "bytes in flight are never given back",
		file:    "kvserver/admission.go",
		old:     "\ta.bytes -= bytes\n",
		new:     "",
		oracles: []string{"test ./kvserver"},
	},
}

// HTTP (kvserver/http_*.go).
var httpMutants = []mutant{
	{
		id: "M25", bug: "a linearizable read is served without asking anybody",
		file:    "kvserver/http_read.go",
		old:     "case consistency == api.ConsistencyLinearizable:",
		new:     "case consistency == api.ConsistencyLease:",
		oracles: []string{"test ./kvserver"},
	},
	{
		id: "H1", bug: "If-None-Match: * lets a write happen if the key exists",
		file:    "kvserver/http_condition.go",
		old:     "return kv.Condition{Kind: kv.IfAbsent}, given, err",
		new:     "return kv.Condition{Kind: kv.IfPresent}, given, err",
		oracles: []string{"test ./kvserver"},
	},
	{
		id: "H2", bug: "a read does not wait for the revision it names",
		file:    "kvserver/http_read.go",
		old:     "if err := s.awaitRevision(ctx, minRevision); err != nil {",
		new:     "if err := s.awaitRevision(ctx, min(minRevision, 1)); err != nil {",
		oracles: []string{"test ./kvserver"},
	},
	{
		id: "H3", bug: "304 is answered for a revision the key never had",
		file:    "kvserver/http_condition.go",
		old:     "slices.Contains(revisions, revision)",
		new:     "slices.ContainsFunc(revisions, func(has uint64) bool { return has >= revision })",
		oracles: []string{"test ./kvserver"},
	},
}

// The Go client (client).
var clientMutants = []mutant{
	{
		id: "M40", bug: "a call gets a new identity with each attempt",
		file:    "client/attempt.go",
		old:     "\t\treturn c.note(&t, server, exchange(ctx, c, server, w, message))",
		new:     "\t\tif m, is := any(&message).(*clerkwire.Write); is {\n\t\t\tm.Lane = (m.Lane + 1) % maxLanes\n\t\t}\n\t\treturn c.note(&t, server, exchange(ctx, c, server, w, message))",
		oracles: []string{"test ./client", "process ExactlyOnce"},
	},
	{
		id: "L1", bug: "an attempt of unknown outcome is forgotten when the next is refused",
		file:    "client/retry.go",
		old:     "doubt = doubt || v.outcome == unknown",
		new:     "doubt = doubt && v.outcome == unknown",
		oracles: []string{"test ./client"},
	},
	{
		id: "L2", bug: "a request that was sent and not answered counts as not applied",
		file:    "client/attempt.go",
		old:     "return verdict{outcome: unknown, leader: -1, err: lost(s.address, w.err)}",
		new:     "return verdict{outcome: notApplied, leader: -1, err: lost(s.address, w.err)}",
		oracles: []string{"test ./client"},
	},
	{
		id: "L3", bug: "a call that may have happened is made again in a new session",
		file:    "client/writes.go",
		old:     "case refused.Code == api.CodeSessionExpired && !doubt && w.refused != nil:",
		new:     "case refused.Code == api.CodeSessionExpired && w.refused != nil:",
		oracles: []string{"test ./client"},
	},
	{
		id: "L4", bug: "two calls share a lane",
		file:    "client/lanes.go",
		old:     "\t\tls.free = ls.free[:n-1]\n",
		new:     "",
		oracles: []string{"test ./client"},
	},
}

// The program (cmd/raftkv).
var commandMutants = []mutant{
	{
		id: "D1", bug: "a node starts with another list of members than it knows",
		file:    "cmd/raftkv/datadir.go",
		old:     "case !slices.Equal(is.Members, want.Members):",
		new:     "case len(is.Members) == 0 && !slices.Equal(is.Members, want.Members):",
		oracles: []string{"test ./cmd/raftkv"},
	},
	{
		id: "D2", bug: "a node that lost its log starts with an empty one",
		file:    "cmd/raftkv/datadir.go",
		old:     "return is, checkLogIsThere(fsys, dir)",
		new:     "return is, nil",
		oracles: []string{"test ./cmd/raftkv"},
	},
	{
		id: "D3", bug: "the file that says whose a directory is gets its name before it is synced",
		file:    "cmd/raftkv/datadir.go",
		old:     "\tif err == nil {\n\t\terr = file.Sync()\n\t}\n",
		new:     "",
		oracles: []string{"test ./cmd/raftkv"},
	},
	{
		id: "D4", bug: "an environment variable wins over a flag",
		file:    "cmd/raftkv/settings.go",
		old:     "text != \"\" && !given[s.name] {",
		new:     "text != \"\" {",
		oracles: []string{"test ./cmd/raftkv"},
	},
	{
		id: "D5", bug: "a list of members may name one twice",
		file:    "cmd/raftkv/address.go",
		old:     "if _, twice := m[id]; twice {",
		new:     "if _, twice := m[id]; twice && address == \"\" {",
		oracles: []string{"test ./cmd/raftkv"},
	},
}
