package httpd

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
)

// triedAgainAfter says for each kind of error whether a node that forwarded a
// write and got this for an answer looks for another leader. All others are the
// answer to the write, and are passed on as they came.
var triedAgainAfter = map[error]bool{
	failure.NoLeader: true, failure.Stopping: true, failure.Diverged: true,
	failure.BadRequest: false, failure.NoSuchPath: false, failure.KeyNotFound: false, failure.Forbidden: false, failure.UnknownHost: false, failure.MethodNotAllowed: false,
	failure.Precondition: false, failure.IdempotencyMismatch: false, failure.IdempotencyFull: false, failure.Quota: false, failure.LengthRequired: false,
	failure.ValueTooLarge: false, failure.KeyTooLong: false, failure.UnsupportedMedia: false, failure.Expectation: false, failure.Overloaded: false,
	failure.HeaderTooLarge: false, failure.NotImplemented: false, failure.Version: false, failure.Behind: false,
	failure.StoppingUnknown: false, failure.Timeout: false, failure.ReadTimeout: false, failure.LeadershipLost: false, failure.Internal: false, failure.InternalRead: false,
}

// leaderSays is an answer of n2 with an error.
func leaderSays(status int, value string) string {
	const body = `{"detail":"said by n2"}`
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%s: n2\r\n%s: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), api.HeaderNode, api.HeaderError, value, api.MediaProblem, len(body), body)
}

// Goal: a node that forwarded a write makes the right thing of every answer that
// the leader can give: it tries again only what did not happen and may go better
// elsewhere, and passes on the rest as it is. Code and outcome decide together.
// Method: every row of the table of errors, and rows that no table holds, as the
// leader's first answer; the second is a success. A row that this test does not
// know fails it.
func TestWhatAForwardingNodeMakesOfEachAnswer(t *testing.T) {
	type row struct {
		name, said string
		status     int
		again      bool
	}
	var rows []row
	for _, k := range failure.Kinds() {
		again, known := triedAgainAfter[k.Err]
		if !known {
			t.Errorf("what does a forwarding node make of %q?", k.Err)
		}
		rows = append(rows, row{k.Err.Error(), k.Header(), k.Status, again})
	}
	for _, code := range []api.Code{api.CodeNoLeader, api.CodeStopping, api.CodeDiverged} {
		rows = append(rows,
			row{"unknown " + string(code), string(code) + "; outcome=unknown", 504, false},
			row{"bare " + string(code), string(code), 503, false})
	}
	rows = append(rows, row{"a code of a later version", "moved; outcome=not_applied", 503, false}, row{"no header", "", 500, false})
	for _, r := range rows {
		for _, method := range []string{"PUT", "DELETE"} {
			f := newScriptedLeader(t, func(n int, _ *http.Request) string {
				if n == 1 {
					return leaderSays(r.status, r.said)
				}
				return leaderAnswer
			})
			s, _ := newFollowerOf(t, f.address, func(c *settings) { c.LeaderWait, c.RequestTimeout = time.Minute, time.Minute })
			body := map[string]string{"PUT": "v"}[method]
			a := ask(s, method, "/v1/kv/k", body)
			want, copies := r.status, 1
			if r.again {
				want, copies = 204, 2
			}
			if n := f.copies(method + " /v1/kv/k " + body); a.status != want || n != copies {
				t.Errorf("%s of %s: answered %d after %d copies, want %d after %d", r.name, method, a.status, n, want, copies)
			}
			if !r.again && (a.header.Get(api.HeaderError) != r.said || a.header.Get(api.HeaderNode) != "n2" || !strings.Contains(a.body, "said by n2")) {
				t.Errorf("%s of %s did not come through: %v %s", r.name, method, a.header, a.body)
			}
		}
	}
}

// Goal: a write that no leader takes is refused in the end, with the last reason,
// and not sent for ever.
// Method: a leader that always refuses in each way that is tried again.
func TestAForwardedWriteIsNotTriedForEver(t *testing.T) {
	for kind, again := range triedAgainAfter {
		if !again {
			continue
		}
		f := newScriptedLeader(t, func(int, *http.Request) string {
			k := failure.KindOf(kind)
			return leaderSays(k.Status, k.Header())
		})
		s, _ := newFollowerOf(t, f.address, nil)
		p := wantProblem(t, ask(s, "PUT", "/v1/kv/k", "v"), 503, api.CodeNoLeader, api.OutcomeNotApplied)
		if !strings.Contains(p.Detail, "said by n2") || p.Node != "n1" {
			t.Errorf("after %v: %+v", kind, p)
		}
	}
}
