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

// History is what the clients asked for and heard. It is safe for concurrent
// use until it is checked.
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

// now is the time on the history's clock, which is monotonic.
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

// Size is how many operations the history holds.
func (h *History) Size() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, operations := range h.byKey {
		n += len(operations)
	}
	return n
}

// Unknown is how many of them have an outcome that is not known, and Refused how
// many others did not happen.
func (h *History) Unknown() int { return h.unknown }

// Refused is how many requests were refused and are not in the history.
func (h *History) Refused() int { return h.refused }

// Verdict is what the search found.
type Verdict string

// The verdicts.
const (
	Linearizable Verdict = "linearizable"
	Violation    Verdict = "not linearizable"
	Undecided    Verdict = "undecided" // the time was over
)

// Finding is the verdict on a history.
type Finding struct {
	Verdict Verdict
	Key     string // the first one for which there is no order, or no answer
	Stale   string // what a stale read showed that it may not, if it is that

	info       porcupine.LinearizationInfo
	operations []porcupine.Operation // of the key
}

// Check searches an order for each key, for limit at most. progress, if not nil,
// is told how many of the keys are done.
func (h *History) Check(limit time.Duration, progress func(done, keys int)) Finding {
	keys := make([]string, 0, len(h.byKey))
	for key := range h.byKey { // sorted below
		keys = append(keys, key)
	}
	slices.Sort(keys)
	deadline := time.Now().Add(limit)
	finding := Finding{Verdict: Linearizable}
	for i, key := range keys {
		// Zero would mean no limit at all.
		left := max(time.Until(deadline), time.Millisecond)
		stale := h.staleFault(key)
		result, info := porcupine.CheckOperationsVerbose(model, h.byKey[key], left)
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
// the client, when it called and was answered, in nanoseconds since the
// beginning, and what it heard.
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
