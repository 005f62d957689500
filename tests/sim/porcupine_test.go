package main

import (
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"raftkv/kvserver/kv"
)

// The check of the clients' histories is our own, because it must cost little
// and because revisions let it see more. Here a checker that knows nothing of
// revisions and was written by others looks at the same runs.

// register is one key for porcupine: its state is the value, "" for none.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(*record).op.key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, key := range keyNames {
			if len(byKey[key]) > 0 {
				parts = append(parts, byKey[key])
			}
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		value, r := state.(string), input.(*record)
		switch {
		case !r.op.kind.writes():
			return r.out.items[0].value == value, value
		case r.op.deletes():
			return true, ""
		case r.op.appends():
			return true, value + r.op.token
		}
		return true, r.op.token
	},
}

// operations are the reads of single keys, and the writes that happened or may
// have. A write that was answered with another end did not.
func operations(h *clientHistory) (ops []porcupine.Operation) {
	for _, r := range h.records {
		did := r.revision != 0 || r.ended == never && r.op.kind != opCompare
		if r.op.kind.writes() && !did || r.op.kind == opStale || r.op.kind == opList || !r.op.kind.writes() && r.ended == never {
			continue
		}
		ops = append(ops, porcupine.Operation{ClientId: r.op.lane.c.index, Input: r, Call: r.op.began, Return: r.ended})
	}
	return ops
}

// recorded runs a world of a few seconds and returns what its clients saw.
func recorded(t *testing.T, seed uint64) (*clientHistory, *kv.Store, int) {
	o := drawOptions(seed)
	o.Labs = false
	o.Faulty = min(o.Faulty, 3*second)
	o.Clients, o.Lanes, o.Keys, o.Careless = min(o.Clients, 3), 1, max(o.Keys, 2), 0.3 // porcupine takes long over many at once
	o.Mix = mix{Put: 2, Append: 3, Delete: 1, Get: 5}
	w := newWorld(seed, o, &trace{})
	w.play()
	return &w.oracles.clients, w.core[0].store, o.Keys
}

// Goal: what our check lets pass is linearizable. Method: the histories of fresh
// worlds, by porcupine.
func TestPorcupineAgrees(t *testing.T) {
	checked := 0
	for seed := range uint64(50) {
		h, _, _ := recorded(t, seed)
		ops := operations(h)
		checked += len(ops)
		switch porcupine.CheckOperationsTimeout(register, ops, 10*time.Second) {
		case porcupine.Illegal:
			t.Fatalf("seed %d: porcupine finds no order for what our check let pass", seed)
		case porcupine.Unknown:
			t.Fatalf("seed %d: porcupine did not finish: void", seed)
		}
	}
	if checked < 2000 {
		t.Errorf("only %d operations: void", checked)
	}
}

// Goal: what is not linearizable is seen. Method: in each history one read is
// made to have seen another value that its key had at some time; where porcupine
// then finds no order, our check must complain.
func TestOurCheckSeesWhatPorcupineSees(t *testing.T) {
	illegal := 0
	for seed := range uint64(50) {
		h, final, keys := recorded(t, seed)
		if err := h.check(keys, final); err != nil {
			t.Fatal(err)
		}
		d := newDice(seed, 99)
		var reads []*record
		for _, r := range h.records {
			if r.op.kind == opGet && r.ended != never {
				reads = append(reads, r)
			}
		}
		if len(reads) < 2 {
			continue
		}
		victim := reads[d.IntN(len(reads))]
		others := slices.DeleteFunc(slices.Clone(reads), func(r *record) bool {
			return r.op.key != victim.op.key || r.out.items[0].value == victim.out.items[0].value
		})
		if len(others) == 0 {
			continue
		}
		other := others[d.IntN(len(others))]
		victim.out.items, victim.out.revision = other.out.items, other.out.revision
		if porcupine.CheckOperationsTimeout(register, operations(h), 10*time.Second) != porcupine.Illegal {
			continue // both values may have been there, or nobody knows
		}
		illegal++
		if h.check(keys, final) == nil {
			t.Errorf("seed %d: %v saw what %v saw, and nothing was found wrong", seed, victim.op, other.op)
		}
	}
	if illegal < 10 {
		t.Errorf("only %d histories were made illegal: void", illegal)
	}
}
