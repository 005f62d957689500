package httpd

import "testing"

// Goal: a client that asks for no upgrade hears which there is, and one to something else
// is no upgrade to this.
func TestClerkUpgradeIsAskedFor(t *testing.T) {
	s, _ := newServer(t, nil)
	for _, header := range [][]string{nil, {"Connection", "Upgrade", "Upgrade", "websocket"}, {"Connection", "Upgrade", "Upgrade", "raftkv-clerk/3"}} {
		a := ask(s, "GET", "/v1/clerk", "", header...)
		wantStatus(t, a, 200)
		if a.body != "raftkv-clerk/1\nraftkv-clerk/2\n" {
			t.Errorf("%v: %q", header, a.body)
		}
	}
}
