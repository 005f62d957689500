// Package system tests the program that is shipped: processes with data
// directories and ports on loopback, started, killed and asked over HTTP as a
// user would. It knows nothing of what is inside them. All of it runs in make test.
//
// The tests check what was promised to clients: an append that was acknowledged
// is there exactly once and in order, one that was refused is not there, one
// with an unknown outcome is there at most once.
//
// What runs for hours, needs root or measures is in tests/campaign; the processes
// themselves are those of tests/cluster.
package system
