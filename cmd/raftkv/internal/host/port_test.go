package host

import (
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// Goal: a client port that ends while its server is still about to serve has
// drained: nothing was under way, so nothing is said to have taken too long.
// Method: the listener is closed before Serve takes it, as by a signal at the
// start, and while Serve runs; http.Server.Shutdown then reports a closed listener.
func TestAnEndWithoutRequestsIsNoTimeOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	late := &lateListener{Listener: l, accepting: make(chan struct{}), closedTwice: make(chan struct{})}
	p := newClientPort(&http.Server{Handler: http.NotFoundHandler()}, late)
	served := make(chan error)
	go func() { served <- p.serve() }()
	<-late.accepting
	if !p.drain(time.Minute) {
		t.Error("an end without any request is said to have taken too long")
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// lateListener is a listener whose Accept hears of the end late: when it is closed
// for the second time.
type lateListener struct {
	net.Listener
	closes                 atomic.Int32
	accepting, closedTwice chan struct{}
}

func (l *lateListener) Accept() (net.Conn, error) {
	close(l.accepting)
	<-l.closedTwice
	return nil, net.ErrClosed
}

func (l *lateListener) Close() error {
	if l.closes.Add(1) == 2 {
		close(l.closedTwice)
	}
	return l.Listener.Close()
}

// Goal: an end that does not come in time is said to have taken too long.
// Method: a request that is held for longer than the end may take.
func TestAnEndWithARequestThatHangsIsATimeOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun, release := make(chan struct{}), make(chan struct{})
	p := newClientPort(&http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(begun)
		<-release
	})}, l)
	served := make(chan error)
	go func() { served <- p.serve() }()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		if response, err := http.Get("http://" + l.Addr().String()); err == nil {
			response.Body.Close()
		}
	}()
	<-begun
	if p.drain(10 * time.Millisecond) {
		t.Error("an end is said to be complete while a request is being served")
	}
	close(release)
	p.close()
	<-served
	<-asked
}
