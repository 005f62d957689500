package port

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// scriptedListener gives what a test puts into it.
type scriptedListener struct {
	next   chan any // an error or a net.Conn
	closed chan struct{}
}

func (l *scriptedListener) Accept() (net.Conn, error) {
	select {
	case next := <-l.next:
		if err, failed := next.(error); failed {
			return nil, err
		}
		return next.(net.Conn), nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *scriptedListener) Close() error   { close(l.closed); return nil }
func (l *scriptedListener) Addr() net.Addr { return &net.TCPAddr{} }

// Goal: where the process has no file descriptor left for another client, idle
// clients make room, the port goes on, and one warning in a while says what is
// wrong, with the numbers and what to do. Other errors are not hidden.
// Method: a listener that fails in each way a shortage is reported, in addition to idle
// and busy clients, in a bubble.
func TestAShortageOfDescriptorsIsPassedOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var log bytes.Buffer
		p := newPort(func(c *Config) { c.Logger, c.MaxConnections = slog.New(slog.NewTextHandler(&log, nil)), 100 })
		under := &scriptedListener{next: make(chan any), closed: make(chan struct{})}
		l := p.Listener(under)
		var clients []*fakeConn
		for range 32 {
			clients = append(clients, &fakeConn{from: "127.0.0.1:1"})
			c := p.take(clients[len(clients)-1])
			noteState(c, http.StateIdle)
		}
		busy := &fakeConn{from: "127.0.0.1:1"}
		p.take(busy).Serving()
		time.Sleep(2 * evictionAge)
		accepted := make(chan net.Conn)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					close(accepted)
					return
				}
				accepted <- conn
			}
		}()
		for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
			under.next <- &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", errno)}
			synctest.Wait()
		}
		if _, evicted, _ := p.Counts(); evicted < 4 || evicted > 12 {
			t.Errorf("%d of 32 idle clients made room for one", evicted)
		}
		under.next <- &fakeConn{from: "127.0.0.1:2"}
		if conn := <-accepted; conn == nil {
			t.Fatal("the port did not go on")
		}
		if busy.closed {
			t.Error("a client that is being served had to go")
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "ulimit -n") || !strings.Contains(log.String(), "max_connections=100") {
			t.Errorf("%d warnings:\n%s", n, log.String())
		}
		time.Sleep(throttlePause)
		under.next <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		synctest.Wait()
		if n := strings.Count(log.String(), "level=WARN"); n != 2 || !strings.Contains(log.String(), "unsaid=3") {
			t.Errorf("%d warnings:\n%s", n, log.String())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-accepted // closed: Accept does not sleep on
	})
}

// Goal: an error of the listener that is no shortage ends Accept.
// Method: such an error.
func TestAnErrorOfTheListenerIsReported(t *testing.T) {
	p := newPort(nil)
	under := &scriptedListener{next: make(chan any, 1), closed: make(chan struct{})}
	under.next <- io.ErrUnexpectedEOF
	if _, err := p.Listener(under).Accept(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Accept ended with %v", err)
	}
}

// Goal: clients that are told that there is no place are bounded by the places, too.
// Method: few places, and more clients that do not read what they are told.
func TestFewPlacesBoundTheRefusals(t *testing.T) {
	p := newPort(func(c *Config) { c.MaxConnections = 16 })
	held := make(chan struct{})
	defer close(held)
	for range 10 {
		p.refuse(&slowConn{fakeConn: fakeConn{from: "127.0.0.1:1"}, held: held})
	}
	if n := p.refusals.Load(); n > 2 {
		t.Errorf("%d refused clients hold a descriptor with 16 places", n)
	}
}

// slowConn takes no bytes until it is released.
type slowConn struct {
	fakeConn
	held chan struct{}
}

func (c *slowConn) Write(p []byte) (int, error) { <-c.held; return len(p), nil }
