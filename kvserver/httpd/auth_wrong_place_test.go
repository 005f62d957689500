package httpd

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
)

// Goal (S13): a token that stands where it does not belong, as that of a lock or as a name,
// does not come back in an answer, and is not in the audit. Its id may, which is no secret.
// Method: a token in each place of a request in which people may put it; the answer's head and
// body.
func TestATokenInTheWrongPlaceDoesNotComeBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file, Reads: "", ReadsToo: true})
		s, _, root, user := enforced(t, func(c *settings) { c.Access.Audit = audit })
		secret := user[len("rkt1_")+8:]
		json := []string{"Content-Type", api.MediaJSON}
		for _, c := range []struct {
			method, target, body string
			header               []string
		}{
			{"PUT", "/v1/kv/a/1?lock=a&token=" + user, "v", nil},
			{"PUT", "/v1/kv/a/1?lock=" + user + "&token=1", "v", nil},
			{"PUT", "/v1/kv/a/1?token=" + user, "v", nil},
			{"PUT", "/v1/kv/a/1?cas=" + user, "v", nil},
			{"PUT", "/v1/kv/a/1?" + user + "=1", "v", nil},
			{"PUT", "/v1/kv/a/1?access_token=" + user, "v", nil},
			{"PUT", "/v1/kv/a/1", "v", []string{api.HeaderIfLock, user}},
			{"PUT", "/v1/kv/a/1", "v", []string{api.HeaderIfLock, "a;token=" + user}},
			{"PUT", "/v1/kv/a/1", "v", []string{"If-Match", user}},
			{"PUT", "/v1/kv/a/1?token=1", "v", []string{api.HeaderRequestID, user}},
			{"POST", "/v1/kv/a/1?op=" + user, "v", nil},
			{"GET", "/v1/kv/a/1?consistency=" + user, "", nil},
			{"GET", "/v1/kv?token=" + user, "", nil},
			{"DELETE", "/v1/locks/x?token=" + user, "", nil},
			{"GET", "/v1/watch?key=a&progress=" + user, "", nil},
			{"GET", "/v1/watch?key=a", "", []string{"Last-Event-ID", user}},
			{"GET", "/v1/leases?after=" + user, "", nil},
			{"DELETE", "/v1/auth/tokens/" + user, "", nil},
			{"GET", "/v1/auth/identities/" + user, "", nil},
			{"DELETE", "/v1/auth/identities/" + user, "", nil},
			{"PUT", "/v1/auth/identities/" + user, `{"rules":[]}`, json},
			{"POST", "/v1/auth/tokens", fmt.Sprintf(`{"identity":%q}`, user), json},
			{"POST", "/v1/auth/check", fmt.Sprintf(`{"identity":%q,"right":"read","key":"a"}`, user), json},
			{"PUT", "/v1/auth/state", fmt.Sprintf(`{%q:"off"}`, user), json},
		} {
			got := ask(s, c.method, c.target, c.body, append(c.header, as(root)...)...)
			if got.status < 400 {
				t.Errorf("%s %s: void, the status is %d", c.method, c.target, got.status)
			}
			if all := fmt.Sprint(got.header, got.body); strings.Contains(all, secret[:6]) {
				t.Errorf("%s %s: the token comes back: %s", c.method, c.target, all)
			}
		}
		synctest.Wait()
		audit.Close()
		if text := file.text.String(); strings.Contains(text, secret[:6]) || !strings.Contains(text, user[:13]) {
			t.Errorf("the audit: %s", text)
		}
	})
}
