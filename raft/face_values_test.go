package raft_test

import (
	"reflect"
	"testing"

	"raftkv/labrpc/labgob"
	"raftkv/raft"
	"raftkv/tests/lab"
)

// labCommand is a command that a service of the labs gives to Start.
type labCommand struct {
	Kind  string
	Key   string
	Value []int
}

// Goal: a command comes back as what it was. Method: every kind of value, its
// dynamic type included, after a restart too.
func TestCommandsKeepTheirTypes(t *testing.T) {
	labgob.Register(labCommand{})
	commands := []interface{}{
		7, -1, 0, 1 << 40, "text", "", []byte("bytes"), nil, 3.5, true, int64(9), uint8(3),
		labCommand{"Put", "k", []int{1, 2}}, labCommand{},
	}
	lab.InTime(t, func(t *testing.T) {
		persister := raft.MakePersister()
		s := newSolo(t, persister)
		for _, command := range commands {
			if got := s.commit(command).Command; !reflect.DeepEqual(got, command) {
				t.Errorf("%#v (%T) came back as %#v (%T)", command, command, got, got)
			}
		}
		s.rf.Kill()
		s = newSolo(t, persister.Copy())
		s.rf.Start("the end")
		for _, command := range commands {
			if got := s.next().Command; !reflect.DeepEqual(got, command) {
				t.Errorf("after a restart %#v (%T) came back as %#v (%T)", command, command, got, got)
			}
		}
	})
}

// Goal: nothing, nil and empty are the same state to begin with. Method: one
// command on each.
func TestNothingPersistedIsAFreshStart(t *testing.T) {
	emptied, unset := raft.MakePersister(), &raft.Persister{}
	lab.Save(emptied, []byte{}, []byte{})
	saved := raft.MakePersister()
	lab.Save(saved, nil, nil)
	for name, persister := range map[string]*raft.Persister{"empty": emptied, "zero": unset, "nil": saved} {
		if state, snapshot := persister.ReadRaftState(), persister.ReadSnapshot(); len(state)+len(snapshot) > 0 {
			t.Errorf("%s: reads back as %v and %v", name, state, snapshot)
		}
		lab.InTime(t, func(t *testing.T) {
			if msg := newSolo(t, persister).commit("x"); msg.CommandIndex != 1 {
				t.Errorf("%s: the first command got index %d", name, msg.CommandIndex)
			}
		})
	}
}

// Goal: PersistBytes is the size of the stored state. Method: next to the
// persister's own figure.
func TestPersistBytesIsTheStateSize(t *testing.T) {
	lab.InTime(t, func(t *testing.T) {
		s := newSolo(t, raft.MakePersister())
		s.commit("x")
		if got, want := s.rf.PersistBytes(), s.persister.RaftStateSize(); got != want || got == 0 {
			t.Errorf("PersistBytes is %d; the persister holds %d", got, want)
		}
	})
}
