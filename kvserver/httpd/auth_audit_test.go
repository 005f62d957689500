package httpd

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// Goal (S14): a refusal is answered as ever while the audit takes nothing, also where acts
// must have lines, and a line of it that could not be kept is counted. Method: refusals over
// HTTP and on a Clerk's connection, with a file that takes nothing and one that does.
func TestRefusalsWithoutALineAreCounted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file, Required: true})
		s, _, _, user := enforced(t, func(c *settings) { c.Access.Audit = audit })
		c, _ := dialRaw(t, s, user)
		refusals := func() {
			t.Helper()
			wantStatus(t, ask(s, "GET", "/v1/kv/a/1", ""), 401)
			wantStatus(t, ask(s, "GET", "/v1/kv/b", "", as(user)...), 403)
			if code, _ := askFrame(t, c, clerkwire.KindGet, clerkwire.Get{Key: []byte("b")}); code != api.CodeForbidden {
				t.Fatalf("the Clerk is answered %q", code)
			}
			synctest.Wait()
		}
		file.fail(true)
		wantStatus(t, ask(s, "PUT", "/v1/kv/a/1", "v", as(user)...), 201) // its line is tried again
		synctest.Wait()
		refusals()
		if lost := audit.Lost(); lost != 3 {
			t.Errorf("%d lines are lost, want 3", lost)
		}
		file.fail(false)
		time.Sleep(time.Second)
		refusals()
		c.conn.Close()
		audit.Close()
		if kept, lost := len(file.lines(t)), audit.Lost(); kept != 4 || lost != 3 {
			t.Errorf("%d lines are kept, and %d lost; want 4 and 3", kept, lost)
		}
	})
}

// Goal (S14): the line of a transaction and of a removal of a range names the keys that it may
// change, over HTTP and by a Clerk, whether it was allowed or refused. Method: such requests, and
// the keys of their lines.
func TestALineOfSeveralKeysNamesThem(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file})
		s, _, _, user := enforced(t, func(c *settings) { c.Access.Audit = audit })
		send := func(body string, want int) {
			t.Helper()
			wantStatus(t, ask(s, "POST", "/v1/txn", body, append(as(user), "Content-Type", api.MediaJSON)...), want)
		}
		send(`{"if":[{"key":"a/0","absent":true}],"then":[{"op":"put","key":"a/1","text":"x"},{"op":"put","key":"a/2","text":"x"},{"op":"get","key":"a/3"},
			{"op":"txn","then":[{"op":"put","key":"a/1","text":"x"},{"op":"put","key":"a/4","text":"x"}]}],"else":[{"op":"put","key":"a/5","text":"x"},{"op":"delete","key":"a/6"}]}`, 200)
		send(`{"then":[{"op":"put","key":"b","text":"x"}]}`, 403)
		c, _ := dialRaw(t, s, user)
		session := openSession(t, c)
		for _, kind := range []clerkwire.Kind{clerkwire.KindTxn, clerkwire.KindDeleteRange} {
			for _, on := range []string{"a/7", "b"} {
				frameCalls[kind].ask(t, c, session, on)
			}
		}
		c.conn.Close()
		synctest.Wait()
		audit.Close()
		var keys []string
		for _, l := range file.lines(t) {
			keys = append(keys, l.Key)
		}
		if want := []string{"a/1, a/2, a/4, a/5 and 1 more", "b", "a/7", "b", "a/7", "b"}; !slices.Equal(keys, want) {
			t.Errorf("the lines name %q, want %q", keys, want)
		}
	})
}
