package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"hash/crc32"
)

// The parts of a token, in their order: tokenPrefix, the id, the secret, check digits.
// The prefix and the check digits let scanners find a leaked token, and a slip of the
// pen is refused before anything is looked up.
const (
	tokenPrefix  = "rkt1_"
	tokenIDBytes = 8
	secretDigits = 43 // of 32 bytes in base 62
	checkDigits  = 6  // of a CRC32C in base 62
	// TokenBytes is the length of every token.
	TokenBytes = len(tokenPrefix) + tokenIDBytes + secretDigits + checkDigits
)

// SecretBytes is the number of random bytes that a token is made of.
const SecretBytes = 32

// TokenID names a token: 8 letters and digits. It is no secret. The zero value names
// none.
type TokenID [tokenIDBytes]byte

// String returns the id as people write it, "" for none.
func (id TokenID) String() string {
	if id == (TokenID{}) {
		return ""
	}
	return string(id[:])
}

// ParseTokenID reads an id as String writes it.
func ParseTokenID(text string) (id TokenID, ok bool) {
	if len(text) != tokenIDBytes || !inBase62(text) {
		return TokenID{}, false
	}
	copy(id[:], text)
	return id, true
}

// TokenIDOf makes an id of 8 bytes, any bytes.
func TokenIDOf(random [tokenIDBytes]byte) (id TokenID) {
	for i, b := range random {
		id[i] = digits62[int(b)%len(digits62)]
	}
	return id
}

// Hash is the SHA-256 of a whole token, which is all that is stored of it.
type Hash [sha256.Size]byte

const digits62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// MakeToken returns the token with this id and these random bytes.
func MakeToken(id TokenID, random [SecretBytes]byte) Secret {
	text := make([]byte, 0, TokenBytes)
	text = append(text, tokenPrefix...)
	text = append(text, id[:]...)
	text = append62(text, random[:], secretDigits)
	return NewSecret(string(append(text, checkOf(text)...)))
}

// ErrNoToken is the error of everything that is not a token in form.
var ErrNoToken = errors.New("auth: not a token")

// ParseToken checks the form of a token and returns its id. Whether there is such a
// token is for the table to say.
func ParseToken(text string) (TokenID, error) {
	if len(text) != TokenBytes || text[:len(tokenPrefix)] != tokenPrefix || !inBase62(text[len(tokenPrefix):]) {
		return TokenID{}, ErrNoToken
	}
	const body = TokenBytes - checkDigits
	var check [checkDigits]byte
	crc := crc32.Update(0, castagnoli, []byte(text[:body]))
	for i := checkDigits - 1; i >= 0; i-- {
		check[i] = digits62[crc%62]
		crc /= 62
	}
	if text[body:] != string(check[:]) {
		return TokenID{}, ErrNoToken
	}
	id, _ := ParseTokenID(text[len(tokenPrefix) : len(tokenPrefix)+tokenIDBytes])
	return id, nil
}

// HashOf returns the hash of a token.
func HashOf(token string) Hash { return sha256.Sum256([]byte(token)) }

// is compares hashes in a time that does not depend on them.
func (h *Hash) is(other *Hash) bool { return subtle.ConstantTimeCompare(h[:], other[:]) == 1 }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkOf returns the check digits of what stands before them.
func checkOf(text []byte) []byte {
	crc := crc32.Checksum(text, castagnoli)
	return append62(nil, []byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)}, checkDigits)
}

// append62 appends a number, its highest byte first, as n digits in base 62.
func append62(dst, number []byte, n int) []byte {
	rest := append([]byte(nil), number...)
	digits := make([]byte, n)
	for i := n - 1; i >= 0; i-- {
		remainder := 0
		for j, b := range rest { // long division by 62
			remainder = remainder<<8 | int(b)
			rest[j] = byte(remainder / 62)
			remainder %= 62
		}
		digits[i] = digits62[remainder]
	}
	return append(dst, digits...)
}

// inBase62 reports whether a text has only digits of base 62.
func inBase62(text string) bool {
	for i := range len(text) {
		c := text[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
