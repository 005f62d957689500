package clerkwire

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/tests/virtual"
)

// slowConn counts writes and lets each wait.
type slowConn struct {
	net.Conn
	gate   chan struct{}
	mu     sync.Mutex
	writes [][]byte
}

func (c *slowConn) Write(b []byte) (int, error) {
	<-c.gate
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes = append(c.writes, append([]byte(nil), b...))
	return len(b), nil
}

func (c *slowConn) SetWriteDeadline(time.Time) error { return nil }

// Goal: what gathers while one write is under way leaves in the next, in order.
func TestWritesAreCoalesced(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := &slowConn{gate: make(chan struct{})}
		o := NewOutbox()
		ended := make(chan error, 1)
		go func() { ended <- o.Run(c) }()
		var want []byte
		for i := range 100 {
			f := putFrame(uint32(i), nil)
			want = append(want, f...)
			o.End(append(o.Begin(), f...))
			if i == 0 {
				synctest.Wait() // the first write is under way
			}
		}
		o.Close()
		close(c.gate)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(c.writes) != 2 {
			t.Errorf("100 frames left in %d writes", len(c.writes))
		}
		var got []byte
		for _, w := range c.writes {
			got = append(got, w...)
		}
		if string(got) != string(want) {
			t.Error("other bytes left than were put in")
		}
		o.End(append(o.Begin(), 1)) // goes nowhere
	})
}

// Goal: a goroutine that fills the outbox faster than it empties can wait, and is woken by
// room and by the end.
func TestAwaitRoom(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		c := &slowConn{gate: make(chan struct{})}
		o := NewOutbox()
		go o.Run(c)
		o.End(append(o.Begin(), make([]byte, 1000)...))
		synctest.Wait()
		results := make(chan bool, 2)
		go func() { results <- o.AwaitRoom(1000) }()
		synctest.Wait()
		select {
		case <-results:
			t.Error("there was no room")
		default:
		}
		c.gate <- struct{}{}
		if !<-results {
			t.Error("no room after the write")
		}
		o.End(append(o.Begin(), make([]byte, 1000)...))
		synctest.Wait()
		go func() { results <- o.AwaitRoom(1000) }()
		synctest.Wait()
		o.Kill()
		if <-results {
			t.Error("room after the end")
		}
		close(c.gate)
	})
}

// Goal: a peer that does not read ends the connection in time.
func TestAPeerThatDoesNotRead(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		o := NewOutbox()
		begun := time.Now()
		o.End(append(o.Begin(), 1))
		if err := o.Run(here); err == nil || time.Since(begun) != StallTimeout {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}
