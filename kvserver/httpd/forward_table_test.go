package httpd

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// triedAgainAfter says for each kind of error whether a node that forwarded a
// write and got this for an answer looks for another leader. All others are the
// answer to the write, and are passed on as they came.
var triedAgainAfter = map[error]bool{
	failure.NoLeader: true, failure.Stopping: true, failure.Diverged: true,
	failure.BadRequest: false, failure.NoSuchPath: false, failure.KeyNotFound: false, failure.Forbidden: false, failure.UnknownHost: false, failure.MethodNotAllowed: false,
	failure.Precondition: false, failure.IdempotencyMismatch: false, failure.IdempotencyFull: false, failure.Quota: false, failure.LengthRequired: false,
	failure.ValueTooLarge: false, failure.KeyTooLong: false, failure.UnsupportedMedia: false, failure.Expectation: false, failure.Overloaded: false,
	failure.JoinRefused: false, failure.NoSuchMember: false, failure.LevelTooLow: false, failure.ChangeInProgress: false, failure.NotCaughtUp: false, failure.WouldLoseQuorum: false,
	failure.TooFew: false, failure.IDTaken: false, failure.AddressTaken: false, failure.NotReachable: false, failure.StillAlive: false, failure.LastAdmin: false,
	failure.Unauthenticated: false, failure.Denied: false, failure.IdentityLimited: false, failure.AuditUnavailable: false,
	failure.KeyMissing: false, failure.TooManyKeys: false, failure.TxnTooLarge: false, failure.ResultTooLarge: false,
	failure.HeaderTooLarge: false, failure.NotImplemented: false, failure.Version: false, failure.Behind: false,
	failure.RevisionAhead: false, failure.OtherCluster: false, failure.RevisionGone: false, failure.TooManyWatches: false, failure.SlowWatcher: false, failure.NotActive: false,
	failure.NoSuchLease: false, failure.LeaseGone: false, failure.LeaseExists: false, failure.LeaseFull: false, failure.LeasesFull: false,
	failure.NoSuchLock: false, failure.NotWaiting: false, failure.LockHeld: false, failure.LimitMismatch: false, failure.LockQueueFull: false, failure.LocksFull: false, failure.LockLost: false,
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
	overEachRoad(t, func(t *testing.T, frames bool) {
		for _, r := range answerRows(t, frames) {
			for _, method := range []string{"PUT", "DELETE"} {
				if frames {
					answeredByFrame(t, r, method)
				} else {
					answeredOverHTTP(t, r, method)
				}
			}
		}
	})
}

// answerRow is an answer of the leader with an error, and what is to be made of it.
type answerRow struct {
	name    string
	code    api.Code
	outcome api.Outcome
	status  int
	again   bool
}

// answerRows returns the rows. Over HTTP the leader chooses the status; a frame has
// none, and the outcome gives it.
func answerRows(t *testing.T, frames bool) (rows []answerRow) {
	bare := 503
	if frames {
		bare = 500
	}
	for _, k := range failure.Kinds() {
		again, known := triedAgainAfter[k.Err]
		if !known {
			t.Errorf("what does a forwarding node make of %q?", k.Err)
		}
		rows = append(rows, answerRow{k.Err.Error(), k.Code, k.Outcome, k.Status, again})
	}
	for _, code := range []api.Code{api.CodeNoLeader, api.CodeStopping, api.CodeDiverged} {
		rows = append(rows,
			answerRow{"unknown " + string(code), code, api.OutcomeUnknown, 504, false},
			answerRow{"bare " + string(code), code, "", bare, false})
	}
	return append(rows, answerRow{"a code of a later version", "moved", api.OutcomeNotApplied, 503, false}, answerRow{"no header", "", "", 500, false})
}

// said is the answer's value of api.HeaderError.
func (r answerRow) said() string {
	if r.code == "" {
		return ""
	}
	return failure.Kind{Code: r.code, Outcome: r.outcome}.Header()
}

// answeredOverHTTP sends a write whose first answer is that of the row.
func answeredOverHTTP(t *testing.T, r answerRow, method string) {
	t.Helper()
	f := newScriptedLeader(t, func(n int, _ *http.Request) string {
		if n == 1 {
			return leaderSays(r.status, r.said())
		}
		return leaderAnswer
	})
	s, _ := newFollowerOf(t, f.address, func(c *settings) { c.LeaderWait, c.RequestTimeout = time.Minute, time.Minute })
	body := map[string]string{"PUT": "v"}[method]
	a := ask(s, method, "/v1/kv/k", body)
	r.check(t, method, a, f.copies(method+" /v1/kv/k "+body), 204)
	if !r.again && a.header.Get(api.HeaderError) != r.said() {
		t.Errorf("%s of %s did not come through: %v %s", r.name, method, a.header, a.body)
	}
}

// answeredByFrame does the same as a command.
func answeredByFrame(t *testing.T, r answerRow, method string) {
	t.Helper()
	f := newFrameLeader(t, func(n int, _ kv.Command) *reply {
		if n == 1 {
			return &reply{clerkwire.KindRefused, clerkwire.Refused{Code: r.code, Outcome: r.outcome, Node: "n2", Leader: "n2", Term: 3, Detail: "said by n2"}}
		}
		return done()
	})
	s, _ := newFollowerOf(t, f.address, func(c *settings) {
		c.LeaderWait, c.RequestTimeout, c.frames = time.Minute, time.Minute, true
	})
	a := ask(s, method, "/v1/kv/k", map[string]string{"PUT": "v"}[method])
	commands, others := f.got()
	r.check(t, method, a, len(commands)+others, map[string]int{"PUT": 200, "DELETE": 204}[method])
	if said := r.said(); !r.again && said != "" && a.header.Get(api.HeaderError) != said {
		t.Errorf("%s of %s did not come through: %v %s", r.name, method, a.header, a.body)
	}
}

// check compares an answer with what the row wants; done is the status of a write that
// went well when it was tried again.
func (r answerRow) check(t *testing.T, method string, a answer, copies, done int) {
	t.Helper()
	want, wantCopies := r.status, 1
	if r.again {
		want, wantCopies = done, 2
	}
	if a.status != want || copies != wantCopies {
		t.Errorf("%s of %s: answered %d after %d copies, want %d after %d", r.name, method, a.status, copies, want, wantCopies)
	}
	node := "n2"
	if (r.code == api.CodeUnauthenticated || r.code == api.CodeForbidden) && a.header.Get(api.HeaderNode) == "" {
		node = "" // by frames: such an answer names no node
	}
	if !r.again && (a.header.Get(api.HeaderNode) != node || !strings.Contains(a.body, "said by n2")) {
		t.Errorf("%s of %s did not come through: %v %s", r.name, method, a.header, a.body)
	}
}

// Goal: a write that no leader takes is refused in the end, with the last reason,
// and not sent for ever.
// Method: a leader that always refuses in each way that is tried again.
func TestAForwardedWriteIsNotTriedForEver(t *testing.T) {
	overEachRoad(t, aForwardedWriteIsNotTriedForEver)
}

func aForwardedWriteIsNotTriedForEver(t *testing.T, frames bool) {
	for kind, again := range triedAgainAfter {
		if !again {
			continue
		}
		k := failure.KindOf(kind)
		address := ""
		if frames {
			address = newFrameLeader(t, func(int, kv.Command) *reply {
				return &reply{clerkwire.KindRefused, clerkwire.Refused{Code: k.Code, Outcome: k.Outcome, Node: "n2", Detail: "said by n2"}}
			}).address
		} else {
			address = newScriptedLeader(t, func(int, *http.Request) string { return leaderSays(k.Status, k.Header()) }).address
		}
		s, _ := newFollowerOf(t, address, func(c *settings) { c.frames = frames })
		p := wantProblem(t, ask(s, "PUT", "/v1/kv/k", "v"), 503, api.CodeNoLeader, api.OutcomeNotApplied)
		if !strings.Contains(p.Detail, "said by n2") || p.Node != "n1" {
			t.Errorf("after %v: %+v", kind, p)
		}
	}
}
