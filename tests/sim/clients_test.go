package main

import (
	"strings"
	"testing"

	"raftkv/kvserver/kv"
)

// history builds a clientHistory by hand: clients c1, c2, … with one operation
// each, on one key.
type history struct {
	clientHistory
	n uint64
}

const handKey = "a/0"

func newHistory() *history {
	return &history{clientHistory: clientHistory{byToken: map[string]*record{}}}
}

func (h *history) op(kind opKind, token string, began int64) *operation {
	h.n++
	l := &lane{c: &client{index: int(h.n)}}
	return &operation{lane: l, number: h.n, kind: kind, key: handKey, token: token, began: began}
}

// write adds a put, append or delete that was answered.
func (h *history) write(kind opKind, token string, began, ended int64, r kv.Result) {
	h.add(h.op(kind, token, began), outcome{result: r, revision: r.Revision}, ended)
}

// lost adds a write of unknown outcome.
func (h *history) lost(kind opKind, token string, began int64) {
	h.add(h.op(kind, token, began), outcome{}, never)
}

// read adds a read that found a value, or nothing if revision is 0, in a store at
// revision store.
func (h *history) read(value string, revision, version, store uint64, began, ended int64) {
	i := item{key: handKey, value: value, found: revision != 0, Item: kv.Item{Revision: revision, Version: version}}
	h.add(h.op(opGet, "", began), outcome{items: []item{i}, revision: store}, ended)
}

// Goal: the check of the clients' histories says yes to what can be and no to
// what cannot, with the reason. Method: histories by hand.
func TestClientHistories(t *testing.T) {
	put := func(revision, version, length uint64) kv.Result {
		return kv.Result{Revision: revision, Version: version, Length: length}
	}
	cases := []struct {
		name   string
		make   func(h *history)
		reason string // part of the complaint; "" if there must be none
	}{
		{"read after write", func(h *history) {
			h.write(opPut, "A;", 1, 2, put(1, 1, 2))
			h.read("A;", 1, 1, 1, 3, 4)
		}, ""},
		{"read of what is under way", func(h *history) {
			h.write(opPut, "A;", 1, 9, put(1, 1, 2))
			h.read("A;", 1, 1, 1, 3, 4)
			h.read("", 0, 0, 0, 2, 5)
		}, ""},
		{"stale read", func(h *history) {
			h.write(opPut, "A;", 1, 2, put(1, 1, 2))
			h.read("", 0, 0, 0, 3, 4)
		}, "stands behind it"},
		{"reads that go back", func(h *history) {
			h.lost(opPut, "A;", 1)
			h.read("A;", 1, 1, 1, 2, 3)
			h.read("", 0, 0, 0, 4, 5)
		}, "stands behind it"},
		{"value from nowhere", func(h *history) {
			h.read("A;", 1, 1, 1, 3, 4)
		}, "nobody wrote"},
		{"value from the future", func(h *history) {
			h.read("A;", 1, 1, 1, 1, 2)
			h.write(opPut, "A;", 3, 4, put(1, 1, 2))
		}, "only written later"},
		{"lost update", func(h *history) {
			h.write(opPut, "A;", 1, 2, put(1, 1, 2))
			h.write(opPut, "B;", 3, 4, put(2, 2, 2))
			h.read("A;", 1, 1, 2, 5, 6)
		}, "had revision 1"},
		{"lost append", func(h *history) {
			h.write(opPut, "A;", 1, 2, put(1, 1, 2))
			h.write(opAppend, "B;", 3, 4, put(2, 2, 4))
			h.write(opAppend, "C;", 5, 6, put(3, 3, 4))
			h.read("A;C;", 3, 3, 3, 7, 8)
		}, "lacks B;"},
		{"append twice", func(h *history) {
			h.lost(opAppend, "A;", 1)
			h.read("A;A;", 2, 2, 2, 3, 4)
			h.read("A;", 1, 1, 1, 2, 4)
		}, "took effect at revision"},
		{"twice in one value", func(h *history) {
			h.write(opAppend, "A;", 1, 2, put(1, 1, 2))
			h.write(opAppend, "B;", 3, 4, put(2, 2, 4))
			h.read("A;B;A;", 3, 3, 3, 5, 6)
		}, "took effect at revision"},
		{"lost update of unknown outcome", func(h *history) {
			h.lost(opAppend, "A;", 1)
			h.write(opPut, "B;", 3, 4, put(2, 2, 2))
			h.read("B;", 2, 2, 2, 5, 6)
		}, ""},
		{"vanished", func(h *history) {
			h.write(opPut, "A;", 1, 2, put(1, 1, 2))
			h.read("", 0, 0, 1, 3, 4)
		}, "was not there"},
		{"deleted, perhaps", func(h *history) {
			h.write(opPut, "A;", 1, 2, put(1, 1, 2))
			h.lost(opDelete, "D;", 3)
			h.read("", 0, 0, 2, 5, 6)
		}, ""},
		{"deleted before anybody asked", func(h *history) {
			h.write(opPut, "A;", 1, 2, put(1, 1, 2))
			h.read("", 0, 0, 2, 3, 4)
			h.lost(opDelete, "D;", 5)
		}, "was not there"},
		{"two changes, one revision", func(h *history) {
			h.write(opPut, "A;", 1, 2, put(1, 1, 2))
			h.write(opPut, "B;", 1, 2, put(1, 1, 2))
		}, "both took revision"},
		{"refused and done", func(h *history) {
			h.write(opPut, "A;", 1, 2, kv.Result{Status: kv.StatusConditionFailed})
			h.read("A;", 1, 1, 1, 3, 4)
		}, "said not to have happened"},
		{"the wrong length", func(h *history) {
			h.write(opPut, "A;", 1, 2, put(1, 1, 2))
			h.write(opAppend, "B;", 3, 4, put(2, 2, 2))
			h.read("A;B;", 2, 2, 2, 5, 6)
		}, "was said to make"},
		{"condition that should have held", func(h *history) {
			h.write(opPut, "A;", 1, 2, put(5, 1, 2))
			h.add(h.op(opCompare, "B;", 3), outcome{result: kv.Result{Status: kv.StatusConditionFailed, Revision: 4}, revision: 6}, 4)
		}, "the key was said to have revision 4"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHistory()
			c.make(h)
			err := h.check(1, kv.New())
			switch {
			case c.reason == "" && err != nil:
				t.Error(err)
			case c.reason != "" && err == nil:
				t.Error("nothing was found wrong")
			case c.reason != "" && !strings.Contains(err.Error(), c.reason):
				t.Errorf("%q does not say %q", err, c.reason)
			}
		})
	}
}
