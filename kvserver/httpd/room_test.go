package httpd

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/raft"
)

// wantAllRoom checks that nothing is held of any request: places, bytes,
// connections, and writes that wait.
func wantAllRoom(t *testing.T, s *testServer, after string) {
	t.Helper()
	for class := kvserver.Writes; class <= kvserver.Scrapes; class++ {
		if l := s.Load(class); l.Count != 0 || l.Bytes != 0 || l.Waiting != 0 {
			t.Errorf("after %s the %s hold %+v", after, class, l)
		}
	}
	open, _, _ := s.port.Counts()
	gate, refusals, addresses := s.port.Held()
	waiting, clerks := s.Machine().Pending(), s.clerks.Connections()
	if left := s.Bodies().Used(); left != 0 || open != 0 || waiting != 0 || clerks != 0 || gate != 0 || refusals != 0 || addresses != 0 {
		t.Errorf("after %s there are %d bytes of bodies, %d connections, %d writes that wait, %d Clerks, %d in the gate", after, left, open, waiting, clerks, gate)
	}
}

// Goal: room is given back on every way out of a request, also where nobody gets
// an answer.
// Method: each kind of request that ends badly, two hundred times in a row on
// connections of their own: cut in the header, in the body, while the log, a read
// index or a revision is waited for, while the answer is sent; refused; failed by
// the log or by a panic; by HTTP and by the Clerk's protocol. Afterwards every
// count is zero, and a request that needs all the room there is passes.
func TestRoomIsGivenBackOnEveryWayOut(t *testing.T) {
	const value = 1000
	full := strings.Repeat("x", value)
	upgradeTo := rawRequest("GET", "/v1/clerk", "", "Connection", "Upgrade", "Upgrade", clerkwire.Protocol)
	frame := func(m clerkwire.Write) string {
		return upgradeTo + string(clerkwire.AppendFrame(nil, clerkwire.KindPut, 1, m))
	}
	held := func(*raft.Proposal) {}
	write := clerkwire.Write{Session: 1, Seq: 1, Key: []byte("k"), Value: []byte(full)}
	for name, c := range map[string]struct {
		raw     string
		propose func(*raft.Proposal)
		noIndex bool // a read index does not come
		reads   bool // the client reads before it leaves
	}{
		"a cut header":         {raw: "PUT /v1/kv/k HTTP/1.1\r\nHost:"},
		"a cut body":           {raw: rawRequest("PUT", "/v1/kv/k", full[:900], "Content-Length", "1000")},
		"cut chunks":           {raw: rawRequest("PUT", "/v1/kv/k", "3e8\r\n"+full[:900], "Content-Length", "(none)", "Transfer-Encoding", "chunked")},
		"too large":            {raw: rawRequest("PUT", "/v1/kv/k", "", "Content-Length", "1001"), reads: true},
		"too large, in chunks": {raw: rawRequest("PUT", "/v1/kv/k", "3e9\r\n"+full+"x", "Content-Length", "(none)", "Transfer-Encoding", "chunked"), reads: true},
		"two lengths":          {raw: rawRequest("PUT", "/v1/kv/k", full, "Transfer-Encoding", "chunked"), reads: true},
		"a held write":         {raw: rawRequest("PUT", "/v1/kv/k", full), propose: held},
		"a held delete":        {raw: rawRequest("DELETE", "/v1/kv/k", ""), propose: held},
		"a panic":              {raw: rawRequest("PUT", "/v1/kv/k", full), propose: func(*raft.Proposal) { panic("planted") }, reads: true},
		"a failed write":       {raw: rawRequest("PUT", "/v1/kv/k", full), propose: func(p *raft.Proposal) { p.Failed(raft.ErrUnknown) }, reads: true},
		"a read":               {raw: rawRequest("GET", "/v1/kv/k", ""), noIndex: true},
		"a patient read":       {raw: rawRequest("GET", "/v1/kv/k?min_revision=99999", "")},
		"a page":               {raw: rawRequest("GET", "/v1/kv", ""), noIndex: true},
		"a stream":             {raw: rawRequest("GET", "/v1/kv", "", "Accept", api.MediaNDJSON), noIndex: true},
		"a stream that is cut": {raw: rawRequest("GET", "/v1/kv", "", "Accept", api.MediaNDJSON)},
		"a backup":             {raw: rawRequest("GET", "/v1/snapshot", ""), noIndex: true},
		"a backup that is cut": {raw: rawRequest("GET", "/v1/snapshot", "")},
		"a scrape that is cut": {raw: rawRequest("GET", "/metrics", "")},
		"a redirect":           {raw: rawRequest("PUT", "/v1/kv/k?redirect=no", full), reads: true},
		"a Clerk":              {raw: upgradeTo},
		"a Clerk's held write": {raw: frame(write), propose: held},
		"a Clerk's cut write":  {raw: frame(write)[:len(frame(write))-100]},
		"a Clerk's refusal":    {raw: frame(write), propose: func(p *raft.Proposal) { p.Failed(raft.ErrOverloaded) }, reads: true},
		"nonsense of a Clerk":  {raw: upgradeTo + "nonsense", reads: true},
	} {
		inBubble(t, func(t *testing.T) {
			s, log := newServer(t, func(config *settings) {
				config.MaxValueBytes, config.MaxInFlightBytes, config.MaxInFlight = value, value, 4
			})
			network := servePipes(t, s)
			wantStatus(t, ask(s, "PUT", "/v1/kv/there", full[:500]), 201)
			log.OnPropose = c.propose
			if c.noIndex {
				log.OnRead = func(ctx context.Context) (uint64, error) { <-ctx.Done(); return 0, ctx.Err() }
			}
			log.OnTermAt = func(uint64) (uint64, error) { return 1, nil }
			for range 200 {
				conn, err := network.Dial(t.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					_, _ = io.WriteString(conn, c.raw)
					if c.reads {
						_, _ = io.CopyN(io.Discard, conn, 100)
					}
				}()
				synctest.Wait()
				conn.Close()
				synctest.Wait()
			}
			time.Sleep(5 * time.Minute) // every limit of time is over
			wantAllRoom(t, s, name)
			log.OnPropose, log.OnRead = nil, nil
			for _, m := range []string{http.MethodPut, http.MethodGet, http.MethodDelete} {
				body := map[string]string{http.MethodPut: full}[m]
				if a := ask(s, m, "/v1/kv/full", body); a.status >= 300 {
					t.Errorf("after %s a full %s is answered %d %s", name, m, a.status, a.body)
				}
			}
		})
	}
}
