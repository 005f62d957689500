//go:build race

package node

// raceDetector says that this test runs with the race detector, which draws the order
// of goroutines.
const raceDetector = true
