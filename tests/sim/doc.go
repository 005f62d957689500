// Command sim runs whole clusters in one thread: the shipped Replica, state
// machine and write-ahead log, on a network, disks and clocks that are made up.
//
// Everything that happens is drawn from a seed: how many servers, how slow the
// network, which messages are lost, doubled or late, who is cut off from whom,
// which disk hangs, when the power fails and what the disk forgets then, what
// the clients do. The same seed on the same source gives the same run, event
// for event; the trace hash proves it.
//
// Oracles, one file each, watch every step and end the run when a promise is
// broken. After a phase of faults the world is healed and must come to rest
// with everything that was asked for done.
//
//	go run ./tests/sim -seed 42           run one seed
//	go run ./tests/sim -seed 42 -trace    and print what happened, a row an event
//	go run ./tests/sim -seconds 60        run fresh seeds for a minute
package main
