// Package direct reads and writes TCP connections by system calls that Go's scheduler does
// not hear of.
//
// A node that rests wakes for a heartbeat, reads it, answers it, and rests again. For an
// ordinary read or write the runtime wakes its watchdog first, in case the call blocks, and
// the watchdog looks several times before it rests, too. These calls never block: a
// socket of package net says at once that there is nothing, and the runtime then waits for
// it as for any other. So the watchdog is of no use here, and cost an idle follower some 60
// of its 180 context switches a second.
package direct
