package firstadmin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
)

// node answers like a node about identities, as far as a caretaker asks.
type node struct {
	mu     sync.Mutex
	own    *Caretaker
	admin  bool
	tokens []api.AuthToken
	state  string
	late   int // questions that are answered with 501 first
	asked  []string
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, r.Method+" "+r.URL.Path)
	refuse := func(status int, code api.Code) {
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(api.Problem{Status: status, Code: code, Detail: "no"})
	}
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	byOwn := bearer == n.own.own.Reveal()
	byAdmin := slices.ContainsFunc(n.tokens, func(k api.AuthToken) bool { return k.Token == bearer })
	id, isToken := strings.CutPrefix(r.URL.Path, "/v1/auth/tokens/")
	switch {
	case n.late > 0:
		n.late--
		refuse(501, api.CodeNotActive)
	case !byOwn && !byAdmin:
		refuse(401, api.CodeUnauthenticated)
	case r.URL.Path == "/v1/auth/me":
		json.NewEncoder(w).Encode(api.Identity{Name: map[bool]string{true: Name, false: "raftkv-dev"}[byAdmin]})
	case r.URL.Path == "/v1/auth/identities/"+Name && r.Method == "GET" && !n.admin:
		refuse(404, api.CodeNotFound)
	case r.URL.Path == "/v1/auth/identities/"+Name && r.Method == "GET":
		shown := api.Identity{Name: Name}
		for _, k := range n.tokens {
			k.Token = ""
			shown.Tokens = append(shown.Tokens, k)
		}
		json.NewEncoder(w).Encode(shown)
	case r.URL.Path == "/v1/auth/identities/"+Name:
		n.admin = true
		w.WriteHeader(201)
		fmt.Fprint(w, "{}")
	case r.URL.Path == "/v1/auth/tokens":
		var asked api.NewToken
		json.NewDecoder(r.Body).Decode(&asked)
		name, _ := auth.ParseTokenID(fmt.Sprintf("made%04d", len(n.asked)))
		made := api.AuthToken{ID: name.String(), Identity: asked.Identity, Comment: asked.Comment, Token: auth.MakeToken(name, [auth.SecretBytes]byte{byte(len(n.asked))}).Reveal()}
		n.tokens = append(n.tokens, made)
		w.WriteHeader(201)
		json.NewEncoder(w).Encode(made)
	case isToken:
		n.tokens = slices.DeleteFunc(n.tokens, func(k api.AuthToken) bool { return k.ID == id })
		w.WriteHeader(204)
	case r.URL.Path == "/v1/auth/state" && r.Method == "PUT" && !byAdmin:
		refuse(403, api.CodeForbidden)
	case r.URL.Path == "/v1/auth/state" && r.Method == "PUT":
		n.state = "enforce"
		fmt.Fprint(w, `{"state":"enforce"}`)
	default:
		json.NewEncoder(w).Encode(api.AuthState{State: n.state})
	}
}

// Goal: the first run makes an admin, keeps its token in files of mode 0600 and enforces; the
// next one changes nothing and shows no token; where the token was lost, or opens nothing any
// more, another one takes its place, those of the person stay, and no link is followed.
// Method: a node in memory that is late with level 3; the files as each run leaves them.
func TestTheFirstAdmin(t *testing.T) {
	dir := t.TempDir()
	files := Files{Token: filepath.Join(dir, "token"), Header: filepath.Join(dir, "header")}
	n := &node{state: "off", late: 2}
	served := httptest.NewServer(n)
	defer served.Close()
	settle := func() (string, error) {
		t.Helper()
		c, err := New()
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Identities()) != 1 || c.Identities()[0].Identity.Allows(auth.Read, auth.OneKey("k")) || c.Identities()[0].Identity.Allows(auth.Admin, auth.Range{}) {
			t.Errorf("the caretaker may do %+v", c.Identities())
		}
		n.own = c
		made, err := c.Settle(t.Context(), []string{strings.TrimPrefix(served.URL, "http://"), "127.0.0.1:1"}, files)
		return made.Reveal(), err
	}
	kept := func() string {
		t.Helper()
		token, err := os.ReadFile(files.Token)
		header, errHeader := os.ReadFile(files.Header)
		if err != nil || errHeader != nil || string(header) != "Authorization: Bearer "+string(token) {
			t.Errorf("the files hold %d and %d bytes: %v, %v", len(token), len(header), err, errHeader)
		}
		for _, path := range []string{files.Token, files.Header} {
			if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 {
				t.Errorf("%s has the mode %v, %v", path, info.Mode(), err)
			}
		}
		return strings.TrimSpace(string(token))
	}
	first, err := settle()
	if err != nil || first == "" || kept() != first || n.state != "enforce" || len(n.tokens) != 1 {
		t.Fatalf("the first run: %v, state %s, %d tokens", err, n.state, len(n.tokens))
	}
	if again, err := settle(); err != nil || again != "" || kept() != first || len(n.tokens) != 1 {
		t.Errorf("the second run: %q, %v, %d tokens", again, err, len(n.tokens))
	}
	n.tokens = append(n.tokens, api.AuthToken{ID: "mine0000", Identity: Name, Comment: "mine"})
	if err := os.Remove(files.Token); err != nil {
		t.Fatal(err)
	}
	second, err := settle()
	if err != nil || second == "" || second == first || kept() != second || len(n.tokens) != 2 || n.tokens[0].ID != "mine0000" {
		t.Errorf("the token was lost: %v, tokens %+v", err, n.tokens)
	}
	n.tokens = n.tokens[:1] // somebody has revoked it
	third, err := settle()
	if err != nil || third == "" || kept() != third {
		t.Errorf("the token was revoked: %v", err)
	}
	elsewhere := filepath.Join(dir, "elsewhere")
	if err := os.WriteFile(elsewhere, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files.Token); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, files.Token); err != nil {
		t.Fatal(err)
	}
	if _, err := settle(); err == nil {
		t.Error("a link is written through")
	}
	if text, err := os.ReadFile(elsewhere); err != nil || len(text) != 0 {
		t.Errorf("behind the link there is %q, %v", text, err)
	}
}
