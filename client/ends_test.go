package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// Goal: whatever way a write goes, the Clerk says "not applied" only if it is not
// there and never will be, and "done" only if it is there once.
// Method: one table of all ends: the first attempt is done or not, its answer
// comes, is lost, is refused as unknown or as not applied; the second attempt
// meets each end that a server knows. The fake server keeps lanes as a real one
// does, and afterwards makes every attempt that it had put off.
func TestEveryEndOfAWrite(t *testing.T) {
	firsts := map[string]func(c *fakeConn, a asked){
		"lost":        func(c *fakeConn, _ asked) { c.Close() },
		"unknown":     func(c *fakeConn, a asked) { c.refuse(a, refusedAs(api.CodeLeadershipLost, api.OutcomeUnknown)) },
		"timeout":     func(c *fakeConn, a asked) { c.refuse(a, refusedAs(api.CodeTimeout, api.OutcomeUnknown)) },
		"silence":     func(*fakeConn, asked) {},
		"not applied": func(c *fakeConn, a asked) { c.noLeader(a, "") },
		"overloaded":  func(c *fakeConn, a asked) { c.refuse(a, refusedAs(api.CodeOverloaded, api.OutcomeNotApplied)) },
	}
	seconds := map[string]func(c *fakeConn, a asked){
		"answer":      func(c *fakeConn, a asked) { c.answer(a) },
		"expired":     expire,
		"conflict":    func(c *fakeConn, a asked) { c.refuse(a, decided(api.CodePreconditionFailed)) },
		"quota":       func(c *fakeConn, a asked) { c.refuse(a, refusedAs(api.CodeQuotaExceeded, api.OutcomeNotApplied)) },
		"too large":   func(c *fakeConn, a asked) { c.refuse(a, refusedAs(api.CodeValueTooLarge, api.OutcomeNotApplied)) },
		"bad request": func(c *fakeConn, a asked) { c.refuse(a, refusedAs(api.CodeBadRequest, api.OutcomeNotApplied)) },
		"no leader":   func(c *fakeConn, a asked) { c.noLeader(a, "") },
		"silence":     func(*fakeConn, asked) {},
	}
	for first, end := range firsts {
		for second, then := range seconds {
			// A decided refusal is the session's memory of the first attempt; after one
			// that was done it cannot be, and a first attempt that is refused as not
			// applied is not done later.
			for _, happens := range []string{"at once", "later", "never"} {
				safe := first == "not applied" || first == "overloaded"
				if safe && happens != "never" || second == "conflict" && happens != "never" {
					continue
				}
				t.Run(first+", then "+second+", "+happens, func(t *testing.T) { endOfAWrite(t, end, then, happens) })
			}
		}
	}
}

func refusedAs(code api.Code, outcome api.Outcome) clerkwire.Refused {
	return clerkwire.Refused{Code: code, Outcome: outcome, Retryable: code == api.CodeOverloaded, Detail: string(code)}
}

func decided(code api.Code) clerkwire.Refused {
	return clerkwire.Refused{Code: code, Outcome: api.OutcomeNotApplied, Decided: true, Detail: string(code)}
}

func endOfAWrite(t *testing.T, end, then func(c *fakeConn, a asked), happens string) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(nil)
		defer f.end(c)
		if _, err := c.Put(t.Context(), "before", nil); err != nil {
			t.Fatal(err)
		}
		var put *asked // the first attempt, if it may happen yet
		session, attempts := uint64(0), 0
		f.set(func() {
			f.before = func(c *fakeConn, a asked) bool {
				if a.kind != clerkwire.KindAppend {
					return false
				}
				attempts++
				switch {
				case attempts == 1:
					session = a.write.Session
					if happens == "at once" {
						f.apply(a)
					}
					put = &a
					end(c, a)
				case a.write.Session == session: // a new session was never promised anything
					then(c, a)
				default:
					return false
				}
				return true
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := c.Append(ctx, "k", []byte("x"))
		f.hook.Lock()
		first := put
		f.hook.Unlock()
		if happens == "later" {
			f.apply(*first) // does nothing if the lane has gone on
		}
		value := f.value("k")
		var e *Error
		switch {
		case err == nil && value != "x":
			t.Errorf("it is called done, and the value is %q", value)
		case err != nil && !errors.As(err, &e):
			t.Errorf("%v", err)
		case err != nil && e.Outcome == api.OutcomeNotApplied && value != "":
			t.Errorf("it is called not applied, and the value is %q: %v", value, err)
		case err != nil && e.Outcome == api.OutcomeUnknown && len(value) > 1:
			t.Errorf("it happened more than once: %q", value)
		}
	})
}
