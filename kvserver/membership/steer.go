package membership

import (
	"maps"
	"time"

	"raftkv/kvserver/api"
)

// steer lets the autopilot see what this leader sees, and returns what it makes of it. A
// new reason to wait is told to the log.
func (d *Driver) steer(v *View, now time.Time) Decision {
	d.mu.Lock()
	d.pilot.Observe(now, v)
	next := d.pilot.Next(v)
	told := next.Waits == d.pilotWaits
	d.pilotWaits = next.Waits
	d.mu.Unlock()
	if !told && next.Waits != "" {
		d.config.Logger.Info("autopilot: " + next.Waits)
	}
	return next
}

// steered notes what the autopilot has done.
func (d *Driver) steered(a Action) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pilotActs[a.Kind]++
	d.pilotLast, d.pilotAt = a, time.Now()
}

// Autopilot says what the autopilot does on this node. Only a leader's does anything.
func (d *Driver) Autopilot() api.Autopilot {
	record := d.Configurations().Newest.Record
	d.mu.Lock()
	defer d.mu.Unlock()
	a := api.Autopilot{On: record != nil && record.Settings.Autopilot, Waits: d.pilotWaits, Actions: maps.Clone(d.pilotActs)}
	for id, silence := range d.pilot.Silent() {
		if a.SilentSeconds == nil {
			a.SilentSeconds = map[string]int64{}
		}
		a.SilentSeconds[string(id)] = int64(silence.Seconds())
	}
	if !d.pilotAt.IsZero() {
		a.Last, a.LastSecondsAgo = d.pilotLast.String(), int64(time.Since(d.pilotAt).Seconds())
	}
	return a
}
