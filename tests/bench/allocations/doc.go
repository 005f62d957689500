// Package allocations holds inner loops to the memory that they took when their
// baseline was written. It is for tests only.
//
// # Mental model
//
// A [Loop] is a benchmark that a package's test runs a fixed number of times, on one
// processor and without the collector, so that equal code takes equal memory. [Check]
// compares allocations and bytes for each turn with the package's baseline, a file in
// tests/bench/testdata. More than a tenth above it is a failure. Less is told, so that
// the baseline can be written anew and kept low.
//
// These are counts: they say the same on every machine, however busy it is.
//
// # What it does not know
//
// The package measures no time. Under the race detector it measures nothing at all,
// since that allocates by itself; make test runs these tests once more without it.
package allocations
