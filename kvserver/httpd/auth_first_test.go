package httpd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// Goal (S1, S4): a caller that may not ask for something hears that first, at a node that does not
// lead as well, and nothing of the cluster: no node, leader, address or term, and is sent
// nowhere. So does one whose token was revoked on a connection that stands. A caller with
// the right is told the leader. Method: all kinds of frames, forwarded commands, and all routes
// that take ?redirect, at a node that follows, by an identity without the right, one that may write and not read, one
// that nobody knows, and admin.
func TestWhoMayNotAskHearsNothingOfTheCluster(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log, root, _ := enforced(t, func(c *settings) { c.ClientAddr = func(string) string { return "leader.example:8701" } })
		by := callerOf(t, s, root)
		viewer := asker{name: "viewer", token: newIdentityBy(t, s, by, "viewer", "viewer00", auth.Rule{Rights: auth.RightsOf(auth.Status)}), right: auth.Status}
		writer := asker{name: "writer", right: auth.Write, prefix: "a/",
			token: newIdentityBy(t, s, by, "writer", "writer00", auth.Rule{Space: auth.Keys, Text: "a/", Rights: auth.RightsOf(auth.Write)})}
		gone := newIdentityBy(t, s, by, "gone", "gone0000", adminRule)
		admin := asker{name: "root", token: root, right: auth.Admin}
		clerks := map[string]*rawClerk{}
		for name, token := range map[string]string{"viewer": viewer.token, "gone": gone, "root": root} {
			clerks[name], _ = dialRaw(t, s, token)
		}
		link, _ := dialAs(t, s, asker{token: viewer.token}, api.HeaderForwarded, "n9", api.HeaderCluster, "c1", api.HeaderLink, s.Machine().Auth().LinkProof("c1", "n9", "n1"))
		change(t, s, by, auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: "gone", Rules: []auth.Rule{adminRule}, Limits: auth.Limits{RequestsPerSecond: 1}}})
		revoke(t, s, root, gone) // whose limits are no answer
		log.SetLeader("n2")
		sent := 0
		for kind, f := range frameCalls {
			if f.ask == nil {
				continue
			}
			for name, want := range map[string]api.Code{"viewer": api.CodeForbidden, "gone": api.CodeUnauthenticated} {
				if name == "viewer" && f.right == auth.Known {
					continue
				}
				c := clerks[name]
				if code := f.ask(t, c, 1, "a/1"); code != want {
					t.Errorf("%s: a frame of kind 0x%02x is answered %q, want %q", name, uint8(kind), code, want)
				}
				saysNothing(t, name, c.refused)
			}
			clerks["root"].refused = clerkwire.Refused{}
			if code := f.ask(t, clerks["root"], 1, "a/1"); code == api.CodeNoLeader && clerks["root"].refused.LeaderAddr == "leader.example:8701" {
				sent++
			}
		}
		if sent < 10 {
			t.Errorf("void: admin is sent to the leader for %d kinds", sent)
		}
		command := kv.EncodeCommand(kv.Command{Op: kv.OpPut, Key: []byte("a/1")})
		for token, want := range map[string]api.Code{viewer.token: api.CodeForbidden, gone: api.CodeUnauthenticated, root: api.CodeNoLeader} {
			code, _ := askFrame(t, link, clerkwire.KindForward, clerkwire.Forward{RequestID: "r", Left: 1e9, Token: []byte(token), Command: command, Sum: clerkwire.SumOf(command)})
			if code != want {
				t.Errorf("a forwarded command is answered %q, want %q", code, want)
			}
			if want != api.CodeNoLeader {
				saysNothing(t, "forward", link.refused)
			}
		}
		sent = 0
		for _, r := range Routes() {
			if !slices.Contains(r.Query, "redirect") {
				continue
			}
			for _, c := range calls(r) {
				target := c.target + "?redirect"
				if strings.Contains(c.target, "?") {
					target = c.target + "&redirect"
				}
				for _, a := range []asker{viewer, writer, {name: "gone", token: gone, unknown: true}, admin} {
					got := askCut(s, r.Method, target, c.body, a.authorization(), c.header...)
					name := a.name + ": " + r.Method + " " + target
					if wantRow(t, name, a, c, got); got.status == 307 {
						sent++
					}
					if a.unknown && got.header.Get("Location") != "" {
						t.Errorf("%s is sent to %s", name, got.header.Get("Location"))
					}
				}
			}
		}
		// Nor is a caller told that is not even asked for a token.
		page := ask(s, "PUT", "/v1/kv/a/1", "x", append(as(root), "Origin", "http://page.example.org")...)
		if wantProblem(t, page, 403, api.CodeForbidden, api.OutcomeNotApplied); page.header.Get(api.HeaderNode)+page.header.Get(api.HeaderLeader)+page.header.Get(api.HeaderTerm) != "" {
			t.Errorf("a page of another site is told %v", page.header)
		}
		unasked := map[string]answer{
			"a content coding": ask(s, "PUT", "/v1/kv/a/1", "x", "Content-Encoding", "gzip"),
			"an unknown host":  ask(s, "GET", "http://evil.example/v1/kv/a/1", ""),
			"a parameter":      ask(s, "GET", "/livez?x=1", ""),
			"a bad join":       ask(s, "POST", "/v1/join", "{", "Content-Type", api.MediaJSON),
			"a forged link":    ask(s, "GET", "/livez", "", api.HeaderForwarded, "n9", api.HeaderLink, "00"),
			"a wrong token":    ask(s, "GET", "/livez", "", as("rkt1_x")...),
		}
		for _, path := range []string{"/livez", "/readyz", "/v1/integrity?at=1"} {
			unasked[path] = ask(s, "GET", path, "")
		}
		for name, a := range unasked {
			for _, tells := range []string{api.HeaderNode, api.HeaderLeader, api.HeaderTerm, api.HeaderConfiguration} {
				if a.header.Get(tells) != "" {
					t.Errorf("%s is answered with %s: %d %v", name, tells, a.status, a.header)
				}
			}
			// A digest is of a node, which its body names; see docs/security.md.
			if whole := fmt.Sprint(a.header, a.body); !strings.HasPrefix(name, "/v1/integrity") && strings.Contains(whole, "n1") || strings.Contains(whole, "n2") {
				t.Errorf("%s is answered with the name of a node: %s", name, whole)
			}
		}
		for _, path := range []string{"/livez", "/readyz"} {
			if a := ask(s, "GET", path, "", as(viewer.token)...); a.header.Get(api.HeaderNode) != "n1" {
				t.Errorf("%s with a token: %d %v", path, a.status, a.header)
			}
		}
		noHTTP := string(s.door.Problem(failure.Of(failure.BadRequest, nil, "this is no request")))
		for _, tells := range []string{api.HeaderNode, api.HeaderLeader, api.HeaderTerm, "n1", "n2", `"term": 3`} {
			if strings.Contains(noHTTP, tells) {
				t.Errorf("what is no request of HTTP is answered with %s:\n%s", tells, noHTTP)
			}
		}
		if sent < 20 {
			t.Errorf("void: %d requests are sent to the leader", sent)
		}
		for _, c := range clerks {
			c.conn.Close()
		}
		link.conn.Close()
	})
}
