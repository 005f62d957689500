package pipeline

import (
	"encoding/binary"
	"net"
	"sync"
)

// session is one end of a connection between a client and the leader: bytes that are
// added while a write is under way leave together with the next.
type session struct {
	conn net.Conn

	mu     sync.Mutex
	filled sync.Cond // on mu: out is not empty, or closed is set
	out    []byte
	closed bool
}

func newSession(conn net.Conn) *session {
	s := &session{conn: conn}
	s.filled.L = &s.mu
	return s
}

// add adds an acknowledgement and reports whether it is the first that waits; wake
// must be called then.
func (s *session) add(number uint64) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = binary.LittleEndian.AppendUint64(s.out, number)
	return len(s.out) == ackBytes
}

// send adds a record.
func (s *session) send(number uint64, key string, value []byte) {
	s.mu.Lock()
	first := len(s.out) == 0
	s.out = appendRecord(s.out, number, key, value)
	s.mu.Unlock()
	if first {
		s.wake()
	}
}

func (s *session) wake() { s.filled.Signal() }

// write writes what is added until the session is closed.
func (s *session) write() {
	defer s.close()
	var batch []byte
	for {
		s.mu.Lock()
		for len(s.out) == 0 && !s.closed {
			s.filled.Wait()
		}
		batch, s.out = s.out, batch[:0]
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return
		}
		if _, err := s.conn.Write(batch); err != nil {
			return
		}
	}
}

// close ends the connection and the writer.
func (s *session) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.conn.Close()
	s.wake()
}
