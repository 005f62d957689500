package kvserver

import "sync/atomic"

// Budget bounds memory that many requests share. All methods are safe for
// concurrent use.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// Limit returns how many bytes there are in all.
func (b *Budget) Limit() int64 { return b.limit }

// Used returns how many bytes are reserved.
func (b *Budget) Used() int64 { return b.used.Load() }

// Take reserves bytes, unless that would leave less than reserve for others.
func (b *Budget) Take(bytes, reserve int64) bool {
	if b.used.Add(bytes) > b.limit-reserve {
		b.used.Add(-bytes)
		return false
	}
	return true
}

// Give gives reserved bytes back.
func (b *Budget) Give(bytes int64) { b.used.Add(-bytes) }
