package terminal

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"raftkv/client"
)

// Goal: a terminal is told within a second and a bit what is waited for, in one
// line that fits, and no more once a server has answered.
func TestWhatIsWaitedFor(t *testing.T) {
	w := &waiting{begun: time.Now(), last: map[string]heardRefusal{}}
	for i := range 3 {
		w.Note(client.Refusal{Address: fmt.Sprintf("127.0.0.1:870%d", i+1), Reason: "refuses connections"})
	}
	now := time.Now()
	if line := w.line(w.begun.Add(waitingPatience/2), 80); line != "" {
		t.Errorf("too early: %q", line)
	}
	w.begun = now.Add(-waitingPatience)
	const want = "waiting for a server: 127.0.0.1:8701, :8702, :8703 refuse connections (Ctrl-C)"
	if line := w.line(now, 80); line != want {
		t.Errorf("%q", line)
	}
	if line := w.line(now, 50); utf8.RuneCountInString(line) >= 50 || !strings.HasSuffix(line, " (Ctrl-C)") {
		t.Errorf("%q", line)
	}
	if line := w.line(now.Add(waitingMemory), 80); line != "" {
		t.Errorf("after a while: %q", line)
	}
}
