// Package system tests the program that is shipped: processes with data
// directories and ports on loopback, started, killed and asked over HTTP as a
// user would. It builds the program once per run and knows nothing of what is
// inside it.
//
// The tests check what was promised to clients: an append that was acknowledged
// is there exactly once and in order, one that was refused is not there, one
// whose outcome was called unknown is there at most once.
//
// The campaigns do the same for longer and measure; see campaign_test.go and
// overload_test.go:
//
//	go test ./tests/system -run Campaign -v -system.leaderkills 20 -system.outages 50 -system.overload 60s
//
// What begins with fault makes real faults of networks and disks, for root on
// Linux, and measures what they cost; powercut cuts the power of real file
// systems; nemesis makes all kinds of faults in turn and has the histories of its
// clients checked.
package system
