package host

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"raftkv/cmd/raftkv/internal/process"
	"raftkv/raft"
	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

// storage is the node.Storage of a node: its log, and what belongs to a write of it.
type storage struct {
	*wal.WAL
	directory *datadir.Directory
	learn     func(core.UID) error // makes the cluster's uid known to the directory and to peers
	announce  func() error         // tells the others that this node has a goal; see rejoin.go
	logger    *slog.Logger
}

// WriteSnapshot implements node.Snapshots. It leaves room for the log's writes.
func (s storage) WriteSnapshot(at core.Snapshot, write func(io.Writer) error) error {
	err := s.WAL.WriteSnapshot(at, func(to io.Writer) error { return write(newPacedWriter(to)) })
	if errors.Is(err, wal.ErrObsolete) {
		return fmt.Errorf("%w: %w", raft.ErrCompacted, err)
	}
	return err
}

// checkedSnapshots gives the transport the snapshots that it sends to peers. It calls
// lost for those whose file is damaged.
type checkedSnapshots struct {
	*wal.WAL
	lost func(*wal.DamagedSnapshotError)
}

// SnapshotFile implements wire.Snapshots.
func (s checkedSnapshots) SnapshotFile(of core.Snapshot) (*io.SectionReader, io.Closer, error) {
	file, closer, err := s.WAL.SnapshotFile(of)
	if damaged, ok := errors.AsType[*wal.DamagedSnapshotError](err); ok {
		s.lost(damaged)
	}
	return file, closer, err
}

// snapshotLost is called with a snapshot whose file is damaged. Consensus then asks the
// store for another one.
func (n *Node) snapshotLost(damaged *wal.DamagedSnapshotError) {
	n.logger.Error("a snapshot on this node's disk is damaged and can be sent to nobody; nothing is lost, and another one is taken: look after the disk",
		"index", damaged.Snapshot.Index, "error", damaged)
	n.raft.SnapshotLost(damaged.Snapshot.Index)
}

// Wanted implements node.Preparer.
func (s storage) Wanted() <-chan struct{} { return s.NeedsSpare() }

// Prepare implements node.Preparer. If the disk has no room, the spare segment is not
// made and the node goes on: the present segment still takes writes, and the next one is
// tried again when it is needed.
func (s storage) Prepare() error {
	err := s.WAL.Prepare()
	if vfs.IsNoSpace(err) {
		s.logger.Warn("there is "+whatIsShort(process.NoInodes(s.directory.Path()))+" for the log's next segment; free some before the present one is full", "error", err)
		return nil
	}
	return err
}

// whatIsShort names what is missing on a file system that refused to take more. A file
// system with many small files runs out of inodes while bytes are free, and reports the
// same error.
func whatIsShort(noInodes bool) string {
	if noInodes {
		return "no inode left on the disk (bytes may be free: delete files, not bytes)"
	}
	return "no room left on the disk"
}

// snapshotBytesPerSecond bounds how fast a snapshot is written to the disk. At
// full speed it would fill the disk's queue, and each sync of the log would wait
// behind it, which was measured to make saves three to six times as long.
const snapshotBytesPerSecond = 64 << 20

// pacedWriter writes at no more than snapshotBytesPerSecond. It does not make up for
// time that was lost.
type pacedWriter struct {
	to  io.Writer
	due time.Time // when the next byte may be written
}

func newPacedWriter(to io.Writer) *pacedWriter { return &pacedWriter{to: to} }

// Write implements io.Writer.
func (p *pacedWriter) Write(b []byte) (int, error) {
	if now := time.Now(); p.due.Before(now) {
		p.due = now
	} else if wait := p.due.Sub(now); wait > time.Millisecond { // sleeps are not more exact than this
		time.Sleep(wait)
	}
	n, err := p.to.Write(b)
	p.due = p.due.Add(time.Duration(float64(n) / snapshotBytesPerSecond * float64(time.Second)))
	return n, err
}
