package wire

import (
	"errors"
	"log/slog"
	"time"

	"raftkv/raft/core"
)

// refused weighs a refusal. Reasons that concern our data directory count only
// from a peer that we know (identity.Known.Credible). From the first such word on, this server
// takes part in nothing: what it may have forgotten it would break. It then waits
// for the words of the others for Config.VerdictWait, and ends.
func (t *Transport) refused(p *peer, r *refusedError) {
	p.refusals.Add(1)
	if !r.Reason.Fences() {
		return
	}
	if err := t.credible(p, &r.by); err != nil {
		if !errors.Is(err, errTransportClosed) {
			t.distrusted.Add(1)
			t.journal.note(slog.LevelWarn, "distrusted "+string(p.id), "a server at a peer's address turns us down, but it is not the peer that we know; its word does not count",
				"peer", string(p.id), "address", p.addr, "reason", string(r.Reason), "it says", r.Detail, "because", err.Error())
		}
		return
	}
	t.mu.Lock()
	first := t.words.Len() == 0
	t.words.Hear(p.id, r.Reason, r.Detail, r.by.uid() != (core.UID{}))
	majority := t.words.Verdict(len(t.peers)).Majority
	if first && !majority && !t.closed {
		trial := t.trial
		t.work.Go(func() { t.awaitWords(trial) })
	}
	t.mute()
	t.mu.Unlock()
	t.journal.note(slog.LevelError, "refused "+string(p.id), "a peer turns down our data directory; we take part in nothing until the others have been heard",
		"peer", string(p.id), "reason", string(r.Reason), "it says", r.Detail)
	if majority {
		t.pronounce()
	}
}

// awaitWords is the goroutine that gives the other peers time to say what they
// think of our data directory. If all words are taken back meanwhile, the trial is
// over, and the next word begins another one.
func (t *Transport) awaitWords(trial int) {
	timer := time.NewTimer(t.config.VerdictWait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
		return
	}
	t.mu.Lock()
	over := t.trial != trial
	t.mu.Unlock()
	if !over {
		t.pronounce()
	}
}

// pronounce tells the server the verdict as it stands, if there is one.
func (t *Transport) pronounce() {
	t.mu.Lock()
	if t.words.Len() == 0 {
		t.mu.Unlock()
		return
	}
	v := t.words.Verdict(len(t.peers))
	t.mu.Unlock()
	if t.config.Fenced != nil {
		t.config.Fenced(v)
	}
}

// takesBack forgets what a peer said of our directory, now that it talks to us.
func (t *Transport) takesBack(p *peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.words.TakeBack(p.id); t.words.Len() == 0 {
		t.trial++
	}
	t.mute()
}

// mute decides whether messages are passed on. t.mu must be held.
func (t *Transport) mute() { t.muted.Store(t.words.Len() > 0 || t.announcing || t.atOdds) }
