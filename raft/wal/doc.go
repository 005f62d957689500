// Package wal keeps on disk what a Raft server must never forget: its term, its
// vote and its log.
//
// The mental model is a tape of batches. One [core.Write] is one batch, one write
// and one sync, whole or absent after a crash. The tape is cut into segment files
// that are written before they are used, with zeros or as an earlier segment,
// because overwriting a file costs half of what growing it does. Every record carries a checksum over
// itself, its offset, its segment and the record before it. So a record can only
// be read where it was written, and only behind the record that it was written
// behind. That is what makes it safe to use a segment's file again.
//
// Recovery rests on one fact: a batch is written only after the one before it was
// synced. So only the very last batch can be torn by a crash. Any valid record
// behind a bad batch proves that the bad one was durable once. A torn batch is
// cut off, durably and not silently. A damaged batch stops the server with a
// [CorruptionError]. docs/storage.md draws the bytes and lists the cases.
//
// The package does not know the meaning of entries, the leader, or the right time
// to write. It starts no goroutine and reads no clock: the caller brings both,
// see [WAL.Prepare].
package wal
