package ask

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"raftkv/cmd/raftkv/internal/exit"
)

// Goal: a change whose answer was lost, or of which the node itself does not know whether it was
// made, may be done; what never went out, what was refused, and what only asks, is not.
// Method: servers that close the connection, refuse, or answer 504, and a port without a server.
func TestWhatMayBeDone(t *testing.T) {
	closes := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}))
	defer closes.Close()
	says := func(status int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	closing := strings.TrimPrefix(closes.URL, "http://")
	late := says(504, `{"code":"timeout","outcome":"unknown","detail":"it took too long"}`)
	denies := says(401, `{"code":"unauthenticated","outcome":"not_applied","detail":"no token"}`)
	for _, c := range []struct {
		name, endpoint, method, path string
		maybe                        bool
	}{
		{"a change that is lost", closing, "POST", "/v1/auth/tokens", true},
		{"a question that is lost", closing, "GET", "/v1/auth/tokens", false},
		{"a question by POST that is lost", closing, "POST", "/v1/auth/check", false},
		{"a change that nobody takes", nobody.Addr().String(), "POST", "/v1/auth/tokens", false},
		{"a change that is refused", denies, "POST", "/v1/auth/tokens", false},
		{"a change that takes too long", late, "PUT", "/v1/auth/state", true},
		{"a question that takes too long", late, "GET", "/v1/auth/state", false},
	} {
		_, err := Node(t.Context(), c.endpoint, c.method, c.path, strings.NewReader("{}"))
		if err == nil || MayBeDone(err) != c.maybe {
			t.Errorf("%s: %v, maybe done %v", c.name, err, MayBeDone(err))
		}
		if c.endpoint == closing && (!errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "peer port")) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Goal: where one node may have done what another one refuses, a command ends by exit.Unknown
// and tells both reasons. Method: reasons in both orders, and without the first.
func TestARefusalDoesNotHideWhatMayBeDone(t *testing.T) {
	lost, denied := &UnansweredError{"closes", io.EOF, true}, Refused("unauthenticated", "nobody knows the token")
	code := func(err error) int {
		var e *exit.Ending
		errors.As(err, &e)
		return e.Code
	}
	refusedThere := &UnansweredError{"no answer: connection refused", syscall.ECONNREFUSED, false}
	if tree := errors.Join(refusedThere, errors.Join(denied, lost)); !MayBeDone(tree) || MayBeDone(errors.Join(refusedThere, denied)) {
		t.Error("not all of a tree is looked at")
	}
	var r Reasons
	r.Add("a", lost)
	for _, err := range []error{r.Final(exit.Failed, "b", denied), r.Ended(exit.Unavailable, "no node did it: ")} {
		if code(err) != exit.Unknown || !strings.Contains(err.Error(), "a: closes; b: nobody") {
			t.Errorf("code %d, %v", code(err), err)
		}
	}
	var other Reasons
	other.Add("a", errors.New("no answer"))
	if err := other.Final(exit.Failed, "b", denied); code(err) != exit.Failed || err.Error() != "b: nobody knows the token" {
		t.Errorf("code %d, %v", code(err), err)
	}
	var nobody Reasons
	nobody.Add("a", refusedThere)
	if err := nobody.Ended(exit.Unavailable, ""); code(err) != exit.Unavailable || !strings.HasSuffix(err.Error(), NobodyThere) {
		t.Errorf("where nobody listens: code %d, %v", code(err), err)
	}
	other.Add("b", refusedThere)
	if err := other.Ended(exit.Unavailable, ""); strings.HasSuffix(err.Error(), NobodyThere) {
		t.Errorf("where one listens: %v", err)
	}
	other = Reasons{}
	other.Add("a", errors.New("no answer"))
	if err := other.Ended(exit.Unavailable, "no node did it: "); code(err) != exit.Unavailable || err.Error() != "no node did it: a: no answer" {
		t.Errorf("code %d, %v", code(err), err)
	}
}
