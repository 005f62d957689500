package httpd

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
)

// atLevel3 makes the cluster of a test work at the level of the history.
func atLevel3(c *settings) { c.Level = kv.LevelHistory }

// watching is the client's end of a watch.
type watching struct {
	t        *testing.T
	response *http.Response
	lines    *bufio.Reader
}

// follow opens a watch over a network in memory.
func follow(t *testing.T, s *testServer, query string, header ...string) *watching {
	t.Helper()
	return followBy(t, s, "GET", "/v1/watch?"+query, "", header...)
}

// followBody is follow with what is asked for in a body.
func followBody(t *testing.T, s *testServer, body string, header ...string) *watching {
	t.Helper()
	return followBy(t, s, "POST", "/v1/watch", body, append(header, "Content-Type", api.MediaJSON)...)
}

func followBy(t *testing.T, s *testServer, method, target, body string, header ...string) *watching {
	t.Helper()
	pipes := servePipes(t, s)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return pipes.Dial(ctx, "kv:1") }}
	t.Cleanup(transport.CloseIdleConnections)
	r, err := http.NewRequestWithContext(t.Context(), method, "http://kv"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return &watching{t, response, bufio.NewReader(response.Body)}
}

// sseEvent is one Server-Sent Event.
type sseEvent struct{ name, id, data string }

// next reads the next event, as a browser does; comments are events without a name.
func (w *watching) next() (e sseEvent) {
	w.t.Helper()
	for {
		line, err := w.lines.ReadString('\n')
		if err != nil {
			w.t.Fatalf("the stream ends: %v", err)
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && e != (sseEvent{}):
			return e
		case line == "", field == "retry":
		case line == ":":
			e.data = "comment"
		case field == "event":
			e.name = value
		case field == "id":
			e.id = value
		case field == "data" && e.data != "":
			e.data += "\n" + value
		case field == "data":
			e.data = value
		default:
			w.t.Fatalf("a line that is none of an event: %q", line)
		}
	}
}

// expect reads the next event and compares it.
func (w *watching) expect(name, id, data string) {
	w.t.Helper()
	if e := w.next(); e.name != name || e.id != id || strings.ReplaceAll(e.data, "\n", "") != data {
		w.t.Errorf("got the event %q with the id %q and\n %s\nwant %q, %q and\n %s", e.name, e.id, e.data, name, id, data)
	}
}

const anyTime = "progress=60s&"

// Goal: a watch sends what changes as it is documented, in both forms, and what the
// client asks for in addition. Method: puts, an append and a delete, of a key with a
// value that is no text, too; one stream of each form, begun behind a revision.
func TestAWatchSendsWhatChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		for _, r := range [][3]string{{"PUT", "/v1/kv/a%2F1", "x"}, {"PUT", "/v1/kv/b", "other"}, {"POST", "/v1/kv/a%2F1?op=append", "\xff"}, {"DELETE", "/v1/kv/a%2F1", ""}} {
			if a := ask(s, r[0], r[1], r[2]); a.status >= 300 {
				t.Fatal(a.status, a.body)
			}
		}
		w := follow(t, s, anyTime+"prefix=a/&after=0&prev&text")
		if got := w.response.Header.Get("Content-Type"); got != api.MediaEvents || w.response.Header.Get("X-Accel-Buffering") != "no" || w.response.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("the header is %v", w.response.Header)
		}
		w.expect("open", "0", `{"revision":5,"oldest":1,"node":"n1"}`)
		w.expect("change", "2", `{"revision":2,"events":[{"op":"put","key":"a/1","text":"x","version":1,"created":2}]}`)
		w.expect("change", "4", `{"revision":4,"events":[{"op":"put","key":"a/1","value":"eP8=","version":2,"created":2,"prev":{"text":"x","revision":2,"version":1,"created":2}}]}`)
		w.expect("change", "5", `{"revision":5,"events":[{"op":"delete","key":"a/1","prev":{"value":"eP8=","revision":4,"version":2,"created":2}}]}`)
		w.expect("progress", "5", `{"revision":5}`)
		wantStatus(t, ask(s, "PUT", "/v1/kv/a%2F2", ""), 201)
		w.expect("change", "6", `{"revision":6,"events":[{"op":"put","key":"a/2","text":"","version":1,"created":6}]}`)

		lines := follow(t, s, anyTime+"key=b&key=nothing&after=2&keys_only", "Accept", api.MediaNDJSON)
		for _, want := range []string{
			`{"event":"open","id":"2","revision":6,"oldest":1,"node":"n1"}`,
			`{"event":"change","id":"3","revision":3,"events":[{"op":"put","key":"b","version":1,"created":3}]}`,
			`{"event":"progress","id":"6","revision":6}`,
		} {
			if line, err := lines.lines.ReadString('\n'); line != want+"\n" || err != nil {
				t.Errorf("got %s, want %s: %v", line, want, err)
			}
		}
	})
}

// Goal: a watch that is described by a body follows what all of its selectors name, a
// thousand of them, and is what one by parameters is. Method: keys, prefixes and ranges,
// one in base64; everything else that can be asked for.
func TestAWatchByABody(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		for _, k := range []string{"a", "b/1", "c", "d", "\xff", "z"} {
			log.Deliver(fakelog.PutCommand(k, "1"))
		}
		synctest.Wait()
		many := strings.Repeat(`{"key":"none"},`, api.MaxSelectors-4)
		w := followBody(t, s, `{"selectors":[`+many+`{"key":"a"},{"prefix":"b/"},{"from":"c","to":"d"},{"key_base64":"/w=="}],"after":0,"prev":true,"text":true,"progress":"60s"}`)
		w.expect("open", "0", `{"revision":7,"oldest":1,"node":"n1"}`)
		w.expect("change", "2", `{"revision":2,"events":[{"op":"put","key":"a","text":"1","version":1,"created":2}]}`)
		w.expect("change", "3", `{"revision":3,"events":[{"op":"put","key":"b/1","text":"1","version":1,"created":3}]}`)
		w.expect("change", "4", `{"revision":4,"events":[{"op":"put","key":"c","text":"1","version":1,"created":4}]}`)
		w.expect("change", "6", `{"revision":6,"events":[{"op":"put","key_base64":"/w==","text":"1","version":1,"created":6}]}`)
		w.expect("progress", "7", `{"revision":7}`)
		m := followBody(t, s, `{"selectors":[{"prefix":""}],"mirror":true,"keys_only":true,"progress":"60s"}`, "Accept", api.MediaNDJSON)
		if line, err := m.lines.ReadString('\n'); line != `{"event":"open","revision":7,"oldest":1,"node":"n1"}`+"\n" || err != nil {
			t.Errorf("the mirror begins with %s, %v", line, err)
		}
		wantProblem(t, ask(s, "POST", "/v1/watch", `{"selectors":[{"key":"k"}],"after":99}`, "Content-Type", api.MediaJSON), 409, api.CodeRevisionAhead, "")
		wantProblem(t, ask(s, "POST", "/v1/watch", `{"selectors":[{"key":"k"}],"cluster":"another"}`, "Content-Type", api.MediaJSON), 409, api.CodeOtherCluster, "")
	})
}

// Goal (W12, W13): a stream that its client does not take holds up neither writes nor
// other streams, and is cut off; then its place is free. Method: one stream that is never
// read, one that is; writes of far more than a stream may have on its way; then time.
func TestAStalledStreamHoldsUpOnlyItself(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		stalled := follow(t, s, anyTime+"key=k")
		stalled.next()
		stalled.next()
		other := follow(t, s, anyTime+"key=k&keys_only")
		other.next()
		other.next()
		begun, value := time.Now(), strings.Repeat("x", 16<<10)
		for i := range 200 {
			log.Deliver(fakelog.PutCommand("k", value))
			if e := other.next(); e.id != fmt.Sprint(i+2) {
				t.Fatalf("change %d came as %+v", i+2, e.id)
			}
		}
		wantStatus(t, ask(s, "PUT", "/v1/kv/other", "v"), 201)
		if took := time.Since(begun); took != 0 {
			t.Errorf("writes and another stream took %v", took)
		}
		for time.Since(begun) < 5*time.Minute {
			other.next()
		}
		if n := s.WatchCounts(); n.Streams != 1 {
			t.Errorf("after five minutes there are %d streams", n.Streams)
		}
		if l := s.Load(kvserver.Watches); l.Count != 1 {
			t.Errorf("they take %d places", l.Count)
		}
	})
}

// Goal (W13): what a stream keeps while its client takes nothing does not grow with the
// size of a change. Method: streams that are never read, of both forms; then one change of
// 4 MiB, of text; the memory in use before and after.
func TestALargeChangeIsNotKeptForEachStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		const streams = 8
		for i := range streams {
			w := follow(t, s, anyTime+"key=k&text", "Accept", []string{api.MediaEvents, api.MediaNDJSON}[i%2])
			for range 2 { // open, progress
				if _, err := w.lines.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
		}
		synctest.Wait()
		inUse := func() int64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before, value := inUse(), strings.Repeat("x", 4<<20)
		log.Deliver(fakelog.PutCommand("k", value))
		synctest.Wait()
		// The command and the value in the store, and for each stream a piece, and as much
		// again in the HTTP server and the network of the test.
		if grown, most := inUse()-before, int64(4*len(value)+streams*(3*streamPiece)); grown > most {
			t.Errorf("%d streams that nobody takes keep %d KiB, want at most %d KiB", streams, grown>>10, most>>10)
		}
	})
}

// Goal (W11): a client that takes nothing for half a minute, which is allowed, goes on where
// it was on a node that has a majority. Method: more waits for it than a stream may have on
// its way.
func TestAStreamGoesOnAfterARest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		w := follow(t, s, anyTime+"key=k")
		w.expect("open", "1", `{"revision":1,"oldest":1,"node":"n1"}`)
		w.expect("progress", "1", `{"revision":1}`)
		value := strings.Repeat("x", 16<<10)
		for range 40 {
			log.Deliver(fakelog.PutCommand("k", value))
		}
		time.Sleep(30 * time.Second)
		for revision := 2; revision < 42; {
			switch e := w.next(); {
			case e.name == "change" && e.id == fmt.Sprint(revision):
				revision++
			case e.data != "comment" && e.name != "progress":
				t.Fatalf("instead of change %d came %.300v", revision, e)
			}
		}
	})
}

// Goal: a mirror begins with the state, goes on with changes, and is told to forget
// everything when the history does not reach its place any more. Method: a range; then
// two browsers that come back, of whom the history still reaches one.
func TestAMirrorSendsTheStateFirst(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		for _, key := range []string{"a", "b", "c"} {
			wantStatus(t, ask(s, "PUT", "/v1/kv/"+key, "1"), 201)
		}
		w := follow(t, s, anyTime+"from=a&to=c&mirror")
		w.expect("open", "", `{"revision":4,"oldest":1,"node":"n1"}`)
		w.expect("item", "", `{"key":"a","value":"MQ==","revision":2,"version":1,"created":2}`)
		w.expect("item", "", `{"key":"b","value":"MQ==","revision":3,"version":1,"created":3}`)
		w.expect("synced", "4", `{"revision":4,"items":2}`)
		w.expect("progress", "4", `{"revision":4}`)

		// Two browsers come back with what they have: to one the history still reaches.
		wantStatus(t, ask(s, "DELETE", "/v1/kv/a", ""), 204)
		w.expect("change", "5", `{"revision":5,"events":[{"op":"delete","key":"a"}]}`)
		log.Deliver(kv.EncodeCommand(kv.Forget(5)))
		synctest.Wait()
		w = follow(t, s, anyTime+"prefix=&mirror&after=99", "Last-Event-Id", "4")
		w.expect("open", "4", `{"revision":5,"oldest":5,"node":"n1"}`)
		w.expect("change", "5", `{"revision":5,"events":[{"op":"delete","key":"a"}]}`)
		w = follow(t, s, anyTime+"prefix=&mirror", "Last-Event-Id", "3")
		w.expect("open", "3", `{"revision":5,"oldest":5,"node":"n1"}`)
		w.expect("reset", "", `{"code":"revision_gone","oldest":5}`)
		w.expect("item", "", `{"key":"b","value":"MQ==","revision":3,"version":1,"created":3}`)
		w.expect("item", "", `{"key":"c","value":"MQ==","revision":4,"version":1,"created":4}`)
		w.expect("synced", "5", `{"revision":5,"items":2}`)
	})
}

// Goal: what cannot be watched is refused with the status that says why and what to do.
// Method: each of the refusals.
func TestWatchesAreRefusedForAReason(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		low, _ := newServer(t, nil)
		wantProblem(t, ask(low, "GET", "/v1/watch?key=k", ""), 501, api.CodeNotActive, api.OutcomeNotApplied)
		wantProblem(t, ask(low, "GET", "/v1/kv/k?wait=1s&changed_after=0", ""), 501, api.CodeNotActive, api.OutcomeNotApplied)

		s, log := newServer(t, func(c *settings) { atLevel3(c); c.Config.MaxConnections = 4 })
		for range 3 {
			log.Deliver(fakelog.PutCommand("k", "v"))
		}
		log.Deliver(kv.EncodeCommand(kv.Forget(3)))
		synctest.Wait()
		p := wantProblem(t, ask(s, "GET", "/v1/watch?key=k&after=1", ""), 410, api.CodeRevisionGone, "")
		if p.Oldest != 3 || p.Revision != 4 {
			t.Errorf("the history is said to go from %d to %d", p.Oldest, p.Revision)
		}
		wantProblem(t, ask(s, "GET", "/v1/watch?key=k&after=5", ""), 409, api.CodeRevisionAhead, "")
		wantProblem(t, ask(s, "GET", "/v1/watch?key=k&cluster=another", ""), 409, api.CodeOtherCluster, "")
		w := follow(t, s, "key=k&after=2") // as many as a quarter of the connections
		w.expect("open", "2", `{"revision":4,"oldest":3,"node":"n1"}`)
		a := ask(s, "GET", "/v1/watch?key=k&after=4", "")
		wantProblem(t, a, 429, api.CodeTooManyWatches, "")
		if a.header.Get("Retry-After") == "" {
			t.Error("it does not say when to come again")
		}
	})
}

// Goal: a watch from now begins behind every write that was answered before it was asked
// for, on a node that lags, too. Method: the read index lies ahead of the store.
func TestAWatchBeginsBehindWhatWasAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		log.Deliver(fakelog.PutCommand("k", "early"))
		log.Reading(func(context.Context) (uint64, error) { return 2, nil })
		time.AfterFunc(time.Second, func() { log.Deliver(fakelog.PutCommand("k", "answered")) })
		w := follow(t, s, "key=k")
		w.expect("open", "3", `{"revision":3,"oldest":1,"node":"n1"}`)
		log.Deliver(fakelog.PutCommand("k", "later"))
		if e := w.next(); e.id != "4" && e.name == "change" {
			t.Errorf("then came %+v", e)
		}
	})
}

// Goal: a watch is never silent, says when nothing can be confirmed, and that its node
// stops, behind everything that was applied. Method: virtual time; the majority is gone;
// the server is closed behind a write.
func TestAWatchIsNeverSilentAndSaysWhyItEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		w := follow(t, s, "key=k&progress=60s")
		w.expect("open", "1", `{"revision":1,"oldest":1,"node":"n1"}`)
		w.expect("progress", "1", `{"revision":1}`)
		for begun := time.Now(); ; {
			e := w.next()
			if gap := time.Since(begun); gap > 15*time.Second+time.Millisecond {
				t.Errorf("nothing came for %v", gap)
			}
			if e.data != "comment" {
				if e.name != "progress" {
					t.Errorf("a node that has a majority sends %+v", e)
				}
				break
			}
			begun = time.Now()
		}
		w = follow(t, s, "key=k&progress=1s")
		begun := time.Now()
		log.Reading(func(context.Context) (uint64, error) { return 0, fmt.Errorf("no majority") })
		for {
			e := w.next()
			if e.name != "end" {
				continue
			}
			var p api.Problem
			if err := json.Unmarshal([]byte(e.data), &p); err != nil || p.Code != api.CodeNoLeader || e.id != "" {
				t.Errorf("it ends with %+v: %v", e, err)
			}
			if took := time.Since(begun); took < 14*time.Second || took > 26*time.Second {
				t.Errorf("it ends after %v", took)
			}
			break
		}
		log.Reading(nil)
		w = follow(t, s, "key=k&progress=60s")
		w.next()
		w.next()
		log.Deliver(fakelog.PutCommand("k", "v"))
		synctest.Wait()
		s.Server.Close()
		if e := w.next(); e.name != "change" {
			t.Errorf("behind the write came %+v", e)
		}
		if e := w.next(); e.name != "end" || !strings.Contains(e.data, `"stopping"`) {
			t.Errorf("at the end came %+v", e)
		}
	})
}

// Goal: a node that is about to stop ends its watches and the reads that wait at once,
// and begins no more; they would hold up its end. Method: both kinds, and the word that
// the node ends.
func TestWatchesEndBeforeTheNodeDoes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		w := follow(t, s, "key=k&progress=60s")
		w.next()
		w.next()
		begun, waited := time.Now(), make(chan answer, 1)
		go func() { waited <- ask(s, "GET", "/v1/kv/k?wait=5m&changed_after=1", "") }()
		synctest.Wait()
		log.Deliver(fakelog.PutCommand("other", "v"))
		synctest.Wait()
		s.EndWatches()
		if e := w.next(); e.name != "end" || !strings.Contains(e.data, `"stopping"`) {
			t.Errorf("the watch was sent %+v", e)
		}
		wantProblem(t, <-waited, 503, api.CodeStopping, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "GET", "/v1/watch?key=k", ""), 503, api.CodeStopping, api.OutcomeNotApplied)
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v", took)
		}
		wantStatus(t, ask(s, "GET", "/v1/kv/other", ""), 200)
	})
}

// Goal: a node that finds its state to be wrong says so at once to those that follow it.
// Method: a watch at rest, and the quarantine.
func TestAWatchEndsWhenTheStateIsWrong(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		w := follow(t, s, "key=k&progress=60s")
		w.next()
		w.next()
		synctest.Wait()
		s.Machine().Quarantine("it is a test")
		begun := time.Now()
		if e := w.next(); e.name != "end" || !strings.Contains(e.data, `"diverged"`) || time.Since(begun) != 0 {
			t.Errorf("it was sent %+v after %v", e, time.Since(begun))
		}
	})
}

// Goal: a read that waits is answered when the key changes, at once if it has changed
// already, and with 304 at the end of its time (B3); other keys do not wake it (B2), and
// nothing is missed between two reads that pass on Kv-Revision (B1). Method: both kinds of waiting, a
// key that does not exist yet, one that is deleted, a list, a history that is gone.
func TestReadsThatWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		put := func(key, value string) { log.Deliver(fakelog.PutCommand(key, value)) }
		took := func(target string, header ...string) (answer, time.Duration) {
			begun := time.Now()
			a := ask(s, "GET", target, "", header...)
			return a, time.Since(begun)
		}
		put("k", "1")
		synctest.Wait()
		if a, d := took("/v1/kv/k?wait=10s&changed_after=1"); a.status != 200 || d != 0 || a.body != "1" {
			t.Errorf("what had changed is answered %d after %v", a.status, d)
		}
		time.AfterFunc(time.Second, func() { put("other", "x") })
		a, d := took("/v1/kv/k?wait=10s&changed_after=2")
		if a.status != 304 || d < 9*time.Second || d > 11*time.Second || a.header.Get(api.HeaderRevision) != "3" {
			t.Errorf("nothing changed: %d after %v, revision %s", a.status, d, a.header.Get(api.HeaderRevision))
		}
		put("k", "between")
		synctest.Wait()
		if a, d := took("/v1/kv/k?wait=10s&changed_after=" + a.header.Get(api.HeaderRevision)); a.status != 200 || d != 0 || a.body != "between" {
			t.Errorf("a change between two reads: %d after %v", a.status, d)
		}
		time.AfterFunc(time.Second, func() { put("k", "2") })
		if a, d := took("/v1/kv/k?wait=10s", "If-None-Match", `"4"`); a.status != 200 || d != time.Second || a.body != "2" {
			t.Errorf("another entity tag: %d after %v", a.status, d)
		}
		if a, d := took("/v1/kv/k?wait=10s", "If-None-Match", `"4"`); a.status != 200 || d != 0 {
			t.Errorf("an old entity tag: %d after %v", a.status, d)
		}
		if a, d := took("/v1/kv/k?wait=1s", "If-None-Match", `"5"`); a.status != 304 || d < 900*time.Millisecond || a.header.Get("Etag") != `"5"` {
			t.Errorf("the same entity tag: %d after %v, %v", a.status, d, a.header)
		}
		time.AfterFunc(time.Second, func() { put("new", "v") })
		if a, d := took("/v1/kv/new?wait=10s&changed_after=5"); a.status != 200 || d != time.Second {
			t.Errorf("a key that was not there: %d after %v", a.status, d)
		}
		time.AfterFunc(time.Second, func() { ask(s, "DELETE", "/v1/kv/new", "") })
		if a, d := took("/v1/kv/new?wait=10s&changed_after=6"); a.status != 404 || d != time.Second {
			t.Errorf("a key that is deleted: %d after %v", a.status, d)
		}
		time.AfterFunc(time.Second, func() { put("list/a", "v") })
		if a, d := took("/v1/kv?prefix=list/&wait=10s&changed_after=7"); a.status != 200 || d != time.Second || !strings.Contains(a.body, "list/a") {
			t.Errorf("a list: %d after %v", a.status, d)
		}
		if a, _ := took("/v1/kv?prefix=none/&wait=1s&changed_after=7"); a.status != 304 || a.header.Get(api.HeaderRevision) != "8" {
			t.Errorf("a list of nothing: %d, %v", a.status, a.header)
		}
		log.Deliver(kv.EncodeCommand(kv.Forget(8)))
		synctest.Wait()
		if a, d := took("/v1/kv/k?wait=10s&changed_after=2"); a.status != 200 || d != 0 {
			t.Errorf("behind what is forgotten: %d after %v", a.status, d)
		}
	})
}

// Goal: a read that waits sends what has come, whatever the client has, and a 304 bears the tag of
// the key. If it is linearizable (B4), a node that is cut off says so and does not answer that
// nothing was changed; and what the leader knows at the end of the time counts.
// Method: virtual time; reads through the log that fail, or that bring a change along.
func TestReadsThatWaitSayWhatIsTrueAtTheirEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		log.Deliver(fakelog.PutCommand("k", "1"))
		synctest.Wait()
		took := func(target string, header ...string) (answer, time.Duration) {
			begun := time.Now()
			a := ask(s, "GET", target, "", header...)
			return a, time.Since(begun)
		}
		for _, tags := range []string{"*", `"7", W/"2"`, `"2", "3"`} {
			if a, _ := took("/v1/kv/k?wait=1s", "If-None-Match", tags); a.status != 304 || a.header.Get("Etag") != `"2"` {
				t.Errorf("%s, and nothing changes: %d, %v", tags, a.status, a.header)
			}
		}
		for i, tags := range []string{"*", `"3", "4"`} {
			value := fmt.Sprint(i)
			time.AfterFunc(time.Second, func() { log.Deliver(fakelog.PutCommand("k", value)) })
			if a, d := took("/v1/kv/k?wait=1m", "If-None-Match", tags); a.status != 200 || d != time.Second || a.body != value {
				t.Errorf("%s, and the key is changed: %d after %v, %q", tags, a.status, d, a.body)
			}
		}
		readFails := func(context.Context) (uint64, error) { return 0, fmt.Errorf("no majority") }
		time.AfterFunc(time.Second, func() { log.Reading(readFails) })
		if a, d := took("/v1/kv/k?wait=10m&changed_after=4"); a.status != 503 || !strings.Contains(a.body, string(api.CodeNoLeader)) || d > 40*time.Second {
			t.Errorf("a node that is cut off answers %d after %v: %s", a.status, d, a.body)
		}
		if a, d := took("/v1/kv/k?wait=2m&changed_after=4&consistency=stale"); a.status != 304 || d < 100*time.Second {
			t.Errorf("a stale read there is answered %d after %v: %s", a.status, d, a.body)
		}
		log.Reading(nil)
		var reads int
		log.Reading(func(context.Context) (uint64, error) { // the second one, at the end, waits for a change
			if reads++; reads == 2 {
				log.Deliver(fakelog.PutCommand("k", "late"))
				time.Sleep(time.Millisecond) // until it is applied
			}
			return 0, nil
		})
		if a, _ := took("/v1/kv/k?wait=10s&changed_after=4"); a.status != 200 || a.body != "late" {
			t.Errorf("a change that the leader has at the end: %d %q after %d reads", a.status, a.body, reads)
		}
	})
}

// Goal: from the level of the history on, reads say when a key was created, and before it
// they are as they were. Method: the same requests at both levels.
func TestReadsSayWhenAKeyWasCreated(t *testing.T) {
	for level, want := range map[uint64]string{0: "", kv.LevelHistory: "2"} {
		s, _ := newServer(t, func(c *settings) { c.Level = level })
		ask(s, "PUT", "/v1/kv/k", "1")
		ask(s, "PUT", "/v1/kv/k", "2")
		a, list, lines := ask(s, "GET", "/v1/kv/k", ""), ask(s, "GET", "/v1/kv", ""), ask(s, "GET", "/v1/kv", "", "Accept", api.MediaNDJSON)
		said := strings.Contains(list.body, `"created":2}`) && strings.Contains(lines.body, `"created":2}`)
		if a.header.Get(api.HeaderCreated) != want || said != (want != "") {
			t.Errorf("level %d: %q, %s, %s", level, a.header.Get(api.HeaderCreated), list.body, lines.body)
		}
	}
}
