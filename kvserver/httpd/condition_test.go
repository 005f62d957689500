package httpd

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
)

// Goal: each condition lets each write happen exactly when it holds, and a
// failed one tells what is there, however it was spelt.
// Method: every condition on every kind of write, with the key missing, at the
// revision asked for, and at another one; at a leader and through a follower.
func TestConditionsDecideWrites(t *testing.T) {
	type state int
	const (
		missing state = iota
		same
		other
	)
	conditions := []struct {
		query  string
		header []string // %s stands for the key's revision
		holds  [3]bool  // missing, same, other
	}{
		{"", nil, [3]bool{true, true, true}},
		{"", []string{"If-Match", `"%s"`}, [3]bool{false, true, false}},
		{"", []string{"If-Match", ` "%s" `}, [3]bool{false, true, false}},
		{"", []string{"If-Match", "*"}, [3]bool{false, true, true}},
		{"", []string{"If-None-Match", "*"}, [3]bool{true, false, false}},
		{"cas=%s", nil, [3]bool{false, true, false}},
		{"cas=0", nil, [3]bool{true, false, false}},
	}
	p := newPair(t)
	keys := 0
	for _, url := range []string{"http://" + p.address.Load().(string), p.url} {
		for _, method := range []string{"PUT", "POST", "DELETE"} {
			for _, c := range conditions {
				for _, there := range []state{missing, same, other} {
					keys++
					target := fmt.Sprintf("/v1/kv/%d", keys)
					revision := "12345"
					if there != missing {
						tag := ask(p.leader, "PUT", target, "old").header.Get("ETag")
						if there == same {
							revision = strings.Trim(tag, `"`)
						}
					}
					before := contentOf(p.leader)
					target, body := spell(method, target, c.query, revision)
					header := append([]string(nil), c.header...)
					for i := range header {
						header[i] = strings.ReplaceAll(header[i], "%s", revision)
					}
					a := send(t, method, url+target, body, header...)
					name := fmt.Sprintf("%s %s %v, key state %d", method, target, header, there)
					if c.holds[there] {
						if a.status/100 != 2 {
							t.Errorf("%s: %d %s", name, a.status, a.body)
						}
						continue
					}
					wantProblem(t, a, 412, api.CodePreconditionFailed, api.OutcomeNotApplied)
					if contentOf(p.leader) != before {
						t.Errorf("%s: refused, but the store changed", name)
					}
					present := ""
					if read := p.leader.Machine().Get(fmt.Sprint(keys)); read.Found {
						present = fmt.Sprintf(`"%d"`, read.Item.Revision)
					}
					if got := a.header.Get("ETag"); got != present {
						t.Errorf("%s: ETag %q, want %q", name, got, present)
					}
				}
			}
		}
	}
}

// spell makes the target and body of a write.
func spell(method, target, query, revision string) (string, string) {
	body := ""
	if method != "DELETE" {
		body = "new"
	}
	if method == "POST" {
		target = with(target, "op=append")
	}
	if query != "" {
		target = with(target, strings.ReplaceAll(query, "%s", revision))
	}
	return target, body
}

// Goal: a client that has the value already is told so, and only then.
// Method: tags that match and tags that do not, as GET and as HEAD.
func TestIfNoneMatchSavesTheBody(t *testing.T) {
	s, _ := newServer(t, nil)
	url := serveHTTP(t, s).URL
	wantStatus(t, ask(s, "PUT", "/v1/kv/k", "value"), 201)
	for _, method := range []string{"GET", "HEAD"} {
		for tag, status := range map[string]int{`"1"`: 304, `W/"1"`: 304, `*`: 304, `"2"`: 200, `"2", "1"`: 304, `"2",W/"1" , "3"`: 304, `"2", "3"`: 200} {
			a := send(t, method, url+"/v1/kv/k", "", "If-None-Match", tag)
			if a.status != status || a.header.Get("ETag") != `"1"` || a.header.Get(api.HeaderVersion) != "1" || status == 304 && a.body != "" {
				t.Errorf("%s with If-None-Match: %s: %d %q, header %v", method, tag, a.status, a.body, a.header)
			}
		}
		wantStatus(t, send(t, method, url+"/v1/kv/k", "", "If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT"), 200)
		wantStatus(t, send(t, method, url+"/v1/kv/none", "", "If-None-Match", "*"), 404)
	}
}

// Goal: a request under an idempotency key happens once however often it is
// sent, through whichever node, and every copy gets the first one's answer.
// Method: each kind of write three times, the key bare and in quotes, at the
// leader and through a follower; then the same key for something else.
func TestAnIdempotencyKeyMakesARequestHappenOnce(t *testing.T) {
	p := newPair(t)
	leader := "http://" + p.address.Load().(string)
	wantStatus(t, ask(p.leader, "PUT", "/v1/kv/gone", "v"), 201)
	wantStatus(t, ask(p.leader, "PUT", "/v1/kv/there", "v"), 201)
	for i, w := range []struct {
		method, target, body string
		status               int
		header               []string
	}{
		{"PUT", "/v1/kv/a", "v", 201, nil},
		{"PUT", "/v1/kv/a", "w", 200, []string{"If-Match", "*"}},
		{"POST", "/v1/kv/a?op=append", "+", 200, nil},
		{"DELETE", "/v1/kv/gone", "", 204, nil},
		{"DELETE", "/v1/kv/gone", "", 204, nil}, // another key: deletes nothing
		{"PUT", "/v1/kv/there", "w", 412, []string{"If-None-Match", "*"}},
	} {
		key := fmt.Sprintf("!request-%d~", i)
		var first answer
		for copyNumber, url := range []string{p.url, leader, p.url} {
			spelling := key
			if copyNumber == 1 {
				spelling = `"` + key + `"`
			}
			a := send(t, w.method, url+w.target, w.body, append([]string{api.HeaderIdempotencyKey, spelling}, w.header...)...)
			wantStatus(t, a, w.status)
			if got := a.header.Get(api.HeaderIdempotencyRetention); got != "3600" {
				t.Errorf("%s: retention %q", w.target, got)
			}
			replayed := map[bool]string{true: "true"}[copyNumber > 0]
			if got := a.header.Get(api.HeaderIdempotencyReplayed); got != replayed {
				t.Errorf("%s, copy %d: replayed is %q", w.target, copyNumber, got)
			}
			if copyNumber == 0 {
				first = a
			}
			for _, name := range []string{"ETag", api.HeaderRevision, api.HeaderVersion, api.HeaderDeleted} {
				if a.header.Get(name) != first.header.Get(name) {
					t.Errorf("%s, copy %d: %s is %q, the first answer's %q", w.target, copyNumber, name, a.header.Get(name), first.header.Get(name))
				}
			}
			if w.status < 300 && a.body != first.body {
				t.Errorf("%s, copy %d: %q, the first answer is %q", w.target, copyNumber, a.body, first.body)
			}
		}
	}
	if got := stored(p.leader, "a"); got != "w+" {
		t.Errorf("the store has %q", got)
	}
	before := contentOf(p.leader)
	for _, other := range [][]string{
		{"PUT", "/v1/kv/a", "x"}, {"PUT", "/v1/kv/b", "v"}, {"POST", "/v1/kv/a?op=append", "v"}, {"DELETE", "/v1/kv/a", ""}, {"PUT", "/v1/kv/a?cas=0", "v"},
	} {
		a := send(t, other[0], p.url+other[1], other[2], api.HeaderIdempotencyKey, "!request-0~")
		wantProblem(t, a, 422, api.CodeIdempotencyMismatch, api.OutcomeNotApplied)
	}
	if contentOf(p.leader) != before {
		t.Error("a mismatch changed the store")
	}
}

// Goal: a second copy that comes while the first is under way waits for it and
// gets its answer.
// Method: hold both proposals, see that nobody is answered, choose both.
func TestAConcurrentDuplicateGetsTheFirstAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		held := log.Held()
		append := func() answer {
			return ask(s, "POST", "/v1/kv/k?op=append", "x", api.HeaderIdempotencyKey, "a")
		}
		one, two := later(append), later(append)
		first, second := <-held, <-held
		wantSilence(t, one)
		wantSilence(t, two)
		log.Deliver(first.Command)
		log.Deliver(second.Command)
		a, b := <-one, <-two
		wantStatus(t, a, 200)
		wantStatus(t, b, 200)
		if a.body != b.body || (a.header.Get(api.HeaderIdempotencyReplayed) == "") == (b.header.Get(api.HeaderIdempotencyReplayed) == "") {
			t.Errorf("answered %q and %q", a.body, b.body)
		}
		if got := stored(s, "k"); got != "x" {
			t.Errorf("the store has %q", got)
		}
	})
}

// Goal: a request under an idempotency key whose outcome is unknown may be sent
// again, and the answer says so; without the key it may not.
// Method: a write times out with and without; the first is sent again after its
// late success.
func TestAnUnknownOutcomeMayBeAskedAgainWithAKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		held := log.Held()
		p := wantProblem(t, ask(s, "POST", "/v1/kv/k?op=append", "x"), 504, api.CodeTimeout, api.OutcomeUnknown)
		if p.Retryable {
			t.Error("without a key it is said to be retryable")
		}
		<-held
		p = wantProblem(t, ask(s, "POST", "/v1/kv/k?op=append", "x", api.HeaderIdempotencyKey, "a"), 504, api.CodeTimeout, api.OutcomeUnknown)
		if !p.Retryable {
			t.Error("with a key it is said not to be retryable")
		}
		log.Deliver((<-held).Command)
		log.OnPropose = nil
		a := ask(s, "POST", "/v1/kv/k?op=append", "x", api.HeaderIdempotencyKey, "a")
		wantStatus(t, a, 200)
		if got := stored(s, "k"); got != "x" || a.header.Get(api.HeaderIdempotencyReplayed) != "true" {
			t.Errorf("the store has %q, header %v", got, a.header)
		}
	})
}

// Goal: what the store refuses for want of room is answered as the contract says.
// Method: a quota that is full; results of the store that are forged where the
// state would be too large to make.
func TestRefusalsOfTheStoreHaveTheirAnswers(t *testing.T) {
	s, _ := newServer(t, func(c *settings) { c.MaxStoreBytes = 10 })
	wantStatus(t, ask(s, "PUT", "/v1/kv/k", "123456789"), 201)
	for _, write := range [][]string{{"PUT", "/v1/kv/l", ""}, {"POST", "/v1/kv/k?op=append", "x"}} {
		p := wantProblem(t, ask(s, write[0], write[1], write[2]), 507, api.CodeQuotaExceeded, api.OutcomeNotApplied)
		if !p.Retryable {
			t.Error("a full store is said to stay full for ever")
		}
	}
	wantStatus(t, ask(s, "GET", "/v1/kv/k", ""), 200)
	wantStatus(t, ask(s, "DELETE", "/v1/kv/k", ""), 204)
	wantStatus(t, ask(s, "PUT", "/v1/kv/l", "1"), 201)

	w := httptest.NewRecorder()
	x := &exchange{door: s.door, w: w, r: httptest.NewRequest("PUT", "/v1/kv/k", nil), id: "r"}
	x.answerError(x.refusedByStore(kv.Result{Status: kv.StatusIdempotencyFull, Revision: 9}), nil)
	a := answer{status: w.Code, header: w.Header(), body: w.Body.String()}
	wantProblem(t, a, 503, api.CodeIdempotencyFull, api.OutcomeNotApplied)
	if after := a.header.Get("Retry-After"); after != "60" {
		t.Errorf("Retry-After %q", after)
	}
}
