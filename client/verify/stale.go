package verify

import (
	"fmt"
	"strings"
)

// staleRead is the answer to a read that any server may answer from its present
// state. It need not fit into the order of all calls. But it cannot show a value
// that was never written, nor one that is older than the minimum revision that it
// asked for.
type staleRead struct {
	returned int64
	heard    heard
	// floor is a revision at which the client had seen the key, and which it
	// demanded of the server; 0: none.
	floor uint64
}

// noteStale adds a stale read that has been answered now.
func (h *History) noteStale(key string, heard heard, floor uint64) {
	returned := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stale[key] = append(h.stale[key], staleRead{returned, heard, floor})
}

// writer is the write, as far as the history knows it, that a value ends with.
type writer struct {
	called   int64
	revision uint64 // 0: not known
}

// staleFault describes the fault of a stale read of a key; "" if there is none.
func (h *History) staleFault(key string) string {
	if len(h.stale[key]) == 0 {
		return ""
	}
	writers := map[string]writer{}
	removed := false
	for _, o := range h.byKey[key] {
		asked, heard := o.Input.(request), o.Output.(heard)
		switch {
		case heard.refused:
		case asked.action == remove:
			removed = true
		case asked.action != get:
			writers[lastToken(asked.value)] = writer{o.Call, heard.revision}
		}
	}
	for _, r := range h.stale[key] {
		by, known := writers[lastToken(r.heard.value)]
		what := fmt.Sprintf("a stale read showed %s (revision %d)", shorten(r.heard.value), r.heard.revision)
		switch {
		case r.heard.value == "" && r.floor != 0 && !removed:
			return fmt.Sprintf("%s, which had been seen at revision %d and was never deleted", what, r.floor)
		case r.heard.value == "":
		case !known:
			return what + ", which was never written"
		case by.called > r.returned:
			return what + ", which was written later"
		case by.revision != 0 && by.revision != r.heard.revision:
			return fmt.Sprintf("%s, which was written at revision %d", what, by.revision)
		case r.heard.revision < r.floor:
			return fmt.Sprintf("%s, older than revision %d, which it had asked for", what, r.floor)
		}
	}
	return ""
}

// lastToken returns the end of a value, which only one write can have written.
func lastToken(value string) string {
	whole := strings.TrimSuffix(value, " ")
	return whole[strings.LastIndexByte(whole, ' ')+1:]
}
