// Package recorder keeps what a node noted of its own life, so that people can be told
// later why leadership changed and what was slow.
//
// The mental model is an aircraft's flight recorder. It is always on, it is small, and
// it holds the end of what happened. The layers below note things where the reason is
// known; nobody parses logs. [Recorder] keeps the notes as [Event], 72 bytes without a
// pointer, in a ring in memory. A goroutine of its own copies what is new to two files
// in turn ([Disk]), so that the last second of a node that was killed can be read when
// the node, or only its disk, is back.
//
// Nothing waits for the recorder. Record takes one short lock and no file. The files
// are not synced, and may be late, damaged or lost; that costs the events in them.
//
// Events hold numbers, kinds and the positions of nodes in a table of names. No key,
// value, token, address or path is in any of them.
//
// The package imports nothing of ours: cmd/raftkv/internal/host translates what the
// layers note.
package recorder
