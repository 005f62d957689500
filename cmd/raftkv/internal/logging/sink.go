package logging

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// Sink writes lines to a writer that may block for ever, such as a pipe that nobody
// reads, without blocking its callers. Lines wait in a queue; if it is full, they are
// dropped and counted. A node that stopped serving because nobody reads its log would be
// worse than one whose log has a gap that it reports.
type Sink struct {
	lines chan []byte

	mu      sync.Mutex // guards dropped
	dropped uint64
}

// sinkLines bounds the lines that wait.
const sinkLines = 1024

// NewSink returns a Sink that writes to w. Its goroutine lives as long as the process.
func NewSink(w io.Writer) *Sink {
	s := &Sink{lines: make(chan []byte, sinkLines)}
	go s.write(w)
	return s
}

// Write implements io.Writer. It takes one whole line and never fails.
func (s *Sink) Write(line []byte) (int, error) {
	select {
	case s.lines <- bytes.Clone(line):
	default:
		s.drop()
	}
	return len(line), nil
}

// write is the goroutine that may block.
func (s *Sink) write(w io.Writer) {
	told := uint64(0)
	for line := range s.lines {
		if line == nil {
			continue // Flush wants to know that it came this far
		}
		if n := s.Dropped(); n > told {
			if _, err := fmt.Fprintf(w, "level=WARN msg=\"lines of this log were dropped because it was not read\" lines=%d\n", n-told); err == nil {
				told = n
			}
		}
		if _, err := w.Write(line); err != nil { // the reader is gone, or the disk is full
			s.drop()
		}
	}
}

// drop counts a line that could not be written.
func (s *Sink) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped++
}

// Dropped returns the number of lines that were dropped.
func (s *Sink) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// FlushLimit is how long the end of a process waits for its log to be read.
const FlushLimit = time.Second

// Flush waits until everything is written, but no longer than limit.
func (s *Sink) Flush(limit time.Duration) {
	late := time.After(limit)
	for range sinkLines + 1 { // once as many have been taken, all lines before them are written
		select {
		case s.lines <- nil:
		case <-late:
			return
		}
	}
}
