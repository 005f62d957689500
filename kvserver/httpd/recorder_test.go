package httpd

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/recorder"
	"raftkv/raft"
)

// Goal: /v1/recorder shows the events that were asked for, by number, age and count, and
// does so on a node that knows no leader.
// Method: events of two ages on a server without a leader.
func TestTheRecorderIsShown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		log.SetLeader("")
		for range 6 {
			s.recorder.Record(recorder.Event{Kind: recorder.Campaign, Term: 3})
		}
		time.Sleep(time.Minute)
		for i := range 4 {
			s.recorder.Record(recorder.Event{Kind: recorder.VoteRefused, Why: recorder.LogBehind, Peer: uint8(i)})
		}
		for query, want := range map[string][2]int{"": {1, 10}, "?after=3": {4, 10}, "?limit=2": {1, 2}, "?after=3&limit=2": {4, 5}, "?seconds=30": {7, 10}, "?seconds=30&after=8": {9, 10}} {
			a := ask(s, "GET", "/v1/recorder"+query, "")
			wantStatus(t, a, 200)
			rings, err := recorder.ReadLines(strings.NewReader(a.body))
			if err != nil || len(rings) != 1 || rings[0].Node != "n1" {
				t.Fatalf("%q: %v, %d rings: %s", query, err, len(rings), a.body)
			}
			events := rings[0].Events
			if got := [2]int{int(events[0].Seq), int(events[len(events)-1].Seq)}; got != want {
				t.Errorf("%q shows events %v, want %v", query, got, want)
			}
		}
		if a := ask(s, "GET", "/v1/recorder?after=10", ""); a.status != 200 || a.body != "" {
			t.Errorf("where nothing is new, the answer is %d %q", a.status, a.body)
		}
	})
}

// Goal (section 5 of the contract): of a request whose outcome is unknown, and of one that
// was slow, the node keeps where it was put into the log and how it ended; of one that went
// well it keeps nothing. Neither the key nor the value is in it.
// Method: a log that holds a write until its time is over, then one that chooses a write
// half a second late after many quick ones.
func TestTheWayOfARequestIsKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		of := func(id string) (found []api.RequestTrail) {
			a := ask(s, "GET", "/v1/recorder?request="+id, "")
			wantStatus(t, a, 200)
			var trails api.RequestTrails
			if err := json.Unmarshal([]byte(a.body), &trails); err != nil || strings.Contains(a.body, "canary") {
				t.Errorf("%v: %s", err, a.body)
			}
			return trails.Requests
		}
		put := func(id string, status int) {
			wantStatus(t, ask(s, "PUT", "/v1/kv/canary", "canary", api.HeaderRequestID, id), status)
		}
		put("first", 201)
		log.OnPropose = func(p *raft.Proposal) { time.Sleep(time.Millisecond); log.Choose(p) }
		for range 50 {
			put("quick", 200)
		}
		log.OnPropose = func(p *raft.Proposal) { log.Place(p); time.Sleep(500 * time.Millisecond); log.Deliver(p.Command) }
		put("slow", 200)
		log.OnPropose = func(p *raft.Proposal) { log.Place(p) }
		put("lost", 504)
		if found := of("quick"); len(found) != 0 {
			t.Errorf("of quick requests %+v is kept", found)
		}
		slow, lost := of("slow"), of("lost")
		if len(slow) != 1 || slow[0].Index != 52 || slow[0].Term != 3 || slow[0].Status != 200 || slow[0].EndedNs != int64(500*time.Millisecond) || slow[0].Outcome != "" {
			t.Errorf("of the slow one %+v is kept", slow)
		}
		if len(lost) != 1 || lost[0].Index != 53 || lost[0].Outcome != api.OutcomeUnknown || lost[0].Code != api.CodeTimeout || lost[0].Method != "PUT" || lost[0].Node != "n1" {
			t.Errorf("of the lost one %+v is kept", lost)
		}
		log.OnPropose = nil
	})
}

// Goal: an answer is bounded: the longest events there can be, as many as are given at
// once, take less than 4 MiB.
func TestTheRecordersAnswerIsBounded(t *testing.T) {
	s, _ := newServer(t, nil)
	for range recorder.Capacity {
		s.recorder.Record(recorder.Event{
			Kind: recorder.PreVoteGranted, Why: recorder.ClosedByPeer, Peer: 1, Term: 1<<64 - 1, Index: 1<<64 - 1, A: -1 << 63, B: -1 << 63, Count: 1<<32 - 1, Group: 1<<32 - 1,
		})
	}
	a := ask(s, "GET", fmt.Sprintf("/v1/recorder?limit=%d", maxEvents), "")
	wantStatus(t, a, 200)
	if len(a.body) > 4<<20 {
		t.Errorf("%d events take %d bytes", maxEvents, len(a.body))
	}
	if lines := strings.Count(a.body, "\n"); lines != maxEvents+1 {
		t.Errorf("the answer has %d lines", lines)
	}
}
