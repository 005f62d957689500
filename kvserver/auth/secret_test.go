package auth

import "testing"

// Goal (S13): of a token in a text nothing is left but its id, also where the text holds only
// its beginning, or two of them; other texts stay as they are. Method: a table.
func TestATokenInATextIsConcealed(t *testing.T) {
	token := MakeToken(TokenIDOf([8]byte{1, 2, 3}), [SecretBytes]byte{4, 5, 6}).Reveal()
	const id = "rkt1_12300000"
	for text, want := range map[string]string{
		"":          "",
		"a key":     "a key",
		"rkt1_":     "rkt1_",
		id:          id,
		id + " and": id + " and",
		token:       id + "…",
		token[:14]:  id + "…",
		"x" + token[:40] + `" is wrong, ` + token + ",": "x" + id + `…" is wrong, ` + id + "…,",
		"rkt1_short " + token + "\n":                    "rkt1_short " + id + "…\n",
	} {
		if got := Conceal(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
