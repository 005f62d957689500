package httpd

import (
	"bufio"
	"bytes"
	"context"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
)

// Goal (S16): a request that is refused because its caller has as many in flight as it may
// ends none of those, so that the next one is refused likewise; when one is answered, its
// client may make the next at once.
// Method: an identity with one request in flight, a read that waits for the log, and others
// on its connection and on another; then many reads, each behind the answer to the one before.
func TestARefusedRequestEndsNoOtherOfItsCaller(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log, root, user := enforced(t, nil)
		limitUser(t, s, root, auth.Limits{InFlight: 1})
		confirmed := make(chan struct{})
		log.Reading(func(ctx context.Context) (uint64, error) {
			select {
			case <-confirmed:
				return 0, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		})
		get := clerkwire.AppendFrame(nil, clerkwire.KindGet, 1, clerkwire.Get{Key: []byte("a/1")})
		c, _ := dialRaw(t, s, user)
		if _, err := c.conn.Write(get); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.last = 1
		for i := range 3 {
			if code, _ := askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte("a/1"), Consistency: clerkwire.Stale}); code != api.CodeIdentityLimited {
				t.Errorf("request %d beside the one in flight: %q", i+1, code)
			}
			wantProblem(t, ask(s, "GET", "/v1/kv/a/1", "", as(user)...), 429, api.CodeIdentityLimited, api.OutcomeNotApplied)
		}
		close(confirmed)
		if h, _ := nextFrame(t, c); h.Number != 1 || h.Kind != clerkwire.KindGot {
			t.Fatalf("the read that waited is answered with %+v", h)
		}
		for i := range 500 {
			if code, _ := askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte("a/1")}); code != "" {
				t.Fatalf("read %d behind the answer to the one before: %q", i+1, code)
			}
		}
	})
}

// Goal (S16): what a client asked for and did not wait for counts for its identity no longer
// than its connection lasts.
// Method: an identity with one request in flight asks for the bookmark of a watch that has no
// credit left, and hangs up.
func TestABookmarkThatNobodyWaitsForEndsWithTheConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		limitUser(t, s, root, auth.Limits{InFlight: 1})
		c, _ := dialRaw(t, s, user)
		if code, _ := askFrame(t, c, clerkwire.KindWatch, clerkwire.Watch{Prefixes: [][]byte{[]byte("a/")}, ProgressMs: 60_000}); code != "" {
			t.Fatal(code)
		}
		number := c.last
		wantStatus(t, ask(s, "PUT", "/v1/kv/a/1", string(bytes.Repeat([]byte("v"), clerkwire.FirstCredit)), as(root)...), 201)
		synctest.Wait()
		if _, err := c.conn.Write(clerkwire.AppendFrame(nil, clerkwire.KindSync, number+1, clerkwire.Sync{Watch: number})); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wantProblem(t, ask(s, "GET", "/v1/kv/a/1", "", as(user)...), 429, api.CodeIdentityLimited, api.OutcomeNotApplied)
		c.conn.Close()
		synctest.Wait()
		wantStatus(t, ask(s, "GET", "/v1/kv/a/1", "", as(user)...), 200)
	})
}

// whole is a client that makes its next request when it has the last byte of an answer. It
// keeps what net/http keeps.
type whole struct {
	*httptest.ResponseRecorder
	kept *bufio.Writer
}

func (w *whole) Write(b []byte) (int, error) { return w.kept.Write(b) }

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// Goal (S16): over HTTP, too, a client that has its answer may make the next request at once,
// also where the answer is so large that it leaves before its handler ends.
// Method: an identity with one request in flight reads a value, raw and as JSON, and is
// looked at when the last byte is written.
func TestAnAnswerThatIsReadCountsNoMore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		status := 201
		for _, size := range []int{1, bufferBytes, bufferBytes + 1, 100_000} {
			limitUser(t, s, root, auth.Limits{})
			wantStatus(t, ask(s, "PUT", "/v1/kv/a/1", string(bytes.Repeat([]byte("v"), size)), as(user)...), status)
			status = 200
			for _, accept := range []string{"*/*", api.MediaJSON} {
				limitUser(t, s, root, auth.Limits{})
				length := len(ask(s, "GET", "/v1/kv/a/1", "", append(as(user), "Accept", accept)...).body)
				limitUser(t, s, root, auth.Limits{InFlight: 1})
				seen := false
				w := &whole{ResponseRecorder: httptest.NewRecorder()}
				w.kept = bufio.NewWriterSize(writerFunc(func(b []byte) (int, error) {
					n, err := w.Body.Write(b)
					if w.Body.Len() == length {
						seen = true
						if err := s.Gate().Enter(callerOf(t, s, user), 0); err != nil {
							t.Errorf("%d bytes as %s: %v", length, accept, err)
						} else {
							s.Gate().Leave(callerOf(t, s, user), 1)
						}
					}
					return n, err
				}), bufferBytes)
				r := httptest.NewRequest("GET", "/v1/kv/a/1", nil)
				r.Header.Set("Accept", accept)
				for i, h := 0, as(user); i < len(h); i += 2 {
					r.Header.Set(h[i], h[i+1])
				}
				s.Handler().ServeHTTP(w, r)
				if err := w.kept.Flush(); err != nil || !seen {
					t.Errorf("%d bytes as %s: there were %d", length, accept, w.Body.Len())
				}
			}
		}
	})
}

// Goal (S16): a Clerk's waits for locks are as many as its identity may have watches, since
// each takes a place among those of the node; when one ends, there may be another.
// Method: an identity with one watch, whose lease waits for a lock of another one, asks twice
// on one connection to wait on; then it gets the lock, and asks once more.
func TestWaitsForLocksAreNoMoreThanAnIdentityMayHave(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, _ := enforced(t, nil)
		rules := []auth.Rule{{Space: auth.Locks, Text: "jobs/", Rights: auth.RightsOf(auth.Acquire)}, {Space: auth.Keys, Text: "jobs/", Rights: auth.RightsOf(auth.Lease)}}
		worker := newIdentityBy(t, s, callerOf(t, s, root), "worker", "worker00", rules...)
		change(t, s, callerOf(t, s, root), auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "worker", Rules: rules, Limits: auth.Limits{Watches: 1}}})
		c, wait, holds := queueForLock(t, s, root, worker, 60_000)
		first := c.last + 1
		c.last = first
		if _, err := c.conn.Write(clerkwire.AppendFrame(nil, clerkwire.KindAcquire, first, wait)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if code, _ := askFrame(t, c, clerkwire.KindAcquire, wait); code != api.CodeIdentityLimited {
			t.Errorf("a second wait beside the first: %q", code)
		}
		wantStatus(t, ask(s, "DELETE", "/v1/locks/jobs%2F1?token="+number(holds), "", as(root)...), 204)
		if h, _ := nextFrame(t, c); h.Number != first || h.Kind != clerkwire.KindAcquired {
			t.Errorf("the first wait ends with %+v", h)
		}
		if code, _ := askFrame(t, c, clerkwire.KindAcquire, wait); code != "" {
			t.Errorf("a wait behind the end of the first: %q", code)
		}
		c.conn.Close()
	})
}
