package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"raftkv/raft/core"
	"raftkv/raft/identity"
	"raftkv/raft/levels"
)

// Servers that were started differently must not talk to each other: they count
// majorities of different lists, or hold different entries under the same index.
// So a hello names the cluster not only by the name that an operator typed, but also
// by its uid, which its first leader drew, and by a digest of the list of members.

// bootstrap is the digest of a list of members.
type bootstrap [sha256.Size]byte

// bootstrapOf returns the digest of the ids, which are sorted.
func bootstrapOf(ids []core.ID) (b bootstrap) {
	h := sha256.New()
	for _, id := range ids {
		h.Write(binary.AppendUvarint(nil, uint64(len(id))))
		h.Write([]byte(id))
	}
	h.Sum(b[:0])
	return b
}

// members returns the ids of all servers of the cluster, sorted.
func (c *Config) members() []core.ID {
	all := map[core.ID]bool{c.ID: true}
	for id := range c.Peers {
		all[id] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// listMembers writes ids for people. A long list is cut.
func listMembers(ids []core.ID) string {
	const maxListed = 9
	if len(ids) <= maxListed {
		return core.JoinIDs(ids, ",")
	}
	return fmt.Sprintf("%s and %d more", core.JoinIDs(ids[:maxListed], ","), len(ids)-maxListed)
}

// judge returns nil if this server may talk to the sender of a hello. knows reports
// whether a server may be the sender. The error is a *rejection. The data directory
// is judged elsewhere (meetLife).
func (t *Transport) judge(h *hello, knows func(core.ID) bool) error {
	c := &t.config
	if h.ClusterID != c.ClusterID {
		return &rejection{reason: identity.OtherCluster, detail: fmt.Sprintf("server %q belongs to cluster %q and server %q to %q; check --cluster-id and the addresses of the peers", h.From, h.ClusterID, c.ID, c.ClusterID)}
	}
	ours, theirs := t.UID(), h.uid()
	if ours != (core.UID{}) && theirs != (core.UID{}) && ours != theirs {
		if h.Generation != 0 && !c.Joining && len(c.Peers) == 0 {
			t.contest(h) // the record of a cluster that has grown names us, and our list is of before
		}
		return &rejection{reason: identity.OtherCluster, detail: fmt.Sprintf("server %q belongs to another cluster of the name %q: its uid is %v, and that of server %q is %v; check the addresses of the peers, and which data directory each server has", h.From, h.ClusterID, theirs, c.ID, ours)}
	}
	now := t.now()
	if now.generation != 0 && h.Generation != 0 && h.Generation != now.generation {
		return &rejection{reason: ReasonGeneration, detail: fmt.Sprintf("server %q belongs to generation %d of the cluster and server %q to %d: the older one was left behind when the cluster was recovered from the loss of its majority; empty its data directory and let it join", h.From, h.Generation, c.ID, now.generation)}
	}
	if h.To != c.ID {
		return &rejection{reason: ReasonReceiver, detail: fmt.Sprintf("server %q wants to talk to %q and this is %q; check the addresses of the peers", h.From, h.To, c.ID)}
	}
	if err := h.judgeLevel(t.levels, now.level); err != nil {
		return err
	}
	switch gone, removed := now.removed[directoryOf(h)]; {
	case removed:
		return &rejection{reason: ReasonRemoved, detail: fmt.Sprintf("the data directory of server %q was removed from the cluster by entry %d of the log and is never a member again; to use the server again, empty the directory and let it join", h.From, gone)}
	case bootstrap(h.Bootstrap) != t.bootstrap && t.neverChanged(h):
		t.contest(h)
		return &rejection{reason: ReasonBootstrap, detail: fmt.Sprintf("server %q has another list of members than server %q, whose --cluster lists %s; compare --cluster of both", h.From, c.ID, listMembers(c.members()))}
	case !knows(h.From):
		return &rejection{reason: ReasonSender, detail: fmt.Sprintf("server %q does not expect to talk to server %q here; check the list of peers and their addresses", c.ID, h.From)}
	}
	return nil
}

// neverChanged reports whether neither this server nor the sender of a hello knows of
// any configuration but the list with which it was started. Behind the first one in the
// log the lists decide nothing.
func (t *Transport) neverChanged(h *hello) bool {
	return t.now().version == 0 && h.ConfigVer == 0 && !t.config.Joining
}

// judgeLevel refuses a server that works at other levels than this program, that cannot
// work at the cluster's level, or that uses a field of a level that we do not know.
func (h *hello) judgeLevel(ours levels.Range, cluster uint32) error {
	if h.LevelMin > uint64(ours.Max) || h.LevelMax < uint64(ours.Min) || h.LevelMin > h.LevelMax {
		return &rejection{reason: ReasonLevel, detail: fmt.Sprintf("server %q (build %q) works at levels %d to %d, and this build at %v; upgrade the older one", h.From, h.Build, h.LevelMin, h.LevelMax, ours)}
	}
	if h.LevelMax < uint64(cluster) {
		return &rejection{reason: ReasonLevel, detail: fmt.Sprintf("server %q (build %q) works at levels %d to %d, and the cluster works at level %d, which never falls; upgrade the server", h.From, h.Build, h.LevelMin, h.LevelMax, cluster)}
	}
	if ours.Max >= levels.Members {
		return nil
	}
	for _, room := range []struct {
		number int
		name   string
		used   bool
	}{
		{12, "generation", h.Generation != 0},
		{16, "configuration version", h.ConfigVer != 0},
		{17, "addresses", len(h.Addresses) != 0},
	} {
		if room.used {
			return &rejection{reason: ReasonLevel, detail: fmt.Sprintf("server %q (build %q) uses field %d of the hello (%s), which this build does not know; upgrade this server first", h.From, h.Build, room.number, room.name)}
		}
	}
	return nil
}

// contest reports that a server with another list of members, or with a record of them, counts
// this one, which is alone in its own list, among its members. If nothing was ever written to this
// server, it was probably started with the wrong list and would go on as a second
// cluster. If it has served alone, the other server has a wrong address, and a
// mistake elsewhere must not end this one.
func (t *Transport) contest(h *hello) {
	if len(t.now().members) > 0 || h.To != t.config.ID || h.From == t.config.ID || t.config.Contested == nil {
		return
	}
	if t.config.Used != nil && t.config.Used() {
		t.log.note(slog.LevelError, "contested "+string(h.From), "a server with another list of members counts this one, which serves alone, among its own; it is turned down, and this server goes on: correct the address that it has, or start it under another --cluster-id",
			"peer", string(h.From), "its uid", h.uid().String(), "our uid", t.UID().String())
		return
	}
	t.config.Contested(h.From)
}

// UID returns the uid of this server's cluster, zero while it is not known.
func (t *Transport) UID() core.UID { return *t.uid.Load() }

// SetUID makes the uid of this server's cluster known once it was learned. Peers
// that belong to another cluster are told so, and turned down from then on.
func (t *Transport) SetUID(uid core.UID) {
	t.uid.Store(&uid)
	t.mu.Lock()
	t.atOdds = false
	t.mute()
	others := t.ofOthers(uid)
	t.mu.Unlock()
	for _, p := range others {
		t.endLives(p, identity.Use{})
	}
	t.tellAll()
}

// errAnswered ends a connection whose dialler wanted to know which server is there, and does.
var errAnswered = errors.New("it was answered who is there")

// judgeAnybody judges a hello that is for nobody in particular: whether its sender and
// this server could be of one cluster.
func (t *Transport) judgeAnybody(h *hello) error {
	c := &t.config
	ours, theirs := t.UID(), h.uid()
	if h.ClusterID != c.ClusterID || ours != theirs && ours != (core.UID{}) && theirs != (core.UID{}) {
		return &rejection{reason: identity.OtherCluster, detail: fmt.Sprintf("server %q belongs to cluster %q (uid %v) and server %q to %q (uid %v); check --cluster-id and the address", h.From, h.ClusterID, theirs, c.ID, c.ClusterID, ours)}
	}
	return h.judgeLevel(t.levels, t.now().level)
}

// answerAnybody answers a hello that is for nobody in particular: with the server's name, or
// with a refusal. It takes no note of the sender. The error is errAnswered or a
// *rejection.
func (t *Transport) answerAnybody(s *stranger, h *hello) error {
	err := t.judgeAnybody(h)
	if err == nil {
		err = s.say(t.ownHello(h.From))
	}
	if no := (*rejection)(nil); errors.As(err, &no) {
		_, _ = s.conn.Write(t.refusalFor(s, no, h.From))
		return err
	}
	if err == nil {
		t.hearJoin(s, h)
	}
	return errAnswered
}

// joinTimeout bounds the time in which a server is let in: the leader dials it back, and the
// entry that adds it must be committed.
const joinTimeout = 15 * time.Second

// hearJoin waits for what a server that knows this one now says more: nothing, or that it
// wants to become a member, which only one with a certificate may.
func (t *Transport) hearJoin(s *stranger, h *hello) {
	if l, ok := s.conn.(*line); !ok || !l.secret || t.config.Join == nil {
		return
	}
	_, body, err := s.frames.next(joinFrames)
	if err != nil || s.conn.SetDeadline(time.Now().Add(joinTimeout)) != nil {
		return // it only wanted to know
	}
	ctx, cancel := context.WithTimeout(t.ctx, joinTimeout)
	defer cancel()
	if answer := t.config.Join(ctx, h.From, bytes.Clone(body)); len(answer) <= maxJoinReply {
		_, _ = s.conn.Write(s.encoder.opaque(nil, kindJoinReply, answer))
	}
}

// opaque appends a frame whose body is not this package's.
func (e *encoder) opaque(dst []byte, k kind, body []byte) []byte {
	start := len(dst)
	dst = append(append(dst, make([]byte, headerBytes)...), body...)
	return e.seal(dst, start, k)
}

// AskToJoin asks the server at an address to let this one become a member, and returns its
// answer. The body has at most 4 KiB. Both must speak TLS: what lets this server in is its
// certificate.
func (t *Transport) AskToJoin(ctx context.Context, address string, body []byte) (answer []byte, err error) {
	if t.config.TLS == nil || !t.config.TLS.Dials {
		return nil, errors.New("wire: a server joins by the peer port with a certificate, and this one speaks to peers in clear")
	}
	if len(body) > maxJoinBody {
		return nil, fmt.Errorf("wire: the wish to join has %d bytes; the limit is %d", len(body), maxJoinBody)
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	_, err = t.ask(ctx, address, func(s *stranger, h *hello) error {
		if h.Generation == 0 {
			return fmt.Errorf("server %q has no record of the members of its cluster: it works at level 2, and servers join from level %d on", h.From, levels.Members)
		}
		if err := s.conn.SetDeadline(time.Now().Add(joinTimeout)); err != nil {
			return err
		}
		if _, err := s.conn.Write(s.encoder.opaque(nil, kindJoin, body)); err != nil {
			return err
		}
		_, reply, err := s.frames.next(joinReplyFrames)
		answer = bytes.Clone(reply)
		return err
	})
	return answer, err
}
