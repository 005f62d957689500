package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"raftkv/cmd/raftkv/internal/process"
	"raftkv/kvserver/recorder"
	"raftkv/raft/vfs"
)

// Failure is an error of the world, such as a disk or a port, and not of the
// configuration.
type Failure struct{ err error }

func (f *Failure) Error() string { return f.err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.err }

// ErrKilled is the cause of the end of Serve's context for a node that is to end as if its
// process had been killed, after its disk and its network were taken away.
var ErrKilled = errors.New("the node was killed")

// Run runs a node until ctx ends, and then ends it in order, or until it
// fails. It calls ending when the end begins.
func Run(ctx context.Context, ending func(), config Config) error {
	go process.TuneCollector(ctx)
	n, err := NewUntil(ctx, config)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		ending()
		return nil // the end was asked for before the node had begun
	}
	if err != nil {
		return ExplainFileSystem(err)
	}
	if err := n.Start(); err != nil {
		return &Failure{err}
	}
	return n.Serve(ctx, ending)
}

// Serve lets a node that was started serve until ctx ends, and then ends it in order, or
// until it fails. It calls ending when the end in order begins. If the cause of ctx's end
// is ErrKilled, nothing is put in order. The node is closed then.
func (n *Node) Serve(ctx context.Context, ending func()) error {
	select {
	case err := <-n.Failed():
		if ctx.Err() == nil {
			n.recordFailure(err)
		}
		n.Close()
		return &Failure{fmt.Errorf("node %s failed: %w", n.config.ID, err)}
	case <-ctx.Done():
	}
	if errors.Is(context.Cause(ctx), ErrKilled) {
		n.Close() // its disk has failed already
		return ErrKilled
	}
	ending()
	n.logger.Info("ending")
	n.recording.Record(recorder.EndAsked, recorder.None)
	n.StopListening()
	n.HandOver()
	n.Drain()
	n.recording.Record(recorder.EndedInOrder, recorder.None)
	if err := n.Close(); err != nil {
		return &Failure{err}
	}
	n.logger.Info("ended")
	return nil
}

// ExplainFileSystem adds what is wrong with the file system, and what to do, to
// the error of one that cannot do what a log needs.
func ExplainFileSystem(err error) error {
	var at *fs.PathError
	if err == nil || !errors.As(err, &at) {
		return err
	}
	unable := false
	for _, errno := range []syscall.Errno{syscall.ENOLCK, syscall.EBADF, syscall.EINVAL, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.ENOTTY, syscall.EISDIR} {
		unable = unable || errors.Is(at.Err, errno)
	}
	what := map[string]string{
		"lock":      "cannot lock files, as NFS without its lock service cannot; without a lock two servers could write one log",
		"sync":      "cannot make a directory durable (fsync of a directory), as some CIFS and shared-folder mounts cannot; after a power cut the log could be gone",
		"fdatasync": "cannot make files durable (fdatasync); after a power cut the log could be gone",
	}[at.Op]
	if !unable || what == "" || errors.Is(err, vfs.ErrLocked) {
		return err
	}
	return fmt.Errorf("%w: the file system that holds %s %s: put the data directory on a local disk (ext4, XFS) or a block volume", err, at.Path, what)
}
