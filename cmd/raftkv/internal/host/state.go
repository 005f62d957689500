package host

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"raftkv/raft/core"
)

// savedState is the snapshot at which a node's log begins, while it is loaded.
type savedState struct {
	from  io.ReadCloser // nil: the log begins at its first entry
	bytes int64
	begun time.Time
}

// openState opens the state at index; 0 means that there is none.
func (n *Node) openState(index uint64) (*savedState, error) {
	s := &savedState{begun: time.Now()}
	if index == 0 {
		return s, nil
	}
	from, err := n.wal.OpenSnapshot(index)
	if err != nil {
		return nil, fmt.Errorf("opening the state that the log begins behind: %w", err)
	}
	s.from = from
	return s, nil
}

// reader returns the reader of the state, nil if there is none.
func (s *savedState) reader() io.Reader {
	if s.from == nil {
		return nil
	}
	return s
}

// Read implements io.Reader.
func (s *savedState) Read(b []byte) (int, error) {
	n, err := s.from.Read(b)
	s.bytes += int64(n)
	return n, err
}

// Close closes the file.
func (s *savedState) Close() {
	if s.from != nil {
		s.from.Close()
	}
}

// report logs how long loading took.
func (s *savedState) report(logger *slog.Logger, begins core.Snapshot) {
	if s.from != nil {
		logger.Info("the state was loaded", "index", begins.Index, "term", begins.Term, "bytes", s.bytes, "took", time.Since(s.begun).Round(time.Millisecond))
	}
}
