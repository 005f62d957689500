package terminal

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"raftkv/client"
)

// waiting says on a terminal, in a line that comes and goes, what a command waits
// for: which servers refuse it, and how. It is safe for concurrent use.
type waiting struct {
	to    io.Writer
	begun time.Time
	end   chan struct{}
	ended sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	last  map[string]heardRefusal
	shown bool
}

// heardRefusal is what a server said, and when.
type heardRefusal struct {
	client.Refusal
	at time.Time
}

const (
	// waitingPatience is how long a command waits before it says for what.
	waitingPatience = time.Second
	// waitingMemory is how long a refusal counts. Clerks ask again several times a
	// second, so one that is older was followed by something better.
	waitingMemory = 1500 * time.Millisecond
	waitingRedraw = 250 * time.Millisecond
)

// StartWaiting begins to watch. stop must be called. It shows nothing if to is no
// terminal.
func StartWaiting(to io.Writer) *waiting {
	w := &waiting{to: to, begun: time.Now(), end: make(chan struct{}), last: map[string]heardRefusal{}}
	if Is(to) {
		w.ended.Go(w.watch)
	}
	return w
}

// Note takes a refusal.
func (w *waiting) Note(r client.Refusal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last[r.Address] = heardRefusal{r, time.Now()}
}

func (w *waiting) watch() {
	ticker := time.NewTicker(waitingRedraw)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			columns, _ := WindowSize(w.to)
			w.draw(w.line(time.Now(), columns))
		case <-w.end:
			w.draw("")
			return
		}
	}
}

// line returns what there is to say at a time, in less than the given
// columns; "" if there is nothing.
func (w *waiting) line(now time.Time, columns int) string {
	if now.Sub(w.begun) < waitingPatience {
		return ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var recent []client.Refusal
	for _, r := range w.last { // sorted below
		if now.Sub(r.at) < waitingMemory {
			recent = append(recent, r.Refusal)
		}
	}
	if len(recent) == 0 {
		return ""
	}
	slices.SortFunc(recent, func(a, b client.Refusal) int { return strings.Compare(a.Address, b.Address) })
	const close = " (Ctrl-C)"
	text := []rune("waiting for a server: " + Harmless(client.Explain(recent)))
	if room := columns - len(close) - 1; len(text) > room {
		text = append(text[:max(room-1, 0)], '…')
	}
	return string(text) + close
}

// draw writes a line over the one before.
func (w *waiting) draw(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if line == "" && !w.shown {
		return
	}
	w.shown = line != ""
	fmt.Fprintf(w.to, "\r\x1b[K%s", line) // a terminal that has gone away is no reason to stop
}

// Stop takes the line away.
func (w *waiting) Stop() {
	close(w.end)
	w.ended.Wait()
}
