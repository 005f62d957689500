package httpd

import (
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
