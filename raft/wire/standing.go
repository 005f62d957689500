package wire

import (
	"fmt"
	"log/slog"
	"time"

	"raftkv/raft/core"
)

// Boots tell a directory that was put back from one that went on, but only from
// one start to the next. Within a boot a server tells its peers how far its disk
// has come, and they remember it: what is durable stays so. A directory that comes
// back with less was put back.
//
// Why no honest server is taken for such a one. Let a peer have said that its disk
// holds term T, entries up to Last, the last one of term LastTerm, and that the
// entries up to Commit are committed.
//
//   - Terms never fall. So a later term below T is a loss.
//   - Committed entries are never truncated. So an end of the log below the lower
//     of Last and Commit is a loss.
//   - An entry that is not committed may be truncated, but only by a leader whose
//     log conflicts with it. If LastTerm is T, all entries came from the leader of
//     T, or were accepted as equal to its log, and that leader truncates nothing
//     that it sent. So in term T an end of the log below Last is a loss. In a later
//     term it is none. If LastTerm is below T, the end of the log may be truncated
//     in T itself, and says nothing.
//
// All of this is said of the disk and not of memory: a server that crashes may
// lose what was not durable.

// Standing says how far a server's disk has come.
type Standing struct {
	Term     uint64 // the latest term that is durable
	Last     uint64 // the end of the durable log
	LastTerm uint64 // the term of that entry; 0: not said
	Commit   uint64 // an index up to which the durable log is known to be committed, at least where it reaches so far
}

// behind returns what a server lacks that says this, although its directory had
// it: "" for nothing.
func (k Known) behind(s Standing) string {
	switch {
	case s.Term < k.Term:
		return fmt.Sprintf("it had reached term %d, and is in term %d", k.Term, s.Term)
	case s.Last < k.Held:
		return fmt.Sprintf("it held the committed entries up to %d, and its log ends at %d", k.Held, s.Last)
	case s.Term == k.Term && s.Last < k.Firm:
		return fmt.Sprintf("its log reached to %d in term %d, and ends at %d", k.Firm, k.Term, s.Last)
	}
	return ""
}

// note adds what a server says to what is known of it, and reports whether that
// is news.
func (k *Known) note(s Standing) bool {
	before := [3]uint64{k.Term, k.Held, k.Firm}
	if s.Term > k.Term {
		k.Term, k.Firm = s.Term, 0
	}
	k.Held = max(k.Held, min(s.Last, s.Commit))
	if s.Term == k.Term && s.LastTerm == s.Term {
		k.Firm = max(k.Firm, s.Last)
	}
	return before != [3]uint64{k.Term, k.Held, k.Firm}
}

// standingBody is a standing as it travels.
type standingBody struct {
	Term, Last, LastTerm, Commit uint64

	UID packedBytes // of the sender's cluster; zeros: not known
}

var standingShape = shape{uintElement, uintElement, uintElement, uintElement, packedElement}

// standing decodes what a peer says of its disk.
func (d *decoder) standing(body []byte) (Standing, core.UID, error) {
	var b standingBody
	if err := d.decode(body, standingShape, &b); err != nil {
		return Standing{}, core.UID{}, err
	}
	if len(b.UID) != len(core.UID{}) {
		return Standing{}, core.UID{}, malformed("a uid of %d bytes", len(b.UID))
	}
	return Standing{b.Term, b.Last, b.LastTerm, b.Commit}, core.UID(b.UID), nil
}

// standing appends the frame of a standing to dst.
func (e *encoder) standing(dst []byte, s Standing, uid core.UID) []byte {
	b := standingBody{Term: s.Term, Last: s.Last, LastTerm: s.LastTerm, Commit: s.Commit, UID: uid[:]}
	return e.frame(dst, kindStanding, &b, headerBytes+maxSmallBody)
}

// Peers are told how far we have come every standingInterval, and what they say is
// made durable every memoryInterval, if it is news. So at most ten seconds' worth
// of writes can be lost unseen where all servers restart.
const (
	standingInterval = 2 * time.Second
	memoryInterval   = 8 * time.Second
)

// statement is what a server says of its disk, and to which cluster it belongs.
type statement struct {
	Standing
	uid core.UID
}

// standing returns how far our disk has come.
func (t *Transport) standing() Standing {
	if t.config.Standing == nil {
		return Standing{}
	}
	return t.config.Standing()
}

// tellAll tells every peer how far our disk has come, if that is news.
func (t *Transport) tellAll() {
	s := statement{t.standing(), t.UID()}
	for _, p := range t.peers {
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

// rememberStandings makes durable what peers have said since the last time.
func (t *Transport) rememberStandings() {
	release, err := t.takeMemory()
	if err != nil {
		return
	}
	defer release()
	news := map[core.ID]Known{}
	for _, id := range sortedIDs(t.peers) {
		k := t.known(t.peers[id])
		if old := t.config.Memory.Known(id); k.Boot > 0 && (k.Term != old.Term || k.Held != old.Held || k.Firm != old.Firm || k.UID != old.UID) {
			news[id] = k
		}
	}
	if len(news) == 0 {
		return
	}
	if err := t.config.Memory.Note(news); err != nil {
		t.log.note(slog.LevelWarn, "note", "how far the peers have come could not be written down; it will be tried again", "error", err.Error())
	}
}

// hearStanding takes note of what a peer says on a connection in the given use. It
// returns an error if the peer turns out to belong to another cluster.
func (t *Transport) hearStanding(p *peer, u use, s Standing, uid core.UID) error {
	ours := t.UID()
	if uid != (core.UID{}) && ours != (core.UID{}) && uid != ours {
		t.rejected[ReasonCluster].Add(1)
		t.log.note(slog.LevelError, "other cluster "+string(p.id), "a peer turns out to belong to another cluster of this name; check the addresses of the peers, and which data directory each server has",
			"peer", string(p.id), "its uid", uid.String(), "our uid", ours.String())
		return errOtherCluster
	}
	if uid != (core.UID{}) && t.hearUID(p, uid, true) != nil {
		return errOtherCluster
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.stands(u) && !u.asking {
		p.said, p.uid = s, uid
	}
	return nil
}
