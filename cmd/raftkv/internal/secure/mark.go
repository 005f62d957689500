package secure

import (
	"path/filepath"

	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
)

// Mark is what a data directory remembers of the rules under which its node runs. It is in
// the file secure.toml. The zero Mark is that of a directory without the file.
type Mark struct {
	Format int `toml:"format"`
	// Older says that the directory was begun before being open had to be said (see
	// Plan.Allow), and by which version does not matter.
	Older bool `toml:"older,omitempty"`
	// Identities is what was known of identities when the node ran last: Begins, Enforces,
	// or "" for nothing.
	Identities string `toml:"identities,omitempty"`
}

// The values of Mark.Identities.
const (
	// Begins: the cluster begins with identities in its nodes' own files, which are enforced
	// before the log says so.
	Begins = "begin"
	// Enforces: the log said so.
	Enforces = "enforce"
)

const markComment = "Under which rules this node was begun, and whether its cluster enforces identities. Written by raftkv."

func markPath(dir string) string { return filepath.Join(dir, datadir.SecureFile) }

// ReadMark returns the mark of a data directory.
func ReadMark(fsys vfs.FS, dir string) (m Mark, err error) {
	_, err = datadir.ReadFile(fsys, markPath(dir), &m, "restore it, or start empty")
	return m, err
}

// Holds reports whether the directory was begun under the rule of Plan.Allow.
func (m Mark) Holds() bool { return m.Format != 0 && !m.Older }

// Write makes the mark that of a data directory, which must exist.
func (m Mark) Write(fsys vfs.FS, dir string) error {
	m.Format = datadir.FormatNewest
	return datadir.WriteFile(fsys, markPath(dir), markComment, m)
}

// Remember notes whether the log says that identities are enforced, for the next start: it
// must not serve anybody before it has read that far.
func Remember(fsys vfs.FS, dir string, enforces bool) error {
	m, err := ReadMark(fsys, dir)
	if err != nil {
		return err
	}
	is := ""
	if enforces {
		is = Enforces
	}
	if m.Identities == is {
		return nil
	}
	m.Older, m.Identities = !m.Holds(), is
	return m.Write(fsys, dir)
}
