package main

import (
	"errors"
	"io"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

func (u *unwritten) writeTo(w io.Writer) error {
	_, err := u.view.WriteTo(w)
	return err
}

// writeSnapshot writes a snapshot to the disk and reports whether it may stand
// for the log now.
func (d *disk) writeSnapshot(s core.Snapshot, view io.WriterTo) bool {
	return d.snapshotDone(func() error {
		watch := &levelWatch{}
		err := d.wal.WriteSnapshot(s, func(to io.Writer) error {
			watch.Writer = to
			_, err := view.WriteTo(watch)
			return err
		})
		d.s.w.oracles.captured(d.s, s, watch.head)
		return err
	})
}

// snapshotDone does something with a snapshot's file, which the disk may spoil,
// and judges the outcome.
func (d *disk) snapshotDone(do func() error) bool {
	w := d.s.w
	spoilt, err := d.spoil(do)
	switch {
	case err == nil:
		return true
	case errors.Is(err, wal.ErrObsolete):
		w.counts.SnapshotsObsolete++
	case d.full > 0 && vfs.IsNoSpace(err):
		w.counts.NoRoom++
	case !spoilt:
		w.fail("disk", "%s could not keep a snapshot: %v", d.s.id, err)
	}
	return false
}

// receive does something with a snapshot that comes from a peer and reports
// whether the disk took it. It may refuse what does not belong together.
func (d *disk) receive(do func() error) bool {
	_, err := d.spoil(do)
	return err == nil
}

// spoil does something while the disk may fail. A full disk costs what was to be
// done and no more, any other failure ends the server.
func (d *disk) spoil(do func() error) (spoilt bool, err error) {
	if d.spoils == nil {
		return false, do()
	}
	f := *d.spoils
	d.spoils, d.strike = nil, &f
	err = do()
	d.strike = nil
	switch {
	case f.Nth > 0: // it did not come to the operation that was to fail
		return false, err
	case err == nil:
		d.s.w.fail("fail-stop", "%s did not notice that its disk failed", d.s.id)
	case !vfs.IsNoSpace(f.Err):
		d.failStop()
	}
	d.s.w.counts.SnapshotsFailed++
	return true, err
}
