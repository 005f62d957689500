//go:build race

package virtual

// raceDetector says whether this program was built with the race detector.
const raceDetector = true
