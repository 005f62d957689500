package httpd

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/raft"
)

// jsonAs is the header of a token and of a body of JSON.
func jsonAs(token string) []string { return append(as(token), "Content-Type", api.MediaJSON) }

// Goal (S6): a request that waits for a lock ends when its token is revoked, holds nothing, and
// has given its place up: the lock goes to whoever waits behind it, and to nobody if nobody
// does. Method: a worker waits behind root, its token is revoked, and root releases the lock.
func TestAWaitForALockOverHTTPEndsWithItsToken(t *testing.T) {
	for _, key := range []string{"", "again"} {
		inBubble(t, func(t *testing.T) {
			s, _, root, _ := enforced(t, nil)
			worker := newIdentityBy(t, s, callerOf(t, s, root), "worker", "worker00", auth.Rule{Space: auth.Locks, Text: "jobs", Rights: auth.RightsOf(auth.Acquire, auth.Lease)})
			a := ask(s, "POST", "/v1/locks/jobs", `{"ttl":"600s"}`, jsonAs(root)...)
			wantStatus(t, a, 200)
			held := acquired(t, a)
			header := jsonAs(worker)
			if key != "" {
				header = append(header, api.HeaderIdempotencyKey, key)
			}
			answers := make(chan answer, 1)
			go func() { answers <- ask(s, "POST", "/v1/locks/jobs?wait=60s", `{"ttl":"3600s"}`, header...) }()
			time.Sleep(time.Second)
			if d := s.Machine().Describe(); d.LocksWaiting != 1 {
				t.Fatalf("void: %d wait", d.LocksWaiting)
			}
			revoke(t, s, root, worker)
			synctest.Wait()
			select {
			case a := <-answers:
				wantProblem(t, a, 401, api.CodeUnauthenticated, api.OutcomeNotApplied)
			default:
				t.Fatal("it waits on behind its token")
			}
			wantStatus(t, ask(s, "DELETE", fmt.Sprintf("/v1/locks/jobs?token=%d", held.Token), "", as(root)...), 204)
			time.Sleep(time.Second)
			if d := s.Machine().Describe(); d.LocksWaiting != 0 || d.LocksHeld != 0 {
				t.Errorf("with key %q: %d locks are held, and %d wait", key, d.LocksHeld, d.LocksWaiting)
			}
		})
	}
}

// slowBody is a body of which the end comes when it is told to.
type slowBody struct {
	text io.Reader
	wait chan struct{}
}

func (b *slowBody) Read(p []byte) (int, error) {
	<-b.wait
	return b.text.Read(p)
}

// Goal (S5): an act is decided once more when its body has come and a leader is there: a
// token that was revoked meanwhile does nothing. Method: leadership is to be handed over, where
// there is no other node: the request is refused for that, and behind the revocation for its token.
func TestAnActIsDecidedWhenItsBodyHasCome(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, _ := enforced(t, nil)
		mover := newIdentityBy(t, s, callerOf(t, s, root), "mover", "mover000", auth.Rule{Rights: auth.RightsOf(auth.Members)})
		send := func() (*httptest.ResponseRecorder, chan struct{}, chan struct{}) {
			body := &slowBody{strings.NewReader(`{"to":"n2"}`), make(chan struct{})}
			r := httptest.NewRequest("POST", "/v1/leader", body)
			r.ContentLength = int64(len(`{"to":"n2"}`))
			r.Header.Set("Content-Type", api.MediaJSON)
			r.Header.Set("Content-Length", fmt.Sprint(r.ContentLength))
			r.Header.Set("Authorization", "Bearer "+mover)
			w, done := httptest.NewRecorder(), make(chan struct{})
			go func() { defer close(done); s.Handler().ServeHTTP(w, r) }()
			synctest.Wait()
			return w, body.wait, done
		}
		w, come, done := send()
		close(come)
		<-done
		if w.Code != 400 || !strings.Contains(w.Body.String(), "no other node") {
			t.Fatalf("void: before, %d %s", w.Code, w.Body)
		}
		w, come, done = send()
		revoke(t, s, root, mover)
		close(come)
		<-done
		if w.Code != 401 {
			t.Errorf("behind the revocation: %d %s", w.Code, w.Body)
		}
	})
}

// Goal (S16): limits that an admin sets bind a Clerk's connection that stands. Method: gets on
// it before and after its identity may make one request a second.
func TestChangedLimitsReachAClerksConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		c, _ := dialRaw(t, s, user)
		count := func() (refused int) {
			for range 10 {
				if code, _ := askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte("a/1")}); code == api.CodeIdentityLimited {
					refused++
				}
			}
			return refused
		}
		if n := count(); n != 0 {
			t.Fatalf("void: without limits %d gets are refused", n)
		}
		change(t, s, callerOf(t, s, root), auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "user", Rules: []auth.Rule{onA}, Limits: auth.Limits{RequestsPerSecond: 1}}})
		if n := count(); n != 9 {
			t.Errorf("with one request a second %d of ten gets are refused, want 9", n)
		}
	})
}

// Goal (S14): a read of a range that has keys with the audited prefix has a line, however the
// range is written and through whichever door; one that has none of them has no line. Method:
// reads of both kinds, and the lines that they leave.
func TestReadsAreAuditedByTheRangeThatIsRead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file, Reads: "s/", ReadsToo: true})
		s, _, root, _ := enforced(t, func(c *settings) { c.Access.Audit = audit })
		wantStatus(t, ask(s, "PUT", "/v1/kv/s/1", "v", as(root)...), 201)
		c, _ := dialRaw(t, s, root)
		lines := func() int { synctest.Wait(); return len(file.lines(t)) }
		over := func(target string) func() {
			return func() { wantStatus(t, ask(s, "GET", target, "", as(root)...), 200) }
		}
		frame := func(ask func() api.Code) func() {
			return func() {
				if code := ask(); code != "" {
					t.Errorf("a frame is answered %q", code)
				}
			}
		}
		get := func(key string) func() {
			return frame(func() api.Code {
				code, _ := askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte(key)})
				if code == api.CodeKeyNotFound {
					code = ""
				}
				return code
			})
		}
		list := func(l clerkwire.List) func() {
			return frame(func() api.Code { code, _ := askFrame(t, c, clerkwire.KindList, l); return code })
		}
		for _, r := range []struct {
			name string
			read func()
			want int
		}{
			{"a key", over("/v1/kv/s/1"), 1}, {"all keys", over("/v1/kv"), 1}, {"a shorter prefix", over("/v1/kv?prefix=s"), 1},
			{"a longer prefix", over("/v1/kv?prefix=s/1"), 1}, {"another prefix", over("/v1/kv?prefix=t"), 0},
			{"a range around it", over("/v1/kv?from=a&to=z"), 1}, {"a range in it", over("/v1/kv?from=s/0&to=s/2"), 1},
			{"a range before it", over("/v1/kv?from=a&to=s/"), 0}, {"a range behind it", over("/v1/kv?from=s0&to=z"), 0},
			{"a key, by frame", get("s/1"), 1}, {"another key, by frame", get("t/1"), 0},
			{"all keys, by frame", list(clerkwire.List{Limit: 10}), 1}, {"another prefix, by frame", list(clerkwire.List{Prefix: []byte("t"), Limit: 10}), 0},
		} {
			before := lines()
			r.read()
			if got := lines() - before; got != r.want {
				t.Errorf("%s: %d lines, want %d", r.name, got, r.want)
			}
		}
		c.conn.Close()
		audit.Close()
	})
}

// acquired is what an answer says of a lock.
func acquired(t *testing.T, a answer) (held api.Acquired) {
	t.Helper()
	a.read(t, &held)
	return held
}

// Goal (S6): a request that has lost its place in the queue of a lock with another copy of it,
// and asks for a new one, is refused like any other if its token is revoked before the log brings
// that: it is not told that nobody knows what became of it.
// Method: two copies under one key wait; one is abandoned, and the log brings the revocation
// before what the other one asks for.
func TestARequestForALockThatIsMadeOnceMoreEndsWithItsToken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log, root, _ := enforced(t, nil)
		worker := newIdentityBy(t, s, callerOf(t, s, root), "worker", "worker00", auth.Rule{Space: auth.Locks, Text: "jobs", Rights: auth.RightsOf(auth.Acquire, auth.Lease)})
		wantStatus(t, ask(s, "POST", "/v1/locks/jobs", `{"ttl":"600s"}`, jsonAs(root)...), 200)
		header := append(jsonAs(worker), api.HeaderIdempotencyKey, "once")
		goesOn := later(func() answer { return ask(s, "POST", "/v1/locks/jobs?wait=60s", `{"ttl":"90s"}`, header...) })
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		gone := later(func() answer { return askCtx(ctx, s, "POST", "/v1/locks/jobs?wait=60s", `{"ttl":"90s"}`, header...) })
		synctest.Wait()
		proposed := 0
		log.Decide(func(p *raft.Proposal) {
			if proposed++; proposed == 2 { // the first takes the abandoned copy out of the queue
				log.Deliver(revocation(t, s, root, worker))
			}
			log.Choose(p)
		})
		leave()
		<-gone
		wantProblem(t, <-goesOn, 403, api.CodeForbidden, api.OutcomeNotApplied)
		if proposed < 2 {
			t.Fatalf("void: %d proposals", proposed)
		}
	})
}
