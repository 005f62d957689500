package httpd

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
)

// watcherOn makes an identity that may watch what begins with a prefix, and returns its
// token.
func watcherOn(t *testing.T, s *testServer, root, id, prefix string) string {
	t.Helper()
	rule := auth.Rule{Rights: auth.RightsOf(auth.Watch), Space: auth.Keys, Text: prefix}
	return newIdentityBy(t, s, callerOf(t, s, root), id, id, rule)
}

// Goal (S6): a token that is revoked ends its watches, over HTTP and of Clerks, at once,
// and no event of a change behind the revocation leaves; those of others go on. Method:
// a watch of each kind by a token, one by another; the revocation; a rule that is taken away,
// and a write right behind it.
func TestARevokedTokenEndsItsWatches(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, _ := enforced(t, func(c *settings) { c.Level = 3 })
		first, second := watcherOn(t, s, root, "first000", "a/"), watcherOn(t, s, root, "second00", "a/")
		http := follow(t, s, anyTime+"prefix=a/", as(first)...)
		other := follow(t, s, anyTime+"prefix=a/", as(second)...)
		for _, w := range []*watching{http, other} {
			if open, mark := w.next(), w.next(); open.name != "open" || mark.name != "progress" {
				t.Fatalf("it begins with %+v, %+v", open, mark)
			}
		}
		c, _ := dialRaw(t, s, first)
		m := clerkwire.Watch{Prefixes: [][]byte{[]byte("a/")}, ProgressMs: 60_000}
		if code, _ := askFrame(t, c, clerkwire.KindWatch, m); code != "" {
			t.Fatal(code)
		}
		if h, _ := nextFrame(t, c); h.Kind != clerkwire.KindChanges {
			t.Fatalf("it begins with %+v", h)
		}
		synctest.Wait()
		begun := time.Now()
		revoke(t, s, root, first) // and nothing else that would wake a watch
		if e := http.next(); e.name != "end" || !strings.Contains(e.data, string(api.CodeUnauthenticated)) {
			t.Errorf("the watch by HTTP was sent %+v", e)
		}
		h, body := nextFrame(t, c)
		var ended clerkwire.Ended
		if h.Kind != clerkwire.KindEnded || ended.Parse(body) != nil || ended.Why.Code != api.CodeUnauthenticated || ended.Why.Node != "" {
			t.Errorf("the watch of the Clerk was sent %+v, %+v", h, ended)
		}
		wantStatus(t, ask(s, "PUT", "/v1/kv/a/1", "secret", as(root)...), 201)
		if e := other.next(); e.name != "change" {
			t.Errorf("the watch of another was sent %+v", e)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v", took)
		}
		nothing := auth.Rule{Rights: auth.RightsOf(auth.Read), Space: auth.Keys, Text: "a/"}
		change(t, s, callerOf(t, s, root), auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "second00", Rules: []auth.Rule{nothing}}})
		wantStatus(t, ask(s, "PUT", "/v1/kv/a/2", "secret", as(root)...), 201)
		if e := other.next(); e.name != "end" || !strings.Contains(e.data, string(api.CodeForbidden)) {
			t.Errorf("a watch without the right was sent %+v", e)
		}
		c.conn.Close()
	})
}

// Goal (S6): a token that is revoked ends its watch within a change that is being sent, too,
// however slowly its client takes that: no more of it leaves than was on its way.
// Method: one change of 4 MiB, of which the client takes 200 KiB, rests for a minute less a
// second, and then takes what still comes, while its token is revoked.
func TestARevokedTokenEndsAWatchWithinAChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, _ := enforced(t, func(c *settings) { c.Level, c.MaxValueBytes = 3, 8<<20 })
		token := watcherOn(t, s, root, "first000", "a/")
		w := follow(t, s, anyTime+"prefix=a/", as(token)...)
		if open, mark := w.next(), w.next(); open.name != "open" || mark.name != "progress" {
			t.Fatalf("it begins with %+v, %+v", open, mark)
		}
		wantStatus(t, ask(s, "PUT", "/v1/kv/a/1", strings.Repeat("x", 4<<20), as(root)...), 201)
		if n, err := io.CopyN(io.Discard, w.lines, 200<<10); err != nil {
			t.Fatalf("%d bytes of the change: %v", n, err)
		}
		time.Sleep(59 * time.Second)
		revoke(t, s, root, token)
		n, err := io.Copy(io.Discard, w.lines)
		if most := int64(8 * streamPiece); n > most || err == nil {
			t.Errorf("then %d bytes came, at most %d may be on their way; %v", n, most, err)
		}
	})
}

// nextFrame returns the next frame of a Clerk's connection.
func nextFrame(t *testing.T, c *rawClerk) (clerkwire.Header, []byte) {
	t.Helper()
	h, err := c.frames.Next()
	if err != nil {
		t.Fatal(err)
	}
	body, err := c.frames.Body(h)
	if err != nil {
		t.Fatal(err)
	}
	return h, body
}
