package logging

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/tests/virtual"
)

// Goal: a log that nobody reads blocks nobody, and when it is read again it says
// how much is missing.
func TestABlockedLogBlocksNobody(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		reader, writer := io.Pipe()
		logger, _, to, err := New(writer, "info", "text")
		if err != nil {
			t.Fatal(err)
		}
		logger.Info("first") // the pipe takes it only when it is read
		synctest.Wait()
		for i := range 3 * sinkLines {
			logger.Info("line " + strings.Repeat("x", i))
		}
		if got := to.Dropped(); got != 2*sinkLines {
			t.Errorf("%d lines were dropped, want %d", got, 2*sinkLines)
		}
		to.Flush(time.Second) // in vain, and no longer than a second

		read := make(chan string)
		go func() {
			text, _ := io.ReadAll(reader)
			read <- string(text)
		}()
		to.Flush(time.Minute)
		close(to.lines) // ends the goroutine
		synctest.Wait()
		writer.Close()
		text := <-read
		if n := strings.Count(text, "msg="); n != 1+sinkLines+1 {
			t.Errorf("the log has %d lines, want %d", n, 1+sinkLines+1)
		}
		if !strings.Contains(text, "dropped") {
			t.Error("the log does not say that lines were dropped")
		}
	})
}

// Goal: a message that comes a thousand times is told some times, then how often
// it was not told; other messages are not held up.
func TestALogIsCalm(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		var text bytes.Buffer
		logger := slog.New(calm{Handler: slog.NewTextHandler(&text, nil), said: &said{}})
		for range 1000 {
			logger.With("peer", "n2").Warn("gone")
		}
		logger.Info("else")
		if n := strings.Count(text.String(), "msg=gone"); n != calmMax {
			t.Errorf("it was told %d times, want %d", n, calmMax)
		}
		time.Sleep(calmWindow)
		logger.Warn("gone")
		if !strings.Contains(text.String(), "not_logged=980") || !strings.Contains(text.String(), "msg=else") {
			t.Errorf("the log ends with %q", tail(text.String(), 200))
		}
	})
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// Goal: with --log-format json each line is an object.
func TestLogAsJSON(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		var text bytes.Buffer
		logger, _, to, err := New(&text, "info", "json")
		if err != nil {
			t.Fatal(err)
		}
		logger.Info("serving", "http", "127.0.0.1:8701")
		to.Flush(time.Second)
		close(to.lines)
		synctest.Wait()
		var line map[string]any
		if err := json.Unmarshal(text.Bytes(), &line); err != nil || line["msg"] != "serving" || line["http"] != "127.0.0.1:8701" {
			t.Errorf("the log is %q: %v", text.String(), err)
		}
	})
	if _, _, _, err := New(io.Discard, "info", "xml"); err == nil {
		t.Error("an unknown format was taken")
	}
}

// Goal: lines that cannot be written because the reader went away, or the disk
// is full, are counted, and told of as soon as a line can be written again.
func TestALogThatCannotBeWrittenIsCounted(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		w := &broken{}
		logger, _, to, err := New(w, "info", "text")
		if err != nil {
			t.Fatal(err)
		}
		w.breakNow(true)
		for range 3 {
			logger.Info("lost")
		}
		synctest.Wait()
		if got := to.Dropped(); got != 3 {
			t.Errorf("%d lines are counted, want 3", got)
		}
		w.breakNow(false)
		logger.Info("heard")
		synctest.Wait()
		close(to.lines)
		synctest.Wait()
		if text := w.text(); !strings.Contains(text, "lines=3") || !strings.Contains(text, "msg=heard") || strings.Contains(text, "msg=lost") {
			t.Errorf("the log says %q", text)
		}
	})
}

// broken is a writer that can be broken and mended.
type broken struct {
	mu   sync.Mutex
	is   bool
	said bytes.Buffer
}

func (b *broken) breakNow(is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.is = is
}

func (b *broken) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.said.String()
}

func (b *broken) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.is {
		return 0, syscall.EPIPE
	}
	return b.said.Write(p)
}
