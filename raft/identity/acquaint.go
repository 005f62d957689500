package identity

import "raftkv/raft/core"

// Identity is what a server says of itself in a hello, in addition to the names that
// an operator gave: its cluster, its data directory, and how far its disk has come.
type Identity struct {
	UID      core.UID // zero: it does not know it yet
	Life     Life
	Standing Standing
}

// Acquaint judges a peer that says it is them, in the cluster with the uid ours
// (zero: not known yet). It has no effect of its own. If reason is empty, the peer
// may be talked to once next is remembered; changed says whether next differs from
// k. If the disk has lost something since the peer was met, lost says what.
func (k Known) Acquaint(ours core.UID, them Identity) (next Known, changed bool, reason Reason, lost string) {
	if ours != (core.UID{}) && them.UID != (core.UID{}) && ours != them.UID {
		return k, false, OtherCluster, ""
	}
	k = k.In(ours)
	next, changed, reason = k.Meet(them.Life)
	switch {
	case reason != "":
		return k, false, reason, ""
	case next.Incarnation != them.Life.Incarnation:
		return next, changed, "", "" // a newcomer that has promised nothing yet
	}
	if lost = next.Lost(them.Standing); lost != "" {
		return k, false, RolledBack, lost
	}
	before := next
	next = next.Note(them.Standing)
	if them.UID != (core.UID{}) {
		next.UID = them.UID
	}
	return next, changed || !next.SameProgress(before), "", ""
}

// Credible judges whether the word of a server that says it is them counts, if that
// word is about our data directory. It counts if the server is the peer that k is
// of, on the directory that is known; then doubt is empty. Otherwise doubt says why
// not. A server that has no goal yet has forgotten whom it knew, and one that does
// not know our uid may have met a stray. So the words of both do not count.
func (k Known) Credible(ours core.UID, them Identity) (doubt string) {
	switch {
	case ours != (core.UID{}) && them.UID == (core.UID{}):
		return "it does not know our cluster's uid yet"
	case them.Life.Asking:
		return "it has lost its disk and does not know yet who was who"
	}
	switch _, _, reason, lost := k.Acquaint(ours, them); {
	case reason == OtherCluster:
		return "it belongs to another cluster of this name"
	case lost != "":
		return "its data directory was put back to an earlier state: " + lost
	case reason != "":
		return "it is not on the data directory that we know of the peer (" + string(reason) + ")"
	}
	return ""
}

// In returns what is known of a peer in the cluster with the uid ours: a server that
// was met as a member of another cluster is not known.
func (k Known) In(ours core.UID) Known {
	if k.UID != (core.UID{}) && ours != (core.UID{}) && k.UID != ours {
		return Known{}
	}
	return k
}

// Asked returns what is known to a server that has no goal yet and whose uid is not
// known, once a peer names its uid. Such a server has promised nothing to anybody,
// so a stray that it met here may give way to the member.
func (k Known) Asked(them Identity) Known { return k.In(them.UID) }
