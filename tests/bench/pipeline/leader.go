package pipeline

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
)

// leader is the process that clients connect to. Three goroutines carry a batch: the
// connections' readers gather it, run sends and saves it, and whoever learns that it
// is durable for the second time acknowledges it.
type leader struct {
	file      *file
	followers []net.Conn

	mu        sync.Mutex
	arrived   sync.Cond // on mu: gathering is not empty
	gathering []byte    // the next batch
	total     uint64    // bytes of all batches so far and of gathering
	pending   []pending // records that are not acknowledged, in their order
	durable   [3]uint64 // bytes that the leader and the followers hold durably
}

// pending is a record that waits for its second disk.
type pending struct {
	from   *session
	number uint64
	end    uint64 // the value of total after it
}

// Lead serves clients, which connect to the listener, and replicates to the followers at
// two addresses. It returns only with an error.
func Lead(l net.Listener, dir string, followers [2]string) error {
	f, err := newFile(dir, fileBytes)
	if err != nil {
		return err
	}
	defer f.Close()
	return lead(l, f, followers)
}

func lead(l net.Listener, f *file, followers [2]string) error {
	lead := &leader{file: f}
	lead.arrived.L = &lead.mu
	failed := make(chan error, 4)
	for i, address := range followers {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return fmt.Errorf("follower %d: %w", i+1, err)
		}
		defer conn.Close()
		lead.followers = append(lead.followers, conn)
		go func() { failed <- lead.readAnswers(i+1, conn) }()
	}
	go func() { failed <- lead.run() }()
	go func() { failed <- lead.accept(l) }()
	return <-failed
}

func (l *leader) accept(listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("accepting clients: %w", err)
		}
		s := newSession(conn)
		go s.write()
		go l.read(s)
	}
}

// read gathers the records of one connection until it ends. It takes all whole
// records that have arrived at once, so that it takes the lock once for them.
func (l *leader) read(s *session) {
	defer s.close()
	r := bufio.NewReaderSize(s.conn, 2*maxPayload)
	for {
		header, err := r.Peek(headerBytes)
		if err != nil {
			return
		}
		first := recordBytes(header)
		if first > r.Size() {
			return // no client of ours sends that
		}
		if _, err := r.Peek(first); err != nil {
			return
		}
		all, _ := r.Peek(r.Buffered()) // they are there
		n := l.gather(s, all)
		_, _ = r.Discard(n) // they are there
	}
}

// gather adds the whole records at the beginning of b to the next batch and returns
// their length.
func (l *leader) gather(s *session, b []byte) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(b)-n >= headerBytes {
		length := recordBytes(b[n:])
		if length > len(b)-n {
			break
		}
		l.total += uint64(length)
		l.pending = append(l.pending, pending{s, recordNumber(b[n:]), l.total})
		n += length
	}
	l.gathering = append(l.gathering, b[:n]...)
	l.arrived.Signal()
	return n
}

// run sends and saves one batch after the other.
func (l *leader) run() error {
	var batch []byte
	for {
		l.mu.Lock()
		for len(l.gathering) == 0 {
			l.arrived.Wait()
		}
		batch, l.gathering = l.gathering, batch[:0]
		end := l.total
		l.mu.Unlock()
		for i, conn := range l.followers {
			if _, err := conn.Write(batch); err != nil {
				return fmt.Errorf("sending to follower %d: %w", i+1, err)
			}
		}
		if err := l.file.save(batch); err != nil {
			return err
		}
		l.saved(0, end)
	}
}

// readAnswers takes what a follower says is durable.
func (l *leader) readAnswers(process int, conn net.Conn) error {
	r := bufio.NewReader(conn)
	for answer := make([]byte, ackBytes); ; {
		if _, err := io.ReadFull(r, answer); err != nil {
			return fmt.Errorf("follower %d: %w", process, err)
		}
		if r.Buffered() < ackBytes { // a later answer says more
			l.saved(process, binary.LittleEndian.Uint64(answer))
		}
	}
}

// saved notes that a process holds this number of bytes durably, and acknowledges the records
// that two of the three hold now.
func (l *leader) saved(process int, bytes uint64) {
	for _, s := range l.acknowledge(process, bytes) {
		s.wake()
	}
}

// acknowledge returns the sessions that have got acknowledgements.
func (l *leader) acknowledge(process int, bytes uint64) (touched []*session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.durable[process] = bytes
	n := l.acknowledgeable()
	for _, p := range l.pending[:n] {
		if p.from.add(p.number) {
			touched = append(touched, p.from)
		}
	}
	l.pending = slices.Delete(l.pending, 0, n)
	return touched
}

// acknowledgeable returns how many pending records two of the three processes hold.
func (l *leader) acknowledgeable() (n int) {
	sorted := l.durable
	slices.Sort(sorted[:])
	for n < len(l.pending) && l.pending[n].end <= sorted[1] {
		n++
	}
	return n
}
