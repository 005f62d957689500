package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// testToken returns a token of these seeds.
func testToken(id string, seed byte) (TokenID, Secret) {
	var random [SecretBytes]byte
	for i := range random {
		random[i] = seed + byte(i)
	}
	parsed, ok := ParseTokenID(id)
	if !ok {
		panic(id)
	}
	return parsed, MakeToken(parsed, random)
}

// Goal: a token that is made can be read, and one with any slip of the pen cannot.
// Method: change each character to another, leave one out, add one.
func TestASlipOfThePenIsNoToken(t *testing.T) {
	id, secret := testToken("Abc12xyZ", 7)
	text := secret.Reveal()
	if got, err := ParseToken(text); err != nil || got != id || len(text) != TokenBytes {
		t.Fatalf("%q: %v %v", text, got, err)
	}
	for i := range len(text) {
		other := byte('q')
		if text[i] == other {
			other = 'r'
		}
		for _, wrong := range []string{text[:i] + string(other) + text[i+1:], text[:i] + text[i+1:], text[:i] + "0" + text[i:]} {
			if _, err := ParseToken(wrong); err == nil {
				t.Errorf("%q passes for a token", wrong)
			}
		}
	}
	_, lower := testToken("Abc12xyZ", 8)
	if lower.Reveal() == text || HashOf(lower.Reveal()) == HashOf(text) {
		t.Error("two secrets give one token")
	}
}

// Goal: two ids or two secrets never give one token: 32 bytes fit in 43 digits.
// Method: the greatest number.
func TestTheGreatestSecretFits(t *testing.T) {
	var random [SecretBytes]byte
	for i := range random {
		random[i] = 0xff
	}
	a := MakeToken(TokenIDOf([8]byte{1}), random).Reveal()
	random[0] = 0xfe
	if b := MakeToken(TokenIDOf([8]byte{1}), random).Reveal(); a == b || a[13] == '0' {
		t.Errorf("%q and %q", a, b)
	}
}

// Goal (S13): a secret shows nowhere. Method: every way that the program prints, logs
// and encodes.
func TestASecretDoesNotShow(t *testing.T) {
	const canary = "rkt1_canary"
	s := NewSecret(canary)
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		fmt.Fprintf(&b, verb+"\n", s)
		fmt.Fprintf(&b, verb+"\n", &s)
		fmt.Fprintf(&b, verb+"\n", struct{ Token Secret }{s})
		fmt.Fprintf(&b, verb+"\n", []Secret{s})
		fmt.Fprintf(&b, verb+"\n", struct{ token Secret }{s})
	}
	fmt.Fprintln(&b, fmt.Errorf("an error with %v and %w", s, fmt.Errorf("%s", s)))
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Info("a line", "token", s, "pointer", &s, "in", struct{ Token Secret }{s})
	}
	if err := json.NewEncoder(&b).Encode(map[string]any{"token": s, "list": []*Secret{&s}}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "canary") {
		t.Errorf("the secret shows:\n%s", b.String())
	}
	if !strings.Contains(b.String(), "redacted") || s.Reveal() != canary || s.IsZero() || !(Secret{}).IsZero() {
		t.Error("a secret does not hold its text, or says nothing of it")
	}
}

// Goal: rules are read as people write them, and what would be ignored is refused.
// Method: a table of texts, written again.
func TestRulesAreReadStrictly(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"prefix":"orders/","rights":["list","read"]}`, `{"prefix":"orders/","rights":["read","list"]}`},
		{`{"key":"a","rights":["write"]}`, `{"key":"a","rights":["write"]}`},
		{`{"prefix_base64":"/w==","rights":["watch"]}`, `{"prefix_base64":"/w==","rights":["watch"]}`},
		{`{"key_base64":"YQ==","rights":["read"]}`, `{"key":"a","rights":["read"]}`},
		{`{"prefix":"","rights":["read"]}`, `{"prefix":"","rights":["read"]}`},
		{`{"lock":"jobs/","rights":["acquire","observe","lease"]}`, `{"lock":"jobs/","rights":["lease","acquire","observe"]}`},
		{`{"rights":["admin"]}`, `{"rights":["admin"]}`},
		{`{"rights":["status","join-tokens"]}`, `{"rights":["status","join-tokens"]}`},
		{`{"rights":["read"]}`, ""},
		{`{"rights":[]}`, ""},
		{`{"prefix":"a","rights":["status"]}`, ""},
		{`{"prefix":"a","key":"a","rights":["read"]}`, ""},
		{`{"prefix":"a","lock":"a","rights":["lease"]}`, ""},
		{`{"key":"","rights":["read"]}`, ""},
		{`{"lock":"a","rights":["read"]}`, ""},
		{`{"prefix":"a","rights":["read"],"deny":true}`, ""},
		{`{"prefix":"a","rights":["open"]}`, ""},
		{`{"prefix":"a","rights":["known"]}`, ""},
		{`{"prefix_base64":"a","rights":["read"]}`, ""},
		{`{"prefix":"` + strings.Repeat("a", MaxTextBytes+1) + `","rights":["read"]}`, ""},
	} {
		var rule Rule
		err := json.Unmarshal([]byte(c.text), &rule)
		if c.want == "" {
			if err == nil {
				t.Errorf("%.60s is taken as %+v", c.text, rule)
			}
			continue
		}
		again, wrong := json.Marshal(rule)
		if err != nil || wrong != nil || string(again) != c.want {
			t.Errorf("%s is read as %s (%v, %v)", c.text, again, err, wrong)
		}
	}
}

// Goal: a node's own file gives rights on the system and none on keys, and names hashes
// only. Method: a table of entries.
func TestTheAuthFileIsReadStrictly(t *testing.T) {
	id, secret := testToken("glass000", 1)
	hash := HashOf(secret.Reveal())
	good := FileEntry{Name: "ops", Rights: []string{"status", "auth"}, TokenID: "glass000", TokenHash: fmt.Sprintf("%x", hash[:])}
	all, err := NewBreakGlass([]FileEntry{good})
	if err != nil || len(all) != 1 || !all[0].Is(id, &hash) || !all[0].Identity.Allows(Auth, Range{}) || all[0].Identity.Allows(Read, OneKey("a")) {
		t.Fatalf("%+v, %v", all, err)
	}
	if wrong := HashOf("other"); all[0].Is(id, &wrong) {
		t.Error("another token passes")
	}
	for name, change := range map[string]func(*FileEntry){
		"key rights": func(e *FileEntry) { e.Rights = []string{"read"} }, "admin": func(e *FileEntry) { e.Rights = []string{"admin"} },
		"no rights": func(e *FileEntry) { e.Rights = nil }, "no name": func(e *FileEntry) { e.Name = "" },
		"no id": func(e *FileEntry) { e.TokenID = "" }, "a short hash": func(e *FileEntry) { e.TokenHash = e.TokenHash[2:] },
		"the token itself": func(e *FileEntry) { e.TokenHash = secret.Reveal() },
	} {
		e := good
		change(&e)
		if _, err := NewBreakGlass([]FileEntry{e}); err == nil {
			t.Errorf("an entry with %s is taken", name)
		}
	}
	if _, err := NewBreakGlass([]FileEntry{good, good}); err == nil {
		t.Error("one identity is taken twice")
	}
}

func FuzzToken(f *testing.F) {
	_, secret := testToken("Abc12xyZ", 7)
	f.Add(secret.Reveal())
	f.Add("rkt1_")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseToken(text)
		if err != nil {
			return
		}
		if len(text) != TokenBytes || !strings.HasPrefix(text, tokenPrefix+id.String()) {
			t.Errorf("%q is taken for a token with the id %s", text, id)
		}
	})
}

func FuzzRule(f *testing.F) {
	f.Add([]byte(`{"prefix":"orders/","rights":["read","list"]}`))
	f.Add([]byte(`{"prefix_base64":"/w==","rights":["watch"]}`))
	f.Add([]byte(`{"lock":"a","rights":["acquire"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var rule, again Rule
		if json.Unmarshal(text, &rule) != nil {
			return
		}
		written, err := json.Marshal(rule)
		if err != nil || json.Unmarshal(written, &again) != nil || again != rule {
			t.Errorf("%s is read as %+v and written as %s (%v)", text, rule, written, err)
		}
	})
}
