package datadir

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"raftkv/raft/identity"
)

// life.toml says which data directory this is and how often it was used. A node's
// hello tells that to its peers, so that they recognise a directory that was emptied,
// put back or copied (identity.Life). The file is written at every start, before the
// node says anything to anybody.

const lifeComment = "Which data directory this is, and how often a node has started on it. Written by raftkv; a copy that is put back makes the node's peers refuse it."

// lifeContent is the content of life.toml.
type lifeContent struct {
	Format      int           `toml:"format"`
	Incarnation string        `toml:"incarnation"` // 32 hexadecimal digits
	Boot        uint64        `toml:"boot"`
	Nonces      []string      `toml:"nonces"`           // of the last boots, 16 hexadecimal digits each
	Rejoined    bool          `toml:"rejoined"`         // made by --rejoin
	Fenced      string        `toml:"fenced,omitempty"` // why no node may start here any more
	Removed     uint64        `toml:"removed,omitzero"` // index of the configuration that removed it
	Rejoin      rejoinContent `toml:"rejoin"`
}

// rejoinContent is core.Rejoining.
type rejoinContent struct {
	On    bool   `toml:"on"`
	Term  uint64 `toml:"term"`
	Index uint64 `toml:"index"`
}

// beginLife begins a new life on the directory. void says that its log holds nothing,
// rejoin that the directory is to take the place of a lost one.
func (d *Directory) beginLife(void, rejoin bool) error {
	found, err := ReadFile(d.fs, d.lifePath(), &d.content, "empty the data directory and start the node with --rejoin")
	if err != nil {
		return err
	}
	if found {
		if d.life, err = d.content.life(); err != nil {
			return &Fault{fmt.Errorf("%s is damaged (%w): empty the data directory and start the node with --rejoin", d.lifePath(), err)}
		}
	}
	switch is := &d.content; {
	case rejoin && !is.Rejoined && !void:
		return fmt.Errorf("--rejoin is for a node that has lost its disk, and the data directory %s holds a log: start the node without --rejoin, or, to give up what the directory holds, empty it first", d.path)
	case rejoin && (!is.Rejoined || is.Fenced != "" && void):
		// A log that holds nothing has promised nothing, so it is as good as none.
		d.content = lifeContent{Rejoined: true, Rejoin: rejoinContent{On: true}}
		d.life = identity.NewLife(draw)
	case is.Removed > 0:
		return &RemovedError{is.Fenced}
	case is.Fenced != "":
		return &Fault{errors.New(is.Fenced)}
	case found:
		d.life = d.life.Next(draw)
	default:
		d.life = identity.NewLife(draw)
	}
	d.life.Rejoined = d.content.Rejoined
	d.content.setLife(d.life)
	return d.writeLife()
}

// draw returns a random number.
func draw() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

func (d *Directory) lifePath() string { return filepath.Join(d.path, LifeFile) }

func (d *Directory) writeLife() error {
	d.content.Format = FormatNewest
	return WriteFile(d.fs, d.lifePath(), lifeComment, d.content)
}

// life returns the life of the process that wrote the file.
func (c *lifeContent) life() (l identity.Life, err error) {
	l = identity.Life{Boot: c.Boot, Rejoined: c.Rejoined}
	if l.Incarnation, err = parseIncarnation(c.Incarnation); err != nil {
		return l, err
	}
	for _, text := range c.Nonces {
		nonce, err := parseNonce(text)
		if err != nil {
			return l, err
		}
		l.Nonces = append(l.Nonces, nonce)
	}
	return l, l.Check()
}

func (c *lifeContent) setLife(l identity.Life) {
	c.Incarnation, c.Boot, c.Nonces = formatIncarnation(l.Incarnation), l.Boot, nil
	for _, nonce := range l.Nonces {
		c.Nonces = append(c.Nonces, formatNonce(nonce))
	}
}

func formatIncarnation(i identity.Incarnation) string { return hex.EncodeToString(i[:]) }
func formatNonce(nonce uint64) string                 { return fmt.Sprintf("%016x", nonce) }

func parseIncarnation(text string) (i identity.Incarnation, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(i) {
		return i, fmt.Errorf("%q is not an incarnation", text)
	}
	return identity.Incarnation(b), nil
}

func parseNonce(text string) (uint64, error) {
	nonce, err := strconv.ParseUint(text, 16, 64)
	if err != nil || len(text) != 16 {
		return 0, fmt.Errorf("%q is not a nonce", text)
	}
	return nonce, nil
}
