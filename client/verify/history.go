package verify

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// History is the record of the clients' requests and answers. It is safe for
// concurrent use until it is checked.
type History struct {
	begun time.Time

	mu      sync.Mutex // guards the fields below
	byKey   map[string][]porcupine.Operation
	stale   map[string][]staleRead
	unknown int
	refused int // requests that did not happen and are not in the history
}

func newHistory() *History {
	return &History{begun: time.Now(), byKey: map[string][]porcupine.Operation{}, stale: map[string][]staleRead{}}
}

// now returns the time on the history's clock, which is monotonic.
func (h *History) now() int64 { return int64(time.Since(h.begun)) }

// note adds a request that was made at a time and has been answered now.
func (h *History) note(client int, called int64, asked request, heard heard) {
	returned := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if heard.unknown {
		h.unknown++
		returned = never
	}
	h.byKey[asked.key] = append(h.byKey[asked.key], porcupine.Operation{
		ClientId: client, Input: asked, Call: called, Output: heard, Return: returned,
	})
}

// noteRefused counts a request that did not happen.
func (h *History) noteRefused() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused++
}

// Size returns the number of operations that the history holds.
func (h *History) Size() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, operations := range h.byKey {
		n += len(operations)
	}
	return n
}

// Unknown returns the number of operations in the history whose outcome is not
// known.
func (h *History) Unknown() int { return h.unknown }

// Refused returns the number of requests that were refused and are not in the
// history.
func (h *History) Refused() int { return h.refused }

// Verdict is the result of the search.
type Verdict string

// The verdicts.
const (
	Linearizable Verdict = "linearizable"
	Violation    Verdict = "not linearizable"
	Undecided    Verdict = "undecided" // the time ran out
)

// Finding is the verdict on a history.
type Finding struct {
	Verdict Verdict
	Key     string // the first key for which there is no order, or no answer
	Stale   string // the fault of a stale read, if that is the violation

	info       porcupine.LinearizationInfo
	operations []porcupine.Operation // of the key
}

// Check searches an order for each key, for at most limit. progress, if not nil,
// is called with the number of keys that are done.
func (h *History) Check(limit time.Duration, progress func(done, keys int)) Finding {
	keys := make([]string, 0, len(h.byKey))
	for key := range h.byKey { // sorted below
		keys = append(keys, key)
	}
	slices.Sort(keys)
	deadline := time.Now().Add(limit)
	finding := Finding{Verdict: Linearizable}
	for i, key := range keys {
		stale := h.staleFault(key)
		result, info := orderOf(h.byKey[key], deadline)
		switch {
		case result == porcupine.Illegal:
			return Finding{Verdict: Violation, Key: key, info: info, operations: h.byKey[key]}
		case stale != "":
			return Finding{Verdict: Violation, Key: key, Stale: stale, info: info, operations: h.byKey[key]}
		case result == porcupine.Unknown && finding.Verdict == Linearizable:
			finding = Finding{Verdict: Undecided, Key: key, info: info}
		}
		if progress != nil {
			progress(i+1, len(keys))
		}
	}
	return finding
}

// Dump writes every operation on a key, one a line, in the order of the calls:
// the client, the times of its call and its answer, in nanoseconds since the
// beginning, and the answer.
func (h *History) Dump(w io.Writer, key string) error {
	operations := slices.Clone(h.byKey[key])
	slices.SortFunc(operations, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	for _, o := range operations {
		if _, err := fmt.Fprintf(w, "client %d, %d to %d: %s\n", o.ClientId, o.Call, o.Return, describe(o.Input, o.Output)); err != nil {
			return fmt.Errorf("writing the history of %s: %w", key, err)
		}
	}
	return nil
}
