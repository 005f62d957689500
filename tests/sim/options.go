package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// options say what a world is made of. A seed draws them (draw.go), and a run
// that is kept carries them in full, because what a seed draws changes with the
// simulator. Times are in microseconds.
type options struct {
	// The cluster.

	Servers int
	// Labs makes the labs' plain Raft on their persister, without pre-vote,
	// check-quorum, no-op and write-ahead log; reads then go through the log.
	Labs           bool  `json:",omitempty"`
	Tick           int64 // of every server, by its own clock
	ElectionTicks  int
	HeartbeatTicks int
	PromptTicks    int   `json:",omitempty"`
	LoopDelay      int64 `json:",omitempty"` // most time between an input and the turn that takes it
	Suspects       bool  `json:",omitempty"` // peers notice at once when a connection dies
	Window         int
	AppendBytes    int
	ApplyBytes     int
	Uncommitted    int // limit of uncommitted bytes
	Trailing       int `json:",omitempty"` // bytes of the log that stay in memory behind a snapshot
	StallTicks     int `json:",omitempty"` // after which a write under way means that the disk hangs
	Patience       int `json:",omitempty"` // core.Config.SnapshotPatience
	CommitTicks    int `json:",omitempty"` // core.Config.CommitTicks
	// Founders is the number of servers that begin, if the members change; the others
	// join. 0: all begin, and nothing changes.
	Founders    int   `json:",omitempty"`
	ChangeEvery int64 `json:",omitempty"` // mean time between two changes that are asked for

	// OldPrograms is the number of servers whose programs know level 2 and no more in the
	// beginning. They are upgraded within UpgradeWithin, and the level is raised then. 0: there is
	// nothing to upgrade.
	OldPrograms   int   `json:",omitempty"`
	UpgradeWithin int64 `json:",omitempty"`

	// The network.

	DelayLow, DelayHigh int64
	Tail                float64 `json:",omitempty"` // probability of a delay far beyond the usual
	Loss                float64 `json:",omitempty"`
	Duplicate           float64 `json:",omitempty"`
	Ordered             bool    `json:",omitempty"` // messages of one pair stay in order, as on one TCP connection
	SilentLoss          bool    `json:",omitempty"` // a lost call is never reported
	Chunk               int     `json:",omitempty"` // bytes of a snapshot in one message

	// The disks and the state machine.

	SaveLow, SaveHigh int64
	SlowSync          int64 `json:",omitempty"` // added to every write of the first SlowDisks servers
	SlowDisks         int   `json:",omitempty"`
	SegmentBytes      int64
	SnapshotEvery     uint64 `json:",omitempty"` // applied entries between two snapshots; 0 none
	SnapshotDelay     int64  `json:",omitempty"` // most time until a snapshot is written, and until the log hears of it
	ApplyDelay        int64  `json:",omitempty"`
	SlowRead          bool   `json:",omitempty"` // the state of a snapshot may take up to a minute to read
	Drift             int64  `json:",omitempty"` // permille that clocks run too fast or too slow at most

	// The clients.

	Clients     int
	Lanes       int     // operations a client with a session has under way
	Keys        int     // keys in use
	Think       int64   `json:",omitempty"` // mean pause between two operations
	Careless    float64 `json:",omitempty"` // share of clients without protection against doing things twice
	Keyed       float64 `json:",omitempty"` // share of clients that use idempotency keys; the others have sessions
	TimeFactor  int64   `json:",omitempty"` // factor by which log time runs faster; 0 as 1
	Quota       uint64  `json:",omitempty"` // bytes that the store may hold; 0 any
	LostAnswers float64 `json:",omitempty"`
	Mix         mix     // weights of the operations
	// Coordinators are clients that use leases, locks and transactions. With some, the cluster
	// works at level 3: from its beginning, or when it was upgraded.
	Coordinators int `json:",omitempty"`

	// The faults.

	Faults     []string `json:",omitempty"` // kinds in use; see faults.go
	FaultEvery int64    `json:",omitempty"` // mean time between two
	Only       []int    `json:",omitempty"` // if not nil, only these of the planned faults happen
	Faulty     int64    // how long things go wrong
	Outside    string   `json:",omitempty"` // what becomes of those that the healed majority does without; see heal
	Calm       int64    // how long the healed majority may take to come to rest

	// Canary plants a bug, reads that do not wait for the state machine: a simulator that never
	// sees a run fail does not know whether failures are seen.
	Canary bool `json:",omitempty"`
}

// mix says how often clients do what.
type mix struct {
	Put, Append, Delete, Compare int `json:",omitempty"`
	Get, Stale, List             int `json:",omitempty"`
}

func (m mix) total() int {
	return m.Put + m.Append + m.Delete + m.Compare + m.Get + m.Stale + m.List
}

// String is the form that -options takes.
func (o options) String() string {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // plain numbers and strings
	}
	return string(b)
}

// parseOptions reads what String wrote. Unknown fields are refused when strict:
// on the command line they are typing errors, in a kept run they are options of
// an older simulator.
func parseOptions(text string, strict bool) (options, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	if strict {
		d.DisallowUnknownFields()
	}
	var o options
	if err := d.Decode(&o); err != nil {
		return o, fmt.Errorf("options: %w", err)
	}
	if d.More() {
		return o, errors.New("options: there is more behind them")
	}
	return o, o.valid()
}

// valid refuses what cannot be run.
func (o options) valid() error {
	switch {
	case o.Servers < 1 || o.Servers > maxServers:
		return fmt.Errorf("options: %d servers; choose 1 to %d", o.Servers, maxServers)
	case o.Tick < 1 || o.HeartbeatTicks < 1 || o.ElectionTicks <= o.HeartbeatTicks:
		return fmt.Errorf("options: ticks of %d µs, %d to a beat, %d to an election", o.Tick, o.HeartbeatTicks, o.ElectionTicks)
	case o.Clients < 1 || o.Lanes < 1 || o.Keys < 1 || o.Keys > maxKeys || o.Mix.Put+o.Mix.Append == 0:
		return fmt.Errorf("options: %d clients with %d lanes on %d keys, mix %+v", o.Clients, o.Lanes, o.Keys, o.Mix)
	case o.SlowSync < 0 || o.SlowDisks < 0 || o.SlowDisks > o.Servers:
		return fmt.Errorf("options: %d of %d disks take %d µs longer", o.SlowDisks, o.Servers, o.SlowSync)
	case o.Coordinators < 0 || o.Coordinators > 0 && (o.Labs || o.Quota > 0):
		return fmt.Errorf("options: %d coordinators, in the labs' world, or with a quota of %d bytes", o.Coordinators, o.Quota)
	case o.Founders < 0 || o.Founders > o.Servers || o.Founders > 0 && (o.Labs || o.ChangeEvery < 1):
		return fmt.Errorf("options: %d of %d servers found the cluster, a change every %d µs", o.Founders, o.Servers, o.ChangeEvery)
	case o.OldPrograms < 0 || o.OldPrograms > o.Servers || o.OldPrograms > 0 && (o.Labs || o.Founders > 0 || o.UpgradeWithin < 1):
		return fmt.Errorf("options: %d of %d programs are old, and upgraded within %d µs", o.OldPrograms, o.Servers, o.UpgradeWithin)
	case o.Faulty < 0 || o.Calm < 1 || o.Drift < 0 || o.Drift > 900:
		return fmt.Errorf("options: %d µs of faults, %d µs to rest, drift %d", o.Faulty, o.Calm, o.Drift)
	}
	for _, name := range o.Faults {
		switch k, known := faultNamed(name); {
		case !known:
			return fmt.Errorf("options: no fault is called %q", name)
		case o.Servers < k.least || o.Labs && k.notLabs:
			return fmt.Errorf("options: the fault %q does not happen to %d servers, or not to the labs'", name, o.Servers)
		}
	}
	return nil
}

// Bounds of what a world may have.
const (
	maxServers = 7
	maxKeys    = 16
)

// election is the longest that a server waits for a leader, by a true clock.
func (o options) election() int64 { return 2 * int64(o.ElectionTicks) * o.Tick }

// beat is the time between two beats of a leader.
func (o options) beat() int64 { return int64(o.HeartbeatTicks) * o.Tick }
