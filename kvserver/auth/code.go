package auth

import (
	"encoding/binary"
	"errors"
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

// reader reads an encoding from the front. After the first fault it reads zeros.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) check(ok bool) {
	if !ok {
		r.bad, r.rest = true, nil
	}
}

func (r *reader) number() uint64 {
	n, length := binary.Uvarint(r.rest)
	r.check(length == 1 || length > 1 && r.rest[length-1] != 0)
	if r.bad {
		return 0
	}
	r.rest = r.rest[length:]
	return n
}

// upTo reads a number that is at most highest.
func (r *reader) upTo(highest uint64) uint64 {
	n := r.number()
	r.check(n <= highest)
	if r.bad {
		return 0
	}
	return n
}

func (r *reader) raw(n int) []byte {
	r.check(n <= len(r.rest))
	if r.bad {
		return make([]byte, min(n, len(Hash{})))
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) text(longest int) string {
	n := r.upTo(uint64(longest))
	if r.bad {
		return ""
	}
	return string(r.raw(int(n)))
}

func (r *reader) identity() *Identity {
	i := &Identity{Name: r.text(MaxNameBytes), Number: r.number(), Disabled: r.upTo(1) == 1}
	for _, l := range i.Limits.all() {
		*l = r.upTo(maxLimit)
	}
	for range r.upTo(MaxRules) {
		rule := Rule{Space: Space(r.upTo(uint64(spaceMax))), Single: r.upTo(1) == 1, Rights: Rights(r.upTo(1<<(rightMax+1) - 1))}
		rule.Text = r.text(MaxTextBytes)
		if r.bad {
			break
		}
		i.Rules = append(i.Rules, rule)
	}
	return i
}

func (r *reader) token() *Token {
	t := &Token{ID: TokenID(r.raw(tokenIDBytes)), Hash: Hash(r.raw(len(Hash{})))}
	t.Identity, t.Created, t.Expires = r.number(), r.number(), r.number()
	t.Comment = r.text(MaxCommentBytes)
	return t
}

// end returns ErrMalformed if there was a fault or something is left.
func (r *reader) end() error {
	if r.bad || len(r.rest) > 0 {
		return ErrMalformed
	}
	return nil
}
