package machine

import "time"

// uptimeClock measures how long this process has run, by its monotonic clock. It stamps
// commands, of which the store makes log time (kv.View.LogTime). No wall clock is
// ever read, so none that is set, stepped or wrong can make the store forget early
// what it promised to keep.
type uptimeClock struct{ begun time.Time }

// now returns the stamp for a command that is proposed now, in milliseconds.
func (c uptimeClock) now() uint64 { return 1 + uint64(time.Since(c.begun).Milliseconds()) }
