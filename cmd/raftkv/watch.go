package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/vfs"
	"raftkv/raft/wire"
)

// directoryLook is how often a node looks whether its data directory is still
// the one that it opened.
const directoryLook = 2 * time.Second

// watchDirectory ends the node when its log was moved, removed or replaced while
// it runs, and says when raftkv.toml or life.toml was: that only matters at the
// next start, and can be put right until then.
func (n *node) watchDirectory() {
	ticker := time.NewTicker(directoryLook)
	defer ticker.Stop()
	said := ""
	for {
		select {
		case <-ticker.C:
		case <-n.raft.Stopping():
			return
		}
		if err := n.wal.Held(); err != nil {
			n.raft.Fail(err)
			return
		}
		wrong := n.changedFile()
		if wrong != said && wrong != "" {
			n.logger.Error("a file of the data directory was changed by somebody else; put it back, or the next start will be refused", "file", wrong)
		}
		said = wrong
	}
}

// changedFile returns what is wrong with the files that say whose the directory
// is; empty if nothing is, or if that cannot be told at the moment.
func (n *node) changedFile() string {
	var is owner
	path := filepath.Join(n.config.DataDir, identityName)
	found, err := readSmallFile(n.config.FS, path, &is, "")
	if wrong := changed(path, found, err, func() bool { return is.ClusterID == n.config.ClusterID && is.NodeID == string(n.config.ID) }); wrong != "" {
		return wrong
	}
	var life lifeContent
	path = filepath.Join(n.config.DataDir, lifeName)
	found, err = readSmallFile(n.config.FS, path, &life, "")
	return changed(path, found, err, func() bool {
		return life.Incarnation == formatIncarnation(n.directory.life.Incarnation) && life.Boot == n.directory.life.Boot
	})
}

// changed says what is wrong with one file.
func changed(path string, found bool, err error, same func() bool) string {
	var opening *fs.PathError
	switch {
	case errors.As(err, &opening):
		return "" // the disk, or a lack of descriptors
	case err != nil:
		return path + " cannot be understood any more"
	case !found:
		return path + " is gone"
	case !same():
		return path + " is not this node's any more"
	}
	return ""
}

// How often a node looks for a leader, how long one may be missing before the
// node says so, and how often it says so again.
const (
	leaderLook    = 500 * time.Millisecond
	leaderMissing = 3 * time.Second
	leaderReports = 10 * time.Second
)

// watchLeader says which nodes are missing while there is no leader.
func (n *node) watchLeader() {
	if len(n.config.Members) == 1 {
		return
	}
	ticker := time.NewTicker(leaderLook)
	defer ticker.Stop()
	var since, report time.Time // zero while there is a leader
	for {
		select {
		case <-ticker.C:
		case <-n.raft.Stopping():
			return
		}
		now, s := time.Now(), n.raft.Status()
		switch {
		case s.Leader != core.None:
			since = time.Time{}
		case since.IsZero():
			since, report = now, now.Add(max(leaderMissing, 5*n.config.ElectionTimeout))
		case !now.Before(report):
			report = now.Add(leaderReports)
			message, heard, missing := describeMissing(n.config.ID, n.config.Members, n.transport.Stats(), now)
			n.logger.Warn(message, "heard", listIDs(heard), "missing", listIDs(missing), "for", now.Sub(since).Round(time.Second))
		}
	}
}

// describeMissing says how many nodes are heard and how many are needed for a
// leader, and names them.
func describeMissing(self core.ID, all members, stats wire.Stats, now time.Time) (message string, heard, missing []core.ID) {
	for _, id := range all.ids() {
		p := stats.Peers[id]
		if id == self || (p.Connected || p.Accepted) && now.Sub(p.LastContact) < leaderReports {
			heard = append(heard, id)
		} else {
			missing = append(missing, id)
		}
	}
	needed := len(all)/2 + 1
	if len(heard) >= needed {
		return fmt.Sprintf("no leader: %d of %d nodes are heard, which is a majority, and none was elected yet", len(heard), len(all)), heard, missing
	}
	verb := "are"
	if len(heard) == 1 {
		verb = "is"
	}
	return fmt.Sprintf("no leader: %d of %d nodes %s heard, %d are needed", len(heard), len(all), verb, needed), heard, missing
}

// listIDs writes IDs as a value of a log line: n1,n2.
func listIDs(ids []core.ID) string {
	text := ""
	for i, id := range ids {
		if i > 0 {
			text += ","
		}
		text += string(id)
	}
	return text
}

// explainFileSystem adds what is wrong with the file system, and what to do, to
// the error of one that cannot do what a log needs.
func explainFileSystem(err error) error {
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
	explained := fmt.Errorf("%w: the file system that holds %s %s: put the data directory on a local disk (ext4, XFS) or a block volume", err, at.Path, what)
	if failed := (*failure)(nil); errors.As(err, &failed) {
		return &failure{explained}
	}
	return explained
}
