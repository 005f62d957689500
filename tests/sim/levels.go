package main

import (
	"io"
	"slices"

	"raftkv/kvserver/kv"
	"raftkv/raft/core"
	"raftkv/raft/levels"
	"raftkv/raft/members"
	"raftkv/raft/node"
)

// In some worlds the cluster is upgraded while everything goes wrong: it begins at level 2
// with some servers whose program knows no more than that, each of these is restarted with a
// newer one at some moment, and the leader raises the level through the log when all servers
// have shown that they know it. Before that nothing of level 3 may stand in a log or a snapshot,
// or come to a server; and no program ever meets what it does not know.

const (
	oldProgram = levels.Members - 1 // the highest level that it knows
	newProgram = levels.Members
)

// drawLevels decides whether the cluster is upgraded. It has a stream of its own: the other
// worlds of seeds are as they would be without it.
func (o *options) drawLevels(d dice) {
	share, old, percent := d.chance(0.25), 1+d.IntN(o.Servers), d.pick(2, 20, 50, 80)
	if !share || o.Labs || o.Founders > 0 {
		return
	}
	o.OldPrograms, o.UpgradeWithin = old, max(1, o.Faulty*percent/100)
	// What is remembered of a lost directory is in the record of members, behind the level.
	o.Faults = slices.DeleteFunc(o.Faults, func(name string) bool { return slices.Contains(ofFixedMembers, name) })
}

// upgraded reports whether the cluster is upgraded in this world.
func (o *options) upgraded() bool { return o.OldPrograms > 0 }

// program is what a server's program knows of levels, and what others have shown to this
// process of it.
type program struct {
	installed uint32             // what the next process knows
	knows     uint32             // what this one knows, or the last one if the server is down
	shown     map[*server]uint32 // looked up, never walked
	raising   bool               // a change that raises the level is under way
}

// boot starts a process of the program that is installed. What its disk has must be known
// to it.
func (p *program) boot(s *server, state *core.State) {
	*p = program{installed: p.installed, knows: p.installed, shown: map[*server]uint32{s: p.installed}}
	o := s.w.oracles
	if s.w.options.upgraded() && p.knows < newProgram && (state.Snapshot.Members.Record != nil || slices.ContainsFunc(state.Entries, o.isNew)) {
		s.w.fail("levels", "%s boots a program of level %d, and its disk has something of the next level", s.id, p.knows)
	}
}

// startUpgrades lets each server with an old program be upgraded, at some moment.
func (w *world) startUpgrades() {
	d := newDice(w.seed, streamUpgrades)
	for i, s := range w.servers {
		s.program.installed = newProgram
		if i >= w.options.OldPrograms {
			continue
		}
		s.program.installed = oldProgram
		pause := d.between(0, 4*w.options.election())
		w.after(d.between(1, w.options.UpgradeWithin), then(func() { s.upgrade(pause) }))
	}
}

// upgrade puts the newer program in the place of the old one, and restarts the server.
func (s *server) upgrade(pause int64) {
	w := s.w
	if w.healed {
		return
	}
	s.program.installed = newProgram
	w.counts.Upgrades++
	w.event(s.index, evUpgraded, uint64(s.life))
	if s.up {
		s.stop(w.diskDice)
		w.nemesis.restartSoon(s, pause)
	}
}

// showLevels lets two servers that say hello show what they know.
func (s *server) showLevels(other *server) {
	s.program.shown[other] = other.program.knows
	other.program.shown[s] = s.program.knows
}

// raiseLevel lets a leader raise the level when all servers have shown that they know the
// next one, as the leader of a cluster without a record of members begins that.
func (s *server) raiseLevel() {
	w, p := s.w, &s.program
	if !w.options.upgraded() || p.raising || p.knows < newProgram || s.replica.Observe().Role != core.Leader ||
		s.replica.Configurations().Newest.Record != nil || s.replica.UID() == (core.UID{}) ||
		slices.ContainsFunc(w.servers, func(other *server) bool { return p.shown[other] < newProgram }) {
		return
	}
	p.raising = true
	s.replica.Reconfigure(&node.Reconfiguration{
		Wanted: members.First(s.replica.UID(), newProgram, s.founders()),
		Chosen: func() { p.raising = false },
		Failed: func(error) { p.raising = false },
		Placed: func(index, _ uint64) { w.event(s.index, evChange, index, 0) },
	})
}

// advance moves the store over an entry that holds no command.
func (v *service) advance(e core.Entry) {
	level := levelOf(&e)
	if !v.s.w.options.upgraded() || level == 0 {
		v.store.Advance(e.Index)
		return
	}
	if err := v.store.AdvanceLevel(e.Index, uint64(level)); err != nil || level > v.s.program.knows {
		v.s.w.fail("levels", "%s, whose program knows level %d, applies level %d at %d: %v", v.s.id, v.s.program.knows, level, e.Index, err)
	}
}

// levelOf returns the level that an entry says the cluster works at, 0 if it says nothing of
// that.
func levelOf(e *core.Entry) uint32 {
	if e.Kind != core.KindConfiguration {
		return 0
	}
	record, err := members.Decode(e.Data)
	if err != nil {
		return 0 // it was damaged; the node that hands it on finds out
	}
	return record.Level
}

// isNew reports whether an entry has something that only a newer program knows.
func (o *oracles) isNew(e core.Entry) bool {
	switch e.Kind {
	case core.KindConfiguration:
		return true
	case core.KindCommand:
		c, err := kv.DecodeCommand(e.Data) // an error means that it was damaged in memory
		return err == nil && c.MinLevel() >= newProgram
	}
	return false
}

// raisedAt returns the index of the committed entry that raised the level, 0 if there is none.
func (o *oracles) raisedAt() uint64 {
	for o.raise.looked < len(o.logs.committed) && o.raise.at == 0 {
		e := &o.logs.committed[o.raise.looked].Entry
		if levelOf(e) >= newProgram {
			o.raise.at = e.Index
			o.w.counts.LevelsRaised++
		}
		o.raise.looked++
	}
	return o.raise.at
}

// raise is where the level was raised, and how far it was looked for.
type raise struct {
	at     uint64
	looked int
}

// levelled: something of level 3 comes into a log only behind the committed entry that raised
// the level; and that entry only where every server knows it.
func (o *oracles) levelled(s *server, write *core.Write) {
	if !o.w.options.upgraded() {
		return
	}
	raised := o.raisedAt()
	for _, e := range write.Entries {
		switch {
		case !o.isNew(e):
		case e.Kind == core.KindConfiguration:
			for _, other := range o.w.servers {
				if other.program.knows < newProgram {
					o.w.fail("levels", "%s writes entry %d, which raises the level, and %s does not know it", s.id, e.Index, other.id)
				}
			}
		case raised == 0 || e.Index <= raised:
			o.w.fail("levels", "%s writes entry %d, which needs level %d, and that was raised at %d (0: never)", s.id, e.Index, newProgram, raised)
		}
	}
}

// sends: nothing of level 3 goes to a server whose program does not know it.
func (o *oracles) sends(s *server, call core.Call) {
	to := o.w.server(call.To)
	if !o.w.options.upgraded() || to.program.knows >= newProgram {
		return
	}
	is := false
	switch r := call.Request.(type) {
	case *core.AppendEntries:
		is = slices.ContainsFunc(r.Entries, o.isNew)
	case *core.InstallSnapshot:
		is = r.Snapshot.Members.Record != nil
	}
	if is {
		o.w.fail("levels", "%s sends something of level %d to %s, which does not know it", s.id, newProgram, to.id)
	}
}

// payloadVersions are those of a store's state, by level.
var payloadVersions = map[bool]byte{false: 3, true: 4}

// payloadOffset is where the version stands: behind the magic.
const payloadOffset = len("raftkv-kv")

// levelWatch reads along as the payload of a snapshot is written.
type levelWatch struct {
	io.Writer
	head []byte
}

func (l *levelWatch) Write(b []byte) (int, error) {
	if room := payloadOffset + 1 - len(l.head); room > 0 {
		l.head = append(l.head, b[:min(room, len(b))]...)
	}
	return l.Writer.Write(b)
}

// captured: a snapshot has the format of level 3, and names the members, exactly if it is of
// a place behind the entry that raised the level.
func (o *oracles) captured(s *server, snapshot core.Snapshot, head []byte) {
	if !o.w.options.upgraded() || len(head) <= payloadOffset {
		return
	}
	raised := o.raisedAt()
	is := raised != 0 && snapshot.Index >= raised
	if version := head[payloadOffset]; version != payloadVersions[is] || (snapshot.Members.Record != nil) != is {
		o.w.fail("levels", "%s writes a snapshot of index %d with payload %d, with members: %v; the level was raised at %d (0: never)",
			s.id, snapshot.Index, version, snapshot.Members.Record != nil, raised)
	}
}
