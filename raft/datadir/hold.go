package datadir

import "path/filepath"

// level.toml says that this node was told to hold the cluster's level, before the cluster
// has a record of its members in which that can stand. From the record on the file decides
// nothing. A program of level 2 does not know the file and leaves it alone.

const holdComment = "Whether this node holds the level of its cluster as long as that has no record of its members (raftkv level hold). Written by raftkv."

// holdContent is the content of level.toml.
type holdContent struct {
	Format int  `toml:"format"`
	Hold   bool `toml:"hold"`
}

// Holds reports whether the directory says that the level is held.
func (d *Directory) Holds() bool {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	return d.hold
}

// SetHold writes down whether the level is held. When it returns nil, that is on the disk.
func (d *Directory) SetHold(hold bool) error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if d.hold == hold {
		return nil
	}
	if err := WriteFile(d.fs, d.holdPath(), holdComment, holdContent{FormatNewest, hold}); err != nil {
		return err
	}
	d.hold = hold
	return nil
}

// readHold reads whether the level is held.
func (d *Directory) readHold() error {
	var c holdContent
	_, err := ReadFile(d.fs, d.holdPath(), &c, "remove it, and say 'raftkv level hold' again if the level is to be held")
	d.hold = c.Hold
	return err
}

func (d *Directory) holdPath() string { return filepath.Join(d.path, HoldFile) }
