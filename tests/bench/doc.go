// Package bench measures raftkv against the ceilings of this machine: make bench. See
// docs/performance.md.
//
// Without the flag -rod the test only shows that every row can be measured; its figures
// then mean nothing.
package bench
