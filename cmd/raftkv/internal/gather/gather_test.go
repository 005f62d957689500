package gather

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/recorder"
)

// Goal: a ring that is longer than an answer is gathered whole, each event once and in
// order; a node that answers for ever costs the wait and no more, and one that hangs does
// not keep the others' events back.
// Method: a server with 25,000 events; then at the same time one that hangs, and one that
// gives the same page again and again.
func TestRingsAreGatheredWhole(t *testing.T) {
	const events = 25_000
	r := recorder.New(recorder.Section{Node: "n1", Boot: 3, Names: []string{"n1"}}, nil, time.Now())
	for i := range events {
		r.Record(recorder.Event{Kind: recorder.Campaign, Term: uint64(i)})
	}
	asked := 0
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked++
		after, _ := strconv.ParseUint(q.URL.Query().Get("after"), 10, 64)
		limit, _ := strconv.Atoi(q.URL.Query().Get("limit"))
		if err := recorder.WriteLines(w, r.After(after, limit)); err != nil {
			t.Error(err)
		}
	}))
	defer node.Close()
	hang := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer hung.Close()
	defer close(hang)
	same := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		recorder.WriteLines(w, r.After(0, pageEvents)) // the client may be gone
	}))
	defer same.Close()
	address := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	// Alone and without the limit: how long 25,000 events take is the machine's affair.
	rings, err := askOne(t.Context(), address(node), 60)
	begun := time.Now()
	answers := Ask(t.Context(), []string{address(hung), address(same)}, 60, time.Minute)
	if took := time.Since(begun); took > MaxWait+10*time.Second {
		t.Errorf("it took %v", took)
	}
	seq := uint64(0)
	for _, ring := range rings {
		for _, e := range ring.Events {
			if seq++; e.Seq != seq {
				t.Fatalf("behind event %d comes %d", seq-1, e.Seq)
			}
		}
	}
	if seq != events || err != nil || asked != 3 {
		t.Errorf("%d of %d events were gathered with %d questions: %v", seq, events, asked, err)
	}
	if answers[0].Err == nil || len(answers[0].Rings) != 0 {
		t.Errorf("the node that hangs gave %d rings, %v", len(answers[0].Rings), answers[0].Err)
	}
	if answers[1].Err == nil {
		t.Error("a node that gives the same page for ever was taken for one that answers")
	}
}
