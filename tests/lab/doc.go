// Package lab is the test bed of the labs' suites: a cluster of servers on a
// labrpc network, with persisters that outlive crashes, appliers that compare
// what every server delivers, and the checks that the scenarios are made of.
//
// A scenario is a function of a Cluster. Run runs it in a testing/synctest
// bubble, where a minute passes in as long as the work in it takes; with
// -realtime it runs on the wall clock. Polls, pauses and limits are those of
// the courses, so that the printed figures compare with their handouts.
//
// A check that fails ends the test. What a goroutine other than the test's own
// finds wrong is kept, and ends the test at its next check.
//
// Flags:
//
//	-realtime           run on the wall clock
//	-lab.seed=N         draw the scenario's and the network's chances from N
//	-lab.trace=failed   print what happened, a column per server, if a test fails
//	-lab.trace=all      print it always
//
// The package knows package raft by the labs' face alone.
package lab
