package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
)

// asJSON is the header of requests with a body of JSON.
var asJSON = []string{"Content-Type", api.MediaJSON}

// txnStep is a request and what it is answered with.
type txnStep struct {
	method, target, body string
	header               []string
	status               int
	want                 string // the body, or a part of a problem
}

func (s txnStep) check(t *testing.T, name string, a answer) {
	t.Helper()
	got := strings.TrimSuffix(a.body, "\n")
	if a.status != s.status || a.status < 400 && got != s.want || !strings.Contains(got, s.want) {
		t.Errorf("%s: %s %s %.200s: answered %d %.400s, want %d %.400s", name, s.method, s.target, s.body, a.status, got, s.status, s.want)
	}
}

func txnPost(body string, status int, want string, header ...string) txnStep {
	return txnStep{"POST", "/v1/txn", body, append(header, asJSON...), status, want}
}

// txnSteps is a run of transactions, removals of ranges, and writes that ask for what was
// before, with everything that can come of them.
func txnSteps() []txnStep {
	once := []string{api.HeaderIdempotencyKey, "once"}
	dropped := append([]string{api.HeaderIdempotencyKey, "dropped"}, asJSON...)
	large, long := strings.Repeat("x", 5000), strings.Repeat("y", 100_000)
	return []txnStep{
		txnPost(`{"then":[{"op":"put","key":"a","text":"1"},{"op":"put","key":"b","value":"Mg=="},{"op":"append","key":"a","text":"+"},{"op":"get","key":"a"},{"op":"list","prefix":""}]}`, 200,
			`{"succeeded":true,"revision":2,"results":[{"version":1,"length":1},{"version":1,"length":1},{"version":2,"length":2},`+
				`{"item":{"key":"a","value":"MSs=","revision":2,"version":2,"created":2}},`+
				`{"items":[{"key":"a","value":"MSs=","revision":2,"version":2,"created":2},{"key":"b","value":"Mg==","revision":2,"version":1,"created":2}]}]}`),
		{"PUT", "/v1/kv/c?prev", "3", nil, 201, `{"key":"c","revision":3,"version":1,"prev":null}`},
		{"PUT", "/v1/kv/c?prev=true", "4", nil, 200, `{"key":"c","revision":4,"version":2,"prev":{"key":"c","value":"Mw==","revision":3,"version":1,"created":3}}`},
		{"POST", "/v1/kv/c?op=append&prev", "5", nil, 200, `{"key":"c","revision":5,"version":3,"length":2,"prev":{"key":"c","value":"NA==","revision":4,"version":2,"created":3}}`},
		{"DELETE", "/v1/kv/c?prev", "", nil, 200, `{"deleted":1,"revision":6,"prev":{"key":"c","value":"NDU=","revision":5,"version":3,"created":3}}`},
		{"DELETE", "/v1/kv/c?prev", "", nil, 200, `{"deleted":0,"revision":6,"prev":null}`},
		// Compares choose the branch, on the state before, and nothing changes without a write.
		txnPost(`{"if":[{"key":"a","revision":2},{"key":"c","absent":true},{"prefix":"","count":2,"not_newer_than":2}],"then":[{"op":"delete","key":"none"}],"else":[{"op":"get","key":"a"}]}`, 200,
			`{"succeeded":true,"revision":6,"results":[{"deleted":0}]}`),
		txnPost(`{"if":[{"key":"a","exists":true},{"key":"a","text":"no"}],"then":[{"op":"delete","key":"a"}],"else":[{"op":"list","from":"a","to":"z","keys_only":true,"limit":1,"count":true}]}`, 200,
			`{"succeeded":false,"failed":1,"revision":6,"results":[{"items":[{"key":"a","revision":2,"version":2,"created":2}],"count":2,"more":true}]}`),
		txnPost(`{"then":[{"op":"put","key":"a","text":"9","prev":true},{"op":"txn","if":[{"key":"a","text":"9"}],"then":[{"op":"delete","key":"a"}],"else":[{"op":"get","key":"a"}]}]}`, 200,
			`{"succeeded":true,"revision":7,"results":[{"version":3,"length":1,"prev":{"key":"a","value":"MSs=","revision":2,"version":2,"created":2}},`+
				`{"succeeded":false,"failed":0,"results":[{"item":{"key":"a","value":"OQ==","revision":7,"version":3,"created":2}}]}]}`),
		// The same words over again do nothing again.
		txnPost(`{"if":[{"key":"once","absent":true}],"then":[{"op":"put","key":"once","text":"1"},{"op":"get","key":"once"}]}`, 200,
			`{"succeeded":true,"revision":8,"results":[{"version":1,"length":1},{"item":{"key":"once","value":"MQ==","revision":8,"version":1,"created":8}}]}`, once...),
		txnPost(`{"if":[{"key":"once","absent":true}],"then":[{"op":"put","key":"once","text":"1"},{"op":"get","key":"once"}]}`, 200,
			`{"succeeded":true,"revision":8,"results":[{"version":1,"length":1},{"item":{"key":"once","value":"MQ==","revision":8,"version":1,"created":8}}]}`, once...),
		txnPost(`{"then":[{"op":"put","key":"once","text":"1"}]}`, 422, "idempotency_mismatch", once...),
		{"POST", "/v1/txn?text", `{"then":[{"op":"put","key":"l","text":"` + large + `"},{"op":"list","prefix":"l","keys_only":true},{"op":"put","key":"l","text":"x","prev":true}]}`, dropped, 200,
			`{"succeeded":true,"revision":9,"results":[{"version":1,"length":5000},{"items":[{"key":"l","revision":9,"version":1,"created":9}]},` +
				`{"version":2,"length":1,"prev":{"key":"l","text":"` + large + `","revision":9,"version":1,"created":9}}]}`},
		{"POST", "/v1/txn?text", `{"then":[{"op":"put","key":"l","text":"` + large + `"},{"op":"list","prefix":"l","keys_only":true},{"op":"put","key":"l","text":"x","prev":true}]}`, dropped, 200,
			`{"succeeded":true,"revision":9,"results":[{"version":1,"length":5000},{},{"version":2,"length":1}],"reads_dropped":true}`},
		// Refusals name the operation, and leave nothing.
		txnPost(`{"then":[{"op":"put","key":"a","text":"lost"},{"op":"txn","then":[{"op":"put","key":"none","keep_value":true}]}]}`, 404, `"operation": "1.0"`),
		{"GET", "/v1/kv/a", "", nil, 200, "9"},
		{"POST", "/v1/txn?strict", `{"if":[{"key":"a","revision":99}],"then":[{"op":"delete","key":"a"}]}`, asJSON, 412, "compare 0 does not hold"},
		{"POST", "/v1/txn?strict", `{"if":[{"key":"a","revision":99}],"else":[{"op":"delete","key":"a"}]}`, asJSON, 400, "else"},
		{"POST", "/v1/txn?strict&text", `{"if":[{"key":"a","revision":7}],"then":[{"op":"get","key":"a"}]}`, asJSON, 200, `{"succeeded":true,"revision":9,"results":[{"item":{"key":"a","text":"9","revision":7,"version":3,"created":2}}]}`},
		// Removals of ranges.
		{"DELETE", "/v1/kv?prefix=", "", nil, 400, "all=true"},
		{"DELETE", "/v1/kv?from=a", "", nil, 400, "all=true"},
		{"DELETE", "/v1/kv?prefix=a&from=b", "", nil, 400, "say what to delete"},
		{"DELETE", "/v1/kv?prefix=none/", "", nil, 200, `{"deleted":0,"revision":9}`},
		{"DELETE", "/v1/kv?from=a&to=c&at_most=1", "", nil, 413, "has 2 keys"},
		{"DELETE", "/v1/kv?from=a&to=c&at_most=1&partial&prev", "", nil, 200, `{"deleted":1,"revision":10,"more":true,"prev":[{"key":"a","value":"OQ==","revision":7,"version":3,"created":2}]}`},
		{"DELETE", "/v1/kv?from=a&to=c&at_most=1", "", []string{api.HeaderIdempotencyKey, "range"}, 200, `{"deleted":1,"revision":11}`},
		{"DELETE", "/v1/kv?from=a&to=c&at_most=1", "", []string{api.HeaderIdempotencyKey, "range"}, 200, `{"deleted":1,"revision":11}`},
		{"DELETE", "/v1/kv?prefix=&all", "", nil, 200, `{"deleted":2,"revision":12}`},
		txnPost(`{"then":[{"op":"put","key_base64":"/w==","value":"/w=="},{"op":"get","key_base64":"/w=="}]}`, 200,
			`{"succeeded":true,"revision":13,"results":[{"version":1,"length":1},{"item":{"key_base64":"/w==","value":"/w==","revision":13,"version":1,"created":13}}]}`),
		// An answer that is longer than those of other writes.
		{"POST", "/v1/txn?text", `{"then":[{"op":"put","key":"l","text":"` + long + `"},{"op":"get","key":"l"}]}`, asJSON, 200,
			`{"succeeded":true,"revision":14,"results":[{"version":1,"length":100000},{"item":{"key":"l","text":"` + long + `","revision":14,"version":1,"created":14}}]}`},
	}
}

// Goal (T3, T4, T5, T6, T7, D1, D2, D3): over HTTP transactions, removals of ranges and
// previous values are what the contract says, at the leader and through a follower alike.
// Method: one run, step by step, at a server of its own and through a node that does not
// lead.
func TestTransactionsOverHTTP(t *testing.T) {
	t.Run("leader", func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		for i, step := range txnSteps() {
			step.check(t, fmt.Sprint("step ", i), ask(s, step.method, step.target, step.body, step.header...))
		}
	})
	for _, frames := range []bool{false, true} {
		t.Run(fmt.Sprint("follower, frames ", frames), func(t *testing.T) {
			p := newPairWith(t, func(c *settings) {
				c.frames = frames
				atLevel3(c)
			})
			for i, step := range txnSteps() {
				if step.method == "GET" || strings.HasPrefix(step.target, txnPath) && !strings.Contains(step.body, "put") && step.status == 200 {
					continue // the follower of this pair applies nothing, and serves reads itself
				}
				step.check(t, fmt.Sprint("step ", i), send(t, step.method, p.url+step.target, step.body, step.header...))
			}
		})
	}
}

// Goal (T8): a transaction without a write takes no entry of the log, whichever branches
// it has; one with a write in a branch that is not taken does.
// Method: the log counts what is proposed.
func TestATransactionOfReadsIsNotProposed(t *testing.T) {
	s, log := newServer(t, atLevel3)
	for _, c := range []struct {
		body string
		want int
	}{
		{`{"then":[{"op":"get","key":"a"}],"else":[{"op":"txn","then":[{"op":"list","prefix":""}]}]}`, 0},
		{`{}`, 0},
		{`{"then":[{"op":"get","key":"a"}],"else":[{"op":"txn","then":[{"op":"delete","key":"a"}]}]}`, 1},
	} {
		before := log.Attempts()
		wantStatus(t, ask(s, "POST", "/v1/txn", c.body, asJSON...), 200)
		if got := log.Attempts() - before; got != c.want {
			t.Errorf("%s: %d entries, want %d", c.body, got, c.want)
		}
	}
}

// Goal: below the level of the history nothing of this is put into the log: 501
// not_active. Method: a server at level 2.
func TestTransactionsNeedALevel(t *testing.T) {
	s, log := newServer(t, func(c *settings) { c.LeaderWait = 10 * time.Millisecond })
	wantStatus(t, ask(s, "PUT", "/v1/kv/k", "v"), 201)
	before := log.Attempts()
	for _, step := range []txnStep{
		txnPost(`{"then":[{"op":"put","key":"k","text":"x"}]}`, 501, "not_active"),
		txnPost(`{"then":[{"op":"get","key":"k"}]}`, 501, "not_active"),
		{"DELETE", "/v1/kv?prefix=k", "", nil, 501, "not_active"},
		{"PUT", "/v1/kv/k?prev", "x", nil, 501, "not_active"},
		{"POST", "/v1/kv/k?op=append&prev", "x", nil, 501, "not_active"},
		{"DELETE", "/v1/kv/k?prev", "", nil, 501, "not_active"},
	} {
		step.check(t, "level 2", ask(s, step.method, step.target, step.body, step.header...))
	}
	if n := log.Attempts() - before; n != 0 {
		t.Errorf("%d commands were proposed", n)
	}
}

// Goal (T3, W4): a transaction is one change of a watch, with its net events in the order
// in which its operations wrote first. Method: a transaction of all kinds of changes, and
// the watch from before it.
func TestATransactionIsOneChangeOfAWatch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		for _, key := range []string{"w%2Fa", "w%2Fb", "w%2Fc"} {
			wantStatus(t, ask(s, "PUT", "/v1/kv/"+key, "old"), 201)
		}
		wantStatus(t, ask(s, "POST", "/v1/txn", `{"then":[{"op":"put","key":"w/z","text":"new"},{"op":"delete","prefix":"w/"},{"op":"put","key":"w/b","text":"again"},
			{"op":"put","key":"w/y","text":"gone"},{"op":"delete","key":"w/y"},{"op":"put","key":"w/a","text":"1"},{"op":"put","key":"w/d","text":"2"}]}`, asJSON...), 200)
		wantStatus(t, ask(s, "DELETE", "/v1/kv?from=w/b&to=w/e", ""), 200)
		w := follow(t, s, anyTime+"prefix=w/&after=4&text")
		w.expect("open", "4", `{"revision":6,"oldest":1,"node":"n1"}`)
		w.expect("change", "5", `{"revision":5,"events":[{"op":"put","key":"w/a","text":"1","version":1,"created":5},`+
			`{"op":"put","key":"w/b","text":"again","version":1,"created":5},{"op":"delete","key":"w/c"},{"op":"put","key":"w/d","text":"2","version":1,"created":5}]}`)
		w.expect("change", "6", `{"revision":6,"events":[{"op":"delete","key":"w/b"},{"op":"delete","key":"w/d"}]}`)
	})
}

// Goal (H1, H2, H3, H4): a read at a revision shows the store as it was, needs no
// confirmation by others, waits for what is still to come, and is 410 when the history
// does not reach so far; the pages of a pinned list show one state, and say where a list
// goes on whose state has gone.
// Method: writes and reads at a server whose log confirms no reads while the past is
// asked for; then the history forgets.
func TestReadsOfThePast(t *testing.T) {
	s, log := newServer(t, func(c *settings) {
		atLevel3(c)
		c.RequestTimeout = 100 * time.Millisecond
	})
	for _, r := range [][3]string{{"PUT", "/v1/kv/a", "1"}, {"PUT", "/v1/kv/b", "2"}, {"PUT", "/v1/kv/c", "3"}, {"DELETE", "/v1/kv/a", ""}, {"PUT", "/v1/kv/b", "4"}, {"PUT", "/v1/kv/d", "5"}} {
		ask(s, r[0], r[1], r[2])
	}
	pinned := ask(s, "GET", "/v1/kv?pin&limit=1&consistency=linearizable", "")
	var page api.Page
	if err := json.Unmarshal([]byte(pinned.body), &page); err != nil || page.Next != "/v1/kv?after=b&at_revision=7&limit=1" {
		t.Fatalf("%v: %s", err, pinned.body)
	}
	ask(s, "DELETE", "/v1/kv?prefix=&all", "")
	log.Mu.Lock()
	log.OnRead = func(context.Context) (uint64, error) { return 0, errors.New("nobody confirms anything") }
	log.Mu.Unlock()
	const whole = `{"items":[{"key":"b","value":"NA==","revision":6,"version":2,"created":3},{"key":"c","value":"Mw==","revision":4,"version":1,"created":4},{"key":"d","value":"NQ==","revision":7,"version":1,"created":7}],"revision":7}`
	for _, step := range []txnStep{
		{"GET", "/v1/kv/a?at_revision=2", "", nil, 200, "1"},
		{"GET", "/v1/kv/a?at_revision=4", "", nil, 200, "1"},
		{"GET", "/v1/kv/a?at_revision=5", "", nil, 404, "revision 5"},
		{"GET", "/v1/kv/b?at_revision=2", "", nil, 404, "revision 2"},
		{"GET", "/v1/kv/b?at_revision=5", "", []string{"Accept", api.MediaJSON}, 200, `{"key":"b","value":"Mg==","revision":3,"version":1,"created":3}`},
		{"GET", "/v1/kv?at_revision=7", "", nil, 200, whole},
		{"GET", "/v1/kv?at_revision=0", "", nil, 200, `{"items":[],"revision":0}`},
		{"GET", "/v1/kv?at_revision=8&prefix=b", "", nil, 200, `{"items":[],"revision":8}`},
		{"GET", page.Next, "", nil, 200, `{"items":[{"key":"c","value":"Mw==","revision":4,"version":1,"created":4}],"revision":7,"next":"/v1/kv?after=c\u0026at_revision=7\u0026limit=1"}`},
		{"GET", "/v1/kv?at_revision=4&keys_only", "", []string{"Accept", api.MediaNDJSON}, 200,
			`{"key":"a","revision":2,"version":1,"created":2}` + "\n" + `{"key":"b","revision":3,"version":1,"created":3}` + "\n" + `{"key":"c","revision":4,"version":1,"created":4}`},
		{"GET", "/v1/kv/a?at_revision=9", "", nil, 503, "behind"},
		{"GET", "/v1/kv/a?at_revision=2&consistency=stale", "", nil, 400, "consistency"},
		{"GET", "/v1/kv?at_revision=2&pin", "", nil, 400, "pin"},
	} {
		step.want = strings.ReplaceAll(step.want, `\u0026`, "&")
		a := ask(s, step.method, step.target, step.body, step.header...)
		step.check(t, "the past", a)
		if a.status == 200 && a.header.Get(api.HeaderConsistency) != "pinned" {
			t.Errorf("%s: consistency %q", step.target, a.header.Get(api.HeaderConsistency))
		}
	}
	if a := ask(s, "GET", "/v1/kv/a", ""); a.status != 503 && a.status != 504 {
		t.Errorf("void: a read of now is confirmed: %d", a.status)
	}
	if _, err := s.Machine().Propose(t.Context(), kv.Forget(6)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []txnStep{
		{"GET", "/v1/kv/b?at_revision=4", "", nil, 410, `"oldest": 6`},
		{"GET", "/v1/kv/b?at_revision=5", "", nil, 200, "2"},
		{"GET", "/v1/kv?at_revision=4&after=a&limit=1", "", nil, 410, `"next": "/v1/kv?after=a&limit=1"`},
		{"GET", "/v1/kv?at_revision=4", "", []string{"Accept", api.MediaNDJSON}, 410, "revision_gone"},
	} {
		step.check(t, "gone", ask(s, step.method, step.target, step.body, step.header...))
	}
}
