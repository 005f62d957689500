package vfs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// Model is the damage that a power cut does to changes that were not yet durable.
// Durable bytes are never touched, not even in the same block. Disks exist that
// lose synced bytes next to a torn write, but no log can be safe on them.
type Model uint8

const (
	// LoseUnsynced keeps nothing that was not made durable.
	LoseUnsynced Model = iota
	// KeepBlocks keeps each block, of 512 or 4096 bytes, and each change of a
	// directory with a probability, in any order: the page cache wrote them back
	// as it pleased.
	KeepBlocks
	// TornPrefix keeps the first changes of each file and each directory, up to
	// some byte in the middle of a write.
	TornPrefix
	// Garbage keeps each block, loses it or fills it with noise.
	Garbage
)

// Models lists all of them.
var Models = []Model{LoseUnsynced, KeepBlocks, TornPrefix, Garbage}

func (m Model) String() string {
	switch m {
	case LoseUnsynced:
		return "lose-unsynced"
	case KeepBlocks:
		return "keep-blocks"
	case TornPrefix:
		return "torn-prefix"
	case Garbage:
		return "garbage"
	}
	return fmt.Sprintf("model(%d)", uint8(m))
}

// Crash cuts the power and returns the file system that the next boot finds. From
// then on c, its files and its locks return ErrCrashed. The outcome is a function
// of the calls made so far, of model and of the numbers that rng draws. Crashing
// twice is allowed: both results start from the same disk and share nothing.
func (c *Crashable) Crash(rng *rand.Rand, model Model) *Crashable {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	cut := &powerCut{rng: rng, model: model, chance: rng.Float64(), block: 512, after: map[*node]*node{}}
	if rng.IntN(2) == 0 {
		cut.block = 4096
	}
	return &Crashable{root: cut.node(c.root), locks: map[string]bool{}}
}

// Kill ends the process but not the machine, as kill -9 does: everything that was
// written stays visible, and changes that were not durable still are not. From
// then on c, its files and its locks return ErrCrashed.
func (c *Crashable) Kill() *Crashable {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	next := &Crashable{root: c.root, locks: map[string]bool{}}
	c.root = newDirectory() // the nodes have a new owner and a new lock
	return next
}

// powerCut decides, change by change, which changes survive.
type powerCut struct {
	rng    *rand.Rand
	model  Model
	chance float64 // that a change survives, for the models that draw one by one
	block  int64
	after  map[*node]*node // done already: a node may have two names after a half-done rename
}

// node returns the part of n that survives.
func (p *powerCut) node(n *node) *node {
	if done := p.after[n]; done != nil {
		return done
	}
	if !n.isDirectory() {
		content := p.content(n)
		left := &node{content: content, syncedContent: slices.Clone(content)}
		p.after[n] = left
		return left
	}
	left := newDirectory()
	p.after[n] = left
	entries := p.entries(n)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		left.live[name] = p.node(entries[name])
	}
	left.synced = maps.Clone(left.live)
	return left
}

// entries returns the entries of directory n that the next boot finds.
func (p *powerCut) entries(n *node) map[string]*node {
	entries := maps.Clone(n.synced)
	prefix := p.rng.IntN(len(n.pendingEntries) + 1)
	for i, change := range n.pendingEntries {
		switch p.model {
		case LoseUnsynced:
			return entries
		case TornPrefix:
			if i >= prefix {
				return entries
			}
			change.applyTo(entries)
		default:
			if p.survives() {
				change.applyTo(entries)
			}
		}
	}
	return entries
}

// content returns the bytes of file n that the next boot finds.
func (p *powerCut) content(n *node) []byte {
	content := slices.Clone(n.syncedContent)
	pending := n.pendingContent
	if len(pending) == 0 || p.model == LoseUnsynced {
		return content
	}
	if p.model == TornPrefix {
		return p.prefix(content, pending)
	}
	// A change of the length orders the writes around it, so the changes up to
	// some point are done. The writes behind the next change of length are judged
	// block by block on the length they find.
	if slices.ContainsFunc(pending, func(change contentChange) bool { return change.truncate }) {
		done := p.rng.IntN(len(pending) + 1)
		for _, change := range pending[:done] {
			content = change.applyTo(content)
		}
		pending = pending[done:]
	}
	return p.blocks(content, pending)
}

// prefix applies the changes in order up to a byte in the middle of one. A change
// of the length counts as one byte.
func (p *powerCut) prefix(content []byte, pending []contentChange) []byte {
	total := 0
	for _, change := range pending {
		total += max(1, len(change.data))
	}
	left := p.rng.IntN(total + 1)
	for _, change := range pending {
		if left == 0 {
			break
		}
		if len(change.data) > left {
			change.data = change.data[:left]
		}
		content = change.applyTo(content)
		left -= max(1, len(change.data))
	}
	return content
}

// blocks applies the writes block by block. A block holds the result of some of
// the first writes that touched it, as if the cache had written it back at that
// moment. Blocks are independent of each other. Changes of the length are lost.
func (p *powerCut) blocks(content []byte, pending []contentChange) []byte {
	touching := map[int64][]contentChange{}
	for _, change := range pending {
		if change.truncate || len(change.data) == 0 {
			continue
		}
		end := change.offset + int64(len(change.data))
		for block := change.offset / p.block; block*p.block < end; block++ {
			from, to := max(block*p.block, change.offset), min((block+1)*p.block, end)
			part := contentChange{offset: from, data: change.data[from-change.offset : to-change.offset]}
			touching[block] = append(touching[block], part)
		}
	}
	for _, block := range slices.Sorted(maps.Keys(touching)) {
		parts := touching[block]
		written := len(parts)
		if !p.survives() {
			written = p.rng.IntN(len(parts))
		}
		for _, part := range parts[:written] {
			content = part.applyTo(content)
		}
		if p.model == Garbage && p.rng.IntN(3) == 0 {
			content = p.noise(parts[p.rng.IntN(len(parts))]).applyTo(content)
		}
	}
	return content
}

// noise returns a write of random bytes to the same range.
func (p *powerCut) noise(part contentChange) contentChange {
	data := make([]byte, len(part.data))
	for i := range data {
		data[i] = byte(p.rng.Uint32())
	}
	return contentChange{offset: part.offset, data: data}
}

func (p *powerCut) survives() bool { return p.rng.Float64() < p.chance }
