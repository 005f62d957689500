package explain

import (
	"slices"
	"strings"
	"testing"
)

// incident is a script with what must be told of it.
type incident struct {
	name     string
	script   string // behind among
	kind     Kind
	culprits string // "n1 n3"; "" if none may be named
	certain  Certainty
	words    []string // that the text must hold
	never    []string // that it must not hold
	alone    bool     // no other story may be told
}

// deadLeader are the events by which n2 takes over from n1 after 21 ms.
const deadLeader = `
n2 10s ended reset peer=n1
n3 10s ended closed_by_peer peer=n1
n2 10s suspected peer=n1 term=1
n3 10s suspected peer=n1 term=1
n2 10.021s campaign term=2 index=50 a=1
n3 10.022s vote_granted peer=n2 term=2
n2 10.023s elected term=2 a=2 b=3
n3 10.024s followed peer=n2 term=2
n2 10.025s first_commit term=2 index=51 a=46ms
`

var incidents = []incident{
	{
		name: "E1 leader killed", script: deadLeader + `
n2 10.03s unreachable nobody_listens peer=n1
n3 10.03s unreachable nobody_listens peer=n1
`,
		kind: LeaderEnded, culprits: "n1", certain: Certain, alone: true,
		words: []string{"n1's process ended", "its connections were closed", "n2 stood 21 ms later, n3 voted for it", "no write for 46 ms"},
	},
	{
		name: "E1 leader killed, nobody was writing", script: strings.ReplaceAll(deadLeader, "a=46ms", "a=7s") + `
n2 10.03s unreachable nobody_listens peer=n1
n3 10.03s unreachable nobody_listens peer=n1
`,
		kind: LeaderEnded, culprits: "n1", certain: Certain, alone: true,
		words: []string{"There could be no write for 25 ms; nobody had written for 6.97 s before"},
	},
	{
		name: "E1 leader killed and started again", script: deadLeader + `
n2 10.03s unreachable nobody_listens peer=n1
n1 14s started
n1 14.1s followed peer=n2 term=2
`,
		kind: LeaderEnded, culprits: "n1", certain: Certain, alone: true, words: []string{"n1's process ended"},
	},
	{
		name: "E2 leader paused, before it goes on", script: `
n2 10.4s timeout peer=n1 term=1 a=400ms
n2 10.4s campaign term=2
n3 10.401s vote_granted peer=n2 term=2
n2 10.402s elected term=2 a=2 b=3
n2 10.403s first_commit term=2 index=51 a=403ms
`,
		kind: LeaderUnheard, culprits: "n1", certain: Likely, alone: true,
		words: []string{"n1 stopped answering, its connections stayed", "paused or starved", "no write for 403 ms"},
	},
	{
		name: "E2 leader paused, when its machine still answers", script: `
n2 10.4s timeout peer=n1 term=1 a=400ms
n2 10.4s campaign term=2
n3 10.401s vote_granted peer=n2 term=2
n2 10.402s elected term=2 a=2 b=3
n2 10.403s first_commit term=2 index=51 a=403ms
n2 15s ended call_timeout peer=n1
n2 18s unreachable no_hello peer=n1
`,
		kind: LeaderStopped, culprits: "n1", certain: Likely, alone: true,
		words: []string{"n1 stopped answering, its connections stayed", "paused or starved"},
	},
	{
		name: "E2 leader paused, after it goes on", script: `
n2 10.4s timeout peer=n1 term=1 a=400ms
n2 10.4s campaign term=2
n3 10.401s vote_granted peer=n2 term=2
n2 10.402s elected term=2 a=2 b=3
n2 10.403s first_commit term=2 index=51 a=403ms
n1 18s loop_late a=8s
n1 18.001s stepped_down newer_term term=1 a=2
n1 18.002s followed peer=n2 term=2
n1 18.1s continued
`,
		kind: LeaderStopped, culprits: "n1", certain: Certain, alone: true, words: []string{"n1 was stopped for 8.0 s", "by a signal"},
	},
	{
		name: "E3 leader cut off", script: `
n1 10.3s silent peer=n2 term=1
n1 10.3s silent peer=n3 term=1
n2 10.45s timeout peer=n1 term=1 a=450ms
n2 10.45s campaign term=2
n3 10.451s vote_granted peer=n2 term=2
n2 10.452s elected term=2 a=2 b=3
n2 10.453s first_commit term=2 index=51 a=453ms
n1 10.6s stepped_down lost_majority term=1 a=600ms
n1 15s ended call_timeout peer=n2
n2 15s ended call_timeout peer=n1
n1 17s unreachable no_answer peer=n2
n2 17s unreachable no_answer peer=n1
n3 17s unreachable no_answer peer=n1
`,
		kind: LeaderCutOff, culprits: "n1", certain: Likely, alone: true,
		words: []string{"n1 and the others could not reach each other", "n1 gave up leadership after 600 ms without a majority", "no write for 453 ms"},
	},
	{
		name: "E4 leader is heard and hears nothing", script: `
n1 10.6s stepped_down lost_majority term=1 a=600ms
n2 11s timeout peer=n1 term=1 a=390ms
n2 11s campaign term=2
n3 11.001s vote_granted peer=n2 term=2
n2 11.002s elected term=2 a=2 b=3
n2 11.003s first_commit term=2 index=51 a=1003ms
`,
		kind: LeaderCutOff, culprits: "n1", certain: Likely, alone: true, words: []string{"n1 was heard and heard nothing"},
	},
	{
		name: "E3 a follower cut off", script: `
n3 10.4s timeout peer=n1 term=1 a=400ms
n3 10.4s pre_vote term=2
n1 15s ended call_timeout peer=n3
n3 15s ended call_timeout peer=n1
n2 15s ended call_timeout peer=n3
n1 17s unreachable no_answer peer=n3
n2 17s unreachable no_answer peer=n3
n3 17s unreachable no_answer peer=n1
n3 22s followed peer=n1 term=1
`,
		kind: NodeCutOff, culprits: "n3", certain: Likely, alone: true, words: []string{"n3 and the others could not reach each other", "writes did not wait for it"},
	},
	{
		name: "E5 pair cut, third in the middle", script: `
n3 10.4s timeout peer=n1 term=1 a=400ms
n3 10.4s pre_vote term=2
n2 10.401s pre_vote_refused hears_leader peer=n3 term=2
n3 12s unreachable no_answer peer=n1
n1 12s unreachable no_answer peer=n3
n2 12.5s pre_vote_refused hears_leader peer=n3 term=2
`,
		kind: PairCut, culprits: "n1 n3", certain: Certain, alone: true,
		words: []string{"n1 and n3 do not see each other, n2 sees both", "n3 was not elected: refused by n2, which hears its leader"},
	},
	{
		name: "E6 leader's disk hangs", script: `
n1 11.35s disk_hangs index=8812 a=1.35s
n1 11.35s stepped_down disk_hangs term=1 index=8812 a=1.35s
n3 11.351s transfer_taken peer=n1 term=1
n3 11.352s campaign term=2
n2 11.353s vote_granted peer=n3 term=2
n3 11.354s elected term=2 a=2 b=3
n1 11.355s followed peer=n3 term=2
n3 11.356s first_commit term=2 index=51 a=1356ms
n1 21s disk_back index=8812 a=11s
`,
		kind: DiskHung, culprits: "n1", certain: Certain, alone: true,
		words: []string{"Write 8812 had been with n1's disk for 1.35 s", "handed over to n3", "gave the write back after 11 s"},
	},
	{
		name: "E7 slow disks", script: `
n1 10s slow_save a=301ms b=200us count=4
n2 10.1s slow_save a=305ms b=250us count=3
n1 10.4s slow_commit a=330ms b=1ms
`,
		kind: SlowDisks, culprits: "n1 n2", certain: Certain, alone: true,
		words: []string{"Writes were slow: a majority's disks took 301 ms or more (usually 0.2 ms)", "n2's disk took up to 305 ms", "Leadership did not change"},
	},
	{
		name: "E8 one slow follower", script: `
n3 10s slow_save a=301ms b=200us count=4
n1 11s lags peer=n3 term=1 index=100 a=41220
`,
		kind: SlowDisks, culprits: "n3", certain: Certain,
		words: []string{"n3's disk took up to 301 ms", "n3 lagged by up to 41,220 entries: its disk was slow", "writes did not wait for it", "Leadership did not change"},
	},
	{
		name: "E8 a stopped follower", script: `
n1 10.3s silent peer=n3 term=1
n1 11s lags peer=n3 term=1 index=100 a=41220
n3 18s loop_late a=8s
n3 18.1s continued
`,
		kind: NodeStopped, culprits: "n3", certain: Certain, alone: true, words: []string{"n3 was stopped for 8.0 s", "writes did not wait for it"},
	},
	{
		name: "E8 a killed follower", script: `
n1 10s ended closed_by_peer peer=n3
n2 10s ended reset peer=n3
n1 10.1s unreachable nobody_listens peer=n3
`,
		kind: NodeEnded, culprits: "n3", certain: Certain, alone: true, words: []string{"n3's process ended", "Leadership did not change"},
	},
	{
		name: "E9 full disk", script: strings.ReplaceAll(deadLeader, "n2 10s ended", "n1 9.99s failed no_space\nn2 10s ended") + `
n2 10.03s unreachable nobody_listens peer=n1
`,
		kind: LeaderEnded, culprits: "n1", certain: Certain, alone: true, words: []string{"n1 ended itself", "no space left"},
	},
	{
		name: "E10 overload", script: `
n1 10s refused term=1 a=1204 b=8596
n1 11s refused term=1 a=1000 b=8500
`,
		kind: Overload, culprits: "n1", certain: Certain, alone: true,
		words: []string{"2,204 requests were refused (429), up to 1,204 of 9,800 in a second", "more than n1 could serve; disks and processors were as usual"},
	},
	{
		name: "E11 processor starved", script: `
n1 10s loop_late a=80ms
n1 10.5s loop_late a=240ms count=5
`,
		kind: Starved, culprits: "n1", certain: Likely, alone: true, words: []string{"n1's turns came up to 240 ms late", "its processor was busy"},
	},
	{
		name: "E11 a starved leader is not heard", script: `
n1 10.3s loop_late a=240ms count=3
n2 10.4s timeout peer=n1 term=1 a=400ms
n2 10.4s campaign term=2
n1 10.41s stepped_down newer_term term=1 a=2
n3 10.41s vote_granted peer=n2 term=2
n2 10.42s elected term=2 a=2 b=3
n2 10.43s first_commit term=2 index=51 a=430ms
n1 10.5s followed peer=n2 term=2
`,
		kind: LeaderUnheard, culprits: "n1", certain: Likely, words: []string{"n2 had not heard n1, its leader, for 400 ms", "n1's turns came up to 240 ms late"},
	},
	{
		name: "E12 told to stop", script: `
n1 10s end_asked
n1 10.001s transfer peer=n3 term=1
n3 10.002s transfer_taken peer=n1 term=1
n3 10.002s campaign term=2
n2 10.003s vote_granted peer=n3 term=2
n1 10.004s stepped_down handed_over peer=n3 term=1 a=2
n3 10.005s elected term=2 a=2 b=3
n3 10.006s first_commit term=2 index=51 a=9ms
n1 10.2s ended_in_order
n3 10.21s ended closed_by_peer peer=n1
n3 10.3s unreachable nobody_listens peer=n1
`,
		kind: HandedOver, culprits: "n1", certain: Certain, alone: true, words: []string{"n1 was told to stop and handed leadership to n3", "no write for 9.0 ms"},
	},
	{
		name: "E12 somebody asked", script: `
n1 10s transfer_asked
n1 10.001s transfer peer=n3 term=1
n3 10.002s transfer_taken peer=n1 term=1
n3 10.002s campaign term=2
n1 10.004s stepped_down handed_over peer=n3 term=1 a=2
n2 10.003s vote_granted peer=n3 term=2
n3 10.005s elected term=2 a=2 b=3
n3 10.006s first_commit term=2 index=51 a=9ms
n1 10.2s followed peer=n3 term=2
`,
		kind: HandedOver, culprits: "n1", certain: Certain, alone: true, words: []string{"Somebody asked for it"},
	},
	{
		name: "E13 majority gone", script: `
n1 10s ended reset peer=n2
n1 10s ended reset peer=n3
n1 10.1s unreachable nobody_listens peer=n2
n1 10.1s unreachable nobody_listens peer=n3
n1 10.3s stepped_down lost_majority term=1 a=300ms
n1 10.9s timeout term=1 a=500ms
n1 21s unreachable nobody_listens peer=n2
n1 22s unreachable nobody_listens peer=n3
n1 22.3s timeout term=1 a=400ms
`,
		kind: MajorityGone, culprits: "n2 n3", certain: Likely, alone: true,
		words: []string{"no leader for 12 s", "n1 needs one of n2 (connection refused) and n3 (connection refused)"},
	},
	{
		name: "E13 a node ended, and later another one", script: `
n1 10s ended reset peer=n2
n3 10s ended closed_by_peer peer=n2
n1 10.1s unreachable nobody_listens peer=n2
n3 10.1s unreachable nobody_listens peer=n2
n1 20s ended reset peer=n3
n1 20.1s unreachable nobody_listens peer=n2
n1 20.1s unreachable nobody_listens peer=n3
n1 20.3s stepped_down lost_majority term=1 a=300ms
n2 40s started
n1 40.1s connected peer=n2 a=2
n2 40.1s connected peer=n1 a=2
n1 40.8s campaign term=2
n2 40.801s vote_granted peer=n1 term=2
n1 40.802s elected term=2 a=2 b=3
n1 40.803s first_commit term=2 index=51 a=20.8s
n2 40.9s followed peer=n1 term=2
`,
		kind: NodeEnded, culprits: "n2", certain: Certain,
		words: []string{"n2's process ended", "Writes waited for it while too few nodes were there", "majority_gone"}, never: []string{"did not wait"},
	},
	{
		name: "E13 a node ended for good, and later another one", script: `
n1 10s ended reset peer=n2
n3 10s ended closed_by_peer peer=n2
n1 10.1s unreachable nobody_listens peer=n2
n1 20s ended reset peer=n3
n1 20.1s unreachable nobody_listens peer=n2
n1 20.1s unreachable nobody_listens peer=n3
n1 20.3s stepped_down lost_majority term=1 a=300ms
n1 20.9s timeout term=1 a=500ms
n1 31s unreachable nobody_listens peer=n2
n1 32s unreachable nobody_listens peer=n3
n1 32.3s timeout term=1 a=400ms
`,
		kind: MajorityGone, culprits: "n2 n3", certain: Likely, words: []string{"n2's process ended"}, never: []string{"did not wait"},
	},
	{
		name: "E14 split vote", script: deadLeader + `
n2 10.03s unreachable nobody_listens peer=n1
n2 20s suspected peer=n9 term=2
n2 20.01s campaign term=3
n3 20.01s campaign term=3
n2 20.3s campaign term=4
n3 20.301s vote_granted peer=n2 term=4
n2 20.302s elected term=4 a=2 b=3
n2 20.303s first_commit term=4 index=52 a=303ms
`,
		kind: SplitVote, culprits: "n2 n3", certain: Certain, words: []string{"n2 and n3 stood in term 3 at once, and none won: n2 got 1 vote, n3 got 1 vote"},
	},
	{
		name: "somebody did it", script: deadLeader + `
n2 10.01s staged killed peer=n1
n2 10.03s unreachable nobody_listens peer=n1
n3 30s staged healed
`,
		kind: LeaderEnded, culprits: "n1", certain: Certain, words: []string{"Somebody killed n1 (raftkv dev)", "Somebody made the ways of all nodes whole"},
	},
	{
		name: "E15 log behind", script: `
n3 10s pre_vote term=2 index=812 a=7
n2 10.001s pre_vote_refused log_behind peer=n3 term=2 index=812 a=990 b=7
`,
		kind: LogBehind, culprits: "n3", certain: Certain, alone: true, words: []string{"n3 could not win: its log ended at 812@7, n2's at 990@7"},
	},
	{
		name: "E16 uncommitted tail dropped", script: `
n1 10s truncated peer=n2 term=8 index=101 a=103 b=7
`,
		kind: TailDropped, culprits: "n1", certain: Certain, alone: true, words: []string{"n1 dropped entries 101–103 of term 7; none had been acknowledged", "unknown outcome"},
	},
	{
		name: "E17 snapshot instead of log", script: `
n1 10s snapshot_sent peer=n3 term=1 index=900000 a=100 b=812431
n3 15.9s installed peer=n1 term=1 index=900000 a=100
n1 16.1s snapshot_taken peer=n3 term=1 index=900000
`,
		kind: SnapshotSent, culprits: "n3", certain: Certain, alone: true, words: []string{"n3 was 812,331 entries behind what n1 keeps, so it got a snapshot in 6.1 s"},
	},
	{
		name: "E18 directory refused", script: `
n1 10s unreachable we_turn_down peer=n3
n3 10.1s unreachable turned_down peer=n1
n3 11s failed fenced
`,
		kind: Refused, culprits: "n3", certain: Certain, words: []string{"n3 was turned down by others", "docs/operations.md"},
	},
	{
		name: "E19 state differs", script: "n2 10s quarantined term=1 index=768\n",
		kind: StateDiffers, culprits: "n2", certain: Certain, alone: true, words: []string{"n2 quarantined itself at index 768", "a majority of the others agrees on another state"},
	},
	{
		name: "E20 flapping link", script: strings.Repeat(`
n1 10s ended other peer=n3
n3 10s ended other peer=n1
n1 10.1s connected peer=n3 a=1
n3 10.1s connected peer=n1 a=1
`, 41),
		kind: Flapping, culprits: "n1 n3", certain: Certain, alone: true, words: []string{"The connection n1–n3 broke 41 times", "Leadership did not change"},
	},
	{
		name: "E21 wall clock jumped", script: "n2 10s clock_jumped a=3600s\n",
		kind: ClockJumped, culprits: "n2", certain: Certain, alone: true, words: []string{"n2's wall clock jumped by +60 min; nothing depends on it"},
	},
	{
		name: "E22 long pauses of Go", script: `
n1 10s collector_pause a=160ms
n1 12s collector_pause a=40ms
`,
		kind: CollectorPauses, culprits: "n1", certain: Certain, alone: true, words: []string{"Collections stopped n1 for up to 160 ms"},
	},
	{
		name: "E23 quiet", script: `
n1 60s minute term=1 index=1000 a=12ms
n1 120s minute term=1 index=1205551 a=3ms
n2 60s minute_followed peer=n1 term=1 index=1000
`,
		kind: Quiet, culprits: "", certain: Certain, alone: true,
		words: []string{"Nothing happened: n1 leads term 1", "1,204,551 entries were committed", "the slowest commit took 12 ms"},
	},
	{
		name: "nobody knows why", script: `
n1 10.4s stepped_down newer_term term=1 a=2
n2 10.3s timeout peer=n1 term=1 a=300ms
n2 10.3s campaign term=2
n3 10.301s vote_granted peer=n2 term=2
n2 10.302s elected term=2 a=2 b=3
n2 10.303s first_commit term=2 index=51 a=303ms
n1 10.5s followed peer=n2 term=2
n1 20s slow_commit a=20ms
`,
		kind: LeaderUnheard, culprits: "", certain: Unknown, alone: true, words: []string{"n2 had not heard n1, its leader, for 300 ms", "Why is not known"},
	},
	{
		name: "a node that begins a little later has not ended", script: `
n4 0s started
n4 50ms unreachable nobody_listens peer=n5
n4 2s unreachable nobody_listens peer=n5
n5 2.5s started
n4 2.6s connected peer=n5 a=1
`,
		kind: Quiet, culprits: "", certain: Certain, alone: true, words: []string{"Nothing happened"}, never: []string{"ended"},
	},
	{
		name: "a node that is not there all the time", script: `
n1 1s unreachable nobody_listens peer=n4
n1 15s unreachable nobody_listens peer=n4
`,
		kind: NodeEnded, culprits: "n4", certain: Likely, alone: true, words: []string{"n4 was not there: nobody listened at its address"}, never: []string{"process ended"},
	},
	{
		name: "a wait that ended well is not the loss, where commits are not known", script: `
n3 5.8s timeout peer=n1 term=1 a=400ms
n3 5.85s followed peer=n1 term=1
n3 10s ended closed_by_peer peer=n1
n3 10s suspected peer=n1 term=1
n3 10.03s unreachable nobody_listens peer=n1
n3 10.05s followed peer=n2 term=2
`,
		kind: LeaderEnded, culprits: "n1", certain: Certain, alone: true, words: []string{"n1's process ended", "n2 leads term 2"}, never: []string{"no leader"},
	},
	{
		name: "a leader that is lost as soon as it leads", script: `
n2 0.7s timeout peer=n1 term=1 a=410ms
n2 0.7s campaign term=2
n3 0.701s vote_granted peer=n2 term=2
n2 0.702s elected term=2 a=2 b=3
n2 0.703s first_commit term=2 index=2 a=400ms
n1 0.75s loop_late a=400ms
n1 0.751s stepped_down newer_term term=1 a=2
n1 0.752s followed peer=n2 term=2
`,
		kind: LeaderStopped, culprits: "n1", certain: Certain, alone: true, words: []string{"n1 did not run for 400 ms", "n2 stood 398 ms later", "no write for 400 ms"},
	},
	{
		name: "a wait that ended well before is not the loss of the leader", script: `
n3 5.8s timeout peer=n1 term=1 a=400ms
n3 5.8s pre_vote term=2
n2 5.81s pre_vote_refused hears_leader peer=n3 term=2
n3 5.85s followed peer=n1 term=1
n2 6s timeout peer=n1 term=1 a=300ms
` + deadLeader + `
n2 10.03s unreachable nobody_listens peer=n1
`,
		kind: LeaderEnded, culprits: "n1", certain: Certain, alone: true, words: []string{"n2 stood 21 ms later", "no write for 46 ms"}, never: []string{"no leader"},
	},
	{
		name: "a connection that breaks once is no end of a process", script: `
n1 10s ended closed_by_peer peer=n3
n3 10s ended reset peer=n1
n1 10.1s connected peer=n3 a=1
n3 10.1s connected peer=n1 a=1
`,
		kind: Quiet, culprits: "", certain: Certain, alone: true, words: []string{"Nothing happened"}, never: []string{"ended"},
	},
	{
		name: "an old connection that ends behind a cut is no end of a process", script: `
n2 10s ended call_timeout peer=n3
n3 10s ended call_timeout peer=n2
n3 14s connected peer=n2 a=1
n2 14.1s connected peer=n3 a=1
n2 14.6s ended closed_by_peer peer=n3 b=1
`,
		kind: Quiet, culprits: "", certain: Certain, alone: true, words: []string{"Nothing happened"}, never: []string{"ended"},
	},
	{
		name: "a node that begins at the same moment has not ended", script: `
n4 1s started
n4 1.001s unreachable nobody_listens peer=n5
n5 0.999s started
n4 1.05s connected peer=n5 a=1
`,
		kind: Quiet, culprits: "", certain: Certain, alone: true, words: []string{"Nothing happened"}, never: []string{"ended"},
	},
	{
		name: "late writes of a busy processor are no slow disk", script: `
n2 10s loop_late a=150ms count=4
n2 10s slow_save a=200ms b=200us count=4
`,
		kind: Starved, culprits: "n2", certain: Likely, alone: true, words: []string{"its processor was busy"}, never: []string{"disk"},
	},
	{
		name: "clocks hours apart", script: "clock n2 3h\nclock n3 -5h\n" + deadLeader + `
n2 10.03s unreachable nobody_listens peer=n1
n3 10.03s unreachable nobody_listens peer=n1
`,
		kind: LeaderEnded, culprits: "n1", certain: Certain, words: []string{"n1's process ended", "n2 stood 2", "no write for 46 ms", "n2's clock is 3 h ahead of the others", "n3's clock is 5 h behind the others"},
	},
}

// Goal: each incident of the table is told with its kind, its culprit, its certainty and
// the words that must be there, and nothing else is told of it.
// Method: the events that three nodes record of it, as a script.
func TestIncidentsAreTold(t *testing.T) {
	for _, c := range incidents {
		t.Run(c.name, func(t *testing.T) {
			script := c.script
			if clocks, rest, found := strings.Cut(script, "\n\n"); found && strings.HasPrefix(clocks, "clock") {
				script = clocks + "\n" + among + rest
			} else {
				script = among + script
			}
			span := wholeScript
			span.From -= 24 * 3600 * 1000
			span.To += 24 * 3600 * 1000
			stories := Stories(rings(t, script), span)
			told := text(stories)
			i := slices.IndexFunc(stories, func(s Story) bool { return s.Kind == c.kind })
			if i < 0 {
				t.Fatalf("no story of kind %s is told:\n%s", c.kind, told)
			}
			if got := strings.Join(stories[i].Culprits, " "); got != c.culprits || stories[i].Certainty != c.certain {
				t.Errorf("the culprit is %q, %s; want %q, %s", got, stories[i].Certainty, c.culprits, c.certain)
			}
			for _, words := range c.words {
				if !strings.Contains(told, words) {
					t.Errorf("the words %q are missing", words)
				}
			}
			for _, words := range c.never {
				if strings.Contains(told, words) {
					t.Errorf("the words %q are there", words)
				}
			}
			if c.alone && len(stories) > 1 {
				t.Errorf("%d stories are told", len(stories))
			}
			if t.Failed() {
				t.Logf("told is:\n%s", told)
			}
		})
	}
}
