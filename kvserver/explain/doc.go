// Package explain tells what happened in a cluster: it makes stories out of the events
// that the nodes recorded (kvserver/recorder).
//
// The mental model is an investigator that comes afterwards and has the recorders of all
// nodes, or of some. It first puts the events into one order. The order comes from the
// protocol (a campaign precedes its votes, an election its followers), not from the
// clocks of the machines, which may be hours apart. Then it looks for incidents, and
// for each names its cause, how certain that is, and what clients felt of it.
//
// Everything is a pure function of the events: the same rings give the same text.
//
// "Not known" is an answer. A story names a culprit only if an event shows it, and each
// story carries the events that it rests on. A culprit that is certain was shown by its
// own recorder, or by what only its end can cause.
package explain
