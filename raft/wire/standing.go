package wire

import (
	"log/slog"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
)

// standingBody is a standing in the form in which it travels.
type standingBody struct {
	Term, Last, LastTerm, Commit uint64

	UID packedBytes // of the sender's cluster; zeros: not known
}

var standingShape = shape{uintElement, uintElement, uintElement, uintElement, packedElement}

// standing decodes a peer's standing and the uid of its cluster.
func (d *decoder) standing(body []byte) (identity.Standing, core.UID, error) {
	var b standingBody
	if err := d.decode(body, standingShape, &b); err != nil {
		return identity.Standing{}, core.UID{}, err
	}
	if len(b.UID) != len(core.UID{}) {
		return identity.Standing{}, core.UID{}, malformed("a uid of %d bytes, not %d", len(b.UID), len(core.UID{}))
	}
	return identity.Standing{Term: b.Term, Last: b.Last, LastTerm: b.LastTerm, Commit: b.Commit}, core.UID(b.UID), nil
}

// standing appends the frame of a standing to dst.
func (e *encoder) standing(dst []byte, s identity.Standing, uid core.UID) []byte {
	b := standingBody{Term: s.Term, Last: s.Last, LastTerm: s.LastTerm, Commit: s.Commit, UID: uid[:]}
	return e.frame(dst, kindStanding, &b, headerBytes+maxSmallBody)
}

// Peers are told our standing every standingInterval. Their standings are made
// durable every memoryInterval, if they have changed. So if all servers restart, the
// loss of at most the last ten seconds' writes is not noticed.
const (
	standingInterval = 2 * time.Second
	memoryInterval   = 8 * time.Second
)

// statement is a server's standing and the uid of its cluster.
type statement struct {
	identity.Standing
	uid core.UID
}

// standing returns our standing, zero if nothing is to be told.
func (t *Transport) standing() identity.Standing {
	if t.config.Standing == nil {
		return identity.Standing{}
	}
	return t.config.Standing()
}

// tellAll tells every peer our standing, unless the peer has heard it.
func (t *Transport) tellAll() {
	s := statement{t.standing(), t.UID()}
	for _, p := range t.now().members {
		if out := p.out.Load(); out != nil {
			out.tell(s)
		}
	}
}

// keepStandings is the goroutine that tells our standing and remembers those of
// the peers.
func (t *Transport) keepStandings() {
	tell, keep := time.NewTicker(standingInterval), time.NewTicker(memoryInterval)
	defer tell.Stop()
	defer keep.Stop()
	for {
		select {
		case <-tell.C:
			t.tellAll()
		case <-keep.C:
			t.rememberStandings()
		case <-t.ctx.Done():
			return
		}
	}
}

// rememberStandings makes durable the standings that have changed since the last time.
func (t *Transport) rememberStandings() {
	release, err := t.takeMemory()
	if err != nil {
		return
	}
	defer release()
	news := map[core.ID]identity.Known{}
	for _, p := range t.now().sorted() {
		k := t.known(p)
		if old := t.config.Memory.Known(p.id); k.Boot > 0 && !k.SameProgress(old) {
			news[p.id] = k
		}
	}
	if len(news) == 0 {
		return
	}
	if err := t.config.Memory.Note(news); err != nil {
		t.log.note(slog.LevelWarn, "note", "the peers' progress could not be written down; it will be tried again", "error", err.Error())
	}
}

// hearStanding takes note of a peer's standing, which came on a connection with the
// given process. It returns an error if the peer turns out to belong to another
// cluster.
func (t *Transport) hearStanding(p *peer, u identity.Use, s identity.Standing, uid core.UID) error {
	ours := t.UID()
	if uid != (core.UID{}) && ours != (core.UID{}) && uid != ours {
		t.rejected[identity.OtherCluster].Add(1)
		t.log.note(slog.LevelError, "other cluster "+string(p.id), "a peer turns out to belong to another cluster of this name; check the addresses of the peers, and which data directory each server has",
			"peer", string(p.id), "its uid", uid.String(), "our uid", ours.String())
		return errOtherCluster
	}
	if uid != (core.UID{}) && t.hearUID(p, uid, true) != nil {
		return errOtherCluster
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.stands(u) && !u.Asking {
		p.said, p.uid = s, uid
	}
	return nil
}
