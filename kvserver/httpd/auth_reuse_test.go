package httpd

import (
	"testing"

	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
)

// Goal (S6): a revoked token stays worthless on a connection that it opened, although a new
// token is made under its id, as under the same idempotency key. Method: a Clerk's connection
// by the old token, and a request by each of the two after that.
func TestARevokedTokenDoesNotComeBackWithItsId(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _, root, old := enforced(t, nil)
		wantStatus(t, ask(s, "PUT", "/v1/kv/a/1", "v", as(old)...), 201)
		c, _ := dialRaw(t, s, old)
		get := clerkwire.Get{Key: []byte("a/1")}
		if code, _ := askFrame(t, c, clerkwire.KindGet, get); code != "" {
			t.Fatalf("void: before, %s", code)
		}
		revoke(t, s, root, old)
		id, _ := auth.ParseToken(old)
		secret := auth.MakeToken(id, [auth.SecretBytes]byte{9}).Reveal()
		change(t, s, callerOf(t, s, root), auth.Change{Action: auth.CreateToken, Name: "user", Token: &auth.Token{ID: id, Hash: auth.HashOf(secret)}})
		wantStatus(t, ask(s, "GET", "/v1/kv/a/1", "", as(secret)...), 200)
		wantStatus(t, ask(s, "GET", "/v1/kv/a/1", "", as(old)...), 401)
		if code, _ := askFrame(t, c, clerkwire.KindGet, get); code != api.CodeUnauthenticated {
			t.Errorf("on its connection the old token is answered %q, want %q", code, api.CodeUnauthenticated)
		}
	})
}
