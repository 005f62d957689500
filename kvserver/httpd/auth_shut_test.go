package httpd

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/internal/fakelog"
)

// glass is an identity of a node's own file, and its token.
func glass(t *testing.T, rights ...string) ([]auth.BreakGlass, string) {
	t.Helper()
	_, token := testToken(t, "glass000")
	hash := auth.HashOf(token)
	all, err := auth.NewBreakGlass([]auth.FileEntry{{Name: "ops", Rights: rights, TokenID: "glass000", TokenHash: hex.EncodeToString(hash[:])}})
	if err != nil {
		t.Fatal(err)
	}
	return all, token
}

// Goal (S1 of a node that was just restarted, or that joins; S6, S7): a node that remembers
// that identities are enforced serves nobody but its own file's identities before it has read
// that in its log again, though it holds keys by then; then it decides as its table says. If
// its cluster enforces nothing any more, it serves as soon as it has caught up.
// Method: the log of a cluster that enforces, delivered command by command to a second node
// to which no read is confirmed, and a cluster that does not.
func TestARestartedNodeServesNobodyBeforeItKnows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		first, log := newServer(t, func(c *settings) { c.Level = 3 })
		wantStatus(t, ask(first, "PUT", "/v1/kv/a/1", "secret"), 201) // before identities count
		_, user := enforce(t, first)
		wantStatus(t, ask(first, "PUT", "/v1/kv/a/2", "secret", as(user)...), 201)
		log.Mu.Lock()
		proposals := log.Proposals
		log.Mu.Unlock()
		own, ops := glass(t, "status")
		late := fakelog.New("n2")
		late.SetLeader("")
		late.Reading(func(context.Context) (uint64, error) { return 0, errors.New("no majority") })
		s := newServerOver(t, late, func(c *settings) {
			c.Level, c.Shut, c.LeaderWait, c.RequestTimeout = 3, kvserver.ShutUntilCurrent, time.Millisecond, time.Second
			c.Access.BreakGlass = own
		})
		late.Deliver(proposals[0].Command)
		synctest.Wait()
		for _, header := range [][]string{nil, as(user), as("rkt1_x")} {
			for _, target := range []string{"/v1/kv/a/1?consistency=stale", "/v1/kv?consistency=stale", "/v1/status", "/metrics", "/v1/recorder", "/v1/nothing", "/readyz?verbose"} {
				wantSilentProblem(t, ask(s, "GET", target, "", header...), 503, api.CodeBehind, api.OutcomeNotApplied)
			}
			wantSilentProblem(t, ask(s, "PUT", "/v1/kv/a/1", "x", header...), 503, api.CodeBehind, api.OutcomeNotApplied)
		}
		if _, status := dialRaw(t, s, user); status != 503 {
			t.Errorf("a Clerk is answered with %d", status)
		}
		wantStatus(t, ask(s, "GET", "/livez", ""), 200)
		wantStatus(t, ask(s, "GET", "/v1/status", "", as(ops)...), 200)
		wantProblem(t, ask(s, "GET", "/v1/kv/a/1?consistency=stale", "", as(ops)...), 403, api.CodeForbidden, api.OutcomeNotApplied)
		for _, p := range proposals[1:] { // identities come first, and are enforced later
			late.Deliver(p.Command)
			synctest.Wait()
			if got := ask(s, "GET", "/v1/kv/a/1?consistency=stale", ""); got.status != 503 && got.status != 401 {
				t.Errorf("behind a part of the log a stranger is answered %d:\n%s", got.status, got.body)
			}
		}
		time.Sleep(2 * time.Second)
		late.SetLeader("n1")
		late.Reading(nil)
		wantStatus(t, ask(s, "GET", "/v1/kv/a/2?consistency=stale", "", as(user)...), 200)
		wantProblem(t, ask(s, "GET", "/v1/kv/a/2?consistency=stale", ""), 401, api.CodeUnauthenticated, api.OutcomeNotApplied)
		if enforces, known := s.Enforces(); !enforces || !known {
			t.Errorf("it enforces: %v, known: %v", enforces, known)
		}
	})
	inBubble(t, func(t *testing.T) {
		log, confirm := fakelog.New("n1"), make(chan struct{})
		log.Reading(waitFor(log, confirm))
		s := newServerOver(t, log, func(c *settings) { c.Level, c.Shut = 3, kvserver.ShutUntilCurrent })
		log.Deliver(fakelog.PutCommand("k", "v"))
		synctest.Wait()
		wantStatus(t, ask(s, "GET", "/v1/kv/k?consistency=stale", ""), 503)
		wantStatus(t, ask(s, "GET", "/readyz", ""), 503)
		close(confirm)
		wantStatus(t, ask(s, "GET", "/readyz", ""), 200)
		wantStatus(t, ask(s, "GET", "/v1/kv/k?consistency=stale", ""), 200) // a node that is ready serves
	})
}

// Goal (S6): a node that was down while a token was revoked serves no stale read by what it
// knew before: not before it has heard a leader and applied what that one has committed, though
// it has heard a leader whose entries it has not. Where --stale-limit is off, or identities do
// not count, it serves as ever. Method: the log of a cluster up to the revocation, at a node that
// has just begun, whose limit has not passed; all kinds of stale reads.
func TestARestartedNodeReadsNothingStaleBeforeItCaughtUp(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit time.Duration
		state auth.State
		serve bool
	}{{"enforced", 0, auth.Enforcing, false}, {"without a limit", -1, auth.Enforcing, true}, {"observed", 0, auth.Observing, true}} {
		inBubble(t, func(t *testing.T) {
			first, log := newServer(t, func(c *settings) { c.Level = 3 })
			root, user := enforce(t, first)
			if c.state != auth.Enforcing {
				change(t, first, callerOf(t, first, root), auth.Change{Action: auth.SetState, State: c.state})
			}
			wantStatus(t, ask(first, "PUT", "/v1/kv/a/1", "secret", as(user)...), 201)
			revision := number(first.Machine().Revision())
			revoke(t, first, root, user)
			log.Mu.Lock()
			proposals := log.Proposals
			log.Mu.Unlock()
			late := fakelog.New("n2")
			late.SetLeader("")
			late.Reading(func(ctx context.Context) (uint64, error) { return uint64(len(proposals)), nil })
			s := newServerOver(t, late, func(config *settings) {
				config.Level, config.LeaderWait, config.RequestTimeout, config.StaleLimit = 3, time.Second, time.Second, c.limit
			})
			for _, p := range proposals[:len(proposals)-1] {
				late.Deliver(p.Command)
			}
			synctest.Wait()
			reads := func(want func(target string, a answer)) {
				for _, target := range []string{
					"/v1/kv/a/1?consistency=stale", "/v1/kv?prefix=a/&consistency=stale", "/v1/kv/a/1?at_revision=" + revision, "/v1/kv?prefix=a/&at_revision=" + revision,
				} {
					want(target, ask(s, "GET", target, "", as(user)...))
				}
			}
			for _, leader := range []string{"", "n1"} { // unknown, and one of which it has not all
				late.SetLeader(leader)
				reads(func(target string, a answer) {
					if c.serve {
						wantStatus(t, a, 200)
					} else if wantProblem(t, a, 503, api.CodeBehind, api.OutcomeNotApplied); strings.Contains(a.body, "secret") {
						t.Errorf("%s: %s", target, a.body)
					}
				})
			}
			late.Deliver(proposals[len(proposals)-1].Command)
			synctest.Wait()
			if c.state == auth.Enforcing {
				reads(func(target string, a answer) { wantStatus(t, a, 401) })
			}
			if c.name == "enforced" { // a caller that may read is served at once
				wantStatus(t, ask(s, "GET", "/v1/kv/a/1?consistency=stale", "", as(root)...), 200)
			}
		})
	}
}

// Goal (S7, S15): a cluster whose nodes have identities in their own files begins with
// identities enforced: nobody else is served at any moment, and the log says so; an identity
// of the file makes the first admin. Method: a node that begins so, before it leads, when it
// does, and behind the first changes.
func TestAClusterBeginsWithIdentitiesEnforced(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		own, ops := glass(t, "auth")
		log := fakelog.New("n1")
		log.SetLeader("")
		s := newServerOver(t, log, func(c *settings) {
			c.Level, c.Shut, c.Access.BreakGlass, c.LeaderWait = 3, kvserver.ShutUntilSet, own, time.Millisecond
		})
		synctest.Wait()
		wantSilentProblem(t, ask(s, "PUT", "/v1/kv/k", "v"), 503, api.CodeBehind, api.OutcomeNotApplied)
		wantStatus(t, ask(s, "GET", "/readyz", ""), 503)
		time.Sleep(time.Second)
		if n := log.Attempts(); n != 0 {
			t.Errorf("a node that does not lead has proposed %d commands", n)
		}
		log.Set(func(st *status) { st.Leader, st.Role = "n1", leaderRole })
		time.Sleep(time.Second)
		if s.Gate().State() != auth.Enforcing || s.Machine().Auth().Revision() != 1 || log.Attempts() != 1 {
			t.Fatalf("the state is %v, of revision %d, after %d proposals", s.Gate().State(), s.Machine().Auth().Revision(), log.Attempts())
		}
		wantProblem(t, ask(s, "PUT", "/v1/kv/k", "v"), 401, api.CodeUnauthenticated, api.OutcomeNotApplied)
		wantProblem(t, ask(s, "PUT", "/v1/kv/k", "v", as(ops)...), 403, api.CodeForbidden, api.OutcomeNotApplied)
		json := []string{"Content-Type", api.MediaJSON}
		wantStatus(t, ask(s, "PUT", "/v1/auth/identities/root", `{"rules":[{"rights":["admin"]}]}`, append(as(ops), json...)...), 201)
		var made api.AuthToken
		ask(s, "POST", "/v1/auth/tokens", `{"identity":"root"}`, append(as(ops), json...)...).read(t, &made)
		wantStatus(t, ask(s, "PUT", "/v1/kv/k", "v", as(made.Token)...), 201)
	})
}

// Goal (S6): reads of identities, tokens and the state are decided by the table that they
// show: a token that was revoked while they waited for their read index sees nothing.
// Method: reads that wait, the revocation, and the confirmation behind it.
func TestAReadOfIdentitiesIsDecidedByWhatItShows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log, root, _ := enforced(t, nil)
		second := newIdentityBy(t, s, callerOf(t, s, root), "second", "second00", auth.Rule{Rights: auth.RightsOf(auth.Auth)})
		confirm := make(chan struct{})
		log.Reading(waitFor(log, confirm))
		var waiting []<-chan answer
		for _, target := range []string{"/v1/auth/identities", "/v1/auth/identities/root", "/v1/auth/tokens", "/v1/auth/state"} {
			waiting = append(waiting, later(func() answer { return ask(s, "GET", target, "", as(second)...) }))
		}
		waiting = append(waiting, later(func() answer {
			return ask(s, "POST", "/v1/auth/check", `{"identity":"root","right":"admin"}`, append(as(second), "Content-Type", api.MediaJSON)...)
		}))
		synctest.Wait()
		revoke(t, s, root, second)
		close(confirm)
		for i, w := range waiting {
			if a := <-w; a.status != 401 {
				t.Errorf("read %d is answered %d %s", i, a.status, a.body)
			}
		}
	})
}

// queueForLock lets root hold the lock jobs/1, by the token holds, and a lease of worker's Clerk
// queue for it. wait is the frame that waits for the lock, this number of milliseconds.
func queueForLock(t *testing.T, s *testServer, root, worker string, limit uint64) (c *rawClerk, wait clerkwire.Acquire, holds uint64) {
	t.Helper()
	held := ask(s, "POST", "/v1/locks/jobs%2F1", `{"ttl":"10m"}`, jsonAs(root)...)
	wantStatus(t, held, 200)
	var has api.Acquired
	held.read(t, &has)
	c, _ = dialRaw(t, s, worker)
	code, body := askFrame(t, c, clerkwire.KindOpen, clerkwire.Empty{})
	var opened clerkwire.Opened
	if code != "" || opened.Parse(body) != nil {
		t.Fatal(code)
	}
	_, body = askFrame(t, c, clerkwire.KindGrant, clerkwire.Grant{Session: opened.Session, Seq: 1, TTL: 600_000})
	var granted clerkwire.Granted
	if err := granted.Parse(body); err != nil {
		t.Fatal(err)
	}
	code, body = askFrame(t, c, clerkwire.KindAcquire, clerkwire.Acquire{Session: opened.Session, Seq: 2, Lock: []byte("jobs/1"), Lease: granted.Lease, Limit: 1, Queue: true})
	var queued clerkwire.Acquired
	if err := queued.Parse(body); err != nil || queued.Token != 0 {
		t.Fatalf("%s, %+v, %v", code, queued, err)
	}
	return c, clerkwire.Acquire{Lock: []byte("jobs/1"), Lease: granted.Lease, After: queued.After, Wait: limit}, has.Token
}

// Goal (S6): a request that waits for a lock learns nothing once its token was revoked.
// Method: an identity with two tokens waits for a lock by the one that is revoked; then the
// lock is let go.
func TestAWaitForALockEndsWithTheToken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, _ := enforced(t, nil)
		worker := newIdentityBy(t, s, callerOf(t, s, root), "worker", "worker00", auth.Rule{Space: auth.Locks, Text: "jobs/", Rights: auth.RightsOf(auth.Acquire, auth.Lease)})
		c, wait, holds := queueForLock(t, s, root, worker, 300_000)
		c.last++
		if _, err := c.conn.Write(clerkwire.AppendFrame(nil, clerkwire.KindAcquire, c.last, wait)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		revoke(t, s, root, worker)
		wantStatus(t, ask(s, "DELETE", "/v1/locks/jobs%2F1?token="+number(holds), "", as(root)...), 204)
		h, body := nextFrame(t, c)
		var refused clerkwire.Refused
		if h.Kind != clerkwire.KindRefused || refused.Parse(body) != nil || refused.Code != api.CodeUnauthenticated {
			t.Errorf("the request that waits is answered with a frame of kind 0x%02x, %+v", uint8(h.Kind), refused)
		}
		c.conn.Close()
	})
}

// waitFor answers a question for a read index when confirm is closed.
func waitFor(log *fakelog.Log, confirm <-chan struct{}) func(context.Context) (uint64, error) {
	return func(ctx context.Context) (uint64, error) {
		select {
		case <-confirm:
			return log.Status().LastIndex, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
