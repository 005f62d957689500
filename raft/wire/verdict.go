package wire

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// refused weighs a refusal. Reasons that concern our data directory count only from
// a peer that we know (identity.Known.Credible). From the first such word on, this
// server takes part in nothing, since it would break the promises it may have
// forgotten. It waits for the words of the other peers for Config.VerdictWait, and
// ends.
func (t *Transport) refused(p *peer, r *refusedError) {
	p.refusals.Add(1)
	switch {
	case r.Reason == ReasonRemoved || r.Reason == ReasonGeneration:
		t.turnedAway(p, r)
		return
	case !r.Reason.Fences():
		return
	}
	if err := t.credible(p, &r.by); err != nil {
		if !errors.Is(err, errTransportClosed) {
			t.distrusted.Add(1)
			t.log.note(slog.LevelWarn, "distrusted "+string(p.id), "a server at a peer's address turns us down, but it is not the peer that we know; its word does not count",
				"peer", string(p.id), "address", p.address(), "reason", string(r.Reason), "it says", r.Detail, "because", err.Error())
		}
		return
	}
	t.mu.Lock()
	first := t.words.Len() == 0
	t.words.Hear(p.id, r.Reason, r.Detail, r.by.uid() != (core.UID{}))
	majority := t.words.Verdict(len(t.now().members)).Majority
	if first && !majority && !t.closed {
		trial := t.trial
		t.work.Go(func() { t.awaitWords(trial) })
	}
	t.mute()
	t.mu.Unlock()
	t.log.note(slog.LevelError, "refused "+string(p.id), "a peer turns down our data directory; this server takes part in nothing until the other peers have been heard",
		"peer", string(p.id), "reason", string(r.Reason), "it says", r.Detail)
	if majority {
		t.pronounce()
	}
}

// turnedAway takes in that a member says that our directory is none of a member's any
// more. That counts if the member is the one that we dialled, of our cluster and on the
// directory that we know, and goes by a configuration that we do not know to be committed:
// the removal may stand in our log already, or behind an entry of ours that never was. One
// such word is enough: only a committed configuration removes, and only a recovery begins a
// generation.
func (t *Transport) turnedAway(p *peer, r *refusedError) {
	by, now, ours := &r.by, t.now(), t.UID()
	l, err := by.life()
	counts := err == nil && ours != (core.UID{}) && by.From == p.id && by.To == t.config.ID && by.uid() == ours
	if r.Reason == ReasonRemoved {
		counts = counts && by.Generation == now.generation && by.ConfigVer > now.committed
	} else {
		counts = counts && now.generation != 0 && by.Generation > now.generation
	}
	if counts {
		release, err := t.takeMemory()
		if err != nil {
			return
		}
		counts = t.known(p).Credible(ours, by.identity(l)) == ""
		release()
	}
	if !counts {
		t.distrusted.Add(1)
		t.log.note(slog.LevelWarn, "distrusted "+string(p.id), "a server at a peer's address says that this one is no member any more, but its word does not count",
			"peer", string(p.id), "address", p.address(), "it says", r.Detail)
		return
	}
	if t.config.Removed != nil {
		t.config.Removed(p.id, r.Reason, by.ConfigVer, r.Detail)
	}
}

// awaitWords is the goroutine that gives the other peers time to judge our data
// directory. If all words are taken back meanwhile, the trial is over, and the next
// word begins another one.
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
	v := t.words.Verdict(len(t.now().members))
	t.mu.Unlock()
	if t.config.Fenced != nil {
		t.config.Fenced(v)
	}
}

// takesBack forgets a peer's word about our directory, because the peer talks to us
// again.
func (t *Transport) takesBack(p *peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.words.TakeBack(p.id); t.words.Len() == 0 {
		t.trial++
	}
	t.mute()
}

// mute stops all messages, in both directions, or lets them pass again: depending on
// words about our directory, an announcement and the uids that peers name. t.mu must
// be held.
func (t *Transport) mute() { t.muted.Store(t.words.Len() > 0 || t.announcing || t.atOdds) }

// A server that comes back after it lost its disk (core.Rejoining) may promise
// something only when every other server has been told that it has a goal. Each of
// them then refuses the directory that was lost, and refuses the newcomer if that
// directory has come back meanwhile. Without this the two could promise different
// things in one term.

// Hush stops all messages in both directions until Announce has returned true. It
// may be called before Start.
func (t *Transport) Hush() {
	t.mu.Lock()
	if t.announcing {
		t.mu.Unlock()
		return
	}
	t.announcing, t.awareness, t.unaware = true, make(chan struct{}), make(map[core.ID]bool)
	var outs []*outbound
	for id, p := range t.now().members {
		t.unaware[id] = true
		if out := p.out.Load(); out != nil {
			outs = append(outs, out)
		}
	}
	t.mute()
	t.mu.Unlock()
	for _, out := range outs {
		out.fail(errAnnouncing) // the next connection begins with the announcement
	}
}

// Announce tells every peer, by new connections, how far this server has come. It
// returns true when all of them have heard it, and false when the transport is closed
// first. Until it returns true, no message passes.
func (t *Transport) Announce() bool {
	t.Hush()
	for {
		t.mu.Lock()
		done := len(t.unaware) == 0
		if done {
			t.announcing = false
			t.mute()
		}
		changed := t.awareness
		t.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-t.ctx.Done():
			return false
		}
	}
}

// announced notes that a peer has taken a hello of ours that holds the announcement.
func (t *Transport) announced(p *peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.announcing || !t.unaware[p.id] {
		return
	}
	delete(t.unaware, p.id)
	close(t.awareness)
	t.awareness = make(chan struct{})
}

// What follows is about the uids that peers name while this server knows none; the rules
// are those of identity.Hearsay.

// bindByMemory binds a server to the cluster of the peers with which it talked in
// earlier processes, if its disk holds anything. A server with an empty disk has
// promised nothing to any peer.
func (t *Transport) bindByMemory() {
	if t.standing() == (identity.Standing{}) {
		return
	}
	for _, p := range t.now().sorted() {
		t.hearsay.Bind(t.config.Memory.Known(p.id).UID)
	}
}

// asking reports whether this server has no goal yet. It then promises nothing.
func (t *Transport) asking() bool { return t.config.Life.Rejoined && t.standing().Term == 0 }

// presumed returns the uid by which this server judges its peers, zero if it takes
// all of them, and whether it talks to nobody (identity.Hearsay).
func (t *Transport) presumed() (uid core.UID, atOdds bool) {
	if ours := t.UID(); ours != (core.UID{}) {
		return ours, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hearsay.Presume(len(t.now().members) + 1)
}

// hearUID notes the uid that a peer names. While this server does not know its own,
// that may put it at odds with all peers, or end its connections with some. talk
// means that the peer wants to talk, and not only to refuse. The error is a
// *rejection: the peer belongs to another cluster than the one that this server
// presumes to be its own.
func (t *Transport) hearUID(p *peer, said core.UID, talk bool) error {
	if t.UID() != (core.UID{}) {
		return nil
	}
	asking := t.asking()
	t.mu.Lock()
	if t.config.Life.Rejoined && !asking {
		t.hearsay.Bind(t.hearsay.Sole()) // its goal was made of these peers' answers
	}
	news := t.hearsay.Hear(p.id, said)
	uid, atOdds := t.hearsay.Presume(len(t.now().members) + 1)
	if talk && !asking && !atOdds && (uid == (core.UID{}) || uid == said) {
		t.hearsay.Bind(said)
	}
	t.atOdds = atOdds
	if atOdds {
		t.words.Clear() // it is unknown to which cluster their senders belong
		t.trial++
	}
	t.mute()
	listed, others := t.hearsay.String(), t.ofOthers(uid)
	t.mu.Unlock()
	if atOdds && news {
		t.log.note(slog.LevelError, "at odds "+listed, "peers name different uids of this cluster, and this server knows none yet: it talks to nobody until a majority of the members names the same one; check the addresses of the peers, and which data directory each server has",
			"they say", listed, "belongs to", uid.String())
	}
	if atOdds || uid == (core.UID{}) {
		return nil
	}
	for _, other := range others {
		t.endLives(other, identity.Use{})
	}
	if said == (core.UID{}) || said == uid {
		return nil
	}
	return &rejection{reason: identity.OtherCluster, detail: fmt.Sprintf("server %q belongs to another cluster of the name %q: its uid is %v, and server %q, which knows none yet, has heard %v from those with whom it talks; check the addresses of the peers, and which data directory each server has (a server that never took anything from the wrong ones forgets them when it is started again)", p.id, t.config.ClusterID, said, t.config.ID, uid)}
}

// maybeStray reports whether the sender of a hello may be a stray, although it was
// taken for the peer. While peers are at odds, any may be one. A full member knows the
// uid as soon as any other member that talks to us.
func (t *Transport) maybeStray(h *hello) bool {
	nameless := h.uid() == (core.UID{}) && !h.Rejoined
	if t.UID() != (core.UID{}) {
		return nameless
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.atOdds || nameless && t.hearsay.Heard()
}

// ofOthers returns the peers that have named another uid than this. t.mu must be
// held.
func (t *Transport) ofOthers(uid core.UID) (others []*peer) {
	for _, id := range t.hearsay.Others(uid) {
		if p := t.now().peer(id); p != nil {
			others = append(others, p)
		}
	}
	return others
}
