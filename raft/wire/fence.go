package wire

import (
	"errors"
	"fmt"
	"log/slog"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// meetLife judges the life in the hello of a peer against what is remembered of
// the peer, and remembers it. A life that is new ends what there is with the peer's
// former ones. The error is a *rejection, or the disk's.
func (t *Transport) meetLife(p *peer, l identity.Life, h *hello) error {
	t.mu.Lock()
	met := p.stands(l.Use()) && (t.UID() != (core.UID{}) || p.uid == h.uid()) // what decides to whom we belong must be on the disk
	t.mu.Unlock()
	if met { // a disk that hangs must not keep those apart who have met
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

// fits judges a hello as meetLife does, and has no effect. What a server that is
// turned down says of its cluster must leave no trace. The error is a *rejection, or
// the transport was closed.
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

// endLives lets only connections of this process of the peer stand from now on
// (see stands) and ends the others: what is still on its way from a process that
// has a successor is not the successor's.
func (t *Transport) endLives(p *peer, but identity.Use) {
	t.mu.Lock()
	if p.use == but {
		t.mu.Unlock()
		return
	}
	p.use, p.said, p.uid = but, identity.Standing{}, core.UID{}
	in, out, sending, incoming := p.in, p.out.Load(), p.sending, p.incoming
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
	if incoming != nil {
		incoming.fail(errReplaced)
	}
}

// Fence turns a peer's data directory down from now on, because the peer was found
// to have forgotten what it confirmed, and ends what there is with it. The peer is
// told when it says hello the next time. It returns before that is remembered.
func (t *Transport) Fence(id core.ID) {
	p, known := t.peers[id]
	if !known {
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
	t.journal.note(slog.LevelError, "forgot "+string(p.id), fmt.Sprintf("server %q has forgotten what it confirmed; it is turned down from now on", p.id), "peer", string(p.id))
	k := t.known(p)
	k.PutBack = true
	if err := t.config.Memory.Remember(p.id, k); err != nil {
		t.journal.note(slog.LevelError, "memory", "that could not be remembered", "peer", string(p.id), "error", err.Error())
	}
	t.endLives(p, identity.Use{})
}

// stands says whether a connection that was made in the given use of a peer's
// directory still may stand. t.mu must be held.
func (p *peer) stands(u identity.Use) bool { return p.use == u }
