package clerkd

import (
	"errors"
	"strings"
	"testing"

	"raftkv/kvserver"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/watch"
)

// Goal: a Clerk for which there is no connection is told the limit, its number and
// what to do. Method: a door whose places are all taken.
func TestTooManyClerksAreTold(t *testing.T) {
	full := &Door{limit: 6144, conns: make(map[*conn]bool)}
	for range full.limit {
		full.conns[new(conn)] = true
	}
	const want = "too many connections of Clerks (limit 6144, three quarters of --max-connections); close some, or connect to another node"
	if got := failure.Detail(full.enter(new(conn))); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

// Goal: Clerks and watches together leave an eighth of the connections to plain requests,
// whichever came first; a client that finds no room is told the limit, and finds it when one leaves.
// Method: 16 connections, of which 12 may be Clerks' and 4 watches, and 14 both; a node that
// forwards writes is none of them.
func TestClerksAndWatchesLeaveRoomForRequests(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, func(c *settings) { atLevel3(c); c.MaxConnections = 16 })
		var watches []*kvserver.Watching
		follow := func() error {
			w, err := s.Watch(t.Context(), kvserver.WatchRequest{Who: &kvserver.Caller{}, Selectors: watch.Selectors{Keys: []string{"k"}}})
			if err == nil {
				watches = append(watches, w)
			}
			return err
		}
		var conns []*conn
		connect := func(lasting bool) error {
			c := &conn{forwards: !lasting}
			err := s.clerks.enter(c)
			if err == nil {
				conns = append(conns, c)
			}
			return err
		}
		for range 4 {
			if err := follow(); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			if err := connect(true); err != nil {
				t.Fatal(err)
			}
		}
		if err := connect(true); !errors.Is(err, failure.Overloaded) || !strings.Contains(failure.Detail(err), "(limit 14, seven eighths of --max-connections)") {
			t.Errorf("an eleventh Clerk beside four watches: %v", err)
		}
		if err := connect(false); err != nil {
			t.Errorf("a node that forwards: %v", err)
		}
		watches[0].Close()
		if watches = watches[1:]; connect(true) != nil {
			t.Error("there is no room behind a watch")
		}
		if err := follow(); !errors.Is(err, failure.TooManyWatches) || !strings.Contains(failure.Detail(err), "(limit 14, ") {
			t.Errorf("a fourth watch beside eleven Clerks: %v", err)
		}
		s.clerks.leave(conns[0])
		if conns = conns[1:]; follow() != nil {
			t.Error("there is no room behind a Clerk")
		}
		for _, c := range conns {
			s.clerks.leave(c)
		}
		for _, w := range watches {
			w.Close()
		}
		if n := s.Load(kvserver.Lasting).Count; n != 0 {
			t.Errorf("%d places are lost", n)
		}
	})
}
