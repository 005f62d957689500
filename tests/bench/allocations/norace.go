//go:build !race

package allocations

// underRace says whether the race detector watches this process.
const underRace = false
