// Package msgpack writes and reads the few forms of msgpack that the protocols of
// this module consist of: arrays, unsigned numbers, truth values, strings, byte
// strings and extensions, each in the shortest form and no other.
//
// # Mental model
//
// The Append functions add one item to a slice. A [Reader] walks over a body once,
// returns the values on its way and remembers the first fault. A body that it
// accepts holds no length that exceeds the bytes behind it, no item in a longer
// form than needed and nothing after the end. So equal messages have equal bytes,
// and no memory is taken because a length announces it.
//
// There are two users. The Clerks' protocol is written and read here only: for
// messages of ten small fields, a general library costs more than everything else
// that is done with them, because it decodes by reflection. Bodies between peers
// are decoded by such a library, which is lenient: it takes a number for a truth
// value and skips what it does not expect. So each body is first walked over with a
// Reader, in the one form that its kind has. Tests compare the bytes with those of
// the library.
//
// # What it does not know
//
// It does not know what the items mean. It imports nothing of this module and holds
// no state.
package msgpack
