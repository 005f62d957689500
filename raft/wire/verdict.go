package wire

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"raftkv/raft/core"
)

// Verdict is what peers say of this server's data directory.
type Verdict struct {
	Why    Reason    // wiped, rolled-back, copied or replaced
	By     []core.ID // the peers that say so, sorted; at least one
	Detail string    // the sentence of the first of them
	// Majority says that a majority of all other servers is among By and knows the
	// cluster's uid. The verdict is then for good. Otherwise it ends this process
	// only, since it may be wrong: a new cluster cannot tell a member from a stray
	// that it has met in the member's place.
	Majority bool
}

// word is what one peer says of our data directory.
type word struct {
	why    Reason
	detail string
	// knows says that the peer knows its cluster's uid. One that knows none may have
	// met a stray of another cluster in our place, and nobody can tell.
	knows bool
}

// refused weighs a refusal. Reasons that concern our data directory count only
// from a peer that we know (credible). From the first such word on, this server
// takes part in nothing: what it may have forgotten it would break. It then waits
// for the words of the others for Config.VerdictWait, and ends.
func (t *Transport) refused(p *peer, r *refusedError) {
	p.refusals.Add(1)
	if !r.Reason.fencing() {
		return
	}
	if err := t.credible(p, &r.by); err != nil {
		if !errors.Is(err, errTransportClosed) {
			t.distrusted.Add(1)
			t.log.note(slog.LevelWarn, "distrusted "+string(p.id), "a server at a peer's address turns us down, but it is not the peer that we know; its word does not count",
				"peer", string(p.id), "address", p.addr, "reason", string(r.Reason), "it says", r.Detail, "because", err.Error())
		}
		return
	}
	t.mu.Lock()
	first := len(t.words) == 0
	t.words[p.id] = word{r.Reason, r.Detail, r.by.uid() != (core.UID{})}
	majority := t.majorityLocked()
	if first && !majority && !t.closed {
		trial := t.trial
		t.work.Go(func() { t.awaitWords(trial) })
	}
	t.mute()
	t.mu.Unlock()
	t.log.note(slog.LevelError, "refused "+string(p.id), "a peer turns down our data directory; we take part in nothing until the others have been heard",
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
	v := Verdict{Majority: t.majorityLocked()}
	for _, id := range sortedIDs(t.words) {
		if len(v.By) == 0 {
			v.Why, v.Detail = t.words[id].why, t.words[id].detail
		}
		v.By = append(v.By, id)
	}
	t.mu.Unlock()
	if len(v.By) > 0 && t.config.Fenced != nil {
		t.config.Fenced(v)
	}
}

// majorityLocked reports whether a majority of all other servers that know their
// cluster's uid has turned our directory down. t.mu must be held.
func (t *Transport) majorityLocked() bool {
	count := 0
	for _, w := range t.words {
		if w.knows {
			count++
		}
	}
	return 2*count > len(t.peers)
}

// takesBack forgets what a peer said of our directory, now that it talks to us.
func (t *Transport) takesBack(p *peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if delete(t.words, p.id); len(t.words) == 0 {
		t.trial++
	}
	t.mute()
}

// mute decides whether messages are passed on. t.mu must be held.
func (t *Transport) mute() { t.muted.Store(len(t.words) > 0 || t.announcing || t.atOdds) }

// String describes the verdict for people: "n2, n3 say: …".
func (v Verdict) String() string {
	says := "says"
	if len(v.By) > 1 {
		says = "say"
	}
	return fmt.Sprintf("%s %s: %s", listMembers(v.By), says, v.Why)
}
