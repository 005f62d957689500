package main

// row is one row of the dashboard, with the question that it answers. The first
// row shows numbers, the others graphs.
type row struct {
	title  string
	panels []panel
}

// panel is one graph: a title, the unit of its numbers, and the expressions.
type panel struct {
	title string
	unit  string // as Grafana names units: s, bytes, short, percentunit, reqps
	exprs []expr
}

// expr is a query and the name of its lines.
type expr struct{ query, legend string }

// one is a panel with one query.
func one(title, unit, query, legend string) panel {
	return panel{title, unit, []expr{{query, legend}}}
}

// p99 is the 99th percentile of a histogram, per group of labels.
func p99(histogram, by string) string {
	return `histogram_quantile(0.99, sum by (` + by + `, le) (rate(raftkv_` + histogram + `_bucket[$__rate_interval])))`
}

// mean is the mean of what a histogram measured within the last hour.
func mean(histogram string) string {
	return `sum by (instance) (increase(raftkv_` + histogram + `_sum[1h])) / sum by (instance) (increase(raftkv_` + histogram + `_count[1h]))`
}

// rows is the dashboard from top to bottom: the health of the cluster, the
// clients' view, consensus, disk and network, the clients, the process.
var rows = []row{
	{"Is it healthy?", []panel{
		one("Leader known", "short", `min by (job) (raftkv_raft_has_leader)`, "{{job}}"),
		one("Nodes up", "short", `sum by (job) (up{job=~"raftkv.*"})`, "{{job}}"),
		one("Who leads", "short", `raftkv_raft_is_leader`, "{{instance}}"),
		one("Disk stalled", "short", `raftkv_disk_stalled`, "{{instance}}"),
		{"Store and quota", "bytes", []expr{{`raftkv_store_size_bytes`, "{{instance}}"}, {`raftkv_quota_bytes > 0 or vector(0)`, "quota {{instance}}"}}},
		one("Nodes to lose before writes stop", "short", `count by (job) (up{job=~"raftkv.*"} == 1) - (floor(count by (job) (up{job=~"raftkv.*"}) / 2) + 1)`, "{{job}}"),
		one("Comparison of states, last ok", "s", `time() - raftkv_integrity_last_ok_timestamp_seconds`, "{{instance}}"),
		one("Diverged nodes", "short", `raftkv_integrity_diverged`, "{{instance}}"),
	}},
	{"What do clients see?", []panel{
		one("Requests", "reqps", `sum by (route, method) (rate(raftkv_http_request_duration_seconds_count[$__rate_interval]))`, "{{method}} {{route}}"),
		one("Request latency, p99", "s", p99(`http_request_duration_seconds`, "route, method"), "{{method}} {{route}}"),
		one("Answers by code", "reqps", `sum by (code) (rate(raftkv_http_request_duration_seconds_count[$__rate_interval]))`, "{{code}}"),
		one("Clerks' requests", "reqps", `sum by (op) (rate(raftkv_clerk_request_duration_seconds_count[$__rate_interval]))`, "{{op}}"),
		one("Clerks' request latency, p99", "s", p99(`clerk_request_duration_seconds`, "op"), "{{op}}"),
		one("Refused, by reason", "reqps", `sum by (reason) (rate(raftkv_requests_rejected_total[$__rate_interval]))`, "{{reason}}"),
		{"In flight and waiting", "short", []expr{{`raftkv_writes_in_flight`, "writes {{instance}}"}, {`raftkv_reads_in_flight`, "reads {{instance}}"}, {`raftkv_requests_waiting`, "waiting {{instance}}"}}},
		one("Forwarded to the leader", "reqps", `sum by (instance, result) (rate(raftkv_forwarded_requests_total[$__rate_interval]))`, "{{instance}} {{result}}"),
	}},
	{"What does consensus do?", []panel{
		one("Term", "short", `raftkv_raft_term`, "{{instance}}"),
		one("Leader changes, by reason", "short", `sum by (reason) (increase(raftkv_raft_leader_changes_total[$__rate_interval]))`, "{{reason}}"),
		one("Campaigns", "short", `sum by (instance, phase) (increase(raftkv_raft_elections_started_total[$__rate_interval]))`, "{{instance}} {{phase}}"),
		one("Writes, by how they ended", "reqps", `sum by (result) (rate(raftkv_raft_proposals_total[$__rate_interval]))`, "{{result}}"),
		one("Commit latency, p99", "s", p99(`raft_commit_duration_seconds`, "instance"), "{{instance}}"),
		one("Read index latency, p99", "s", p99(`raft_read_index_duration_seconds`, "instance"), "{{instance}}"),
		{"Committed and not applied", "short", []expr{{`raftkv_apply_lag_entries`, "{{instance}}"}}},
		one("Behind the leader", "short", `raftkv_raft_replication_lag_entries`, "{{peer}}"),
		one("Last contact with the leader", "s", `raftkv_raft_leader_last_contact_seconds`, "{{peer}}"),
		one("Late heartbeats", "short", `increase(raftkv_raft_heartbeat_late_total[$__rate_interval])`, "{{instance}}"),
		one("Entries per apply batch", "short", `sum by (instance) (rate(raftkv_raft_apply_batch_entries_sum[$__rate_interval])) / sum by (instance) (rate(raftkv_raft_apply_batch_entries_count[$__rate_interval]))`, "{{instance}}"),
	}},
	{"What do disk and network do?", []panel{
		one("Fsync latency, p99", "s", p99(`wal_fsync_duration_seconds`, "instance"), "{{instance}}"),
		one("Syncs", "reqps", `sum by (instance) (rate(raftkv_wal_fsync_duration_seconds_count[$__rate_interval]))`, "{{instance}}"),
		one("Appended to the log", "Bps", `rate(raftkv_wal_append_bytes_total[$__rate_interval])`, "{{instance}}"),
		{"On the disk", "bytes", []expr{{`raftkv_wal_size_bytes`, "log {{instance}}"}, {`raftkv_raft_snapshot_size_bytes`, "snapshot {{instance}}"}}},
		one("Room on the disk", "bytes", `raftkv_disk_free_bytes`, "{{instance}}"),
		one("Entries since the snapshot", "short", `raftkv_raft_last_log_index - raftkv_raft_snapshot_index`, "{{instance}}"),
		{"Snapshots, mean time", "s", []expr{
			{mean(`raft_snapshot_create_duration_seconds`), "make {{instance}}"}, {mean(`raft_snapshot_send_duration_seconds`), "send {{instance}}"},
			{mean(`raft_snapshot_install_duration_seconds`), "receive {{instance}}"}, {mean(`raft_snapshot_restore_duration_seconds`), "load {{instance}}"},
		}},
		{"Loading the state and reach of the log in memory", "s", []expr{{`raftkv_raft_last_restore_duration_seconds`, "load {{instance}}"}, {`raftkv_raft_oldest_log_age_seconds`, "reach {{instance}}"}}},
		one("Snapshots not taken", "short", `increase(raftkv_raft_snapshot_send_failures_total[$__rate_interval])`, "{{instance}} to {{peer}}"),
		one("To peers", "Bps", `sum by (instance, peer) (rate(raftkv_peer_sent_bytes_total[$__rate_interval]))`, "{{instance}} to {{peer}}"),
		one("Round trip to peers, p99", "s", p99(`peer_round_trip_duration_seconds`, "instance, peer"), "{{instance}} to {{peer}}"),
		one("Lost calls to peers", "reqps", `sum by (instance, peer) (rate(raftkv_peer_send_failures_total[$__rate_interval]))`, "{{instance}} to {{peer}}"),
	}},
	{"Who are the clients?", []panel{
		one("Connections", "short", `raftkv_client_connections`, "{{instance}}"),
		one("Sessions", "short", `raftkv_sessions_active`, "{{instance}}"),
		one("Repeated requests recognised", "reqps", `sum by (by) (rate(raftkv_dedup_hits_total[$__rate_interval]))`, "{{by}}"),
		one("Idempotency keys remembered", "short", `raftkv_idempotency_records`, "{{instance}}"),
		one("Keys", "short", `raftkv_store_keys`, "{{instance}}"),
	}},
	{"How is the process?", []panel{
		one("Memory", "bytes", `process_resident_memory_bytes{job=~"raftkv.*"}`, "{{instance}}"),
		one("Processor", "percentunit", `rate(process_cpu_seconds_total{job=~"raftkv.*"}[$__rate_interval])`, "{{instance}}"),
		one("Goroutines", "short", `go_goroutines{job=~"raftkv.*"}`, "{{instance}}"),
		one("Open files", "short", `process_open_fds{job=~"raftkv.*"}`, "{{instance}}"),
		one("Garbage collection", "percentunit", `rate(go_gc_duration_seconds_sum{job=~"raftkv.*"}[$__rate_interval])`, "{{instance}}"),
	}},
}

// descriptions explain all panels, by title, to somebody on call: a good value, and
// where to look when the value is not good.
var descriptions = map[string]string{
	"Leader known":                     "1 when every node knows a leader. 0: nothing is written; see RaftkvNoLeader in docs/operations.md.",
	"Nodes up":                         "Nodes that Prometheus reaches. A majority must be up for writes.",
	"Who leads":                        "1 at the node that leads. Exactly one node should show it.",
	"Disk stalled":                     "1 while a write to the log takes so long that the disk counts as hung; the node has handed leadership on.",
	"Store and quota":                  "Bytes of keys and values, and --max-store-bytes where there is one. At the quota, writes are refused with 507.",
	"Nodes to lose before writes stop": "0: the next loss of a node stops writes. Below 0: they have stopped.",
	"Comparison of states, last ok":    "Seconds since this node's state was last found to be a majority's. More than some minutes: see RaftkvIntegrityStale.",
	"Diverged nodes":                   "1 at a node whose state is wrong. It serves nothing; see RaftkvDiverged.",
	"Requests":                         "HTTP requests a second by route and method. Those that were refused count too; a sudden fall means that clients do not come through.",
	"Request latency, p99":             "99th percentile of HTTP requests, from the header to the end of the answer. Watches and reads that wait take as long as they are asked to.",
	"Answers by code":                  "HTTP answers a second by status. 429 and 503 ask clients to come later, 499 are clients that went away, 500 is a bug.",
	"Clerks' requests":                 "Requests of Clerks (the Go client) a second, by kind.",
	"Clerks' request latency, p99":     "99th percentile from the arrival of a Clerk's request to its answer. An acquire that waits for a lock counts with its wait.",
	"Refused, by reason":               "Requests refused for the state of the node or cluster. None of them has changed anything.",
	"In flight and waiting":            "Requests that are being served, and those that wait for a place. Waiting for long: the node gets more than it can do, and refuses soon.",
	"Forwarded to the leader":          "Writes that came to a follower and were sent on. Many: clients would be served sooner by the leader. not_sent and lost: this follower does not reach it.",
	"Term":                             "Rises with each election and is the same everywhere. Rising all the time: nodes keep standing; see Campaigns and Leader changes.",
	"Leader changes, by reason":        "stepdown_quorum: the leader heard no majority. stepdown_disk: its disk hung. Many elections: nodes die or are starved.",
	"Campaigns":                        "0 while a leader serves. prevote alone: a node does not hear the leader that the others hear. vote: an election.",
	"Writes, by how they ended":        "Commands that nodes proposed, a second. Many that are not applied are normal only while leadership changes.",
	"Commit latency, p99":              "From a proposal on the leader until a majority has it on disk: the slower of fsync and round trip.",
	"Read index latency, p99":          "Time that a linearizable read waits for a majority to confirm the leader. No disk is involved.",
	"Committed and not applied":        "Committed entries that the store has not applied. If the number grows: the node is short of processor time.",
	"Behind the leader":                "Entries that a follower does not have. If the number grows: its disk or network is slower than the writes.",
	"Last contact with the leader":     "Seconds since a peer last answered the leader: a tenth of a second or so. A growing line is a peer that is dead or cut off.",
	"Late heartbeats":                  "0. More: the leader was starved of processor time or stopped, and its followers were close to an election.",
	"Entries per apply batch":          "Rises with load, because entries are applied together. At 1 under load, each is applied alone.",
	"Fsync latency, p99":               "Time that the disk takes to make a write durable. Every write waits for it on a majority.",
	"Syncs":                            "Writes of the log to the disk a second. Writes of many clients share one, so it grows more slowly than the requests.",
	"Appended to the log":              "Bytes a second that go into the log, with headers and padding. Each node writes all of them.",
	"On the disk":                      "The files of the log, and the newest snapshot. The log shrinks behind a snapshot; if it only grows, look at Entries since the snapshot.",
	"Room on the disk":                 "Free bytes for the node. A log that finds no room ends its node and loses nothing.",
	"Entries since the snapshot":       "A saw: it falls with each snapshot. If it only grows, snapshots fail; the node's log says why.",
	"Snapshots, mean time":             "How long snapshots took within the last hour: to make on this node, to send to a follower, to receive, and to load.",
	"Loading the state and reach of the log in memory": "load: how long the last start took to load the snapshot. reach: a follower that was away for less time than this needs no snapshot.",
	"Snapshots not taken":                              "Snapshots that did not reach a peer. Some while nodes restart are normal; again and again means that the follower stays behind.",
	"To peers":                                         "Bytes a second from node to node. The leader sends the writes to each follower, so its lines are the high ones.",
	"Round trip to peers, p99":                         "From a heartbeat to its answer: the network, and how busy the peer is. It must stay far below --election-timeout.",
	"Lost calls to peers":                              "Calls that ended without an answer, a second. 0 in a cluster in which all nodes run and reach each other.",
	"Connections":                                      "Open connections of clients. Near --max-connections, those that have kept the node waiting longest make room.",
	"Sessions":                                         "Sessions of Clerks that are remembered, the same on all nodes. 10,000 at most: then the one used least recently is forgotten.",
	"Repeated requests recognised":                     "Requests that were sent again and were not applied again. Many: answers are lost or come too late for the clients' patience.",
	"Idempotency keys remembered":                      "Answers kept under idempotency keys. At 1,048,576 further requests with a key are refused; see RaftkvIdempotencyFull.",
	"Keys":                                             "Keys in the store, the same on all nodes but for what a node has not applied yet.",
	"Memory":                                           "Resident memory. It follows the size of the store, with some more while a snapshot is sent or loaded.",
	"Processor":                                        "Processors in use: 100 % is one of them. Near the number that the machine has, heartbeats come late.",
	"Goroutines":                                       "They follow the connections. A number that grows while the connections do not is a bug.",
	"Open files":                                       "Files and sockets of the process. Near its limit (ulimit -n), connections of clients are turned away first.",
	"Garbage collection":                               "Time a second in which the process stood still to collect memory: far below 1 %.",
}
