package kvserver

import "time"

// rateMeter measures how many requests end per second, in windows of a fixed length
// of which the last ones are kept.
type rateMeter struct {
	begun time.Time // of the present window
	ends  int64     // in the present window
	kept  [40]int64 // ends in the windows before it, the latest at last
	last  int
}

const rateWindow = 250 * time.Millisecond

// roll begins a new window if the present one is over.
func (r *rateMeter) roll(now time.Time) {
	if r.begun.IsZero() {
		r.begun = now
	}
	for passed := 0; now.Sub(r.begun) >= rateWindow; passed++ {
		if passed > len(r.kept) { // all that was kept is forgotten
			r.begun = now
			return
		}
		r.last = (r.last + 1) % len(r.kept)
		r.kept[r.last] = r.ends
		r.ends = 0
		r.begun = r.begun.Add(rateWindow)
	}
}

func (r *rateMeter) ended(now time.Time) {
	r.roll(now)
	r.ends++
}

// best returns the rate of the best window that is kept, per second; 0 if there
// is none.
func (r *rateMeter) best(now time.Time) float64 {
	r.roll(now)
	highest := int64(0)
	for _, n := range r.kept {
		highest = max(highest, n)
	}
	return float64(highest) / rateWindow.Seconds()
}

// recent returns the rate over the last second, per second.
func (r *rateMeter) recent(now time.Time) float64 {
	r.roll(now)
	const windows = int(time.Second / rateWindow)
	sum := r.ends
	for i := range windows {
		sum += r.kept[(r.last-i+len(r.kept))%len(r.kept)]
	}
	return float64(sum) / (float64(windows)*rateWindow.Seconds() + now.Sub(r.begun).Seconds())
}
