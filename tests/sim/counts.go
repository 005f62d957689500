package main

import (
	"fmt"
	"reflect"
	"strings"
)

// counts says how often each interesting thing happened, so that a campaign in
// which something never did can be recognised as proving nothing about it.
type counts struct {
	// What clients did.

	Acknowledged      int // writes
	Reads             int // linearizable, by read index
	FollowerReads     int // of these, on servers that did not lead
	ParkedReads       int // that had to wait for the state machine
	StaleReads        int
	CheckedOperations int // in the clients' histories
	Refused           int // answers that it did not happen
	UnknownToClient   int // operations whose outcome the client never learnt
	LostAnswers       int
	LateRequests      int // that arrived when nobody waited any more
	ClientsLost       int // with their sessions
	Replays           int // commands met again and answered from a session
	KeyedReplays      int // and from a record under their idempotency key
	Repeats           int // requests that were answered, and made again within the window
	LateRetries       int // requests made again in the last two thirds of the window
	KeyMismatches     int // other requests under a key that was used
	KeysForgotten     int // commands after which old records were dropped
	ConditionsFailed  int
	OverQuota         int
	StaleCalls        int // of a session, behind a later one

	// What became of proposals.

	Commits          int
	ProposalsRefused int
	Lost             int // of these, those whose place another entry took
	Unknown          int // whose place a snapshot covers

	// Elections.

	Elections         int // leaders
	LedByTransfer     int // of these, because the leader before told them to stand
	Campaigns         int
	PreVotes          int // campaigns that began by asking
	LostQuorums       int // leaders that stepped down because no majority answered
	StalledLeaders    int // and because their disks hung
	UnwillingLeaders  int // that began to hand over because they would rather not lead
	VotesRefusedTerm  int // the candidate's term was old
	VotesRefusedLog   int // the candidate's log was behind
	VotesRefusedGiven int // the vote was another's
	VotesWithheld     int // there was a leader
	PreVotesRefused   int // for another reason than the log

	// Replication.

	Messages         int
	LostMessages     int
	Duplicates       int
	HeldUp           int // messages on clogged links
	HeldAnswers      int // answers that left later than they were given
	AppendsRejected  int
	Truncations      int // of what was on the disk
	DurableTruncated int // entries
	OldTermMajority  int // an entry of an earlier term stood on a majority, uncommitted (Figure 8)

	// Snapshots.

	Snapshots           int
	SnapshotsWanted     int // of these, because a follower needed a newer one
	SnapshotsObsolete   int // a newer one had come meanwhile
	SnapshotsBehindTail int // taken where the log does not know the term any more
	SnapshotsFailed     int // the disk was full, or failed
	TornSnapshots       int // crashes while one was written
	Compactions         int // writes that let a snapshot stand for the log
	Installs            int // of another server's snapshot
	InstallsOverTail    int // which threw away entries beyond it
	InstallsGone        int // a newer one had taken the snapshot's place
	DamagedInstalls     int // of a snapshot whose file was damaged meanwhile
	SkippedEntries      int // that followed such a snapshot in the channel
	AppliedAhead        int // times the log heard that entries were delivered before the store showed them
	TransfersBegun      int // of snapshots between servers
	TransfersDone       int
	TransfersResumed    int
	TransfersNeedless   int // the receiver had it
	TransfersGone       int
	TransfersCut        int // lost on the way
	TransfersRefused    int // by the receiver's disk
	InterleavedChunks   int // of one transfer while another was under way
	SnapshotsLost       int // found damaged when they were to be sent
	SnapshotsDamaged    int // recoveries that fell back on an older one
	DamagedSegments     int // recoveries that refused a damaged log

	// Disks.

	Crashes         int
	Assassinations  int // of these, of leaders just elected
	OrderlyStops    int // of these, with the log closed
	PowerCuts       int
	TornWrites      int // crashes in the middle of a save
	CutTails        int // recoveries that threw away a batch nobody was told of
	KeptTails       int // recoveries that found a batch nobody was told of
	RecoveryCrashes int // crashes during recovery
	DiskErrors      int
	HungWrites      int
	SlowWrites      int // on disks that are slow all the time
	NoRoom          int // times a full disk was in the way
	DamageFound     int // processes that ended because an entry changed in memory
	FlippedFrames   int // frames with entries of which a bit changed on the way
	Hellos          int // that both servers took
	PeersRefused    int // because of their data directories
	PeersDistrusted int // that took us, and were not taken
	WordsBelieved   int // of peers against a server's own directory
	WordsDistrusted int // of others
	Fenced          int // servers that a majority refused
	StraysMet       int
	StraysAsked     int // a server without its disk heard the answer of one
	AtOdds          int // or talked to nobody, since two clusters were named to it
	PutBack         int // copies of directories that were started
	BroughtBack     int // servers whose own directories came back
	Replaced        int // and those whose place was taken by then
	Rejoined        int // servers that came back after their disks were lost

	Changes           int // of the members that a leader appended
	JointChanges      int // of which to other voters
	ChangesChosen     int
	ChangesRefused    int // or lost
	JointTruncated    int // joint configurations that were truncated from a disk
	ElectedJoint      int // elections by a joint configuration
	LedOutside        int // terms that ended under a leader which the final configuration left out
	LearnersInstalled int // snapshots sent to servers without a vote

	Upgrades        int // servers that were restarted with a newer program
	LevelsRaised    int // clusters that were upgraded
	LevelsInstalled int // states that came to the level by another server's snapshot
	NotActive       int // requests refused before that

	// Coordination.

	Leases        int
	LeasesExpired int
	LockGrants    int // that a coordinator heard of
	LockWaits     int // requests that began to wait
	FencedOff     int // writes under a token that holds nothing any more
	Txns          int // that were done
	TxnsRefused   int // or changed nothing

	faults map[string]int // that took place, by kind
}

func (c *counts) fault(name string) {
	if c.faults == nil {
		c.faults = map[string]int{}
	}
	c.faults[name]++
}

func (c *counts) add(o *counts) {
	a, b := reflect.ValueOf(c).Elem(), reflect.ValueOf(o).Elem()
	for i := range a.NumField() {
		if a.Type().Field(i).IsExported() {
			a.Field(i).SetInt(a.Field(i).Int() + b.Field(i).Int())
		}
	}
	for name, n := range o.faults {
		if c.faults == nil {
			c.faults = map[string]int{}
		}
		c.faults[name] += n
	}
}

// each calls fn for every count, in order.
func (c *counts) each(fn func(name string, n int)) {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() {
			fn(f.Name, int(v.Field(i).Int()))
		}
	}
	for _, k := range faultKinds {
		fn("fault "+k.name, c.faults[k.name])
	}
}

// missing names what never happened.
func (c *counts) missing() (names []string) {
	c.each(func(name string, n int) {
		if n == 0 {
			names = append(names, name)
		}
	})
	return names
}

// String is a table of three columns.
func (c *counts) String() string {
	var b strings.Builder
	column := 0
	c.each(func(name string, n int) {
		fmt.Fprintf(&b, "  %-18s %11d", name, n)
		if column++; column%3 == 0 {
			b.WriteByte('\n')
		}
	})
	if column%3 != 0 {
		b.WriteByte('\n')
	}
	return b.String()
}
