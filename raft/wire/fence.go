package wire

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// meetLife compares the life in a peer's hello with the remembered one, and remembers
// it. A new life ends the connections of the peer's former ones. The error is a
// *rejection, or the disk's.
func (t *Transport) meetLife(p *peer, l identity.Life, h *hello) error {
	t.mu.Lock()
	met := p.stands(l.Use()) && (t.UID() != (core.UID{}) || p.uid == h.uid()) // the uid that decides our cluster must be on the disk
	t.mu.Unlock()
	if met { // a disk that hangs must not keep servers apart that have met
		return nil
	}
	release, err := t.takeMemory()
	if err != nil {
		return err
	}
	defer release()
	next, changed, err := t.assess(p, l, h)
	if err != nil {
		return err
	}
	if changed {
		if err := t.config.Memory.Remember(p.id, next); err != nil {
			return fmt.Errorf("remembering server %q: %w", p.id, err)
		}
	}
	t.endLives(p, l.Use())
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.stands(l.Use()) && h.uid() != (core.UID{}) {
		p.uid = h.uid()
	}
	return nil
}

// fits judges a hello as meetLife does, and has no effect: the uid that a server
// names must leave no trace if the server is turned down. The error is a *rejection,
// or means that the transport was closed.
func (t *Transport) fits(p *peer, l identity.Life, h *hello) error {
	t.mu.Lock()
	met := p.stands(l.Use())
	t.mu.Unlock()
	if met {
		return nil
	}
	release, err := t.takeMemory()
	if err != nil {
		return err
	}
	defer release()
	_, _, err = t.assess(p, l, h)
	if no := (*rejection)(nil); errors.As(err, &no) && no.reason == identity.OtherCluster {
		return nil // hearUID says more about it
	}
	return err
}

// takeMemory waits for its turn to use Config.Memory, and returns how to end it.
func (t *Transport) takeMemory() (release func(), err error) {
	select {
	case t.remembering <- struct{}{}:
		return func() { <-t.remembering }, nil
	case <-t.ctx.Done():
		return nil, errTransportClosed
	}
}

// assess judges a peer's life, and how far its disk had come, against what is
// known of the peer. It returns what is to be remembered once the peer is talked
// to, and whether that differs from what is. The error is a *rejection. The memory
// must have been taken.
func (t *Transport) assess(p *peer, l identity.Life, h *hello) (next identity.Known, changed bool, err error) {
	ours, _ := t.presumed()
	k := t.known(p)
	if ours == (core.UID{}) && t.asking() {
		k = k.Asked(h.identity(l))
	}
	t.mu.Lock()
	pinned := p.pinned
	t.mu.Unlock()
	k, wrong := k.Pinned(pinned, l)
	if wrong != "" {
		return k, false, &rejection{reason: wrong, detail: wrong.Describe(p.id)}
	}
	next, changed, reason, lost := k.Acquaint(ours, h.identity(l))
	switch {
	case reason == "":
		return next, changed, nil
	case reason == identity.OtherCluster: // the uid became known while the hello was judged
		return next, false, &rejection{reason: reason, detail: fmt.Sprintf("server %q belongs to another cluster of this name", p.id)}
	case lost != "":
		lost = " (" + lost + ")"
	}
	return next, false, &rejection{reason: reason, detail: reason.Describe(p.id) + lost}
}

// known returns what is known of a peer: what is remembered and what it has said
// since. Whoever was met as a member of another cluster is not known.
func (t *Transport) known(p *peer) identity.Known {
	ours, _ := t.presumed()
	k := t.config.Memory.Known(p.id).In(ours)
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.use.Incarnation == k.Incarnation {
		k = k.Note(p.said)
		if p.uid != (core.UID{}) {
			k.UID = p.uid
		}
	}
	return k
}

// endLives lets only connections with one process of the peer stand from now on (see
// stands), and ends the others: a message of a process that has a successor is not
// the successor's.
func (t *Transport) endLives(p *peer, but identity.Use) {
	t.mu.Lock()
	if p.use == but {
		t.mu.Unlock()
		return
	}
	p.use, p.said, p.uid = but, identity.Standing{}, core.UID{}
	in, out, sending, receiving := p.in, p.out.Load(), p.sending, p.receiving
	t.mu.Unlock()
	if in != nil {
		in.fail(errReplaced)
	}
	if out != nil {
		out.fail(errReplaced)
	}
	if sending != nil {
		sending.fail(errReplaced)
	}
	if receiving != nil {
		receiving.fail(errReplaced)
	}
}

// Fence turns a peer's data directory down from now on, because the peer was found
// to have forgotten what it confirmed, and ends all connections with it. The peer is
// told when it says hello the next time. Fence returns before this is remembered. It
// may be called from any goroutine.
func (t *Transport) Fence(id core.ID) {
	p := t.now().peer(id)
	if p == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.work.Go(func() { t.fence(p) })
	}
}

func (t *Transport) fence(p *peer) {
	release, err := t.takeMemory()
	if err != nil {
		return
	}
	defer release()
	t.log.note(slog.LevelError, "forgot "+string(p.id), fmt.Sprintf("server %q has forgotten what it confirmed; it is turned down from now on", p.id), "peer", string(p.id))
	k := t.known(p)
	k.PutBack = true
	if err := t.config.Memory.Remember(p.id, k); err != nil {
		t.log.note(slog.LevelError, "memory", "a peer was found to have forgotten what it confirmed, and this could not be written down", "peer", string(p.id), "error", err.Error())
	}
	t.endLives(p, identity.Use{})
}

// stands reports whether a connection with the given process of a peer may still
// stand. t.mu must be held.
func (p *peer) stands(u identity.Use) bool { return p.use == u }

// Memory remembers what a server knows of its peers. It is used by one goroutine at
// a time.
type Memory interface {
	// Known returns what is remembered of a peer.
	Known(peer core.ID) identity.Known
	// Remember replaces it. When it returns nil, the new entry is on the disk. An error
	// turns the peer down. It should end the server as any error of its disk does, except
	// for a lack of room: then the peer is turned down until there is some.
	Remember(peer core.ID, k identity.Known) error
	// Note is Remember for several peers, of which only how far they have come and
	// their uid have changed. An error is harmless: it is tried again.
	Note(known map[core.ID]identity.Known) error
}

// forgetful is the Memory of a server that has no disk: it lasts as long as the
// process.
type forgetful map[core.ID]identity.Known

func (f forgetful) Known(peer core.ID) identity.Known             { return f[peer] }
func (f forgetful) Remember(peer core.ID, k identity.Known) error { f[peer] = k; return nil }
func (f forgetful) Note(known map[core.ID]identity.Known) error   { maps.Copy(f, known); return nil }

// newLife returns the life of a server that has no disk.
func newLife() identity.Life { return identity.NewLife(draw) }

// draw returns a random number.
func draw() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}
