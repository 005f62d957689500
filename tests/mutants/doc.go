// Command mutants plants bugs, one at a time, in a copy of the source and reports
// which test catches each, and in what time:
//
//	go run ./tests/mutants              all of them
//	go run ./tests/mutants -only M01,C3 some of them
//	go run ./tests/mutants -only labs   all whose ids begin so, or whose file is there
//	go run ./tests/mutants -patience 3  on a machine that others use
//
// Rows are chosen by people that know the tests. A rate that says something is that of
// mutants drawn from all places of a package:
//
//	go run ./tests/mutants -auto raft/core,raft/wal -sample 200 -seed 7
//
// A mutant is a row of a table (table_*.go): one place in one file, with other text.
// Tables are named by the package that they bite. The command runs a mutant's oracles
// from the cheapest to the dearest until one fails; the first is the one that is
// expected to. Unit tests have 60 seconds, the simulator and tests with real
// processes ten minutes, not counting the compiler. A test that does not end is run
// again with four times as long. If it does not end then either, it proves nothing,
// unless the row says that the bug hangs.
//
// To prove that failures are seen, a canary goes first that no test can miss. To
// prove that nothing else fails, all oracles are asked on the unchanged source
// before the mutants, and one of them again after every fifth.
//
// The exit status is 0 if every mutant was caught and no oracle failed without
// one.
package main
