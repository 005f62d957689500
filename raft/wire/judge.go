package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"raftkv/raft/core"
	"raftkv/raft/identity"
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
		return &rejection{reason: identity.OtherCluster, detail: fmt.Sprintf("server %q belongs to another cluster of the name %q: its uid is %v, and that of server %q is %v; check the addresses of the peers, and which data directory each server has", h.From, h.ClusterID, theirs, c.ID, ours)}
	}
	if h.To != c.ID {
		return &rejection{reason: ReasonReceiver, detail: fmt.Sprintf("server %q wants to talk to %q and this is %q; check the addresses of the peers", h.From, h.To, c.ID)}
	}
	if err := h.judgeLevel(); err != nil {
		return err
	}
	if bootstrap(h.Bootstrap) != t.bootstrap {
		t.contest(h)
		return &rejection{reason: ReasonBootstrap, detail: fmt.Sprintf("server %q has another list of members than server %q, whose --cluster lists %s; compare --cluster of both", h.From, c.ID, listMembers(c.members()))}
	}
	if !knows(h.From) {
		return &rejection{reason: ReasonSender, detail: fmt.Sprintf("server %q does not expect to talk to server %q here; check the list of peers and their addresses", c.ID, h.From)}
	}
	return nil
}

// judgeLevel refuses a server that works at other levels than this build, or that
// uses a field of a later level.
func (h *hello) judgeLevel() error {
	if h.LevelMin > levelMax || h.LevelMax < levelMin || h.LevelMin > h.LevelMax {
		return &rejection{reason: ReasonLevel, detail: fmt.Sprintf("server %q (build %q) works at levels %d to %d, and this build at %d to %d; upgrade the older one", h.From, h.Build, h.LevelMin, h.LevelMax, levelMin, levelMax)}
	}
	for _, room := range []struct {
		number int
		name   string
		used   bool
	}{
		{12, "generation", h.Generation != 0},
		{16, "configuration version", h.ConfigVer != 0},
		{17, "addresses", len(h.Addresses) != 0},
		{18, "TLS for clients", h.ClientTLS},
	} {
		if room.used {
			return &rejection{reason: ReasonLevel, detail: fmt.Sprintf("server %q (build %q) uses field %d of the hello (%s), which this build does not know; upgrade this server first", h.From, h.Build, room.number, room.name)}
		}
	}
	return nil
}

// contest reports that a server with another list of members counts this one, which
// is alone in its own list, among its members. If nothing was ever written to this
// server, it was probably started with the wrong list and would go on as a second
// cluster. If it has served alone, the other server has a wrong address, and a
// mistake elsewhere must not end this one.
func (t *Transport) contest(h *hello) {
	if len(t.peers) > 0 || h.To != t.config.ID || h.From == t.config.ID || t.config.Contested == nil {
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
