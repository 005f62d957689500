package wire

import (
	"fmt"
	"log/slog"

	"raftkv/raft/core"
)

// fencing says whether a reason means that a server must not go on with the data
// directory it has.
func (r Reason) fencing() bool {
	switch r {
	case ReasonWiped, ReasonRolledBack, ReasonCopied, ReasonReplaced:
		return true
	}
	return false
}

// fenceSentences say what happened to a peer's data directory, for the log of the
// server that turns it down.
var fenceSentences = map[Reason]string{
	ReasonWiped:      "server %q has another data directory than the one we know: it was emptied or replaced, and what the server had promised went with it; empty it and start the server with --rejoin",
	ReasonRolledBack: "the data directory of server %q was put back to an earlier state, or a copy of it was started since: what the server has promised since then is not in it; empty it and start the server with --rejoin",
	ReasonCopied:     "the data directory of server %q is in use twice: this is the copy that came second; stop it",
	ReasonReplaced:   "the data directory of server %q has been replaced by a newer one: this is the old one, which must not be used again",
}

// meet judges the life in the hello of a peer against what is remembered of the
// peer, and remembers it. A life that is new ends what there is with the peer's
// former ones. The error is a *rejection, or the disk's.
func (t *Transport) meetLife(p *peer, l Life) error {
	t.mu.Lock()
	met := p.stands(l.use())
	t.mu.Unlock()
	if met { // a disk that hangs must not keep those apart who have met
		return nil
	}
	select {
	case t.remembering <- struct{}{}:
		defer func() { <-t.remembering }()
	case <-t.ctx.Done():
		return errTransportClosed
	}
	next, changed, reason := t.config.Memory.Known(p.id).Meet(l)
	if reason != "" {
		return &rejection{reason, fmt.Sprintf(fenceSentences[reason], p.id)}
	}
	if changed {
		if err := t.config.Memory.Remember(p.id, next); err != nil {
			return fmt.Errorf("remembering server %q: %w", p.id, err)
		}
	}
	t.endLives(p, l.use())
	return nil
}

// endLives lets only connections of this process of the peer stand from now on
// (see stands) and ends the others: what is still on its way from a process that
// has a successor is not the successor's.
func (t *Transport) endLives(p *peer, but use) {
	t.mu.Lock()
	if p.use == but {
		t.mu.Unlock()
		return
	}
	p.use = but
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
	select {
	case t.remembering <- struct{}{}:
		defer func() { <-t.remembering }()
	case <-t.ctx.Done():
		return
	}
	t.journal.note(slog.LevelError, "forgot "+string(p.id), fmt.Sprintf("server %q has forgotten what it confirmed; it is turned down from now on", p.id), "peer", string(p.id))
	k := t.config.Memory.Known(p.id)
	k.PutBack = true
	if err := t.config.Memory.Remember(p.id, k); err != nil {
		t.journal.note(slog.LevelError, "memory", "that could not be remembered", "peer", string(p.id), "error", err.Error())
	}
	t.endLives(p, use{})
}

// fenced tells the server to end if a peer turned us down because of our data
// directory.
func (t *Transport) fenced(p *peer, why Reason) {
	if why.fencing() && t.config.Fenced != nil {
		t.config.Fenced(p.id, why)
	}
}

// stands says whether a connection that was made in the given use of a peer's
// directory still may stand. t.mu must be held.
func (p *peer) stands(u use) bool { return p.use == u }
