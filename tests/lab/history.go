package lab

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Call is one call of a client on a key.
type Call struct {
	Key     string
	Kind    CallKind
	Value   string // what is written
	Version uint64 // of a conditional put
}

// CallKind says what a Call does.
type CallKind int

// The calls that a History understands.
const (
	Get CallKind = iota
	Put
	Append
	PutIf // put if the key has this version; 0: if there is none
)

// Answer is what a client heard.
type Answer struct {
	Value   string // of a Get
	Version uint64 // of a Get of a versioned store, else 0
	Refused bool   // a PutIf did not happen
	Maybe   bool   // a PutIf may have happened or not
}

// History is what all clients called and heard. It is safe for concurrent use.
type History struct {
	mu         sync.Mutex // guards the fields below
	now        int64
	operations []porcupine.Operation
}

// Begin notes that a client makes a call, and returns what is to be called
// with the answer. The order of the two on the history's own clock is exact,
// also while virtual time stands still.
func (h *History) Begin(client int, call Call) (end func(Answer)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	begun := h.now
	return func(answer Answer) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.now++
		h.operations = append(h.operations, porcupine.Operation{
			ClientId: client, Input: call, Output: answer, Call: begun, Return: h.now,
		})
	}
}

// checkLimit is how long the search for an order of the calls may take, on the
// wall clock.
const checkLimit = 20 * time.Second

// Check fails the test unless the history is linearizable. That the search did
// not come to an end in time is a failure, too. Call it outside of a bubble.
func (h *History) Check(t testing.TB) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch result := porcupine.CheckOperationsTimeout(model, h.operations, checkLimit); result {
	case porcupine.Ok:
	case porcupine.Unknown:
		t.Errorf("the search for an order of %d calls did not end within %v", len(h.operations), checkLimit)
	default:
		t.Errorf("the history of %d calls is not linearizable", len(h.operations))
	}
}

// register is what a key holds; the zero one holds nothing.
type register struct {
	value   string
	version uint64 // counts conditional puts; others leave it
}

// model is the store that calls are held against, key by key.
var model = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(Call).Key
			byKey[key] = append(byKey[key], op)
		}
		parts := make([][]porcupine.Operation, 0, len(byKey))
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init:              func() []interface{} { return []interface{}{register{}} },
	Step:              step,
	DescribeOperation: func(in, out interface{}) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}).ToModel()

// step returns the states that a call can lead to if it was answered so.
func step(state, input, output interface{}) []interface{} {
	was, call, answer := state.(register), input.(Call), output.(Answer)
	next := was
	switch call.Kind {
	case Get:
		if answer.Value != was.value || answer.Version != was.version {
			return nil
		}
	case Put:
		next.value = call.Value
	case Append:
		next.value += call.Value
	case PutIf:
		fits := was.version == call.Version
		next = register{value: call.Value, version: was.version + 1}
		switch {
		case answer.Maybe && fits:
			return []interface{}{was, next}
		case answer.Maybe || answer.Refused && !fits:
			return []interface{}{was}
		case answer.Refused || !fits:
			return nil
		}
	}
	return []interface{}{next}
}
