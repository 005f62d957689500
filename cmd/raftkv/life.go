package main

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/vfs"
)

// life.toml says which data directory this is and how often it was used: what a
// node's hello tells its peers, so that they recognise one that was emptied, put
// back or copied (identity.Life). It is written at every start, before the node says
// anything to anybody.
const lifeName = "life.toml"

const lifeComment = "Which data directory this is, and how often a node has started on it. Written by raftkv; a copy that is put back makes the node's peers refuse it."

// lifeContent is the content of life.toml.
type lifeContent struct {
	Format      int           `toml:"format"`
	Incarnation string        `toml:"incarnation"` // 32 hexadecimal digits
	Boot        uint64        `toml:"boot"`
	Nonces      []string      `toml:"nonces"`           // of the last boots, 16 hexadecimal digits each
	Rejoined    bool          `toml:"rejoined"`         // made by --rejoin
	Fenced      string        `toml:"fenced,omitempty"` // why no node may start here any more
	Rejoin      rejoinContent `toml:"rejoin"`
}

// rejoinContent is core.Rejoining.
type rejoinContent struct {
	On    bool   `toml:"on"`
	Term  uint64 `toml:"term"`
	Index uint64 `toml:"index"`
}

// directory is the data directory that a node runs on. Its methods may be called
// by several goroutines.
type directory struct {
	fs   vfs.FS
	dir  string
	id   core.ID
	life identity.Life // of this process
	log  standing      // of the log in it

	turn    chan struct{} // holds a token while content is used
	content lifeContent
}

// openDirectory begins a new life on a data directory, whose log must be open and
// therefore locked. void says that the log holds nothing, rejoin that the
// directory is to take the place of a lost one.
func openDirectory(fsys vfs.FS, dir string, id core.ID, void, rejoin bool) (*directory, error) {
	d := &directory{fs: fsys, dir: dir, id: id, turn: make(chan struct{}, 1)}
	found, err := readSmallFile(fsys, d.path(), &d.content, "empty the data directory and start the node with --rejoin")
	if err != nil {
		return nil, err
	}
	if found {
		if d.life, err = d.content.life(); err != nil {
			return nil, &failure{fmt.Errorf("%s is damaged (%w): empty the data directory and start the node with --rejoin", d.path(), err)}
		}
	}
	switch is := &d.content; {
	case rejoin && !is.Rejoined && !void:
		return nil, fmt.Errorf("--rejoin is for a node that has lost its disk, and the data directory %s holds a log: start the node without --rejoin, or, to give up what the directory holds, empty it first", dir)
	case rejoin && (!is.Rejoined || is.Fenced != "" && void):
		// A log that holds nothing has promised nothing, so it is as good as none.
		d.content = lifeContent{Rejoined: true, Rejoin: rejoinContent{On: true}}
		d.life = identity.NewLife(draw)
	case is.Fenced != "":
		return nil, &failure{errors.New(is.Fenced)}
	case found:
		d.life = d.life.Next(draw)
	default:
		d.life = identity.NewLife(draw)
	}
	d.life.Rejoined = d.content.Rejoined
	d.content.setLife(d.life)
	return d, d.write()
}

// draw returns a random number.
func draw() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

func (d *directory) path() string { return filepath.Join(d.dir, lifeName) }

func (d *directory) write() error {
	d.content.Format = formatNewest
	return writeSmallFile(d.fs, d.path(), lifeComment, d.content)
}

// fence returns the sentence with which the node ends because peers have found
// out that the directory must not be used. If a majority of them says so, no node
// starts on it again. A smaller number may be wrong, so the next start asks anew.
func (d *directory) fence(v identity.Verdict) error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if d.content.Fenced != "" {
		return errors.New(d.content.Fenced)
	}
	says := "says"
	if len(v.By) > 1 {
		says = "say"
	}
	sentence := fmt.Sprintf("node %s must not go on with the data directory %s: %s %s that it %s (docs/operations.md, \"Replace a dead disk\")",
		d.id, d.dir, listNames(v.By), says, fenceSentences[v.Why])
	if !v.Majority {
		return fmt.Errorf("%s. That is no majority of the other nodes, so nothing was written down, and the node may be started again. What was said: %s", sentence, v.Detail)
	}
	d.content.Fenced = sentence
	if err := d.write(); err != nil {
		return errors.Join(errors.New(sentence), err)
	}
	return errors.New(sentence)
}

// fenceSentences continue "it …".
var fenceSentences = map[identity.Reason]string{
	identity.Wiped: "is not the one this node had. What the node has promised, votes and entries, was in that one. " +
		"If that is lost, empty the directory and start the node with --rejoin; if it is not, start the node on it",
	identity.RolledBack: "was put back to an earlier state, as by restoring a copy. What the node has promised since is lost. " +
		"Empty the directory and start the node with --rejoin",
	identity.Copied: "is a copy of a directory on which this node runs or has been started since. Remove this copy, and use the other. " +
		"If there is no other any more, empty the directory and start the node with --rejoin",
	identity.Replaced: "was replaced by a newer one when this node came back with --rejoin. Remove this one",
}

// rejoining returns how far the node has come back after it lost its disk.
func (d *directory) rejoining() core.Rejoining {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	r := d.content.Rejoin
	return core.Rejoining{On: r.On, Term: r.Term, Index: r.Index}
}

// setRejoining makes that durable, if it is news.
func (d *directory) setRejoining(r core.Rejoining) error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	is := rejoinContent{On: r.On, Term: r.Term, Index: r.Index}
	if d.content.Rejoin == is {
		return nil
	}
	d.content.Rejoin = is
	return d.write()
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
