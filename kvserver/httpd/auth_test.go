package httpd

import (
	"errors"
	"testing"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
)

// person is a caller on the machine of the node itself.
var person = kvserver.Caller{Person: true}

// testToken returns the token with an id.
func testToken(t testing.TB, id string) (auth.TokenID, string) {
	t.Helper()
	parsed, ok := auth.ParseTokenID(id)
	if !ok {
		t.Fatalf("%q is no id of a token", id)
	}
	return parsed, auth.MakeToken(parsed, [auth.SecretBytes]byte{1, 2, 3}).Reveal()
}

// change makes a change of the table of identities as a person on this machine, or as
// root once nobody else may.
func change(t testing.TB, s *testServer, by *kvserver.Caller, c auth.Change) {
	t.Helper()
	if _, _, err := s.ChangeAuth(t.Context(), by, &c, nil); err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
}

// newIdentity makes an identity with these rules and a token of this id, or puts it
// back, and returns the token.
func newIdentity(t testing.TB, s *testServer, name, id string, rules ...auth.Rule) (token string) {
	t.Helper()
	return newIdentityBy(t, s, &person, name, id, rules...)
}

func newIdentityBy(t testing.TB, s *testServer, by *kvserver.Caller, name, id string, rules ...auth.Rule) (token string) {
	t.Helper()
	change(t, s, by, auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: name, Rules: rules}})
	parsed, token := testToken(t, id)
	_, _, err := s.ChangeAuth(t.Context(), by, &auth.Change{Action: auth.CreateToken, Name: name, Token: &auth.Token{ID: parsed, Hash: auth.HashOf(token), Created: uint64(time.Now().Unix())}}, nil)
	if err != nil && !errors.Is(err, failure.IdempotencyMismatch) {
		t.Fatal(err)
	}
	return token
}

// callerOf finds the caller of a token.
func callerOf(t testing.TB, s *testServer, token string) *kvserver.Caller {
	t.Helper()
	who, err := s.Gate().AuthenticateToken(token)
	if err != nil || !who.Known() {
		t.Fatalf("the token is not known: %v", err)
	}
	return &who
}
