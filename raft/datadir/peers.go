package datadir

import (
	"fmt"
	"maps"
	"path/filepath"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/vfs"
)

// peers.toml holds what this node has seen of the data directories of the others
// (identity.Known). It changes when one of them starts.

const peersComment = "The data directories of the other nodes, as this one has seen them. Written by raftkv."

// peersContent is the content of peers.toml.
type peersContent struct {
	Format int                    `toml:"format"`
	Peers  map[string]peerContent `toml:"peers"` // by id
}

// peerContent is identity.Known.
type peerContent struct {
	Incarnation string   `toml:"incarnation"`
	Boot        uint64   `toml:"boot"`
	Nonce       string   `toml:"nonce"`
	PutBack     bool     `toml:"put-back,omitempty"`
	Former      []string `toml:"former,omitempty"`
	Newcomer    string   `toml:"newcomer,omitempty"`
	UID         string   `toml:"uid,omitempty"`
	Term        uint64   `toml:"term,omitempty"`
	Held        uint64   `toml:"held,omitempty"`
	Firm        uint64   `toml:"firm,omitempty"`
}

// Peers remembers in peers.toml what the node knows of its peers. It implements
// wire.Memory, and must be used by one goroutine at a time.
type Peers struct {
	fs     vfs.FS
	path   string
	known  map[core.ID]identity.Known
	failed func(error) // called when the file cannot be written; nil: nobody is
}

// OpenPeers reads the peers.toml of a data directory. Without one no peer is known,
// and every peer that comes is believed. This is how a new node begins, and one that
// ran before there was such a file.
func OpenPeers(fsys vfs.FS, dir string) (*Peers, error) {
	m := &Peers{fs: fsys, path: filepath.Join(dir, PeersFile), known: map[core.ID]identity.Known{}}
	const remedy = "remove it, and the node learns anew whose directories the others have; until then it cannot tell one that was emptied"
	var content peersContent
	if _, err := ReadFile(fsys, m.path, &content, remedy); err != nil {
		return nil, err
	}
	for id, p := range content.Peers {
		known, err := p.known()
		if err != nil {
			return nil, &Fault{fmt.Errorf("%s is damaged (node %q: %w): %s", m.path, id, err, remedy)}
		}
		m.known[core.ID(id)] = known
	}
	return m, nil
}

// OnFailure sets the function that is called when the file cannot be written, and the
// node must end for it. It must not be called while the Peers is used.
func (m *Peers) OnFailure(failed func(error)) { m.failed = failed }

// Known implements wire.Memory.
func (m *Peers) Known(peer core.ID) identity.Known { return m.known[peer] }

// Remember implements wire.Memory. If the disk has no room, the peer is turned down
// and tries again, and the node goes on. Any other error ends the node.
func (m *Peers) Remember(peer core.ID, k identity.Known) error {
	err := m.remember(map[core.ID]identity.Known{peer: k})
	if err != nil && !vfs.IsNoSpace(err) && m.failed != nil {
		m.failed(err)
	}
	return err
}

// Note implements wire.Memory. What it writes may be lost, so no error ends the
// node by itself. A disk that fails has other ways to do so.
func (m *Peers) Note(known map[core.ID]identity.Known) error { return m.remember(known) }

func (m *Peers) remember(news map[core.ID]identity.Known) error {
	content := peersContent{Format: FormatNewest, Peers: map[string]peerContent{}}
	for _, part := range []map[core.ID]identity.Known{m.known, news} {
		for id, known := range part {
			content.Peers[string(id)] = peerContentOf(known)
		}
	}
	if err := WriteFile(m.fs, m.path, peersComment, content); err != nil {
		return err
	}
	maps.Copy(m.known, news) // and not before it is durable
	return nil
}

func peerContentOf(k identity.Known) peerContent {
	p := peerContent{
		Incarnation: formatIncarnation(k.Incarnation), Boot: k.Boot, Nonce: formatNonce(k.Nonce), PutBack: k.PutBack,
		UID: k.UID.String(), Term: k.Term, Held: k.Held, Firm: k.Firm,
	}
	if k.Newcomer != (identity.Incarnation{}) {
		p.Newcomer = formatIncarnation(k.Newcomer)
	}
	for _, i := range k.Former {
		p.Former = append(p.Former, formatIncarnation(i))
	}
	return p
}

func (p peerContent) known() (k identity.Known, err error) {
	if p.Boot == 0 {
		return k, fmt.Errorf("it was seen in no boot")
	}
	k.Boot, k.PutBack = p.Boot, p.PutBack
	k.Term, k.Held, k.Firm = p.Term, p.Held, p.Firm
	if k.UID, err = parseUID(p.UID); err != nil {
		return k, err
	}
	if p.Newcomer != "" {
		if k.Newcomer, err = parseIncarnation(p.Newcomer); err != nil {
			return k, err
		}
	}
	if k.Incarnation, err = parseIncarnation(p.Incarnation); err != nil {
		return k, err
	}
	if k.Nonce, err = parseNonce(p.Nonce); err != nil {
		return k, err
	}
	for _, text := range p.Former {
		i, err := parseIncarnation(text)
		if err != nil {
			return k, err
		}
		k.Former = append(k.Former, i)
	}
	return k, nil
}
