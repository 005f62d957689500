// Command sim runs whole clusters in one thread: the shipped Replica, state
// machine and write-ahead log, on a network, disks and clocks that are made up.
//
// Everything that happens is drawn from a seed: how many servers, how slow the
// network, which messages are lost, doubled, late or held up, which servers are cut off from
// whom, which disk hangs, when the power fails and what the disk forgets then,
// what the clients do. The same seed on the same source gives the same run,
// event for event; the trace hash proves it.
//
// Oracles, one file each, watch every step and end the run when a promise is
// broken. After a phase of faults a majority is healed for good and must come to
// rest with everything that was asked for done, whatever the others do.
//
//	go run ./tests/sim -seconds 60        run fresh seeds for a minute
//	go run ./tests/sim -again 100         run 100 seeds twice: equal trace hashes
//	go run ./tests/sim -seed 42           run one seed
//	go run ./tests/sim -seed 42 -trace    and print what happened, a row an event
//	go run ./tests/sim -seed 42 -shrink   and, if it fails, look for the smallest world in which it does
//
// # Where to find what
//
//	world.go, queue.go   virtual time; the phases of a run
//	options.go, draw.go  what a seed decides before anything happens
//	nemesis.go, faults*  what goes wrong and when
//	network.go           calls between servers
//	members.go           changes of the members
//	identity.go          hellos, data directories, what is remembered of the others
//	server.go, disk.go   one machine: the Replica, and the log on its disk
//	apply.go             what is delivered and not applied yet
//	service.go, serve.go the state machine and the requests that wait for it
//	client.go            the clients
//	oracle*.go, model.go what must never be seen
//	trace.go, counts.go  what was seen
//	campaign.go, shrink.go, main.go
package main
