package kvserver

import "sync/atomic"

// admission bounds the requests of one kind that are being served, and the
// bytes they may hold. What does not fit is refused at the door, where nothing
// has happened yet and the refusal costs nothing.
type admission struct {
	maxCount, maxBytes int64
	count, bytes       atomic.Int64
}

// enter lets a request in that may hold so many bytes, or reports that there is
// no room. Who was let in must leave with the same number.
func (a *admission) enter(bytes int64) bool {
	if a.count.Add(1) > a.maxCount {
		a.count.Add(-1)
		return false
	}
	if a.bytes.Add(bytes) > a.maxBytes && bytes > 0 {
		a.bytes.Add(-bytes)
		a.count.Add(-1)
		return false
	}
	return true
}

func (a *admission) leave(bytes int64) {
	a.bytes.Add(-bytes)
	a.count.Add(-1)
}
