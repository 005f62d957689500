package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// Goal: there is one parser of endpoints, and it says in words what is wrong, and never a
// password (S13).
func TestEndpoints(t *testing.T) {
	for given, want := range map[string]string{
		"h:1": "h:1", " http://h:1/ ": "h:1", "HTTP://h:1": "h:1", ":8701": "127.0.0.1:8701", "[::1]:8701": "[::1]:8701", "h:08701": "h:8701",
		"https://h:1": "https://h:1", " HTTPS://h:1/ ": "https://h:1", "https://:8701": "https://127.0.0.1:8701",
	} {
		if got, err := ParseEndpoint(given); got != want || err != nil {
			t.Errorf("%q is %q, %v", given, got, err)
		}
	}
	for given, why := range map[string]string{
		"ftp://h:1": "ftp://", "h": "host:port", "h:": "host:port", "": "host:port", "h:0": "1 to 65535", "h:99999": "1 to 65535",
		"h:+1": "1 to 65535", "h:http": "1 to 65535", "u:p@h:1": "user", "h:1/v1": "path", "h:1?x": "path", "h:1#x": "path", "::1:8701": "brackets",
		"a b:1": "host name", "a\x1b:1": "host name",
	} {
		if got, err := ParseEndpoint(given); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q is %q, %v; want an error with %q", given, got, err, why)
		}
	}
	for _, given := range []string{"https://me:secret@h:1", "ftp://me:secret@h:1", "secret@h", "h:1?token=secret", "https://me:secret@h:1/v1?token=secret"} {
		if _, err := ParseEndpoint(given); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
	if got, err := ParseEndpoints("a:1,, http://a:1/ ,b:2,"); err != nil || strings.Join(got, " ") != "a:1 b:2" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := ParseEndpoints("https://a:1,b:1"); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("endpoints with TLS and without: %v", err)
	}
	if _, err := ParseEndpoints(" , "); err == nil {
		t.Error("a list of nothing is let through")
	}
}

// Goal: a call that nobody could serve is explained by the refusal that tells
// most, whichever server was asked last. Method: three servers, each of which
// fails in another way; the same in every order of the endpoints.
func TestTheMostTellingRefusalExplainsACall(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for i, order := range [][]string{{"n1:1", "n2:1", "n3:1"}, {"n3:1", "n1:1", "n2:1"}, {"n2:1", "n3:1", "n1:1"}} {
		bubble(t, func(t *testing.T) {
			f := newFakeCluster(t, "")
			var heard sync.Map
			c := f.dial(func(config *Config) {
				config.Endpoints = order
				config.OnRefusal = func(r Refusal) { heard.Store(r.Address, r.Reason) }
				config.Dial = func(ctx context.Context, address string) (net.Conn, error) {
					if address != "n1:1" {
						return nil, refused
					}
					return f.connect(ctx, address)
				}
			})
			defer f.end(c)
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1000+97*i)*time.Millisecond)
			defer cancel()
			_, err := c.Put(ctx, "k", nil)
			e := wantError(t, err, api.OutcomeNotApplied, ErrNoLeader, context.DeadlineExceeded)
			if e.Node != "n1" || !strings.HasPrefix(e.Detail, "n1 at n1:1 says: ") || !strings.HasSuffix(e.Detail, " refuse connections") || len(e.Refusals) != 3 {
				t.Errorf("%q: %q", order, e.Detail)
			}
			if reason, _ := heard.Load("n2:1"); reason != refusesConnections {
				t.Errorf("of n2 was said meanwhile: %v", reason)
			}
		})
	}
}

// Goal: what a server has said is not forgotten because the caller did not wait
// for its next answer. Method: it is behind once, then it says nothing.
func TestAnAttemptCutShortSaysLessThanAnAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		answered := false
		f.before = func(c *fakeConn, a asked) bool {
			if !answered {
				c.refuse(a, clerkwire.Refused{Code: api.CodeBehind, Outcome: api.OutcomeNotApplied, Retryable: true, Detail: "this node has come to revision 7"})
			}
			answered = true
			return true
		}
		c := f.dial(func(config *Config) { config.Endpoints = []string{"n1:1"} })
		defer f.end(c)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Get(ctx, "k")
		if e := wantError(t, err, api.OutcomeNotApplied, context.DeadlineExceeded); e.Code != api.CodeBehind || !strings.Contains(e.Detail, "revision 7") {
			t.Errorf("%+v", e)
		}
	})
}

// Goal: a Clerk does not wait for what cannot come: a host that no name server
// knows, a server that refuses it for good. It does if another server may serve
// yet. Method: virtual time; ctx would end after a minute.
func TestWhatCannotComeIsNotWaitedFor(t *testing.T) {
	forbidden := "HTTP/1.1 403 Forbidden\r\nKv-Error: forbidden; outcome=not_applied\r\nKv-Node: n9\r\nContent-Length: %d\r\n\r\n%s"
	body := `{"detail":"list it in --allowed-hosts","code":"forbidden"}`
	answers := func(text string) func() (net.Conn, error) {
		return func() (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				there.Read(make([]byte, 4096))
				there.Write([]byte(text))
				there.Close()
			}()
			return here, nil
		}
	}
	unknownName := func() (net.Conn, error) { return nil, &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true} }
	for _, c := range []struct {
		name      string
		endpoints []string
		dial      func() (net.Conn, error)
		waits     bool
		says      string
		code      api.Code
	}{
		{"unknown names", []string{"a:1", "b:1"}, unknownName, false, "a:1, b:1 are no known host names", api.CodeNoLeader},
		{"forbidden", []string{"a:1"}, answers(fmt.Sprintf(forbidden, len(body), body)), false, "list it in --allowed-hosts", api.CodeForbidden},
		{"a web server", []string{"a:1"}, answers("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), false, "not like a server of this store", api.CodeNoLeader},
		{"a proxy without a server", []string{"a:1"}, answers("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), true, "502", api.CodeNoLeader},
		{"an unknown name and a server that is down", []string{"a:1", "down:1"}, unknownName, true, "a:1 is no known host name", api.CodeNoLeader},
		{"a peer port", []string{"a:1"}, answers(""), true, "closes connections without an answer", api.CodeNoLeader},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				begun := time.Now()
				_, err := Dial(ctx, Config{Endpoints: c.endpoints, Dial: func(_ context.Context, address string) (net.Conn, error) {
					if address == "down:1" {
						return nil, syscall.ECONNREFUSED
					}
					return c.dial()
				}})
				var e *Error
				if !errors.As(err, &e) || e.Code != c.code || !strings.Contains(e.Detail, c.says) || e.Outcome != api.OutcomeNotApplied {
					t.Errorf("%+v", e)
				}
				if took := time.Since(begun); (took >= time.Minute) != c.waits {
					t.Errorf("after %v: %v", took, err)
				}
			})
		})
	}
}

// Goal: an address that a server's sentence names already is not named twice.
func TestTheLeadersAddressIsNamedOnce(t *testing.T) {
	e := &Error{Code: api.CodeNoLeader, Node: "n2", Leader: "n1", LeaderAddr: "far:1", Detail: "node n2 does not lead; n1 does, and takes clients at far:1"}
	if r := (noted{"n2:1", e}).refusal(); strings.Count(r.Reason, "far:1") != 1 {
		t.Error(r.Reason)
	}
}

// Goal: a leader that can only be reached at an address that does not lead to it
// is named with that address, so that the reader sees what to set.
func TestALeaderOutOfReachIsNamedWithItsAddress(t *testing.T) {
	for _, address := range []string{"far:1", "n2:1"} {
		bubble(t, func(t *testing.T) {
			f := newFakeCluster(t, "n1")
			f.before = func(c *fakeConn, a asked) bool {
				c.refuse(a, clerkwire.Refused{Code: api.CodeNoLeader, Outcome: api.OutcomeNotApplied, Retryable: true, Leader: "n1", LeaderAddr: address, Detail: "node n2 does not lead; n1 does"})
				return true
			}
			f.down["far"] = true
			c := f.dial(func(config *Config) { config.Endpoints = []string{"n2:1"} })
			defer f.end(c)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := c.Put(ctx, "k", nil)
			e := wantError(t, err, api.OutcomeNotApplied, ErrNoLeader, context.DeadlineExceeded)
			if e.Leader != "n1" || e.LeaderAddr != address || !strings.Contains(e.Detail, "n1 does at "+address) {
				t.Errorf("%s: %q", address, e.Detail)
			}
		})
	}
}
