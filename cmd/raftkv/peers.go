package main

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
const peersName = "peers.toml"

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

// peerMemory implements wire.Memory with peers.toml. It belongs to the transport.
type peerMemory struct {
	fs     vfs.FS
	path   string
	known  map[core.ID]identity.Known
	failed func(error) // told when the file cannot be written
}

// openPeerMemory reads peers.toml. Without one nobody is known, and whoever comes
// is believed: so a new node begins, and one that ran before there was such a file.
func openPeerMemory(fsys vfs.FS, dir string) (*peerMemory, error) {
	m := &peerMemory{fs: fsys, path: filepath.Join(dir, peersName), known: map[core.ID]identity.Known{}}
	const remedy = "remove it, and the node learns anew whose directories the others have; until then it cannot tell one that was emptied"
	var content peersContent
	if _, err := readSmallFile(fsys, m.path, &content, remedy); err != nil {
		return nil, err
	}
	for id, p := range content.Peers {
		known, err := p.known()
		if err != nil {
			return nil, &failure{fmt.Errorf("%s is damaged (node %q: %w): %s", m.path, id, err, remedy)}
		}
		m.known[core.ID(id)] = known
	}
	return m, nil
}

// Known implements wire.Memory.
func (m *peerMemory) Known(peer core.ID) identity.Known { return m.known[peer] }

// Remember implements wire.Memory. For lack of room the peer is turned down and
// tries again, and the node goes on; any other error ends it.
func (m *peerMemory) Remember(peer core.ID, k identity.Known) error {
	err := m.remember(map[core.ID]identity.Known{peer: k})
	if err != nil && !vfs.IsNoSpace(err) && m.failed != nil {
		m.failed(err)
	}
	return err
}

// Note implements wire.Memory. What it writes may be lost, so no error ends the
// node by itself. A disk that fails has other ways to do so.
func (m *peerMemory) Note(known map[core.ID]identity.Known) error { return m.remember(known) }

func (m *peerMemory) remember(news map[core.ID]identity.Known) error {
	content := peersContent{Format: formatNewest, Peers: map[string]peerContent{}}
	for _, part := range []map[core.ID]identity.Known{m.known, news} {
		for id, known := range part {
			content.Peers[string(id)] = peerContentOf(known)
		}
	}
	if err := writeSmallFile(m.fs, m.path, peersComment, content); err != nil {
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
