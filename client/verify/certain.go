package verify

import (
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// A write of unknown outcome may have happened at any time, or never, so the search for an
// order takes twice as long with each more of them. Most need no search: a read that shows
// the value of such a write says that the write happened, and when at the latest.

// sight is what the answers say of the request that wrote a token.
type sight struct {
	by       int64  // when the first answer that shows it had come
	revision uint64 // of the write; 0: only later values show it
}

// settled returns the operations on a key as two lists. In sure, a write of unknown outcome
// whose value was seen is one that happened before it was seen, and a write of unknown
// outcome that nothing shows is left out. An order of sure is an order of all: what was left
// out may have happened behind everything else, which is the same as never. doubtful holds
// what was left out. It may be needed all the same: see feels.
//
// It takes every token for the value of one request; see driver.token. A token that more than
// one request writes says nothing.
func settled(operations []porcupine.Operation) (sure, doubtful []porcupine.Operation) {
	seen, writers := sightsOf(operations)
	for _, o := range operations {
		if !o.Output.(heard).unknown {
			sure = append(sure, o)
			continue
		}
		token := strings.TrimSpace(o.Input.(request).value)
		s, found := seen[token]
		if !found || token == "" || writers[token] != 1 {
			doubtful = append(doubtful, o)
			continue
		}
		if s.by > o.Call { // otherwise it was read before it was asked for: no order will be found
			o.Return, o.Output = s.by, heard{revision: s.revision}
		}
		sure = append(sure, o)
	}
	return sure, doubtful
}

// feels reports whether a request may have shown a write without its value: a condition that
// failed says that there was another value, and a delete whether there was one. Without such
// requests a write that no value shows makes no order possible that is not there without it.
func feels(operations []porcupine.Operation) bool {
	return slices.ContainsFunc(operations, func(o porcupine.Operation) bool {
		return o.Output.(heard).refused || o.Input.(request).action == remove
	})
}

// sightsOf returns what the answers say of each token, and how many requests write it.
func sightsOf(operations []porcupine.Operation) (seen map[string]sight, writers map[string]int) {
	seen, writers = map[string]sight{}, map[string]int{}
	for _, o := range operations {
		asked, heard := o.Input.(request), o.Output.(heard)
		if asked.value != "" {
			writers[strings.TrimSpace(asked.value)]++
		}
		if asked.action != get {
			continue
		}
		tokens := strings.Fields(heard.value)
		for i, token := range tokens {
			s, found := seen[token]
			if !found || o.Return < s.by {
				s.by = o.Return
			}
			if i == len(tokens)-1 {
				s.revision = heard.revision
			}
			seen[token] = s
		}
	}
	return seen, writers
}

// orderOf searches an order of the operations on a key, until a deadline.
func orderOf(operations []porcupine.Operation, deadline time.Time) (porcupine.CheckResult, porcupine.LinearizationInfo) {
	search := func(operations []porcupine.Operation) (porcupine.CheckResult, porcupine.LinearizationInfo) {
		// Zero would mean no limit at all.
		return porcupine.CheckOperationsVerbose(model, operations, max(time.Until(deadline), time.Millisecond))
	}
	sure, doubtful := settled(operations)
	result, info := search(sure)
	if !feels(operations) {
		return result, info
	}
	// A delete has no value that a read could show, so each of unknown outcome is doubtful. There
	// are few, and most orders need no other write of the doubtful ones.
	deletes, writes := parted(doubtful)
	for _, more := range [][]porcupine.Operation{deletes, writes} {
		if result == porcupine.Illegal && len(more) > 0 {
			sure = append(sure, more...)
			result, info = search(sure)
		}
	}
	return result, info
}

// parted returns the deletes of a list, and the rest.
func parted(operations []porcupine.Operation) (deletes, rest []porcupine.Operation) {
	for _, o := range operations {
		if o.Input.(request).action == remove {
			deletes = append(deletes, o)
		} else {
			rest = append(rest, o)
		}
	}
	return deletes, rest
}
