//go:build !linux

package asleep

import "time"

// Total returns for how long the machine has slept since it was started: always 0 here.
func Total() time.Duration { return 0 }
