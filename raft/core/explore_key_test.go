package core

import (
	"reflect"
	"slices"
	"testing"

	"raftkv/tests/explore"
)

// Two worlds are equal if whatever can happen in one can happen in the other, with the
// same ends. So names of servers do not matter, nor do absolute numbers of writes,
// campaigns and calls: only how they compare. The key of a world is the least of the
// hashes that it has under all ways to name its servers.

var (
	raftFields     = fieldsOf(reflect.TypeFor[Raft](), outsideTheKey)
	progressFields = fieldsOf(reflect.TypeFor[progress](), outsideTheKey)
	rejoinFields   = fieldsOf(reflect.TypeFor[rejoinAnswer](), outsideTheKey)
	editionFields  = fieldsOf(reflect.TypeFor[edition](), outsideTheKey)
	stateFields    = fieldsOf(reflect.TypeFor[State](), outsideTheKey)
	writeFields    = fieldsOf(reflect.TypeFor[Write](), outsideTheKey)
	messageForms   = map[reflect.Type]messageForm{}
)

// messageForm is how messages of one type are told from others and from each other.
type messageForm struct {
	number int
	fields fields
}

func init() {
	// A request names its sender, which its way says, too.
	names := map[string]string{"RequestVote.CandidateID": "", "AppendEntries.LeaderID": "", "InstallSnapshot.LeaderID": "", "TimeoutNow.LeaderID": "", "Entry.Data": ""}
	for number, message := range []any{
		RequestVote{}, AppendEntries{}, InstallSnapshot{}, TimeoutNow{}, ReadIndex{}, Rejoin{},
		RequestVoteReply{}, AppendEntriesReply{}, InstallSnapshotReply{}, TimeoutNowReply{}, ReadIndexReply{}, RejoinReply{},
	} {
		t := reflect.TypeOf(message)
		messageForms[t] = messageForm{number, fieldsOf(t, names)}
	}
}

// Key returns the canonical form of the world.
func (w *exWorld) Key() explore.Key {
	items := w.itemForms()
	var least explore.Key
	for p, names := range w.bounds.renames {
		var sum explore.Key
		for i := range w.bounds.servers {
			var h explore.Hash
			h.Add(uint64(names[i]))
			h.AddKey(w.nodes[i].keys[p])
			sum = sum.Plus(h.Sum())
		}
		for k := range items {
			m := &items[k]
			var h explore.Hash
			h.AddKey(m.form)
			h.Add(1<<8 | uint64(names[m.from])<<4 | uint64(names[m.to]))
			sum = sum.Plus(h.Sum())
		}
		var h explore.Hash
		h.AddKey(sum)
		w.addHistory(&h, names)
		if key := h.Sum(); p == 0 || key.Less(least) {
			least = key
		}
	}
	return least
}

// addHistory appends what must be remembered to judge what comes.
func (w *exWorld) addHistory(h *explore.Hash, names []uint8) {
	b := &w.left
	for _, left := range [...]uint8{b.entries, b.timeouts, b.losses, b.copies, b.cuts, b.snapshots, b.reads, b.transfers, b.wipes, b.checks} {
		h.Add(uint64(left))
	}
	for _, leader := range w.leaders {
		if leader == 0 {
			h.Add(0)
		} else {
			h.Add(1 + uint64(names[leader-1]))
		}
	}
	for _, c := range w.chosen {
		h.Add(c.term)
		h.Add(c.by)
		h.Add(uint64(c.sum))
	}
	h.AddInt(len(w.floors))
	for _, f := range w.floors {
		h.Add(uint64(f.tag))
		h.Add(f.floor)
	}
	for _, f := range w.former {
		h.Add(1 + uint64(names[f.server]))
		h.AddInt(len(f.log))
		for _, at := range f.log {
			h.Add(at.Index)
			h.Add(at.Term)
		}
	}
}

// exForm is what a message counts for, but for the names.
type exForm struct {
	form     explore.Key
	from, to uint8
}

// itemForms returns the forms of all messages, on their way or waiting for an answer.
func (w *exWorld) itemForms() []exForm {
	forms := make([]exForm, 0, 32)
	for k, m := range w.flight {
		place := 0 // in any order it does not matter which left first
		if w.bounds.fifo {
			for _, earlier := range w.flight[:k] {
				if earlier.sameConnection(m) {
					place++
				}
			}
		}
		var h explore.Hash
		h.AddInt(place)
		w.addItem(&h, m)
		forms = append(forms, exForm{h.Sum(), m.from, m.to})
	}
	for i := range w.bounds.servers {
		r := w.nodes[i].core
		for k, x := range w.nodes[i].waiting {
			var h explore.Hash
			h.AddInt(-1)
			if w.bounds.fifo {
				h.AddInt(k)
			}
			r.addWaiting(&h, x.tag)
			w.addItem(&h, x.item)
			forms = append(forms, exForm{h.Sum(), x.item.from, x.item.to})
		}
	}
	return forms
}

// addWaiting appends what a request waits for.
func (r *Raft) addWaiting(h *explore.Hash, tag Tag) {
	for i := range r.held {
		x := &r.held[i]
		if x.Tag != tag {
			continue
		}
		h.Add(1)
		addMessage(h, x.Reply)
		h.Add(max(x.seq, r.saved) - r.saved)
		if x.index > r.durable {
			h.Add(x.index)
		} else {
			h.Add(0)
		}
		return
	}
	h.AddInt(slices.IndexFunc(r.reads, func(p pendingRead) bool { return p.asker != None && p.tag == tag }))
}

// hash returns the content of a message.
func (m *exItem) hash() explore.Key {
	var h explore.Hash
	addMessage(&h, m.call.Request)
	if m.reply != nil {
		addMessage(&h, m.reply)
	}
	return h.Sum()
}

func addMessage(h *explore.Hash, message any) {
	v := reflect.ValueOf(message)
	form := messageForms[v.Type().Elem()]
	h.AddInt(form.number)
	form.fields.add(h, v.UnsafePointer())
}

// addItem appends a message's content, and how what its caller keeps of it compares
// with the caller's state.
func (w *exWorld) addItem(h *explore.Hash, m *exItem) {
	h.AddKey(m.content)
	h.AddBool(m.reply != nil)
	if m.orphan {
		h.Add(99)
		return
	}
	r := w.nodes[m.from].core
	switch req := m.call.Request.(type) {
	case *RequestVote:
		h.AddBool(m.call.generation == r.campaign)
	case *AppendEntries:
		r.addCallTo(h, m, req.Term)
	case *InstallSnapshot:
		r.addCallTo(h, m, req.Term)
	case *ReadIndex:
		h.AddBool(m.call.round == r.asks)
		h.Add(m.call.committed)
		for _, tag := range m.call.tags {
			h.Add(uint64(tag))
		}
	case *Rejoin:
		h.AddBool(m.call.round == r.rejoinRound)
	}
}

// addCallTo appends how a call to a follower compares with what its leader knows.
func (r *Raft) addCallTo(h *explore.Hash, m *exItem, term uint64) {
	if r.role != Leader || term != r.currentTerm {
		h.Add(98) // only the term of the answer will be looked at
		return
	}
	p := &r.members[m.to].progress
	h.AddBool(m.call.generation == p.generation)
	h.AddBool(m.call.generation < p.minGeneration)
	if m.call.round > p.round {
		h.Add(1 + r.round - m.call.round)
	} else {
		h.Add(0)
	}
	h.Add(m.call.matchIndex)
}

// nodeKeys returns the hashes of a server, without its requests, under all renamings.
func (w *exWorld) nodeKeys(i int) []explore.Key {
	n := w.nodes[i]
	var plain explore.Hash
	w.addNode(&plain, n)
	var rows [maxServers]explore.Key
	for j := range n.core.members {
		rows[j] = w.row(n.core, j)
	}
	keys := make([]explore.Key, len(w.bounds.renames))
	for p, names := range w.bounds.renames {
		h := plain
		w.addNames(&h, n, names)
		var placed [maxServers]explore.Key
		for j := range n.core.members {
			placed[names[j]] = rows[j]
		}
		for j := range n.core.members {
			h.AddKey(placed[j])
		}
		keys[p] = h.Sum()
	}
	return keys
}

// addNames appends the names that a server remembers.
func (w *exWorld) addNames(h *explore.Hash, n *exNode, names []uint8) {
	r := n.core
	add := func(id ID) {
		if id == None {
			h.Add(0)
		} else {
			h.Add(1 + uint64(names[w.place(id)]))
		}
	}
	add(r.votedFor)
	add(r.leader)
	add(r.transferee)
	add(r.asked)
	add(n.disk.VotedFor)
	if n.writing != nil {
		add(n.writing.VotedFor)
	}
	for _, read := range r.reads {
		add(read.asker)
	}
}

// addNode appends what of a server does not depend on names.
func (w *exWorld) addNode(h *explore.Hash, n *exNode) {
	r := n.core
	addAll(h, raftFields, r)
	addAll(h, stateFields, &n.disk)
	h.AddBool(n.writing != nil)
	if n.writing != nil {
		addAll(h, writeFields, n.writing)
	}
	h.AddInt(len(r.log.editions))
	for i := range r.log.editions {
		if e := &r.log.editions[i]; e.Index > 0 { // else it is the static one; names in records are not renamed, which hides nothing
			addAll(h, editionFields, e)
		}
	}
	h.Add(r.written.seq - r.saved)
	h.Add(max(r.promised(), r.saved) - r.saved)
	if w.bounds.checkQuorum && r.role != Leader && r.leader != None {
		h.AddBool(r.electionElapsed < r.config.ElectionTicks)
	}
	raw := w.bounds.rawRoles
	if r.role == Candidate || r.role == PreCandidate || raw {
		h.AddBool(r.ownVoteCounted)
		h.AddBool(r.transferred)
	}
	if r.transferee != None || raw {
		h.AddBool(r.timeoutNow)
	}
	if r.rejoining.On || raw {
		h.Add(r.agreed.Index)
		h.Add(r.agreed.Term)
	}
	if r.config.PreVoteAgain {
		h.AddBool(r.campaigned)
	}
	h.AddInt(len(r.reads))
	for _, read := range r.reads {
		h.Add(read.index)
		if read.round == 0 {
			h.AddInt(-1)
		} else {
			h.Add(r.round - read.round)
		}
		if read.asker == None {
			h.Add(uint64(read.tag))
		}
	}
	if len(r.reads)+len(r.asking) > 0 || r.asked != None {
		h.AddBool(r.askAge > 0)
	}
}

// row returns what a server keeps of another one, as far as it means something in its
// role: becomeLeader and newCampaign make it anew.
func (w *exWorld) row(r *Raft, j int) explore.Key {
	var h explore.Hash
	s, raw := &r.members[j], w.bounds.rawRoles
	if r.role == Leader || raw {
		p := &s.progress
		addAll(&h, progressFields, p)
		h.Add(r.round - p.round)
		h.Add(r.round - p.roundSent)
		if r.config.CheckQuorum {
			h.AddBool(p.heard)
		}
	}
	if r.role == Candidate || r.role == PreCandidate || raw {
		h.Add(uint64(s.vote))
	}
	if r.rejoining.On {
		addAll(&h, rejoinFields, &s.rejoin)
		h.AddBool(s.rejoin.round == r.rejoinRound)
	}
	return h.Sum()
}

// Goal: the list of what does not count is true: every field in it exists, so a field
// that is renamed is looked at again. Method: by reflection.
func TestFieldsOutsideTheKeyExist(t *testing.T) {
	names := map[string]bool{}
	for _, of := range []reflect.Type{reflect.TypeFor[Raft](), reflect.TypeFor[State](), reflect.TypeFor[Write]()} {
		fieldNames(of, names)
	}
	for name, reason := range outsideTheKey {
		if !names[name] || reason == "" {
			t.Errorf("outsideTheKey names %s, which does not exist, or gives no reason", name)
		}
	}
}
