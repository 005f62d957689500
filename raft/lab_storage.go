package raft

import (
	"encoding/binary"
	"fmt"
	"slices"

	"raftkv/raft/core"
)

// Ways of saving, one for each generation of the labs' Persister.
type (
	savesTogether interface {
		Save(state []byte, snapshot []byte)
	} // from 2023
	savesBoth interface {
		SaveStateAndSnapshot(state []byte, snapshot []byte)
	} // 2018 to 2022
	savesApart interface { // to 2017
		SaveRaftState(state []byte)
		SaveSnapshot(snapshot []byte)
	}
)

// persisterStorage is a node's Storage on a Persister of any edition. The whole
// state is written each time, and the snapshot with it: a snapshot that was
// restored must survive later saves.
type persisterStorage struct {
	save  func(state, snapshot []byte)
	size  func() int
	state core.State
}

// openPersister reads the content of a Persister.
func openPersister(persister StateStore) (*persisterStorage, core.State) {
	p := &persisterStorage{size: func() int { return 0 }}
	if sized, ok := persister.(interface{ RaftStateSize() int }); ok {
		p.size = sized.RaftStateSize
	}
	switch ps := persister.(type) {
	case savesTogether:
		p.save = ps.Save
	case savesBoth:
		p.save = ps.SaveStateAndSnapshot
	case savesApart:
		p.save = func(state, snapshot []byte) {
			ps.SaveSnapshot(snapshot) // first: a state must never point beyond its snapshot
			ps.SaveRaftState(state)
		}
	default:
		panic(fmt.Sprintf("raft: %T has none of the labs' methods for saving", persister))
	}
	state, err := decodeState(persister.ReadRaftState())
	if err != nil {
		panic(fmt.Sprintf("raft: the persisted state cannot be read: %v", err))
	}
	state.Snapshot.Data = persister.ReadSnapshot()
	p.state = state
	return p, state
}

// Save stores a write together with everything before it.
func (p *persisterStorage) Save(w *core.Write) error {
	if err := core.Intact(w.Entries, "written"); err != nil {
		return err
	}
	p.state.Term, p.state.VotedFor = w.Term, w.VotedFor
	entries := p.state.Entries
	base := p.state.Snapshot.Index
	if s := w.Snapshot; s != nil {
		forgotten := min(s.Index-base, uint64(len(entries)))
		entries = slices.Clone(entries[forgotten:])
		base = s.Index
		p.state.Snapshot = *s
	}
	if w.From != 0 {
		keep := w.From - base - 1
		entries = append(entries[:keep:keep], w.Entries...)
	}
	p.state.Entries = entries
	p.save(encodeState(p.state), p.state.Snapshot.Data)
	return nil
}

// Close does nothing: a Persister outlives its server.
func (p *persisterStorage) Close() error { return nil }

// encodeState writes all of a state but the snapshot's data:
//
//	term | vote length | vote | snapshot index | snapshot term | entries | the entries
//
// with all numbers as uvarints and the entries in the core's encoding. The commit
// index is volatile here, as Figure 2 has it.
func encodeState(s core.State) []byte {
	size := 64
	for _, e := range s.Entries {
		size += len(e.Data) + 20
	}
	b := binary.AppendUvarint(make([]byte, 0, size), s.Term)
	b = binary.AppendUvarint(b, uint64(len(s.VotedFor)))
	b = append(b, s.VotedFor...)
	b = binary.AppendUvarint(b, s.Snapshot.Index)
	b = binary.AppendUvarint(b, s.Snapshot.Term)
	b = binary.AppendUvarint(b, uint64(len(s.Entries)))
	return core.EncodeEntries(b, s.Entries)
}

func decodeState(b []byte) (core.State, error) {
	var s core.State
	if len(b) == 0 {
		return s, nil
	}
	number := func() uint64 {
		n, size := binary.Uvarint(b)
		b = b[max(size, 0):]
		return n
	}
	s.Term = number()
	vote := number()
	if vote > uint64(len(b)) {
		return s, fmt.Errorf("a vote of %d bytes in %d", vote, len(b))
	}
	s.VotedFor, b = core.ID(b[:vote]), b[vote:]
	s.Snapshot.Index, s.Snapshot.Term = number(), number()
	count := number()
	if count > uint64(len(b)) {
		return s, fmt.Errorf("%d entries in %d bytes", count, len(b))
	}
	entries, err := core.DecodeEntries(b, s.Snapshot.Index+1, int(count))
	s.Entries = entries
	return s, err
}
