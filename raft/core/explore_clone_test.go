package core

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// clone returns a copy of a server that shares nothing with it that either of them
// changes. sharedByClones says what they share.
func (r *Raft) clone() *Raft {
	c := *r
	c.members = slices.Clone(r.members)
	for i := range c.members {
		p := &c.members[i].progress
		p.inflight, p.inflightSizes = slices.Clone(p.inflight), slices.Clone(p.inflightSizes)
	}
	c.leaving = slices.Clone(r.leaving)
	for i := range c.leaving {
		p := &c.leaving[i].progress
		p.inflight, p.inflightSizes = slices.Clone(p.inflight), slices.Clone(p.inflightSizes)
	}
	c.log.entries, c.log.sums = slices.Clip(r.log.entries), slices.Clip(r.log.sums)
	c.log.editions = slices.Clone(r.log.editions)
	c.held = slices.Clone(r.held)
	c.reads = slices.Clone(r.reads)
	c.asking = slices.Clone(r.asking)
	c.calls, c.answers, c.forgot = slices.Clone(r.calls), slices.Clone(r.answers), slices.Clone(r.forgot)
	c.readsDone, c.notes = slices.Clone(r.readsDone), slices.Clone(r.notes)
	return &c
}

// sharedByClones lists the references in a Raft that a clone shares with its origin,
// by their paths, and why neither can change what the other sees.
var sharedByClones = map[string]string{
	"config.Peers":       "a Config does not change",
	"config.Rand":        "an explored server has a source without a state",
	"configuration":      "a configuration is made once and never changed",
	"log.entries":        "entries never change, and the copy is clipped: what it appends goes elsewhere; the origin is not used any more",
	"log.entries[].Data": "entries never change",
	"log.sums":           "as log.entries",
	"log.snapshot.Data":  "a snapshot's data is only passed on",

	"log.snapshot.Members.Record":   "a record never changes",
	"log.static.Version.Record":     "a record never changes",
	"log.static.Configuration":      "a configuration is made once and never changed",
	"log.editions[].Version.Record": "a record never changes",
	"log.editions[].Configuration":  "a configuration is made once and never changed",
	"told.Newest.Record":            "a record never changes",
	"told.Committed.Record":         "a record never changes",

	"readsDone[].Err":     "errors never change",
	"held[].Answer.Reply": "replies never change",
	"answers[].Reply":     "replies never change",
	"calls[].Request":     "requests never change",
	"calls[].tags":        "a call's tags never change",
}

// Goal: a clone shares nothing with its origin that could change: two worlds of the
// explorer would else be one. Method: every reference in a Raft is found by reflection
// and set; after cloning each is another one, or listed above. A field with a
// reference that joins Raft fails this test until clone knows it.
func TestTheCloneKnowsEveryReference(t *testing.T) {
	origin := &Raft{}
	fill(reflect.ValueOf(origin).Elem())
	copied := origin.clone()
	shared := map[string]bool{}
	compareReferences(t, "", reflect.ValueOf(origin).Elem(), reflect.ValueOf(copied).Elem(), shared)
	for path := range sharedByClones {
		if !shared[path] {
			t.Errorf("%s is listed as shared by clones and is not shared", path)
		}
	}
	if cap(copied.log.entries) != len(copied.log.entries) {
		t.Error("what a clone appends to its log would overwrite what its origin appends")
	}
}

// Goal: the test above can fail. Method: a copy that forgets one slice.
func TestTheCloneTestSeesASharedSlice(t *testing.T) {
	origin := &Raft{}
	fill(reflect.ValueOf(origin).Elem())
	copied := origin.clone()
	copied.members[1].progress.inflight = origin.members[1].progress.inflight
	var inner recorder
	compareReferences(&inner, "", reflect.ValueOf(origin).Elem(), reflect.ValueOf(copied).Elem(), map[string]bool{})
	if want := "members[].progress.inflight"; len(inner.complaints) != 1 || !strings.Contains(inner.complaints[0], want) {
		t.Errorf("a shared slice gave %q, wanted one complaint about %s", inner.complaints, want)
	}
}

// complainer is what a check of references needs of a testing.T.
type complainer interface {
	Errorf(format string, args ...any)
}

type recorder struct{ complaints []string }

func (r *recorder) Errorf(format string, args ...any) {
	r.complaints = append(r.complaints, fmt.Sprintf(format, args...))
}

// open returns a value that may be set, also if its field is not exported.
func open(v reflect.Value) reflect.Value {
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
}

// fill gives every slice in a value two elements and room for two more, and every
// pointer and interface something to refer to.
func fill(v reflect.Value) {
	v = open(v)
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 4))
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if v.Type() != reflect.TypeFor[*rand.Rand]() {
			fill(v.Elem())
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	case reflect.Interface:
		switch v.Type() {
		case reflect.TypeFor[Reply]():
			v.Set(reflect.ValueOf(&RequestVoteReply{}))
		case reflect.TypeFor[Request]():
			v.Set(reflect.ValueOf(&RequestVote{}))
		case reflect.TypeFor[error]():
			v.Set(reflect.ValueOf(&Broken{}))
		}
	}
}

// compareReferences complains about references that two values share and that are not
// listed in sharedByClones, and notes in shared those that are.
func compareReferences(t complainer, path string, a, b reflect.Value, shared map[string]bool) {
	a, b = open(a), open(b)
	name := strings.TrimPrefix(path, ".")
	same := func(is bool) bool {
		if _, listed := sharedByClones[name]; is && !listed {
			t.Errorf("a clone shares %s with its origin: let clone copy it, or list it in sharedByClones with the reason", name)
		}
		shared[name] = shared[name] || is
		return is
	}
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			compareReferences(t, path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i), shared)
		}
	case reflect.Array:
		for i := range a.Len() {
			compareReferences(t, path+"[]", a.Index(i), b.Index(i), shared)
		}
	case reflect.Slice:
		if a.Len() == 0 || a.Len() != b.Len() {
			t.Errorf("%s has %d elements, and %d in the clone", name, a.Len(), b.Len())
			return
		}
		same(a.Pointer() == b.Pointer())
		for i := range a.Len() {
			compareReferences(t, path+"[]", a.Index(i), b.Index(i), shared)
		}
	case reflect.Pointer:
		if !same(a.Pointer() == b.Pointer()) {
			compareReferences(t, path, a.Elem(), b.Elem(), shared)
		}
	case reflect.Interface:
		if a.IsNil() {
			t.Errorf("%s is an interface that the test does not know how to fill", name)
			return
		}
		same(a.Elem().Pointer() == b.Elem().Pointer())
	case reflect.Map, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		t.Errorf("%s is a %v: a core is a plain value with slices, so that it can be copied", name, a.Kind())
	}
}
