package main

import (
	"fmt"
	"slices"

	"raftkv/raft/core"
	"raftkv/raft/members"
	"raftkv/raft/node"
)

// In some worlds the members change: the first servers found the cluster, and the rest
// join, leave and come back, one to four at once, while everything else goes wrong. No
// directory is exchanged or lost in them: a server that comes back without its disk
// asks the members of the list that it was started with, which are others by then.

// ofFixedMembers are the faults that need the list with which a server was started.
var ofFixedMembers = []string{
	"blind-rejoin", "stray", "empty-disk", "early-rejoin", "put-back", "put-back-hot", "lost-disk",
}

// drawMembers decides whether the members change. It is drawn last: the other figures
// of a seed are as they would be without it.
func (o *options) drawMembers(d dice) {
	share, founders, every := d.chance(0.3), 1+d.IntN(o.Servers), d.pick(1, 2, 4, 10)
	if !share || o.Labs || o.Servers < 3 {
		return
	}
	o.Founders, o.ChangeEvery = founders, o.election()*every
	if o.Outside == "hung" {
		o.Outside = "dead" // a leader that stays outside does not end the last change
	}
	o.Faults = slices.DeleteFunc(o.Faults, func(name string) bool { return slices.Contains(ofFixedMembers, name) })
}

// founders are the servers on the list with which a server is started: none, if it is
// to join.
func (s *server) founders() (ids []core.ID) {
	n := s.w.options.Founders
	switch {
	case n == 0:
		n = len(s.w.servers)
	case s.index >= n:
		return nil
	}
	for _, p := range s.w.servers[:n] {
		ids = append(ids, p.id)
	}
	return ids
}

// startChanges lets the members change from time to time until the faults end.
func (w *world) startChanges() {
	if w.options.Founders == 0 {
		return
	}
	d := newDice(w.seed, streamMembers)
	var again func()
	again = func() {
		if w.healed {
			return
		}
		if leader := w.nemesis.leader(); leader != nil && !leader.paused {
			leader.change(d)
		}
		w.after(d.about(w.options.ChangeEvery), then(again))
	}
	w.after(d.about(w.options.ChangeEvery), then(again))
}

// change asks a leader for another membership.
func (s *server) change(d dice) {
	w, now := s.w, s.replica.Configurations().Newest
	c := &node.Reconfiguration{From: now.Index, Failed: func(error) { w.counts.ChangesRefused++ }, Chosen: func() { w.counts.ChangesChosen++ }}
	if now.Record == nil {
		if s.uid() == (core.UID{}) {
			return
		}
		c.Wanted = members.First(s.uid(), 3, w.servers[0].founders())
	} else {
		c.Wanted = now.Record.Clone()
		for range 1 + d.IntN(4) {
			w.differ(&c.Wanted, w.servers[d.IntN(len(w.servers))].id, d)
		}
	}
	c.Placed = func(index, _ uint64) {
		w.counts.Changes++
		if placed := s.replica.Configurations().Newest; placed.Record.Joint() {
			w.counts.JointChanges++
		}
		w.event(s.index, evChange, index, now.Index)
	}
	s.input(func() {
		s.replica.Reconfigure(c)
		s.turn()
	})
}

// differ makes one difference: a server becomes a voter, a learner, or no member.
func (w *world) differ(r *members.Record, id core.ID, d dice) {
	m := members.Member{ID: id}
	if known := r.Member(id); known != nil {
		m = *known
	}
	switch d.IntN(4) {
	case 0:
		m.Role = members.Learner
	case 1:
		r.Delete(id)
		return
	default:
		m.Role = members.Voter
	}
	r.Put(m)
}

// halvesOf returns the sets of voters by which a decision counts, read from a record. It
// believes nothing that a server concludes from that.
func halvesOf(r *members.Record) [][]core.ID {
	var before, after []core.ID
	for _, m := range r.Members {
		if m.WasVoter {
			before = append(before, m.ID)
		}
		if m.Role == members.Voter {
			after = append(after, m.ID)
		}
	}
	return [][]core.ID{before, after}
}

// decides reports whether the servers that agree are a majority of every half.
func decides(all [][]core.ID, agrees func(core.ID) bool) bool {
	return !slices.ContainsFunc(all, func(half []core.ID) bool {
		n := 0
		for _, id := range half {
			if agrees(id) {
				n++
			}
		}
		return 2*n <= len(half)
	})
}

// countedBy returns the halves of the configurations by which a server may have
// decided on something when its log ended at last: the newest up to there, and those
// that it has appended since in the same turn. What is committed is looked up where
// the server's memory has forgotten it. With own, the decision was on a configuration,
// which is always by itself.
func (o *oracles) countedBy(s *server, last uint64, own *core.Entry) [][][]core.ID {
	if own != nil && own.Kind == core.KindConfiguration {
		record, err := members.Decode(own.Data)
		if err != nil {
			o.w.fail("configuration", "%s holds entry %d: %v", s.id, own.Index, err)
		}
		return [][][]core.ID{halvesOf(record)}
	}
	all := [][][]core.ID{{o.w.servers[0].founders()}}
	take := func(e *core.Entry) {
		if o.w.flipped && !e.Intact() {
			intact := o.written(*e) // what the core read when it was appended
			e = &intact
		}
		if e.Kind != core.KindConfiguration {
			return
		}
		record, err := members.Decode(e.Data)
		if err != nil {
			o.w.fail("configuration", "%s holds entry %d: %v", s.id, e.Index, err)
		}
		if e.Index <= last {
			all = nil
		}
		all = append(all, halvesOf(record))
	}
	log := logOf(s)
	for i := range o.logs.committed[:min(log.base, uint64(len(o.logs.committed)))] {
		take(&o.logs.committed[i].Entry)
	}
	for i := range log.entries {
		take(&log.entries[i])
	}
	return all
}

// mayDecide reports whether the servers that agree suffice for a server's decision.
func (o *oracles) mayDecide(s *server, last uint64, own *core.Entry, agrees func(*server) bool) bool {
	if o.w.options.Founders == 0 {
		n := 0
		for _, other := range o.w.servers {
			if agrees(other) {
				n++
			}
		}
		return 2*n > len(o.w.servers)
	}
	return slices.ContainsFunc(o.countedBy(s, last, own), func(h [][]core.ID) bool {
		return decides(h, func(id core.ID) bool { return agrees(o.w.server(id)) })
	})
}

// configured: a log holds one configuration at most that is not committed, and no final
// one whose joint one is not.
func (o *oracles) configured(s *server, write *core.Write) {
	committed := uint64(len(o.logs.committed))
	for i := range write.Entries {
		e := &write.Entries[i]
		if e.Kind != core.KindConfiguration {
			continue
		}
		uncommitted := uint64(0)
		for _, before := range s.replica.Entries(committed + 1) {
			if before.Kind == core.KindConfiguration && before.Index < e.Index {
				uncommitted = before.Index
			}
		}
		if uncommitted != 0 {
			o.w.fail("one change at a time", "%s holds the configurations of entries %d and %d, and neither is committed", s.id, uncommitted, e.Index)
		}
	}
}

// countConfigured counts what is rare among changes.
func (o *oracles) countConfigured(s *server, write *core.Write) {
	if write.From == 0 {
		return
	}
	for _, e := range s.model.state.Entries {
		if e.Kind != core.KindConfiguration || e.Index < write.From {
			continue
		}
		if at := e.Index - write.From; at < uint64(len(write.Entries)) && write.Entries[at].Term == e.Term {
			continue
		}
		if record, err := members.Decode(e.Data); err == nil && record.Joint() {
			o.w.counts.JointTruncated++
		}
	}
}

// enough reports whether a part of the servers can lead the cluster whatever was the
// newest configuration anywhere: it has majorities of all that stand on any disk, or in the
// memory of a server whose disk has not taken them yet, and are not older than the newest
// committed one.
func (w *world) enough(part []int) bool {
	if w.options.Founders == 0 {
		return true
	}
	inside := func(id core.ID) bool { return slices.Contains(part, w.server(id).index) }
	committed := members.Version{}
	for i := range w.oracles.logs.committed {
		if e := &w.oracles.logs.committed[i]; e.Kind == core.KindConfiguration {
			if record, err := members.Decode(e.Data); err == nil {
				committed = members.Version{Index: e.Index, Record: record}
			}
		}
	}
	if committed.Record == nil {
		if !decides([][]core.ID{w.servers[0].founders()}, inside) {
			return false
		}
	} else if !decides(halvesOf(committed.Record), inside) {
		return false
	}
	goesOn := func(r *members.Record) bool {
		return decides(halvesOf(r), inside) && decides(halvesOf(final(r)), inside)
	}
	for _, s := range w.servers {
		if s.up {
			if c := s.replica.Configurations().Newest; c.Record != nil && c.Index > committed.Index && !goesOn(c.Record) {
				return false
			}
		}
		for _, e := range s.model.state.Entries {
			if e.Kind != core.KindConfiguration || e.Index <= committed.Index {
				continue
			}
			if record, err := members.Decode(e.Data); err == nil && !goesOn(record) {
				return false
			}
		}
	}
	return committed.Record == nil || decides(halvesOf(final(committed.Record)), inside)
}

func final(r *members.Record) *members.Record {
	f := r.Final()
	return &f
}

// resting are the servers of the healed majority that must come to rest: where the
// members change, those that are members at the end; nobody before that is known.
func (w *world) resting() []*server {
	if w.options.Founders == 0 {
		return w.core
	}
	var leader *server
	for _, s := range w.core {
		if s.up && s.replica.Observe().Role == core.Leader {
			leader = s
		}
	}
	if leader == nil {
		return nil
	}
	now := leader.replica.Configurations()
	if now.Newest != now.Committed || now.Newest.Record != nil && now.Newest.Record.Joint() {
		return nil
	}
	var all []*server
	for _, s := range w.core {
		founder := now.Newest.Record == nil && s.index < w.options.Founders
		if founder || now.Newest.Record != nil && now.Newest.Record.Member(s.id) != nil {
			all = append(all, s)
		}
	}
	return all
}

// describeMembers says by what a server counts, for a failure's message.
func (s *server) describeMembers() string {
	if s.w.options.Founders == 0 {
		return ""
	}
	now := s.replica.Configurations()
	text := fmt.Sprintf(" members of %d/%d:", now.Newest.Index, now.Committed.Index)
	if now.Newest.Record != nil {
		for _, m := range now.Newest.Record.Members {
			text += fmt.Sprintf(" %s %v/%v", m.ID, m.Role, m.WasVoter)
		}
	}
	return text
}

// countMembers counts what is rare of leaders.
func (o *oracles) countMembers(s *server, now core.Observed) {
	if now.Role != core.Leader || s.watch.out == now.Term {
		return
	}
	newest := s.replica.Configurations().Newest
	if newest.Record == nil || newest.Record.Joint() {
		return
	}
	if m := newest.Record.Member(s.id); m == nil || m.Role != members.Voter {
		s.watch.out = now.Term
		o.w.counts.LedOutside++
	}
}

// noteInstall counts snapshots to servers without a vote.
func (s *server) noteInstall(call core.Call) {
	if _, is := call.Request.(*core.InstallSnapshot); !is || s.w.options.Founders == 0 {
		return
	}
	if r := s.replica.Configurations().Newest.Record; r != nil {
		if m := r.Member(call.To); m == nil || m.Role != members.Voter {
			s.w.counts.LearnersInstalled++
		}
	}
}
