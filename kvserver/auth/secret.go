package auth

import (
	"fmt"
	"io"
	"strings"
)

// redacted stands in place of a secret wherever one would be shown.
const redacted = "redacted"

// Secret holds a text that must not be shown: a token. It prints, logs and encodes as
// "redacted", whatever verb or encoder is used. The zero value is no secret.
type Secret struct {
	// text is behind a pointer: fmt cannot call the methods of a secret in an unexported
	// field, and shows an address then.
	text *string
}

// NewSecret returns a text as a secret.
func NewSecret(text string) Secret { return Secret{&text} }

// Reveal returns the text. Its callers hand it to the network or to the person that
// asked for the token, and to nobody else.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// String implements fmt.Stringer.
func (s Secret) String() string { return redacted }

// Format implements fmt.Formatter for every verb.
func (s Secret) Format(to fmt.State, _ rune) { _, _ = io.WriteString(to, redacted) }

// MarshalText implements encoding.TextMarshaler, and so the encoders of JSON, TOML and
// the log.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Conceal returns a text in which every token, and every beginning of one that is longer than
// its id, ends behind the id. It is for texts that say again what a client has sent: a token
// may stand where it does not belong.
func Conceal(text string) string {
	at := strings.Index(text, tokenPrefix)
	if at < 0 {
		return text
	}
	var b strings.Builder
	for ; at >= 0; at = strings.Index(text, tokenPrefix) {
		begins := at + len(tokenPrefix)
		ends := begins
		for ends < len(text) && inBase62(text[ends:ends+1]) {
			ends++
		}
		b.WriteString(text[:min(ends, begins+tokenIDBytes)])
		if ends > begins+tokenIDBytes {
			b.WriteString("…")
		}
		text = text[ends:]
	}
	b.WriteString(text)
	return b.String()
}
