package kv

import (
	"encoding/binary"
	"fmt"

	"raftkv/kvserver/auth"
)

// A cluster works at a level, which says which formats and commands it uses. The
// level stands in the log, so that all servers take it in at the same place; see
// AdvanceLevel.
const (
	// LevelBase is the level of a new store: no history is kept.
	LevelBase = 2
	// LevelHistory is the first level with a history of changes, and with everything
	// that needs one.
	LevelHistory = 3
	// LevelMax is the highest level that this version knows.
	LevelMax = 3
)

// How many bytes the history may be charged with. 0 keeps no history.
const (
	DefaultHistoryBytes = 128 << 20
	// MinHistoryBytes is the least limit but 0, so that the newest change always fits.
	MinHistoryBytes = 32 << 20
	MaxHistoryBytes = 16 << 30
)

// bodyVersion begins the body of a command that has its fields in Value.
const bodyVersion = 1

// Level returns the level at which the store works.
func (v *View) Level() uint64 { return v.level }

// NewAt returns an empty store of a cluster that has worked at a level since before
// its first entry. It panics at a level that this version does not know.
func NewAt(level uint64) *Store {
	s := New()
	if err := s.raise(level); err != nil {
		panic(fmt.Sprintf("kv: a store at level %d: %v", level, err))
	}
	return s
}

// AdvanceLevel moves over an index whose entry says at which level the cluster works
// from there on. The rule for index is the same as in Apply. It panics at a level
// below the present one: levels never fall. At a level that this version does not know
// it returns an *UnknownError, and the store stands before index, as in ApplyKnown.
func (s *Store) AdvanceLevel(index, level uint64) error {
	if level > LevelMax {
		return &UnknownError{What: "level", Number: level}
	}
	s.Advance(index)
	return s.raise(level)
}

// raise takes in a level. At LevelHistory the history begins. From then on the first
// change of a store has revision 2, so that revision 1 is the empty store.
func (s *Store) raise(level uint64) error {
	if level > LevelMax {
		return &UnknownError{What: "level", Number: level}
	}
	assert(level >= s.level, "kv: the level is to fall from %d to %d", s.level, level)
	if s.level < LevelHistory && level >= LevelHistory {
		if s.revision > 0 {
			s.compacted = int64(s.revision) + 1
		}
		s.revision = max(1, s.revision)
		s.historyLimit = DefaultHistoryBytes
	}
	s.level = level
	return nil
}

// levelOf returns the level at which an operation was added.
func (o Op) levelOf() uint64 {
	if o == OpSettings || o == OpForget || o == OpLift || o.onAuth() || o.onMany() || o.onLeases() || o.onLocks() {
		return LevelHistory
	}
	return LevelBase
}

// MinLevel returns the level of the cluster that a command needs.
func (c *Command) MinLevel() uint64 {
	if c.Previous || c.Guard != (Guard{}) || c.leaseFlags() != 0 {
		return LevelHistory
	}
	return c.Op.levelOf()
}

// Settings returns the command that sets how many bytes the history may be charged
// with: 0, or MinHistoryBytes to MaxHistoryBytes. Eldest changes beyond that go.
func Settings(historyBytes uint64) Command {
	return Command{Op: OpSettings, Value: body(historyBytes)}
}

// Forget returns the command that drops the changes before a revision.
func Forget(revision uint64) Command { return Command{Op: OpForget, Value: body(revision)} }

// Raise returns the command that raises the revision, as Lift does, or does nothing where
// not enough numbers are left.
func Raise(by uint64) Command { return Command{Op: OpLift, Value: body(by)} }

func body(number uint64) []byte { return binary.AppendUvarint([]byte{bodyVersion}, number) }

// checkLevel returns an *UnknownError for a command that servers of a cluster at this
// level need not know, or whose body has a version that this one does not know.
func (c *Command) checkLevel(level uint64) error {
	if c.Op.levelOf() > level {
		return &UnknownError{What: "operation outside of its level", Number: uint64(c.Op)}
	}
	if c.Caller != (auth.Author{}) && level < LevelHistory {
		return &UnknownError{What: "flag outside of its level", Number: flagCaller}
	}
	if c.Previous && level < LevelHistory {
		return &UnknownError{What: "flag outside of its level", Number: flagPrevious}
	}
	if c.Guard != (Guard{}) && level < LevelHistory {
		return &UnknownError{What: "flag outside of its level", Number: flagGuard}
	}
	if flags := c.leaseFlags(); flags != 0 && level < LevelHistory {
		return &UnknownError{What: "flag outside of its level", Number: flags & -flags}
	}
	if c.Op.levelOf() > LevelBase && len(c.Value) > 0 && c.Value[0] != bodyVersion {
		return &UnknownError{What: "version of the body of " + c.Op.String(), Number: uint64(c.Value[0])}
	}
	return nil
}

// control applies a command that changes no key.
func (s *Store) control(c Command) Result {
	f := read(c.Value)
	f.Check(f.Byte() == bodyVersion, "another version")
	number := f.Number()
	f.End()
	switch {
	case f.Bad():
		return Result{Status: StatusUnknownCommand, Revision: s.revision}
	case c.Op == OpForget:
		return s.forget(number)
	case c.Op == OpLift:
		if s.Lift(number) != nil {
			return Result{Status: StatusUnknownCommand, Revision: s.revision}
		}
		return Result{Revision: s.revision}
	case !s.rules.historyFits(number):
		return Result{Status: StatusUnknownCommand, Revision: s.revision}
	}
	s.historyLimit = number
	s.trim()
	return Result{Revision: s.revision}
}

// HistoryBytesFit reports whether a number can be the history's limit.
func HistoryBytesFit(n uint64) bool { return standard.historyFits(n) }

func (r rules) historyFits(n uint64) bool {
	return n == 0 || n >= r.historyMin && n <= MaxHistoryBytes
}

// UnknownError says that a command or a snapshot holds something that a later
// version of raftkv may have put there: a number or a name without a meaning in
// this version. It may be a change that other servers make or a promise that they
// keep. So a server must not go on without it: it stops, and starts again with a
// version that knows it.
//
// Malformed bytes of a known version are another matter. They mean the same on
// every server, so a command made of them gets a Status; see ErrMalformed.
type UnknownError struct {
	What   string // such as "operation" or "flag"
	Number uint64 // the number that was found
	Name   string // the name that was found, where names are used instead of numbers
}

func (e *UnknownError) Error() string {
	found := fmt.Sprint(e.Number)
	if e.Name != "" {
		found = fmt.Sprintf("%q", e.Name)
	}
	return fmt.Sprintf("this raftkv does not know the %s %s; a newer one wrote it: upgrade this node", e.What, found)
}
