package machine

import "time"

// extent measures a state, by its keys and the events of its history, or a stretch of the log, by its entries.
type extent struct{ count, bytes int64 }

// What a start pays for each key that it loads, for each entry that it applies, and
// for each byte of either: measured for values of 16 to 4,096 bytes among 200,000
// keys. An entry costs twice a key, because a state comes in the order of its keys and
// an entry finds its key anywhere. Only the proportions count, so a slower machine
// takes its snapshots at the same places.
const (
	keyTime   = 1 * time.Microsecond
	entryTime = 2 * time.Microsecond
	byteTime  = 1 * time.Nanosecond
)

// loadTime estimates how long a start loads a state.
func (e extent) loadTime() time.Duration {
	return time.Duration(e.count)*keyTime + time.Duration(e.bytes)*byteTime
}

// replayTime estimates how long a start applies a stretch of the log.
func (e extent) replayTime() time.Duration {
	return time.Duration(e.count)*entryTime + time.Duration(e.bytes)*byteTime
}

// snapshotDue reports whether it is time to replace the log since the last snapshot:
// it has at least minBytes, and a start would apply it for longer than it would load
// the state in that snapshot.
//
// So a start takes at most twice the time that the state alone takes, whether the
// log made new keys or overwrote old ones. A store of small values writes some two
// bytes of snapshots for each byte of log. A store of large values, where bytes are
// all that counts, writes one.
func snapshotDue(log, last extent, minBytes int64) bool {
	return log.bytes >= minBytes && log.replayTime() >= last.loadTime()
}
