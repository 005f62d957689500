package httpd

import (
	"net"
	"net/http"
	"testing"
	"time"

	"raftkv/kvserver/api"
)

// Goal: a write at a leader that ceases to lead, and hears of no other, does not
// wait for its whole time. Method: the leader steps down while it has a write.
func TestAWriteIsNotKeptByALeaderThatSteppedDown(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.LeaderWait = 50 * time.Millisecond })
	held := log.Held()
	answered := later(func() answer { return ask(s, "PUT", "/v1/kv/k", "v") })
	p := <-held
	log.SetLeader("")
	wantProblem(t, <-answered, 504, api.CodeLeadershipLost, api.OutcomeUnknown)
	log.Deliver(p.Command) // it happens after all
}

// Goal: a write that was passed on to a leader that was cut off meanwhile does
// not wait for its whole time either. Method: a leader that keeps the request,
// and another one that is known then.
func TestAWriteIsNotKeptByALeaderThatWasReplaced(t *testing.T) {
	has, release := make(chan struct{}, 1), make(chan struct{})
	address := listener(t, func(net.Conn, *http.Request) { has <- struct{}{}; <-release })
	t.Cleanup(func() { close(release) })
	s, log := newFollowerOf(t, address, nil)
	answered := later(func() answer { return ask(s, "PUT", "/v1/kv/k", "v") })
	<-has
	log.SetLeader("n3")
	wantProblem(t, <-answered, 504, api.CodeLeadershipLost, api.OutcomeUnknown)
}
