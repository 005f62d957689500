package kvserver

import (
	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
)

// The limits of keys and values, which both doors ask before anything is proposed.

// CheckKey refuses a key that cannot be one. where begins the part of the sentence
// that says how long a key is, as in "it has 1 to 4096 bytes".
func CheckKey[K []byte | string](key K, where string) error {
	switch {
	case len(key) == 0:
		return failure.Of(failure.BadRequest, nil, "the key is empty; it %s 1 to %d bytes", where, api.MaxKeyBytes)
	case len(key) > api.MaxKeyBytes:
		return CheckKeyLength("key", string(key))
	}
	return nil
}

// CheckKeyLength refuses a text that is longer than any key.
func CheckKeyLength(what, key string) error {
	if len(key) > api.MaxKeyBytes {
		return failure.Of(failure.KeyTooLong, nil, "the %s has %d bytes; the longest key may have %d", what, len(key), api.MaxKeyBytes)
	}
	return nil
}

// CheckValue refuses a value whose length, in bytes, is beyond the limit; -1 stands
// for a length that is not known and beyond it.
func (s *Server) CheckValue(length int64) error {
	limit := s.config.MaxValueBytes
	switch {
	case length < 0:
		return failure.Of(failure.ValueTooLarge, nil, "the value has more than %d bytes, the limit of this node (--max-value-bytes); send a smaller one", limit)
	case length > limit:
		return failure.Of(failure.ValueTooLarge, nil, "the value has %d bytes; this node takes %d (--max-value-bytes)", length, limit)
	}
	return nil
}
