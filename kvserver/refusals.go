package kvserver

import (
	"fmt"
	"time"

	"raftkv/kvserver/failure"
)

// The refusals for want of room. Each names the limit, its number and what to do.

// overloadedAs refuses a request that may be sent again after a while.
func (s *Server) overloadedAs(retryAfter time.Duration, format string, args ...any) error {
	return failure.RetryAfter(failure.Overloaded, retryAfter, format, args...)
}

// overloaded refuses a write until those that are here will have been served.
func (s *Server) overloaded(format string, args ...any) error {
	return s.overloadedAs(s.writes.crowd().retryAfter(s.machine.ApplyLag()), format, args...)
}

// tooMany refuses a request that waited for room in vain.
func (s *Server) tooMany(a *admission, what string) error {
	c := a.crowd()
	// Which of the two it was is not kept: places may be free again by now.
	if c.count < c.limit && c.bytes > a.maxBytes/2 {
		return s.overloadedAs(c.retryAfter(0), "too many bytes of %s in flight (%s of %s)", what, byteCount(c.bytes), byteCount(a.maxBytes))
	}
	return s.overloadedAs(c.retryAfter(0), "too many %s in flight (limit %d)", what, c.limit)
}

// queueFull refuses a request for which there is not even room to wait.
func (s *Server) queueFull(a *admission, what string) error {
	return s.overloaded("the queue for %s is full (limit %d)", what, a.maxWaiting)
}

// noMemory refuses a write whose body finds no memory.
func (s *Server) noMemory() error {
	return s.overloaded("no memory for another request body (%s of %s in use)", byteCount(s.bodies.used.Load()), byteCount(s.bodies.most))
}

// lagsBehind refuses a write that would only wait for the store.
func (s *Server) lagsBehind(lag uint64) error {
	return s.overloaded("this node's store is %d entries behind its log (limit %d)", lag, mostApplyLag)
}

// storeFull refuses a write that would make the store grow beyond its quota.
func (s *Server) storeFull() error {
	return failure.Of(failure.Quota, nil, "the store is full (quota %s, --max-store-bytes of the leader); delete something: reads and deletes still work", byteCount(s.config.MaxStoreBytes))
}

// valueTooLarge refuses a value of so many bytes, -1 if their number is not known.
func (s *Server) valueTooLarge(length int64) error {
	limit := s.config.MaxValueBytes
	if length < 0 {
		return failure.Of(failure.ValueTooLarge, nil, "the value has more than %d bytes, the limit of this node (--max-value-bytes); send a smaller one", limit)
	}
	return failure.Of(failure.ValueTooLarge, nil, "the value has %d bytes; this node takes %d (--max-value-bytes)", length, limit)
}

// growsTooLarge refuses an append to a value that is nearly as long as it may be.
func (s *Server) growsTooLarge() error {
	return failure.Of(failure.ValueTooLarge, nil, "with this the value would have more than %d bytes, the limit of this node (--max-value-bytes)", s.config.MaxValueBytes)
}

// byteCount writes a number of bytes, in MiB or GiB where that is exact.
func byteCount(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
