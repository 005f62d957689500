// Package asleep says for how long this machine has slept.
//
// # Mental model
//
// The monotonic clock of a process, by which Go measures and waits, stands still on Linux
// while the machine is suspended. What has to end after so much time, whatever the
// machine does, is measured by that clock and by how much [Total] has grown meanwhile.
//
// # What it does not know
//
// It does not know what time it is. Where the system does not say how long it slept,
// Total is always 0, and a sleep goes unnoticed.
package asleep
