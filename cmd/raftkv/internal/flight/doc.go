// Package flight feeds a node's recorder (kvserver/recorder): it translates what the
// layers note into events, and looks by itself at what nobody notes.
//
// The mental model is the wiring of a flight recorder. Each layer has notes of its own,
// in its own words, and knows nothing of the recorder: consensus (core.Note), the
// transport (wire.Note), the driver's observer. This package knows both sides. Once in
// a while it reads figures that are not worth a note each time, such as refused
// requests and the pauses of Go's collector.
//
// The recorder's files are in a directory of their own in the data directory. They are
// not synced, and an error of theirs is logged once and costs nothing but events.
package flight
