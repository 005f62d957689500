package wal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// partial is a snapshot that is being received from a peer.
type partial struct {
	position position
	uid      core.UID // of the cluster, according to the leader
	total    int64    // bytes of the whole container
	id       [32]byte
	container
}

// BeginReceive begins to receive a snapshot whose container has size bytes, or
// continues. It returns the number of bytes that are here already, which is the
// offset at which ReceiveAt must continue. It continues if the last snapshot that
// was begun has the same position, size and id, and starts anew otherwise. A
// restart removes a snapshot that was half received. If the snapshot is not
// needed, because it or a newer one is here, all of it counts as received.
//
// One snapshot is received at a time: the calls of BeginReceive, ReceiveAt and
// FinishReceive must come from one goroutine, or one after the other.
//
// If the disk is full, or if the bytes turn out to be no whole snapshot, the
// received bytes are dropped and the log goes on. Every other failure of the disk
// ends the log.
func (w *WAL) BeginReceive(s core.Snapshot, size int64, id [32]byte) (have int64, err error) {
	w.receiving.Lock()
	defer w.receiving.Unlock()
	p := positionOf(s)
	done, err := w.wants(p)
	if done || errors.Is(err, ErrObsolete) {
		return size, w.dropPartial()
	}
	if err != nil {
		return 0, err
	}
	if in := w.partial; in != nil && in.position == p && in.uid == s.UID && in.total == size && in.id == id {
		return in.size, nil
	}
	if err := w.dropPartial(); err != nil {
		return 0, err
	}
	if err := w.remove(receivingName); err != nil {
		return 0, w.fail(err)
	}
	in := &partial{position: p, uid: s.UID, total: size, id: id, container: container{w: w, path: filepath.Join(w.dir, receivingName)}}
	if in.file, err = w.fs.Create(in.path); err != nil {
		return 0, w.afterSnapshot(in.failed("creating", err), receivingName)
	}
	w.partial = in
	return 0, nil
}

// ReceiveAt takes the next bytes of the snapshot that is being received; offset
// must be the number of bytes received so far.
func (w *WAL) ReceiveAt(p []byte, offset int64) error {
	w.receiving.Lock()
	defer w.receiving.Unlock()
	in := w.partial
	switch {
	case in == nil:
		return errNoReceive
	case offset != in.size:
		return fmt.Errorf("wal: %d bytes of the snapshot at index %d were received, and the next are for byte %d", in.size, in.position.index, offset)
	case int64(len(p)) > in.total-in.size:
		return fmt.Errorf("wal: the snapshot at index %d was announced with %d bytes, and there are more", in.position.index, in.total)
	}
	if _, err := in.Write(p); err != nil {
		return errors.Join(w.afterSnapshot(err, receivingName), w.dropPartial())
	}
	return nil
}

var errNoReceive = errors.New("wal: no snapshot is being received: begin first")

// FinishReceive verifies the whole snapshot that was received and makes it
// durable under its name, so that a Save may record it. It does nothing if the
// snapshot was not needed.
func (w *WAL) FinishReceive() error {
	w.receiving.Lock()
	defer w.receiving.Unlock()
	in := w.partial
	if in == nil {
		return w.usable()
	}
	if in.size < in.total {
		return fmt.Errorf("wal: %d of %d bytes of the snapshot at index %d were received", in.size, in.total, in.position.index)
	}
	err := w.usable()
	if err == nil {
		err = in.verify()
	}
	if err == nil {
		err = in.sync()
	}
	if err == nil {
		err = w.adopt(receivingName, in.position, in.size)
	}
	w.partial = nil
	in.file.Close()
	if errors.Is(err, ErrObsolete) {
		return w.afterSnapshot(nil, receivingName)
	}
	return w.afterSnapshot(err, receivingName)
}

// verify reads the received bytes and checks that they are the announced
// snapshot.
func (in *partial) verify() error {
	r, err := in.w.readContainer(io.NewSectionReader(in.file, 0, in.size), in.path, in.position)
	if err == nil && r.Header().UID != in.uid {
		err = &CorruptionError{File: in.path, Reason: fmt.Sprintf("the snapshot is of the cluster %q, and was announced as of %q", core.UID(r.Header().UID), in.uid)}
	}
	if err == nil {
		if _, err = membersOf(r); err == nil {
			_, err = r.WriteTo(io.Discard)
		}
		err = snapshotError(in.path, err)
	}
	return err
}

// dropPartial forgets a snapshot that was half received.
func (w *WAL) dropPartial() error {
	in := w.partial
	if in == nil {
		return nil
	}
	w.partial = nil
	in.file.Close()
	if err := w.usable(); err != nil {
		return err
	}
	if err := w.remove(receivingName); err != nil && !vfs.IsNoSpace(err) {
		return w.fail(err)
	}
	return nil
}
