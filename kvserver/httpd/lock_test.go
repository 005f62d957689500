package httpd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// acquire asks for a lock.
func acquire(t *testing.T, s *testServer, target, body string) api.Acquired {
	t.Helper()
	a := askJSON(s, "POST", "/v1/locks/"+target, body)
	wantStatus(t, a, 200)
	var got api.Acquired
	a.read(t, &got)
	return got
}

// Goal (K2, K3, K4, K8): over HTTP a lock is acquired, waited for in order, shown, published
// and released; its events show each holder, and why it went.
// Method: virtual time; each call of docs/coordination.md, and a watch of the lock.
func TestTheLifeOfALock(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		first := acquire(t, s, "jobs%2F1", `{"ttl":"10s","text":"here"}`)
		if first.Lock != "jobs/1" || first.Token != 2 {
			t.Errorf("acquired: %+v", first)
		}
		second := grant(t, s, `{"ttl":"4s","note":"worker 2"}`)
		answers := make(chan answer, 2)
		for _, id := range []int64{second, grant(t, s, `{"ttl":"30s"}`)} {
			go func() { answers <- askJSON(s, "POST", "/v1/locks/jobs%2F1?wait=60s", fmt.Sprintf(`{"lease":%d}`, id)) }()
			time.Sleep(time.Second)
		}
		var l api.Lock
		ask(s, "GET", "/v1/locks/jobs%2F1?text", "").read(t, &l)
		if l.Limit != 1 || l.Waiting != 2 || len(l.Holders) != 1 || *l.Holders[0].Text != "here" || l.Holders[0].Token != 2 {
			t.Errorf("shown: %+v", l)
		}
		held := askJSON(s, "POST", "/v1/locks/jobs%2F1", `{"ttl":"10s"}`)
		wantProblem(t, held, 409, api.CodeLockHeld, api.OutcomeNotApplied)
		if !strings.Contains(held.body, `"token": 2,`) {
			t.Errorf("who holds it is not said: %s", held.body)
		}
		wantStatus(t, ask(s, "PUT", "/v1/locks/jobs%2F1?token=2", "there"), 200)
		wantStatus(t, ask(s, "DELETE", "/v1/locks/jobs%2F1?token=2", ""), 204)
		wantProblem(t, ask(s, "DELETE", "/v1/locks/jobs%2F1?token=2", ""), 412, api.CodeLockLost, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "PUT", "/v1/locks/jobs%2F1?token=2", "x"), 412, api.CodeLockLost, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "GET", "/v1/locks/jobs%2F1?token=2", ""), 412, api.CodeLockLost, api.OutcomeNotApplied)
		var next api.Acquired
		(<-answers).read(t, &next)
		if next.Lease != second || next.Token != 5 {
			t.Errorf("then it is %+v", next)
		}
		// Nothing keeps the second lease any more. That of the third is kept by its request.
		time.Sleep(6 * time.Second)
		(<-answers).read(t, &next)
		if next.Token != 7 {
			t.Errorf("then it is %+v", next)
		}
		wantStatus(t, ask(s, "DELETE", fmt.Sprintf("/v1/leases/%d", next.Lease), ""), 204)
		wantProblem(t, ask(s, "GET", "/v1/locks/jobs%2F1", ""), 404, api.CodeLockNotFound, "")
		w := follow(t, s, "lock=jobs%2F1&after=1&text")
		var seen []string
		for len(seen) < 7 {
			if e := w.next(); e.name == "change" {
				seen = append(seen, e.data)
			}
		}
		want := []string{
			`"op":"granted","lock":"jobs/1","token":2,"lease":` + fmt.Sprint(first.Lease) + `,"text":"here"}`, `"token":2,`, `"reason":"released"}`,
			`"op":"granted","lock":"jobs/1","token":5`, `"reason":"expired"`, `"token":7`, `"reason":"revoked"`,
		}
		for i := range want {
			if !strings.Contains(seen[i], want[i]) {
				t.Errorf("event %d is %s, want %s", i, seen[i], want[i])
			}
		}
	})
}

// Goal (K7, K11): a request that waits leaves the queue at the end of its time, through the
// log, and then holds nothing; a client that goes away leaves it, too, and a lease made by
// its request ends. While it waits, its lease lives and nothing but keep-alives is written.
// Method: virtual time; three requests with leases of their own, of which one ends, one is
// given up by its client, and one outlives its TTL.
func TestARequestThatWaitsLeavesTheQueue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		first := acquire(t, s, "a", `{"ttl":"600s"}`)
		begun := time.Now()
		wantProblem(t, askJSON(s, "POST", "/v1/locks/a?wait=30s", `{"ttl":"9s"}`), 409, api.CodeLockHeld, api.OutcomeNotApplied)
		if took := time.Since(begun); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("it waited for %v", took)
		}
		if d := s.Machine().Describe(); d.LocksWaiting != 0 || d.Leases != 1 {
			t.Errorf("then %d wait, and there are %d leases", d.LocksWaiting, d.Leases)
		}
		ctx, leave := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			askCtx(ctx, s, "POST", "/v1/locks/a?wait=60s", `{"ttl":"9s"}`, "Content-Type", api.MediaJSON)
		}()
		time.Sleep(20 * time.Second)
		if d := s.Machine().Describe(); d.LocksWaiting != 1 || d.Leases != 2 {
			t.Errorf("while it waits %d wait, and there are %d leases", d.LocksWaiting, d.Leases)
		}
		leave()
		<-gone
		time.Sleep(time.Second)
		if d := s.Machine().Describe(); d.LocksWaiting != 0 || d.Leases != 1 {
			t.Errorf("behind a client that is gone %d wait, and there are %d leases", d.LocksWaiting, d.Leases)
		}
		before := log.Attempts()
		answers := make(chan answer)
		go func() { answers <- askJSON(s, "POST", "/v1/locks/a?wait=60s", `{"ttl":"9s"}`) }()
		time.Sleep(30 * time.Second)
		// One request, a keep-alive every three seconds, and the ticks.
		if n := log.Attempts() - before; n > 1+11+61 {
			t.Errorf("while it waited %d commands were proposed", n)
		}
		wantStatus(t, ask(s, "DELETE", fmt.Sprintf("/v1/locks/a?token=%d", first.Token), ""), 204)
		synctest.Wait()
		select {
		case a := <-answers:
			wantStatus(t, a, 200)
		default:
			t.Error("a release does not wake it at once")
		}
	})
}

// Goal (K7): a client that goes away while it waits holds nothing, though the grant came
// first: the lock is released at once, whatever its delay, and the lease that was made for it
// ends. Under an idempotency key it may come back: it finds the grant, or it waits anew.
// Method: the client goes, and what its request then writes is held back until the grant has
// come; the same under a key; and a client under a key that goes while others hold the lock.
func TestAClientThatIsGoneHoldsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		const body = `{"ttl":"60s","delay":"60s"}`
		abandon := func(body string, key ...string) (gone <-chan struct{}, leave func()) {
			ctx, leave := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				askCtx(ctx, s, "POST", "/v1/locks/a?wait=60s", body, append(key, "Content-Type", api.MediaJSON)...)
			}()
			synctest.Wait()
			return ended, leave
		}
		granted := func(key ...string) { // a client is gone, and then it is granted the lock
			first := acquire(t, s, "a", `{"ttl":"600s"}`)
			gone, leave := abandon(body, key...)
			held := make(chan *raft.Proposal, 1)
			log.Decide(func(p *raft.Proposal) {
				if c, err := kv.DecodeCommand(p.Command); err == nil && c.Op == kv.OpLeaveQueue {
					held <- p
					return
				}
				log.Choose(p)
			})
			leave()
			p := <-held
			log.Decide(nil)
			wantStatus(t, ask(s, "DELETE", fmt.Sprintf("/v1/locks/a?token=%d", first.Token), ""), 204)
			log.Choose(p)
			<-gone
			wantStatus(t, ask(s, "DELETE", fmt.Sprintf("/v1/leases/%d", first.Lease), ""), 204)
		}
		granted()
		if d := s.Machine().Describe(); d.LocksHeld != 0 || d.Leases != 0 {
			t.Errorf("%d hold the lock, and there are %d leases", d.LocksHeld, d.Leases)
		}
		granted(api.HeaderIdempotencyKey, "one")
		again := askJSON(s, "POST", "/v1/locks/a?wait=60s", body, api.HeaderIdempotencyKey, "one")
		wantStatus(t, again, 200)
		var got api.Acquired
		again.read(t, &got)
		own := fmt.Sprintf(`{"lease":%d}`, grant(t, s, `{"ttl":"1h"}`))
		for key, body := range map[string]string{"two": body, "three": own} {
			leases := s.Machine().Describe().Leases
			gone, leave := abandon(body, api.HeaderIdempotencyKey, key)
			leave()
			<-gone
			if d := s.Machine().Describe(); d.LocksWaiting != 0 || d.Leases != leases {
				t.Errorf("behind a client that is gone %d wait, and there are %d leases", d.LocksWaiting, d.Leases)
			}
			back := later(func() answer {
				return askJSON(s, "POST", "/v1/locks/a?wait=60s", body, api.HeaderIdempotencyKey, key)
			})
			synctest.Wait()
			wantStatus(t, ask(s, "DELETE", fmt.Sprintf("/v1/locks/a?token=%d", got.Token), ""), 204)
			again = <-back
			wantStatus(t, again, 200)
			again.read(t, &got)
		}
	})
}

// Goal (K7): a request that waits under an idempotency key goes on when the client of another
// request goes away that has the same lease, or of another copy of it: the lease has left the
// queue with that, and nobody meant this one. What its own client ends is over: a repetition is
// told so at once, and is told to take another key, under which it waits.
// Method: two requests under two keys with one lease, and two copies of a request with a lease
// that is made for it, of which one is abandoned; then the lease is taken out of the queue by a
// DELETE under another key.
func TestAnAbandonedRequestTakesNoOtherAlong(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		lease := grant(t, s, `{"ttl":"1h"}`)
		own, wait := fmt.Sprintf(`{"lease":%d}`, lease), "/v1/locks/a?wait=60s"
		for name, c := range map[string]struct{ body, key, other string }{
			"another request of the lease": {own, "one", "two"},
			"a copy of the request":        {`{"ttl":"90s"}`, "three", "three"},
		} {
			first := acquire(t, s, "a", `{"ttl":"600s"}`)
			goesOn := later(func() answer { return askJSON(s, "POST", wait, c.body, api.HeaderIdempotencyKey, c.key) })
			synctest.Wait()
			ctx, leave := context.WithCancel(t.Context())
			gone := later(func() answer {
				return askCtx(ctx, s, "POST", wait, c.body, "Content-Type", api.MediaJSON, api.HeaderIdempotencyKey, c.other)
			})
			synctest.Wait()
			leave()
			<-gone
			wantSilence(t, goesOn)
			if d := s.Machine().Describe(); d.LocksWaiting != 1 {
				t.Errorf("%s is gone, and %d wait", name, d.LocksWaiting)
			}
			wantStatus(t, ask(s, "DELETE", fmt.Sprintf("/v1/locks/a?token=%d", first.Token), ""), 204)
			a := <-goesOn
			wantStatus(t, a, 200)
			var got api.Acquired
			a.read(t, &got)
			wantStatus(t, ask(s, "DELETE", fmt.Sprintf("/v1/locks/a?token=%d", got.Token), ""), 204)
		}
		first := acquire(t, s, "a", `{"ttl":"600s"}`)
		waits := later(func() answer { return askJSON(s, "POST", wait, own, api.HeaderIdempotencyKey, "four") })
		synctest.Wait()
		wantStatus(t, ask(s, "DELETE", fmt.Sprintf("/v1/locks/a?lease=%d", lease), "", api.HeaderIdempotencyKey, "five"), 204)
		for _, a := range []answer{<-waits, askJSON(s, "POST", wait, own, api.HeaderIdempotencyKey, "four")} {
			if p := wantProblem(t, a, 409, api.CodeLockHeld, api.OutcomeNotApplied); !strings.Contains(p.Detail, "under another key") {
				t.Errorf("what is over is told as %q", p.Detail)
			}
		}
		waits = later(func() answer { return askJSON(s, "POST", wait, own, api.HeaderIdempotencyKey, "six") })
		synctest.Wait()
		wantStatus(t, ask(s, "DELETE", fmt.Sprintf("/v1/locks/a?token=%d", first.Token), ""), 204)
		wantStatus(t, <-waits, 200)
	})
}

// Goal (K7): the same request, with the same idempotency key or the same lease, settles what
// is not known, and keeps the place in the queue.
// Method: a request that waits twice under one key, and once more when it holds the lock.
func TestTheSameRequestSettlesWhoHoldsALock(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		first := acquire(t, s, "a", `{"ttl":"600s"}`)
		answers := make(chan answer, 2)
		wait := func() {
			answers <- askJSON(s, "POST", "/v1/locks/a?wait=60s", `{"ttl":"90s"}`, api.HeaderIdempotencyKey, "one")
		}
		go wait()
		time.Sleep(time.Second)
		go wait()
		time.Sleep(time.Second)
		if d := s.Machine().Describe(); d.LocksWaiting != 1 || d.Leases != 2 {
			t.Errorf("%d wait, and there are %d leases", d.LocksWaiting, d.Leases)
		}
		wantStatus(t, ask(s, "DELETE", fmt.Sprintf("/v1/locks/a?token=%d", first.Token), ""), 204)
		one, other := <-answers, <-answers
		if one.status != 200 || one.body != other.body {
			t.Errorf("one is told %s, the other %s", one.body, other.body)
		}
		go wait()
		if again := <-answers; again.body != one.body || again.header.Get(api.HeaderIdempotencyReplayed) != "true" {
			t.Errorf("later it is told %s", again.body)
		}
		var got api.Acquired
		one.read(t, &got)
		if again := acquire(t, s, "a", fmt.Sprintf(`{"lease":%d}`, got.Lease)); again.Token != got.Token {
			t.Errorf("by its lease it has the token %d, not %d", again.Token, got.Token)
		}
	})
}

// Goal (K5): a write with If-Lock, in the header or as parameters, is 412 lock_lost unless
// its token holds the lock; and so is a transaction, with or without a write.
// Method: each kind of write, under a token that holds the lock and one that does not.
func TestWritesAreGuardedByALock(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		token := acquire(t, s, "a%3Bb%20c", `{"ttl":"600s"}`).Token
		txn := func(body string) func(header ...string) answer {
			return func(header ...string) answer { return askJSON(s, "POST", "/v1/txn", body, header...) }
		}
		for name, write := range map[string]func(header ...string) answer{
			"put":    func(header ...string) answer { return ask(s, "PUT", "/v1/kv/k", "v", header...) },
			"append": func(header ...string) answer { return ask(s, "POST", "/v1/kv/k?op=append", "v", header...) },
			"touch":  func(header ...string) answer { return ask(s, "POST", "/v1/kv/k?op=touch&ttl=60s", "", header...) },
			"delete": func(header ...string) answer { return ask(s, "DELETE", "/v1/kv/other", "", header...) },
			"range":  func(header ...string) answer { return ask(s, "DELETE", "/v1/kv?prefix=x", "", header...) },
			"txn":    txn(`{"then":[{"op":"put","key":"t","text":"x"}]}`), "txn of reads": txn(`{"then":[{"op":"get","key":"k"}]}`),
		} {
			ask(s, "PUT", "/v1/kv/k", "v")
			synctest.Wait() // its answer may come before the revision is shown
			revision := s.Revision()
			wantProblem(t, write(api.HeaderIfLock, fmt.Sprintf("a%%3Bb%%20c;token=%d", token+1)), 412, api.CodeLockLost, api.OutcomeNotApplied)
			wantProblem(t, write(api.HeaderIfLock, fmt.Sprintf("other; token=%d", token)), 412, api.CodeLockLost, api.OutcomeNotApplied)
			if s.Revision() != revision {
				t.Errorf("%s: something was done", name)
			}
			if a := write(api.HeaderIfLock, fmt.Sprintf("a%%3Bb%%20c; token=%d", token)); a.status >= 300 {
				t.Errorf("%s by the holder: %d %s", name, a.status, a.body)
			}
		}
		query := fmt.Sprintf("lock=a%%3Bb%%20c&token=%d", token)
		wantStatus(t, ask(s, "PUT", "/v1/kv/k?"+query, "w"), 200)
		wantProblem(t, ask(s, "PUT", "/v1/kv/k?"+query+"7", "w"), 412, api.CodeLockLost, api.OutcomeNotApplied)
		a := txn(fmt.Sprintf(`{"if":[{"lock":"a;b c","token":%d},{"lock":"a;b c","token":9,"not":true}],"then":[{"op":"get","key":"k"}]}`, token))()
		if a.status != 200 || !strings.Contains(a.body, `"succeeded":true`) {
			t.Errorf("a compare: %s", a.body)
		}
		for _, bad := range []string{"jobs", "jobs;57", "jobs;token=", "jobs;token=x", ";token=5", "%zz;token=5", "a;token=5,b;token=6", "jobs;token=0"} {
			wantProblem(t, ask(s, "PUT", "/v1/kv/k", "w", api.HeaderIfLock, bad), 400, api.CodeBadRequest, api.OutcomeNotApplied)
		}
		for _, bad := range []string{"?lock=a", "?token=5", "?lock=&token=5", "?lock=a&token=0"} {
			wantProblem(t, ask(s, "PUT", "/v1/kv/k"+bad, "w"), 400, api.CodeBadRequest, api.OutcomeNotApplied)
		}
		wantProblem(t, ask(s, "PUT", "/v1/kv/k?lock=a&token=5", "w", api.HeaderIfLock, "a;token=5"), 400, api.CodeBadRequest, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "GET", "/v1/kv/k", "", api.HeaderIfLock, "a;token=5"), 400, api.CodeBadRequest, api.OutcomeNotApplied)
	})
}

// Goal: a semaphore has its limit, a lock its pages, what the log refuses its code, and a
// mirror the present holders first. Method: each once.
func TestAnswersAboutLocks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		id := grant(t, s, `{"ttl":"600s","note":"n"}`)
		for i := range 2 {
			acquire(t, s, "pool", fmt.Sprintf(`{"ttl":"600s","limit":2,"delay":"60s","text":"%d"}`, i))
		}
		wantProblem(t, askJSON(s, "POST", "/v1/locks/pool", `{"ttl":"600s","limit":2}`), 409, api.CodeLockHeld, api.OutcomeNotApplied)
		wantProblem(t, askJSON(s, "POST", "/v1/locks/pool", `{"ttl":"600s"}`), 409, api.CodeLimitMismatch, api.OutcomeNotApplied)
		wantProblem(t, askJSON(s, "POST", "/v1/locks/pool", `{"lease":77,"limit":2}`), 404, api.CodeLeaseNotFound, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "DELETE", fmt.Sprintf("/v1/locks/pool?lease=%d", id), ""), 404, api.CodeLockNotFound, api.OutcomeNotApplied)
		for _, name := range []string{"b", "c", "%ff"} {
			acquire(t, s, name, fmt.Sprintf(`{"lease":%d}`, id))
		}
		wantProblem(t, ask(s, "DELETE", fmt.Sprintf("/v1/locks/b?lease=%d", id), ""), 409, api.CodeLockHeld, api.OutcomeNotApplied)
		var names []string
		for next := "/v1/locks?limit=2"; next != ""; {
			var page api.LockPage
			ask(s, "GET", next, "").read(t, &page)
			for _, l := range page.Locks {
				names = append(names, l.Name())
			}
			next = page.Next
		}
		if got := fmt.Sprintf("%q", names); got != `["b" "c" "pool" "\xff"]` {
			t.Errorf("listed %s", got)
		}
		var page api.LockPage
		ask(s, "GET", "/v1/locks?prefix=p", "").read(t, &page)
		if len(page.Locks) != 1 || len(page.Locks[0].Holders) != 2 {
			t.Errorf("listed %+v", page)
		}
		w := follow(t, s, "lock=pool&lock=b&lock=pool&key=none&mirror&text")
		var items []string
		for e := w.next(); e.name != "synced"; e = w.next() {
			if e.name == "item" {
				items = append(items, e.data)
			}
		}
		if len(items) != 3 || !strings.Contains(items[0], `{"lock":"pool","token":2,`) || !strings.Contains(items[1], `"text":"1"}`) || !strings.Contains(items[2], `"lock":"b"`) {
			t.Errorf("a mirror begins with %q", items)
		}
		for _, a := range []answer{
			askJSON(s, "POST", "/v1/locks/a?wait=11m", `{"ttl":"60s"}`), askJSON(s, "POST", "/v1/locks/a?wait=-1s", `{"ttl":"60s"}`),
			ask(s, "DELETE", "/v1/locks/a?lease=5&token=5", ""), ask(s, "DELETE", "/v1/locks/a", ""), ask(s, "PUT", "/v1/locks/a", "v"),
			ask(s, "GET", "/v1/locks/"+strings.Repeat("n", 257), ""),
		} {
			wantProblem(t, a, 400, api.CodeBadRequest, api.OutcomeNotApplied)
		}
		wantProblem(t, ask(s, "PUT", "/v1/locks/a?token=5", strings.Repeat("v", 1025)), 413, api.CodeValueTooLarge, api.OutcomeNotApplied)
	})
}

// Goal: below level 3 locks and guards are 501 and change nothing.
// Method: a server at level 2.
func TestLocksNeedTheirLevel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		for _, a := range []answer{
			askJSON(s, "POST", "/v1/locks/a", `{"ttl":"15s"}`), askJSON(s, "POST", "/v1/locks/a?wait=5s", `{"lease":5}`), ask(s, "DELETE", "/v1/locks/a?token=5", ""),
			ask(s, "PUT", "/v1/locks/a?token=5", "v"), ask(s, "GET", "/v1/locks/a", ""), ask(s, "GET", "/v1/locks", ""),
			ask(s, "PUT", "/v1/kv/k", "v", api.HeaderIfLock, "a;token=5"),
		} {
			wantProblem(t, a, 501, api.CodeNotActive, api.OutcomeNotApplied)
		}
		if log.Attempts() != 0 {
			t.Errorf("%d commands were proposed", log.Attempts())
		}
	})
}

// Goal (K4, K7, K11): a lock is waited for at a follower, which hears of the grant in its
// own log, keeps the lease alive through the leader, and leaves the queue there at the end.
// Method: a leader whose commands come into the follower's log, and what it was sent.
func TestALockIsWaitedForAtAFollower(t *testing.T) {
	var log atomic.Pointer[fakelog.Log]
	asked := make(chan kv.Op, 9)
	f := newFrameLeader(t, func(_ int, c kv.Command) *reply {
		said := clerkwire.Forwarded{Node: "n2", Leader: "n2", Term: 3}
		switch c.Op {
		case kv.OpAcquire:
			said.Status, said.Version = uint64(kv.StatusQueued), 8
		case kv.OpKeepAlive:
			said.Version = 60_000
		}
		log.Load().Deliver(kv.EncodeCommand(c))
		asked <- c.Op
		return &reply{clerkwire.KindForwarded, said}
	})
	s, own := newFollowerOf(t, f.address, func(c *settings) { c.frames, c.Level = true, kv.LevelHistory })
	log.Store(own)
	for _, c := range []kv.Command{kv.Grant(7, 60_000, ""), kv.Grant(8, 60_000, ""), kv.AcquireCommand(kv.Acquire{Lock: "a", Lease: 7, Limit: 1})} {
		own.Deliver(kv.EncodeCommand(c))
	}
	late := later(func() answer { return askJSON(s, "POST", "/v1/locks/a?wait=60s", `{"lease":8}`) })
	if one, other := <-asked, <-asked; one != kv.OpAcquire || other != kv.OpKeepAlive {
		t.Errorf("the leader gets %v and %v", one, other)
	}
	own.Deliver(kv.EncodeCommand(kv.Release("a", 2)))
	if a := <-late; a.status != 200 || !strings.Contains(a.body, `{"lock":"a","token":4,"lease":8}`) || a.header.Get(api.HeaderNode) != "n1" {
		t.Errorf("at the follower: %d %s by %s", a.status, a.body, a.header.Get(api.HeaderNode))
	}
	// Now the lease 7 has the lock, so that 8 waits once more.
	own.Deliver(kv.EncodeCommand(kv.Release("a", 4)))
	own.Deliver(kv.EncodeCommand(kv.AcquireCommand(kv.Acquire{Lock: "a", Lease: 7, Limit: 1})))
	late = later(func() answer { return askJSON(s, "POST", "/v1/locks/a?wait=50ms", `{"lease":8}`) })
	for <-asked != kv.OpLeaveQueue { // at the end of its time
	}
	wantProblem(t, <-late, 409, api.CodeLockHeld, api.OutcomeNotApplied)
}

// Goal: a key and a lock of one name have nothing in common: neither watches, nor reads of
// the past. Method: change both by turns.
func TestAKeyIsNoLock(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		wantStatus(t, ask(s, "PUT", "/v1/kv/a", "1"), 201)
		acquire(t, s, "a", `{"ttl":"600s","text":"here"}`)
		wantStatus(t, ask(s, "DELETE", "/v1/locks/a?token=3", ""), 204)
		wantStatus(t, ask(s, "PUT", "/v1/kv/a", "2"), 200)
		for revision, want := range []string{2: "1", 3: "1", 4: "1", 5: "2"} {
			if want == "" {
				continue
			}
			if a := ask(s, "GET", fmt.Sprintf("/v1/kv/a?at_revision=%d", revision), ""); a.body != want {
				t.Errorf("at revision %d the key is %q", revision, a.body)
			}
			var page api.Page
			ask(s, "GET", fmt.Sprintf("/v1/kv?at_revision=%d", revision), "").read(t, &page)
			if len(page.Items) != 1 || string(page.Items[0].Value) != want {
				t.Errorf("at revision %d there is %+v", revision, page.Items)
			}
		}
		for query, want := range map[string]string{"key=a": "2 5", "prefix=": "2 5", "lock=a": "3 4", "lock=a&from=": "2 3 4 5"} {
			w := follow(t, s, query+"&after=1")
			var seen []string
			for e := w.next(); e.name != "progress"; e = w.next() {
				if e.name == "change" {
					seen = append(seen, e.id)
				}
			}
			if got := strings.Join(seen, " "); got != want {
				t.Errorf("%s is told of %s, want %s", query, got, want)
			}
		}
	})
}

// Goal (K7): a node that has found its state to be wrong names the holder of no lock, to
// those that wait already, either. Method: a request that waits and a Clerk's that does, for
// another lease, when the node finds that.
func TestAWaitForALockEndsWhenTheStateIsWrong(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		acquire(t, s, "l", `{"ttl":"1h"}`)
		lease := grant(t, s, `{"ttl":"1h"}`)
		answers, ends := make(chan answer, 1), make(chan error, 1)
		go func() { answers <- askJSON(s, "POST", "/v1/locks/l?wait=60s", fmt.Sprintf(`{"lease":%d}`, lease)) }()
		synctest.Wait()
		go func() {
			_, err := s.AwaitLock(t.Context(), &kvserver.Caller{}, "l", lease, 0, time.Minute)
			ends <- err
		}()
		synctest.Wait()
		begun := time.Now()
		s.Machine().Quarantine("it is a test")
		if a := <-answers; a.status != 504 || !strings.Contains(a.body, string(api.OutcomeUnknown)) {
			t.Errorf("who waits is answered %d, %s", a.status, a.body)
		}
		if err := <-ends; !errors.Is(err, failure.Diverged) {
			t.Errorf("a Clerk is told %v", err)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("that took %v", took)
		}
	})
}
