package membership

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"raftkv/raft/levels"
	"raftkv/raft/members"
)

// Node is what a leader knows of a node in addition to the record.
type Node struct {
	// Healthy says that the node answers, lacks little of the log, and goes on to confirm what
	// is committed. Why says why it is not, as the end of a sentence that begins with the node.
	Healthy bool
	Why     string
	// Answers says that it has answered lately, healthy or not. Silent is for how long this
	// leader has seen that it does not, and Well for how long that it is healthy.
	Answers      bool
	Silent, Well time.Duration
	// RatherNot says that it would rather not lead, since it is loading, installing, stopping or
	// wrong: leadership cannot be handed to it. Match is how far it has confirmed the log.
	RatherNot bool
	Match     uint64
	// Ready says that a learner has kept up for Settings.PromoteAfter without a break;
	// Behind says what it lacks.
	Ready  bool
	Behind string
	// Shown holds what the node has said of itself in its newest boot; nil: it has not
	// been heard since this node began.
	Shown *Shown
}

// Shown is what a node says of itself when it begins to talk.
type Shown struct {
	Levels      levels.Range
	Build       string
	Incarnation members.Incarnation
	Peer, HTTP  string // addresses; "": it has not named one
}

// View is what a leader knows at one moment. It is not changed.
type View struct {
	Self  members.ID
	Term  uint64
	Level uint32 // the highest at which this program works
	Transport
	// Leads says that this node leads. Newest is the configuration in force, and Settled says
	// that a change may begin: this node leads, and Newest is committed and not joint. Whether
	// the leader has committed in its term, which it must, consensus says.
	Leads   bool
	Newest  members.Version
	Settled bool
	Stood   time.Duration // since this node has Newest
	// Static are the members of a cluster without a record, with the uid that it has.
	Static []Static
	UID    members.UID
	Nodes  map[members.ID]Node
	// Holds says that this node was told to hold the level, and Holders are the others
	// that were, or that did not say it; both count only while there is no record.
	Holds   bool
	Holders []Holder
	// LostAfter is for how long a node must have been silent before its place may be given
	// away.
	LostAfter time.Duration
	// Led is for how long this leader has looked at the members since it was elected.
	Led time.Duration
}

// Static is a member of the list with which a cluster began.
type Static struct {
	ID         members.ID
	Peer, HTTP string
}

// ids returns the members, with or without a record.
func (v *View) ids() (ids []members.ID) {
	if v.Newest.Record == nil {
		for _, s := range v.Static {
			ids = append(ids, s.ID)
		}
		return ids
	}
	for i := range v.Newest.Record.Members {
		ids = append(ids, v.Newest.Record.Members[i].ID)
	}
	return ids
}

// node returns what is known of a node.
func (v *View) node(id members.ID) Node {
	n, known := v.Nodes[id]
	if !known {
		return Node{Why: "has not been heard", Behind: "has not been heard"}
	}
	return n
}

// lost reports whether a node has been silent for so long that it may be taken for lost. A new
// leader, and one to which a node was silent for a moment, does not know it.
func (v *View) lost(id members.ID, after time.Duration) bool {
	n := v.node(id)
	return !n.Answers && n.Silent >= max(after, v.LostAfter)
}

// allHealthy reports whether all voters are.
func (v *View) allHealthy() bool {
	ids := v.ids()
	if r := v.Newest.Record; r != nil {
		ids = r.Voters()
	}
	return len(v.healthy(ids)) == len(ids)
}

// healthy returns those of the nodes that are.
func (v *View) healthy(ids []members.ID) (healthy []members.ID) {
	for _, id := range ids {
		if v.node(id).Healthy {
			healthy = append(healthy, id)
		}
	}
	return healthy
}

// Count is one half of a change as its guard counts it.
type Count struct {
	Voters   []members.ID
	Healthy  []members.ID
	Majority int
}

func (v *View) count(voters []members.ID) Count {
	return Count{Voters: voters, Healthy: v.healthy(voters), Majority: members.Majority(len(voters))}
}

// Tolerance returns how many of the healthy voters may fail before no majority is left.
// It is negative where there is none.
func (c Count) Tolerance() int { return len(c.Healthy) - c.Majority }

// unhealthy writes why those voters are not healthy that are not.
func (v *View) unhealthy(c Count) string {
	var each []string
	for _, id := range c.Voters {
		if n := v.node(id); !n.Healthy {
			each = append(each, fmt.Sprintf("%s %s", id, n.Why))
		}
	}
	return strings.Join(each, "; ")
}

// joinIDs writes ids for people.
func joinIDs(ids []members.ID) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(id))
	}
	return b.String()
}

// without returns the ids without one.
func without(ids []members.ID, not members.ID) []members.ID {
	return slices.DeleteFunc(slices.Clone(ids), func(id members.ID) bool { return id == not })
}
