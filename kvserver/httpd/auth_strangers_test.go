package httpd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/internal/pipenet"
)

// grantNobody gives rules and limits to requests without a token.
func grantNobody(t *testing.T, s *testServer, root string, l auth.Limits) {
	t.Helper()
	change(t, s, callerOf(t, s, root), auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{
		Name: auth.Anonymous, Limits: l,
		Rules: []auth.Rule{{Space: auth.Keys, Text: "public/", Rights: auth.RightsOf(auth.Read, auth.Write, auth.Watch)}},
	}})
	time.Sleep(time.Minute) // virtual: the buckets fill
}

// askOn sends a GET on a connection of its own, which stays open, and returns the status.
func askOn(t *testing.T, pipes *pipenet.Net, path string, header ...string) (status int, hangUp func()) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return pipes.Dial(ctx, "kv:1") }}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://kv"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	return response.StatusCode, func() { transport.CloseIdleConnections(); synctest.Wait() }
}

// Goal (S16): requests without a token are bounded like those of a named identity, where the
// record of `anonymous` has limits: requests and bytes a second, in flight, connections and
// watches; others are not touched.
// Method: each limit by itself, put there over HTTP or in the log, and one more than it allows.
func TestRequestsWithoutATokenAreHeldToLimits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		get := func(token ...string) int { return ask(s, "GET", "/v1/kv/public/1", "", token...).status }
		body := `{"rules":[{"prefix":"public/","rights":["read"]}],"limits":{"requests_per_second":2}}`
		wantStatus(t, ask(s, "PUT", "/v1/auth/identities/anonymous", body, append(as(root), "Content-Type", api.MediaJSON)...), 201)
		for i, want := range []int{404, 404, 429} {
			if got := get(); got != want {
				t.Errorf("request %d without a token: %d, want %d", i+1, got, want)
			}
		}
		if p := wantSilentProblem(t, ask(s, "GET", "/v1/kv/public/1", ""), 429, api.CodeIdentityLimited, api.OutcomeNotApplied); !strings.Contains(p.Detail, "anonymous") {
			t.Errorf("the refusal says %q", p.Detail)
		}
		for range 5 {
			wantStatus(t, ask(s, "GET", "/v1/kv/a/1", "", as(user)...), 404)
		}
		grantNobody(t, s, root, auth.Limits{BytesPerSecond: 10})
		for i, want := range []int{201, 429} {
			if got := ask(s, "PUT", fmt.Sprint("/v1/kv/public/b", i), "12345678").status; got != want {
				t.Errorf("8 bytes, time %d: %d, want %d", i+1, got, want)
			}
		}
		grantNobody(t, s, root, auth.Limits{InFlight: 1})
		if err := s.Gate().Enter(&access.Caller{}, 0); err != nil {
			t.Fatal(err)
		}
		if got := get(); got != 429 {
			t.Errorf("a second request in flight: %d", got)
		}
		s.Gate().Leave(&access.Caller{}, 1)
		if got := get(); got != 404 {
			t.Errorf("after it has left: %d", got)
		}
		grantNobody(t, s, root, auth.Limits{Watches: 1})
		w := follow(t, s, anyTime+"prefix=public/")
		w.next()
		wantSilentProblem(t, ask(s, "GET", "/v1/watch?prefix=public/", ""), 429, api.CodeIdentityLimited, api.OutcomeNotApplied)
		grantNobody(t, s, root, auth.Limits{Connections: 2}) // one of which has the watch
		pipes := servePipes(t, s)
		status, hangUp := askOn(t, pipes, "/v1/kv/public/1")
		if second, end := askOn(t, pipes, "/v1/kv/public/1"); status != 404 || second != 429 {
			t.Errorf("connections without a token are answered %d and %d, want 404 and 429", status, second)
		} else {
			end()
		}
		named, end := askOn(t, pipes, "/v1/kv/a/1", as(user)...)
		if end(); named != 404 {
			t.Errorf("a connection of another is answered %d", named)
		}
		hangUp()
		if status, end := askOn(t, pipes, "/v1/kv/public/1"); status != 404 {
			t.Errorf("after one has ended: %d", status)
		} else {
			end()
		}
	})
}

// Goal (section 6, strangers): without limits in the record of `anonymous`, requests without a
// token have a quarter of the places of watches, as they have of the others; with a token
// there is room. Method: a node with four places for watches.
func TestWatchesWithoutATokenHaveAQuarter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, _ := enforced(t, func(c *settings) { c.MaxConnections = 16 })
		grantNobody(t, s, root, auth.Limits{})
		w := follow(t, s, anyTime+"prefix=public/")
		w.next()
		wantSilentProblem(t, ask(s, "GET", "/v1/watch?prefix=public/", ""), 429, api.CodeTooManyWatches, "")
		known := follow(t, s, anyTime+"prefix=public/", as(root)...)
		if open := known.next(); open.name != "open" {
			t.Errorf("a watch with a token begins with %+v", open)
		}
	})
}

// Goal (S12): an answer to a stranger ends its connection where the places of strangers are
// nearly used up, and one to an identity does not.
// Method: four places for strangers; probes on four connections that stay, and then a request
// with a token.
func TestAnAnswerToAStrangerEndsItsConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, _, user := enforced(t, func(c *settings) { c.MaxConnections = 16 })
		pipes := servePipes(t, s)
		hold := func() net.Conn { return pipes.Open(t, "GET /livez HTTP/1.1\r\nHost: kv\r\n\r\n") }
		ends := func(conn net.Conn) bool {
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			return answer.Close
		}
		for n := 1; n <= 4; n++ {
			if ended := ends(hold()); ended != (n == 4) {
				t.Errorf("with %d strangers, the answer to one ends its connection: %v", n, ended)
			}
		}
		synctest.Wait() // the fourth one's place is free
		if ends(pipes.Open(t, "GET /v1/kv/a/1 HTTP/1.1\r\nHost: kv\r\nAuthorization: "+as(user)[1]+"\r\n\r\n")) {
			t.Error("the connection of an identity ends with its answer")
		}
	})
}

// countedBody is a body that says how much of it was read.
type countedBody struct {
	io.Reader
	read int
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += n
	return n, err
}

// askChunked is ask for a body whose length the header does not say. read is how much of it was
// read.
func askChunked(s *testServer, method, target, body string, header ...string) (a answer, read int) {
	from := &countedBody{Reader: strings.NewReader(body)}
	r := httptest.NewRequestWithContext(context.Background(), method, target, from)
	r.ContentLength = -1
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String(), r.Header}, from.read
}

// Goal (S16): the bytes of a body count for the limit of its identity though its header does
// not say how many there are. One beyond the limit is refused before anything happens, with
// the time to wait, after which it is taken; one that comes meanwhile is not even read.
// Method: a limit of 10 bytes a second, and chunked bodies of 8: values, transactions, and JSON.
func TestABodyWithoutALengthCountsForTheLimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		limitUser(t, s, root, auth.Limits{BytesPerSecond: 10})
		time.Sleep(time.Minute)
		json := append(as(user), "Content-Type", api.MediaJSON)
		for _, c := range []struct {
			method, target, body string
			header               []string
			taken                int
		}{
			{"PUT", "/v1/kv/a/1", "12345678", as(user), 2}, {"POST", "/v1/kv/a/1?op=append", "12345678", as(user), 2},
			{"POST", txnPath, `{"then":[{"op":"put","key":"a/t","text":"x"}]}`, json, 2}, {"POST", "/v1/auth/tokens", `{"identity":"user"}`, json, 2},
		} {
			a, _ := askChunked(s, c.method, c.target, c.body, c.header...)
			if a.status/100 != c.taken {
				t.Errorf("%s %s: the first is answered %d %s", c.method, c.target, a.status, a.body)
			}
			before := stateOf(s)
			refused, _ := askChunked(s, c.method, c.target, c.body, c.header...)
			wantProblem(t, refused, 429, api.CodeIdentityLimited, api.OutcomeNotApplied)
			again, read := askChunked(s, c.method, c.target, c.body, c.header...)
			wantProblem(t, again, 429, api.CodeIdentityLimited, api.OutcomeNotApplied)
			if read != 0 {
				t.Errorf("%s %s: %d bytes are read of a body that is not taken", c.method, c.target, read)
			}
			if stateOf(s) != before {
				t.Errorf("%s %s: something has happened", c.method, c.target)
			}
			wait, err := time.ParseDuration(refused.header.Get("Retry-After") + "s")
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(wait)
			if a, _ := askChunked(s, c.method, c.target, c.body, c.header...); a.status/100 != c.taken {
				t.Errorf("%s %s: behind Retry-After, %v: %d %s", c.method, c.target, wait, a.status, a.body)
			}
			time.Sleep(time.Minute)
		}
		a, _ := askChunked(s, "PUT", "/v1/kv/a/large", strings.Repeat("x", 1000), as(user)...)
		wantStatus(t, a, 201) // what is larger than a second's share must pass at some time
		time.Sleep(time.Minute)
		a, _ = askChunked(s, "PUT", "/v1/kv/a/1", "12345678", as(user)...)
		wantStatus(t, a, 429) // and is owed for
	})
}

// Goal (S14; section 6): a refusal has its one line, with its true outcome, also where its client
// has gone before it could take the answer; so has an act. What is held back after 20 wrong
// tokens is held back then, too: the place of the connection stays taken for the second, and
// another connection from the address waits.
// Method: clients that close their connections behind the request.
func TestARefusalThatNobodyTakesIsNotedAndSlowedDown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := &sink{}
		audit := access.NewAudit(access.AuditConfig{To: file})
		s, _, root, user := enforced(t, func(c *settings) { c.Access.Audit = audit })
		pipes := servePipes(t, s)
		leave := func(id, request, token string, more ...string) {
			line := request + " HTTP/1.1\r\nHost: kv\r\nKv-Request-Id: " + id + "\r\n" + strings.Join(more, "")
			if token != "" {
				line += "Authorization: Bearer " + token + "\r\n"
			}
			conn := pipes.Open(t, line+"\r\n")
			conn.Close()
			synctest.Wait()
		}
		open := func() int { n, _, _ := s.port.Counts(); return n }
		wantStatus(t, ask(s, "POST", "/v1/locks/x", `{"ttl":"10m"}`, append(as(root), "Content-Type", api.MediaJSON)...), 200)
		want := map[string]string{}
		for i := range 22 {
			id := fmt.Sprint("unknown-", i)
			before := open()
			leave(id, "GET /v1/kv/a/1", "rkt1_x")
			want[id] = "not_applied unauthenticated"
			if held := open() - before; held != i/20 {
				t.Errorf("wrong token %d keeps %d places, want %d", i+1, held, i/20)
			}
			if i/20 == 1 {
				time.Sleep(time.Second)
				synctest.Wait()
				if held := open() - before; held != 0 {
					t.Errorf("a second later wrong token %d keeps %d places", i+1, held)
				}
			}
		}
		begun := time.Now()
		if status, end := askOn(t, pipes, "/v1/kv/a/1", as("rkt1_x")...); status != 401 || time.Since(begun) != time.Second {
			t.Errorf("on another connection: %d after %v", status, time.Since(begun))
		} else {
			end()
		}
		leave("forbidden", "GET /v1/kv/b", user)
		want["forbidden"] = "not_applied forbidden"
		leave("put", "PUT /v1/kv/a/1", user, "Content-Length: 0\r\n") // it ends, or is given up before
		want["put"] = "applied "
		body := `{"ttl":"10m"}`
		locks := pipes.Open(t, "POST /v1/locks/x?wait=60s HTTP/1.1\r\nHost: kv\r\nKv-Request-Id: lock\r\nAuthorization: Bearer "+root+"\r\nContent-Type: application/json\r\nContent-Length: "+fmt.Sprint(len(body))+"\r\n\r\n"+body)
		synctest.Wait()
		locks.Close()
		synctest.Wait()
		want["lock"] = "unknown "
		time.Sleep(time.Minute)
		audit.Close()
		got := map[string][]string{}
		for _, l := range file.lines(t) {
			got[l.RequestID] = append(got[l.RequestID], l.Outcome+" "+l.Code)
		}
		for id, line := range want {
			if givenUp := id == "put" && slices.Equal(got[id], []string{"unknown timeout"}); !givenUp && !slices.Equal(got[id], []string{line}) {
				t.Errorf("the lines of the request %s are %q, want one, %q", id, got[id], line)
			}
		}
	})
}

// Goal (S18): limits and the slow-down are the same whatever a client says of itself.
// Method: each claim, with a limit of one request a second, and with more wrong tokens than are
// free.
func TestNoHeaderChangesALimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, user := enforced(t, nil)
		grantNobody(t, s, root, auth.Limits{RequestsPerSecond: 1})
		limitUser(t, s, root, auth.Limits{RequestsPerSecond: 1})
		for _, claim := range claims {
			for name, who := range map[string][]string{"an identity": as(user), "nobody": nil} {
				target := map[bool]string{true: "/v1/kv/public/1", false: "/v1/kv/a/1"}[who == nil]
				time.Sleep(time.Minute)
				for i, want := range []int{404, 429} {
					if a := ask(s, "GET", target, "", append(append([]string{}, claim...), who...)...); a.status != want {
						t.Errorf("%s with %v, request %d: %d, want %d", name, claim, i+1, a.status, want)
					}
				}
			}
		}
		time.Sleep(2 * time.Minute)
		for i := range 20 + 2*len(claims) {
			claim := claims[i%len(claims)]
			if len(claim) > 0 && claim[0] == "X-Forwarded-For" {
				claim = []string{"X-Forwarded-For", fmt.Sprintf("10.0.0.%d", i)}
			}
			begun := time.Now()
			wantStatus(t, ask(s, "GET", "/v1/kv/a/1", "", append(as("rkt1_x"), claim...)...), 401)
			if took := time.Since(begun); took != map[bool]time.Duration{true: time.Second}[i >= 20] {
				t.Errorf("wrong token %d with %v is answered after %v", i+1, claim, took)
			}
		}
	})
}

// Goal (S16): an identity, or callers without a token, at twenty times the limit leave others
// as they are: what is refused takes no place and no time of theirs.
// Method: in virtual time, reads that take 100 ms on a node with room for sixteen; 200 a second
// of the noisy one, which may have ten, and 20 a second of another. All of them together would
// need 22 places, and those that are let in need 12.
func TestANoisyIdentityLeavesOthersAlone(t *testing.T) {
	for name, noisy := range map[string]func(user string) []string{"an identity": as, "nobody": func(string) []string { return nil }} {
		inBubble(t, func(t *testing.T) {
			s, log, root, user := enforced(t, func(c *settings) { c.MaxInFlight = 16 })
			limitUser(t, s, root, auth.Limits{RequestsPerSecond: 10})
			grantNobody(t, s, root, auth.Limits{RequestsPerSecond: 10})
			log.Reading(func(context.Context) (uint64, error) {
				time.Sleep(100 * time.Millisecond)
				return log.Status().LastIndex, nil
			})
			who, target := noisy(user), "/v1/kv/public/1"
			if who != nil {
				target = "/v1/kv/a/1"
			}
			var loud, quiet []<-chan answer
			took := make([]time.Duration, 100)
			for tick := range 1000 {
				loud = append(loud, later(func() answer { return ask(s, "GET", target, "", who...) }))
				if tick%10 == 0 {
					begun, at := time.Now(), len(quiet)
					quiet = append(quiet, later(func() answer {
						defer func() { took[at] = time.Since(begun) }()
						return ask(s, "GET", "/v1/kv/a/1", "", as(root)...)
					}))
				}
				time.Sleep(5 * time.Millisecond)
			}
			time.Sleep(time.Second)
			served := 0
			for _, a := range loud {
				if got := <-a; got.status == 404 {
					served++
				} else if got.status != 429 {
					t.Errorf("%s: the noisy one is answered %d %s", name, got.status, got.body)
				}
			}
			if served < 50 || served > 70 { // 10 a second for 5 s, and a full bucket
				t.Errorf("%s: %d requests of the noisy one are served", name, served)
			}
			for i, a := range quiet {
				if got := <-a; got.status != 404 || took[i] != 100*time.Millisecond {
					t.Errorf("%s: request %d of another is answered %d after %v", name, i, got.status, took[i])
				}
			}
		})
	}
}

// Goal (S16): a request to join, which needs no token of an identity, counts among those of the
// callers without one: the leader reads its log for it. Probes of health count for nobody.
// Method: such callers may make two requests a second; then more of both kinds come.
func TestRequestsToJoinAreHeldToTheLimitsOfStrangers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, _ := enforced(t, nil)
		grantNobody(t, s, root, auth.Limits{RequestsPerSecond: 2})
		join := func() answer {
			return ask(s, "POST", "/v1/join", `{"id":"n9","token":"none"}`, "Content-Type", api.MediaJSON)
		}
		for range 2 {
			if a := join(); a.status == 429 {
				t.Errorf("answered %d %s", a.status, a.body)
			}
		}
		if a := join(); a.status != 429 || !strings.HasPrefix(a.header.Get(api.HeaderError), string(api.CodeIdentityLimited)) {
			t.Errorf("a third one is answered %d %v", a.status, a.header)
		}
		for range 3 {
			wantStatus(t, ask(s, "GET", "/livez", ""), 200)
		}
		time.Sleep(time.Second)
		if a := join(); a.status == 429 {
			t.Errorf("a second later: %d %s", a.status, a.body)
		}
	})
}
