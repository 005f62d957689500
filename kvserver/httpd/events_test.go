package httpd

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/httpd/live"
	"raftkv/kvserver/recorder"
)

// nextNamed reads on to an event of a name, within some time.
func (w *watching) nextNamed(name string) sseEvent {
	w.t.Helper()
	for begun := time.Now(); time.Since(begun) < time.Minute; {
		if e := w.next(); e.name == name {
			return e
		}
	}
	w.t.Fatalf("there is no event %q", name)
	return sseEvent{}
}

// Goal (I15): a viewer is shown everything first, then only what changes,
// as it happens; what happens is told with its story within a second and a half; a viewer
// that comes back with its last id is told what it missed, and one with an unknown id is
// shown everything.
// Method: a node of one in virtual time, on which a wall clock jumps.
func TestViewersAreToldWhatHappens(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, nil)
		w := followBy(t, s, "GET", "/v1/events", "")
		if w.response.Header.Get("Content-Type") != api.MediaEvents || w.response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("the stream comes with %v", w.response.Header)
		}
		if open := w.next(); open.name != live.Open {
			t.Fatalf("it begins with %+v", open)
		}
		var whole struct {
			Node  string
			Nodes map[string]api.OverviewNode
		}
		first := w.next()
		if err := json.Unmarshal([]byte(first.data), &whole); err != nil || first.name != "status" || whole.Node != "n1" || whole.Nodes["n1"].Status == nil {
			t.Fatalf("then comes %+v, %v", first, err)
		}
		w.nextNamed("status")
		synctest.Wait()
		begun := time.Now()
		s.recorder.Record(recorder.Event{Kind: recorder.ClockJumped, A: int64(time.Hour)})
		patch := w.nextNamed("status")
		if len(patch.data) > len(first.data)/2 || !strings.Contains(patch.data, `"recorded":1`) {
			t.Errorf("what changes is told as %s", patch.data)
		}
		story := w.nextNamed("story")
		if !strings.Contains(story.data, "n1's wall clock jumped by +60 min") {
			t.Errorf("the story is %s", story.data)
		}
		if note := w.nextNamed("note"); !strings.Contains(note.data, `"kind":"clock_jumped"`) {
			t.Errorf("the note is %s", note.data)
		}
		if took := time.Since(begun); took > 1500*time.Millisecond {
			t.Errorf("it was told after %v", took)
		}
		w.response.Body.Close()
		again := followBy(t, s, "GET", "/v1/events", "", "Last-Event-Id", patch.id)
		if e := again.next(); e.name != "story" || e.id != story.id {
			t.Errorf("behind %s comes %+v", patch.id, e)
		}
		again.response.Body.Close()
		unknown := followBy(t, s, "GET", "/v1/events", "", "Last-Event-Id", "other-7")
		if e := unknown.next(); e.name != live.Open {
			t.Errorf("behind an id of another process comes %+v", e)
		}
		s.EndWatches()
		if e := unknown.nextNamed("end"); !strings.Contains(e.data, string(api.CodeStopping)) {
			t.Errorf("it ends with %+v", e)
		}
	})
}

// Goal (I15): all viewers together cost what one costs, and without viewers nobody is asked;
// there is room for sixteen, and the next one is told that there is none and what to do.
// Method: sixteen viewers for ten seconds in virtual time; a peer counts its askers.
func TestViewersAreBoundedAndShareOneRound(t *testing.T) {
	var asked atomic.Int64
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, func(c *settings) {
			c.Peers = []string{"n2"}
			c.ClientAddr = func(string) string { asked.Add(1); return "" }
		})
		time.Sleep(time.Minute)
		asked.Store(0)
		var all []*watching
		for range live.MaxViewers {
			all = append(all, followBy(t, s, "GET", "/v1/events", ""))
		}
		for _, w := range all {
			go func() {
				for {
					if _, err := w.lines.ReadString('\n'); err != nil {
						return
					}
				}
			}()
		}
		a := ask(s, "GET", "/v1/events", "")
		if p := wantProblem(t, a, 429, api.CodeOverloaded, api.OutcomeNotApplied); !strings.Contains(p.Detail, "16 viewers") || !strings.Contains(p.Detail, "another node") {
			t.Errorf("one more is told %q", p.Detail)
		}
		time.Sleep(10 * time.Second)
		// An address is asked for twice in a round of statuses, of which there are two a second
		// without news, and in one of stories.
		if n := asked.Load(); n < 20 || n > 2*20+10 {
			t.Errorf("in ten seconds the address of a peer was asked for %d times", n)
		}
		for _, w := range all {
			w.response.Body.Close()
		}
		time.Sleep(5 * time.Second)
		asked.Store(0)
		time.Sleep(time.Minute)
		if n := asked.Load(); n != 0 {
			t.Errorf("without viewers a peer was asked %d times", n)
		}
		again := followBy(t, s, "GET", "/v1/events", "")
		if again.response.StatusCode != http.StatusOK {
			t.Errorf("there is no room after all are gone: %d", again.response.StatusCode)
		}
		again.response.Body.Close()
	})
}

// Goal (I8, security.md): the stream ends when its viewer's token is revoked, and no event
// holds a key, a value or a token.
// Method: a viewer, a write with canaries, the revocation.
func TestARevokedTokenEndsTheStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, _ := enforced(t, func(c *settings) { c.Level = 3 })
		token := newIdentityBy(t, s, callerOf(t, s, root), "viewer00", "viewer00", auth.Rule{Rights: auth.RightsOf(auth.Status)})
		w := followBy(t, s, "GET", "/v1/events", "", as(token)...)
		said := w.nextNamed("status").data + w.nextNamed("status").data
		wantStatus(t, ask(s, "PUT", "/v1/kv/canary-key", "canary-value", as(root)...), 201)
		s.recorder.Record(recorder.Event{Kind: recorder.ClockJumped, A: int64(time.Hour)})
		said += w.nextNamed("story").data + w.nextNamed("note").data + w.nextNamed("status").data
		for _, never := range []string{"canary", token, root} {
			if strings.Contains(said, never) {
				t.Errorf("the stream holds %q", never)
			}
		}
		revoke(t, s, root, token)
		s.peers.cluster.feed.Tell("note", map[string]string{"behind": "the revocation"})
		revoked := time.Now()
		for e := w.next(); ; e = w.next() {
			if strings.Contains(e.data, "the revocation") {
				t.Error("what happens behind the revocation is told")
			}
			if time.Since(revoked) > time.Minute {
				t.Fatalf("a minute behind the revocation it is told %+v", e)
			}
			if e.name == "end" {
				if !strings.Contains(e.data, string(api.CodeUnauthenticated)) {
					t.Errorf("it ends with %+v", e)
				}
				break
			}
		}
	})
}
