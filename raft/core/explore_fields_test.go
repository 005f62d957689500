package core

import (
	"fmt"
	"reflect"
	"strings"
	"unsafe"

	"raftkv/tests/explore"
)

// What makes two servers equal is found field by field, by reflection, once: a field
// that is not named below counts with its value. So a field that joins a struct can
// only make worlds different that are equal, which costs time. It cannot make worlds
// equal that are different, which would hide some.

// outsideTheKey names the fields of the core that do not count with their values, and
// why. Those with "by hand" count in another form, in explore_key_test.go.
var outsideTheKey = map[string]string{
	"Raft.config":        "the same in all worlds of one search",
	"Raft.configuration": "made of config; a world fails when it changes",
	"Raft.members":       "by hand: a row moves with its server's name",
	"log.static":         "made of config",
	"log.editions":       "by hand: those that have a record",
	"Raft.told":          "the configurations at the last Ready, which are those of the log",
	"memberState.id":     "a row's place says it",
	"progress.id":        "a row's place says it",

	"Raft.votedFor":          "by hand: a name",
	"Raft.leader":            "by hand: a name",
	"Raft.transferee":        "by hand: a name",
	"Raft.asked":             "by hand: a name",
	"State.VotedFor":         "by hand: a name",
	"Write.VotedFor":         "by hand: a name",
	"Raft.generation":        "by hand: what counts is which calls are of the present one",
	"progress.generation":    "by hand: what counts is which calls are of it",
	"progress.minGeneration": "by hand: what counts is which calls are before it",
	"Raft.campaign":          "by hand: what counts is which calls are of it",
	"Raft.rejoinRound":       "by hand: what counts is which calls and answers are of it",
	"rejoinAnswer.round":     "by hand: whether it is the present one",
	"Raft.asks":              "by hand: what counts is which call is the latest",
	"Raft.round":             "by hand: what counts is how far others are behind it",
	"progress.round":         "by hand: how far it is behind the present one",
	"progress.roundSent":     "by hand: how far it is behind the present one",
	"Raft.reads":             "by hand: rounds and tags are relative",
	"Raft.held":              "by hand: with the request that is answered",
	"Raft.saved":             "by hand: relative",
	"write.seq":              "by hand: whether a write is outstanding",
	"write.hard":             "by hand: relative",
	"Write.Seq":              "one more than those that are saved",
	"Raft.agreed":            "by hand: on a server that is rejoining",
	"Raft.campaigned":        "by hand: with PreVoteAgain",
	"Raft.ownVoteCounted":    "by hand: of a candidate",
	"Raft.transferred":       "by hand: of a candidate",
	"Raft.timeoutNow":        "by hand: with a transferee",
	"progress.heard":         "by hand: with CheckQuorum",
	"Raft.electionElapsed":   "by hand: whether the leader was heard within an election timeout",
	"Raft.askAge":            "by hand: whether a tick has passed",

	"Raft.electionTimeout":  "time: a campaign may begin at any moment",
	"Raft.heartbeatElapsed": "time: a heartbeat may be due at any moment",
	"Raft.yielded":          "time",
	"Raft.drewAgain":        "time",
	"Raft.waited":           "time",
	"Raft.writeAge":         "time: no disk hangs here",
	"Raft.syncTicks":        "time",
	"write.commitAge":       "time",
	"write.commit":          "for Config.CommitTicks alone, which are not set",
	"Write.Commit":          "for Config.CommitTicks alone, which are not set",
	"State.Commit":          "for Config.CommitTicks alone, which are not set",
	"progress.unheard":      "time, for learners: there are none here",
	"progress.quiet":        "time, for Config.PromptTicks, which are not set",
	"progress.commitSent":   "for Config.PromptTicks alone",
	"progress.retried":      "for Config.PromptTicks alone",
	"progress.retryDue":     "for Config.PromptTicks alone",
	"progress.installAge":   "time",
	"progress.overdue":      "for Config.BatchBytes alone: nothing is held back",

	"Raft.uncommittedBytes": "Check compares it with the log",
	"Raft.unsavedBytes":     "Check compares it with the log",
	"Raft.unappliedBytes":   "Check compares it with the log",
	"Raft.appliedBytes":     "for Config.TrailingBytes alone, which are not set",
	"log.sums":              "Check compares them with the log",
	"log.size":              "Check compares it with the log",
	"Snapshot.Data":         "what is committed up to there says it",
	"Entry.Data":            "the sum stands for it",
	"Raft.counts":           "for people",
	"Raft.observed":         "the state at the last Ready, which is the present one",
	"Raft.calls":            "empty behind Ready",
	"Raft.answers":          "empty behind Ready",
	"Raft.forgot":           "empty behind Ready",
	"Raft.notes":            "empty behind Ready",
	"Raft.readsDone":        "empty behind Ready",
}

// fields is how values of one type are added to a hash.
type fields []field

// field is one number of a value, one of its slices, or what a pointer refers to.
type field struct {
	offset  uintptr
	kind    reflect.Kind // Uint64, Uint32, Uint8, Bool, Int, String, Slice or Pointer
	element fields       // of a slice or pointer
	size    uintptr      // of an element
}

// fieldsOf finds the fields of a type that count, but for those that are named in
// outside. A kind that cannot be compared by its value stops the test.
func fieldsOf(t reflect.Type, outside map[string]string) fields {
	var list fields
	addFields(&list, t, 0, t.Name(), outside)
	return list
}

func addFields(list *fields, t reflect.Type, offset uintptr, name string, outside map[string]string) {
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			of := t.Name() + "." + f.Name
			if _, leftOut := outside[of]; !leftOut {
				addFields(list, f.Type, offset+f.Offset, of, outside)
			}
		}
	case reflect.Array:
		for i := range t.Len() {
			addFields(list, t.Elem(), offset+uintptr(i)*t.Elem().Size(), name, outside)
		}
	case reflect.Slice, reflect.Pointer:
		f := field{offset: offset, kind: t.Kind(), size: t.Elem().Size()}
		addFields(&f.element, t.Elem(), 0, name, outside)
		*list = append(*list, f)
	case reflect.Uint64, reflect.Uint32, reflect.Uint8, reflect.Bool, reflect.Int, reflect.String:
		*list = append(*list, field{offset: offset, kind: t.Kind()})
	default:
		panic(fmt.Sprintf("%s is a %v: the explorer cannot compare it; add it to outsideTheKey and to the key by hand", name, t.Kind()))
	}
}

// add appends the value at an address to a hash.
func (list fields) add(h *explore.Hash, at unsafe.Pointer) {
	for i := range list {
		f := &list[i]
		p := unsafe.Add(at, f.offset)
		switch f.kind {
		case reflect.Uint64:
			h.Add(*(*uint64)(p))
		case reflect.Uint32:
			h.Add(uint64(*(*uint32)(p)))
		case reflect.Uint8:
			h.Add(uint64(*(*uint8)(p)))
		case reflect.Bool:
			h.AddBool(*(*bool)(p))
		case reflect.Int:
			h.AddInt(*(*int)(p))
		case reflect.String:
			addText(h, *(*string)(p))
		case reflect.Slice:
			elements := *(*[]byte)(p) // the length is that of the real slice, in elements
			h.AddInt(len(elements))
			for k := range len(elements) {
				f.element.add(h, unsafe.Add(unsafe.Pointer(unsafe.SliceData(elements)), uintptr(k)*f.size))
			}
		case reflect.Pointer:
			to := *(*unsafe.Pointer)(p)
			h.AddBool(to != nil)
			if to != nil {
				f.element.add(h, to)
			}
		}
	}
}

func addText(h *explore.Hash, text string) {
	h.AddInt(len(text))
	for i := range len(text) {
		h.Add(uint64(text[i]))
	}
}

// addAll appends a value to a hash by the fields of its type.
func addAll[T any](h *explore.Hash, list fields, value *T) { list.add(h, unsafe.Pointer(value)) }

// fieldNames lists "Type.field" for all fields of a type and of those that it holds.
func fieldNames(t reflect.Type, names map[string]bool) {
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			name := t.Name() + "." + t.Field(i).Name
			if !names[name] {
				names[name] = true
				if !strings.HasPrefix(name, "Config.") {
					fieldNames(t.Field(i).Type, names)
				}
			}
		}
	case reflect.Slice, reflect.Array, reflect.Pointer:
		fieldNames(t.Elem(), names)
	}
}
