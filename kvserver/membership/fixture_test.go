package membership

import (
	"time"

	"raftkv/raft/levels"
	"raftkv/raft/members"
)

// healthyNode is a node about which there is nothing to say.
func healthyNode(build string) Node {
	return Node{Healthy: true, Answers: true, Ready: true, Shown: &Shown{Levels: levels.Range{Min: 2, Max: 3}, Build: build}}
}

// newView returns what the leader n1 of a cluster of these voters knows, at entry 10: all
// are healthy, and level 3 is the highest there is.
func newView(voters ...members.ID) View {
	r := members.First(members.UID{7}, 3, voters)
	r.Stamp(2)
	v := View{Self: voters[0], Term: 4, Level: 3, Newest: members.Version{Index: 10, Record: &r}, Settled: true, UID: r.UID, Nodes: map[members.ID]Node{}}
	for _, id := range voters {
		v.Nodes[id] = healthyNode("v1")
		m := r.Member(id)
		m.Peer, m.HTTP = string(id)+":1", string(id)+":2"
	}
	return v
}

// with returns the view after a change of its record and nodes.
func (v View) with(change func(r *members.Record, nodes map[members.ID]Node)) View {
	r := v.Newest.Record.Clone()
	nodes := map[members.ID]Node{}
	for id, n := range v.Nodes {
		nodes[id] = n
	}
	change(&r, nodes)
	v.Newest.Record, v.Nodes = &r, nodes
	return v
}

// learner adds a learner that has caught up.
func (v View) learner(id members.ID) View {
	return v.with(func(r *members.Record, nodes map[members.ID]Node) {
		r.Put(members.Member{ID: id, Role: members.Learner, Added: 9, Promote: true})
		nodes[id] = healthyNode("v1")
	})
}

// dead makes nodes silent.
func (v View) dead(ids ...members.ID) View {
	return v.with(func(_ *members.Record, nodes map[members.ID]Node) {
		for _, id := range ids {
			nodes[id] = Node{Silent: time.Hour, Why: "has not answered for 3s", Behind: "has not answered for 3s", Shown: nodes[id].Shown}
		}
	})
}

func at(index uint64) *uint64 { return &index }
