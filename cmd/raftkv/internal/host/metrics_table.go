package host

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"raftkv/kvserver/metrics"
)

// fsyncBuckets are the bounds of the histogram, in seconds: from the sync of a fast disk
// to one that hangs.
var fsyncBuckets = prometheus.ExponentialBuckets(0.000_05, 2, 18)

// consensusBuckets are the bounds of the histograms, in seconds: from a commit on a fast
// disk to one that waits for an election.
var consensusBuckets = prometheus.ExponentialBuckets(0.000_05, 2, 18)

// table is all that a node measures in addition to what its service does.
var table metrics.Table

// instruments are its rows. The names of the fields are how the rest of the package
// finds a row.
var instruments = struct {
	buildInfo, logLinesDropped, nodeInfo                                                                      metrics.Instrument
	uncommittedBytes, hasLeader, isLeader, state, term, diskStalled, commitIndex, appliedIndex, firstLogIndex metrics.Instrument
	lastLogIndex, durableIndex, snapshotIndex, leaderChanges, electionsStarted, electionsWon                  metrics.Instrument
	replicationLagEntries, replicationInflightMessages, replicationInflightBytes, leaderLastContactSeconds    metrics.Instrument
	peerState, walSaveSeconds, commitSeconds                                                                  metrics.Instrument
	snapshotInstallSeconds, oldestLogAgeSeconds                                                               metrics.Instrument
	walFsyncSeconds, walSegments, walSizeBytes, walAppendBytes, walAppendedEntries, walBatches, walRolls      metrics.Instrument
	snapshotSizeBytes, walDamagedSnapshots, diskFreeBytes                                                     metrics.Instrument
	peerConnected, peerSentBytes, peerReceivedBytes, peerSentMessages, peerReceivedMessages, peerSendFailures metrics.Instrument
	peerDialFailures, peerConnectionsLost, peerSnapshotTransfers, peerCallsInFlight, peerRejected             metrics.Instrument
	peerRoundTripSeconds, snapshotSendFailures, heartbeatLate, snapshotSendSeconds                            metrics.Instrument
	members, votersHealthy, failureTolerance, configurationVersion, configurationJoint                        metrics.Instrument
	learnerLag, learnerRounds, clusterLevel, buildLevelMax, clusterGeneration, autopilotActions               metrics.Instrument
	memberAnswers, learnersWaiting, configurationChanges, peerLookupFailures                                  metrics.Instrument
	insecure, tlsHandshakes, tlsExpiry, tlsReloads, tlsRefused, tlsUnlisted                                   metrics.Instrument
}{
	// The process and the node.
	buildInfo:       table.Gauge("build_info", "Always 1; the labels say what runs.", "version", "go"),
	logLinesDropped: table.Counter("log_lines_dropped_total", "Log lines that could not be written, because nothing reads the log or its disk is full."),
	nodeInfo:        table.Gauge("node_info", "Always 1; the labels say which node of which cluster this is.", "node_id", "cluster_id"),

	// Consensus.
	uncommittedBytes:            table.Gauge("raft_uncommitted_bytes", "On the leader, the size of the log entries that are not committed yet."),
	hasLeader:                   table.Gauge("raft_has_leader", "1 if this node knows a leader."),
	isLeader:                    table.Gauge("raft_is_leader", "1 if this node leads."),
	state:                       table.Gauge("raft_state", "1 for the role that this node has, 0 for the others.", "state"),
	term:                        table.Gauge("raft_term", "The term this node is in."),
	diskStalled:                 table.Gauge("disk_stalled", "1 while the disk counts as hung, because a write to the log does not end."),
	commitIndex:                 table.Gauge("raft_commit_index", "Last log index known to be committed."),
	appliedIndex:                table.Gauge("raft_applied_index", "Last log index handed to the store."),
	firstLogIndex:               table.Gauge("raft_first_log_index", "First log index held in memory."),
	lastLogIndex:                table.Gauge("raft_last_log_index", "Last log index."),
	durableIndex:                table.Gauge("raft_durable_index", "Last log index known to be on this node's disk."),
	snapshotIndex:               table.Gauge("raft_snapshot_index", "Log index of the newest snapshot; 0 if there is none."),
	leaderChanges:               table.Counter("raft_leader_changes_total", "Times that this node became leader (election, transfer) or stepped down by itself (stepdown_quorum, stepdown_disk).", "reason"),
	electionsStarted:            table.Counter("raft_elections_started_total", "Campaigns of this node by phase: prevote asks whether it would win, vote asks for votes.", "phase"),
	electionsWon:                table.Counter("raft_elections_won_total", "Elections that this node won."),
	replicationLagEntries:       table.Gauge("raft_replication_lag_entries", "Entries of the leader's log that the peer is not known to have.", "peer"),
	replicationInflightMessages: table.Gauge("raft_replication_inflight_messages", "Messages with entries that the peer has not answered yet.", "peer"),
	replicationInflightBytes:    table.Gauge("raft_replication_inflight_bytes", "Size of the entries that were sent to the peer and not answered yet.", "peer"),
	leaderLastContactSeconds:    table.Gauge("raft_leader_last_contact_seconds", "Time since the peer last answered the leader.", "peer"),
	peerState:                   table.Gauge("raft_peer_state", "1 for the way in which the leader replicates to the peer now, 0 for the others: probe, pipeline, snapshot or silent.", "peer", "state"),
	walSaveSeconds:              table.Histogram("wal_save_duration_seconds", "Time to append one batch to the log and make it durable.", consensusBuckets),
	commitSeconds:               table.Histogram("raft_commit_duration_seconds", "Time from the proposal of an entry on the leader to its commitment; one entry at a time is measured.", consensusBuckets),

	// Snapshots.
	snapshotInstallSeconds: table.Histogram("raft_snapshot_install_duration_seconds", "Time from a peer's offer of a snapshot until all of it was on this node's disk.", metrics.SnapshotBuckets),
	oldestLogAgeSeconds:    table.Gauge("raft_oldest_log_age_seconds", "Age of the oldest log entry in memory. A follower that was away for less time needs no snapshot. Absent while that entry is older than this process."),

	// The disk.
	walFsyncSeconds:     table.Histogram("wal_fsync_duration_seconds", "Time that the disk takes to make a file's data durable.", fsyncBuckets),
	walSegments:         table.Gauge("wal_segments", "Segment files of the log, the spare one not counted."),
	walSizeBytes:        table.Gauge("wal_size_bytes", "Size of the log's segment files."),
	walAppendBytes:      table.Counter("wal_append_bytes_total", "Bytes appended to the log, with headers and padding."),
	walAppendedEntries:  table.Counter("wal_appended_entries_total", "Entries appended to the log."),
	walBatches:          table.Counter("wal_batches_total", "Batches appended to the log; each costs one sync."),
	walRolls:            table.Counter("wal_rolls_total", "Segments of the log that were filled."),
	snapshotSizeBytes:   table.Gauge("raft_snapshot_size_bytes", "Size of the newest snapshot's file; 0 if there is none."),
	walDamagedSnapshots: table.Gauge("wal_damaged_snapshots", "1 if a damaged snapshot was passed over when this node started."),
	diskFreeBytes:       table.Gauge("disk_free_bytes", "Bytes that this process can still write to the disk of the data directory."),

	// The members.
	members:              table.Gauge("members", "Members of the cluster by role, as this node knows them.", "role"),
	votersHealthy:        table.Gauge("voters_healthy", "On the leader, voters that answer and lack at most 4 MiB of its log."),
	failureTolerance:     table.Gauge("failure_tolerance", "On the leader, healthy voters that may fail before no majority is left; -1 if there is none."),
	configurationVersion: table.Gauge("configuration_version", "Log index of the configuration that this node goes by; 0 while the members stand in --cluster."),
	configurationJoint:   table.Gauge("configuration_joint", "1 while a change to other voters has not ended."),
	learnerLag:           table.Gauge("learner_lag_entries", "On the leader, entries that the learner or replica is not known to have.", "peer"),
	learnerRounds:        table.Gauge("learner_rounds", "On the leader, rounds of catching up that the learner or replica has ended.", "peer"),
	learnersWaiting:      table.Gauge("learners_waiting", "On the leader, learners that are to get a vote and have none: they have not caught up, or wait for one more that makes the number of voters odd. Spares that have caught up do not count."),
	memberAnswers:        table.Gauge("member_answers", "On the leader, 1 if the member has answered it lately, itself included, else 0.", "peer"),
	configurationChanges: table.Counter("configuration_changes_total", "Changes of the members that this node has made or refused as leader, its own included, by result: done, refused, or unknown where the end was not seen.", "result"),
	clusterLevel:         table.Gauge("cluster_level", "Level at which the cluster works."),
	buildLevelMax:        table.Gauge("build_level_max", "Highest level at which this node's program works."),
	clusterGeneration:    table.Gauge("cluster_generation", "How often the cluster was begun anew after the loss of its majority, from 1; 0 while it has no record of its members."),
	autopilotActions:     table.Counter("autopilot_actions_total", "What this node has done as leader, by itself, about dead members: replace, remove_voter, remove_learner.", "action"),

	// The peers.
	peerConnected:         table.Gauge("peer_connected", "1 while the connection from this node to the peer is open.", "peer"),
	peerSentBytes:         table.Counter("peer_sent_bytes_total", "Bytes of messages sent to the peer.", "peer"),
	peerReceivedBytes:     table.Counter("peer_received_bytes_total", "Bytes of messages received from the peer.", "peer"),
	peerSentMessages:      table.Counter("peer_sent_messages_total", "Messages sent to the peer.", "peer"),
	peerReceivedMessages:  table.Counter("peer_received_messages_total", "Messages received from the peer.", "peer"),
	peerSendFailures:      table.Counter("peer_send_failures_total", "Calls to the peer that ended without an answer.", "peer"),
	peerDialFailures:      table.Counter("peer_dial_failures_total", "Attempts to connect to the peer that failed.", "peer"),
	peerLookupFailures:    table.Counter("peer_lookup_failures_total", "Attempts to connect to the peer that failed because the name in its address could not be resolved.", "peer"),
	peerConnectionsLost:   table.Counter("peer_connections_lost_total", "Connections that the peer's side ended.", "peer"),
	peerSnapshotTransfers: table.Counter("peer_snapshot_transfers_total", "Transfers of snapshots to and from the peer, by result.", "peer", "result"),
	peerCallsInFlight:     table.Gauge("peer_calls_in_flight", "Calls to the peer that have no answer yet.", "peer"),
	peerRejected:          table.Counter("peer_rejected_total", "Connections that claimed to come from a peer and were refused, by reason.", "reason"),
	peerRoundTripSeconds:  table.Histogram("peer_round_trip_duration_seconds", "Time from a heartbeat of this node to the peer's answer.", consensusBuckets, "peer"),
	snapshotSendFailures:  table.Counter("raft_snapshot_send_failures_total", "Snapshots that did not reach the peer, for any reason.", "peer"),
	heartbeatLate:         table.Counter("raft_heartbeat_late_total", "Times that this leader sent a peer no message for two heartbeat intervals."),
	insecure:              table.Gauge("insecure", "1 for what is open beyond this machine: the client port or the peer port in clear, or no tokens (auth).", "what"),
	tlsHandshakes:         table.Counter("tls_handshakes_total", "Handshakes of TLS on a port, client or peer, by result.", "port", "result"),
	tlsExpiry:             table.Gauge("tls_certificate_expiry_timestamp_seconds", "Unix time at which the certificate in use expires; of a CA bundle (client-ca, peer-ca), the first to expire.", "use"),
	tlsRefused:            table.Gauge("tls_files_refused", "1 while the files of certificates of the port that are there now are refused, so that earlier ones stay in use.", "port"),
	tlsUnlisted:           table.Gauge("tls_cas_without_revocation_list", "CAs of the port's bundles of which no revocation list is there, while lists are: nothing that they issued can be revoked.", "port"),
	tlsReloads:            table.Counter("tls_reloads_total", "Times that changed files of certificates were taken into use, or refused.", "result"),

	snapshotSendSeconds: table.Histogram("raft_snapshot_send_duration_seconds", "Time from the start of sending a snapshot to the peer's answer that it has it, including pauses after failures.", metrics.SnapshotBuckets),
}

// Instruments lists all metrics of a node and its service, for documents and tests to be
// held against.
func Instruments() []metrics.Instrument { return slices.Concat(table, metrics.Instruments()) }
