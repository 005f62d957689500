package auth

import (
	"encoding/binary"
	"errors"

	"raftkv/kvserver/fields"
)

// ErrMalformed is the error of everything that no version of this package has encoded.
var ErrMalformed = errors.New("auth: malformed")

// The encodings below are stored in the log and in snapshots. All numbers are uvarints
// in their shortest form, and a text has its length before it. So equal things have
// equal bytes.
//
//	identity: name, number, disabled, 6 limits, count of rules, rules
//	rule:     space, single, rights, text
//	token:    id 8 bytes, hash 32 bytes, identity, created, expires, comment

func appendText(dst []byte, text string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

func appendNumbers(dst []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// appendIdentity appends the encoding of an identity.
func appendIdentity(dst []byte, i *Identity) []byte {
	dst = appendText(dst, i.Name)
	dst = appendNumbers(dst, i.Number, bit(i.Disabled))
	limits := i.Limits
	for _, l := range limits.all() {
		dst = appendNumbers(dst, *l)
	}
	dst = appendNumbers(dst, uint64(len(i.Rules)))
	for n := range i.Rules {
		r := &i.Rules[n]
		dst = appendNumbers(dst, uint64(r.Space), bit(r.Single), uint64(r.Rights))
		dst = appendText(dst, r.Text)
	}
	return dst
}

// appendToken appends the encoding of a token.
func appendToken(dst []byte, t *Token) []byte {
	dst = append(dst, t.ID[:]...)
	dst = append(dst, t.Hash[:]...)
	dst = appendNumbers(dst, t.Identity, t.Created, t.Expires)
	return appendText(dst, t.Comment)
}

// reader reads identities and tokens from the front.
type reader struct{ fields.Reader }

func read(b []byte) reader { return reader{fields.Reader{Rest: b}} }

func (r *reader) identity() *Identity {
	i := &Identity{Name: r.Text(MaxNameBytes), Number: r.Number(), Disabled: r.Flag()}
	for _, l := range i.Limits.all() {
		*l = r.UpTo(maxLimit)
	}
	for range r.UpTo(MaxRules) {
		rule := Rule{Space: Space(r.UpTo(uint64(spaceMax))), Single: r.Flag(), Rights: Rights(r.UpTo(1<<(rightMax+1) - 1))}
		rule.Text = r.Text(MaxTextBytes)
		if r.Bad() {
			break
		}
		i.Rules = append(i.Rules, rule)
	}
	return i
}

func (r *reader) token() *Token {
	t := &Token{}
	r.Fill(t.ID[:])
	r.Fill(t.Hash[:])
	t.Identity, t.Created, t.Expires = r.Number(), r.Number(), r.Number()
	t.Comment = r.Text(MaxCommentBytes)
	return t
}

// end returns ErrMalformed if there was a fault or something is left.
func (r *reader) end() error {
	if r.End(); r.Bad() {
		return ErrMalformed
	}
	return nil
}
