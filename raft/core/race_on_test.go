//go:build race

package core

// raceDetector says that this test runs with the race detector. The core has one
// thread, so long searches learn nothing from it.
const raceDetector = true
