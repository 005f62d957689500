package wire

import "raftkv/raft/core"

// Identity is what a server says of itself in a hello, but for the names that an
// operator gave: to which cluster it belongs, which data directory speaks, and how
// far its disk has come.
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
		return k, false, ReasonCluster, ""
	}
	k = k.in(ours)
	next, changed, reason = k.Meet(them.Life)
	switch {
	case reason != "":
		return k, false, reason, ""
	case next.Incarnation != them.Life.Incarnation:
		return next, changed, "", "" // a newcomer that has promised nothing yet
	}
	if lost = next.behind(them.Standing); lost != "" {
		return k, false, ReasonRolledBack, lost
	}
	changed = next.note(them.Standing) || changed
	if them.UID != (core.UID{}) && next.UID != them.UID {
		next.UID, changed = them.UID, true
	}
	return next, changed, "", ""
}

// Credible judges the word of a server that says it is them, if it is about our
// data directory. The word counts if the server is the peer that k is of, on the
// directory that is known; then doubt is empty. Else doubt says why it does not
// count. A server that has no goal yet has forgotten whom it knew, so its word does
// not count, and neither does that of a server which does not know our uid.
func (k Known) Credible(ours core.UID, them Identity) (doubt string) {
	switch {
	case ours != (core.UID{}) && them.UID == (core.UID{}):
		return "it does not know our cluster's uid yet"
	case them.Life.Asking:
		return "it has lost its disk and does not know yet who was who"
	}
	switch _, _, reason, lost := k.Acquaint(ours, them); {
	case reason == ReasonCluster:
		return "it belongs to another cluster of this name"
	case lost != "":
		return "its data directory was put back to an earlier state: " + lost
	case reason != "":
		return "it is not on the data directory that we know of the peer (" + string(reason) + ")"
	}
	return ""
}

// Note adds what a peer says of its disk on a connection that stands.
func (k Known) Note(s Standing) Known {
	k.note(s)
	return k
}

// in returns what is known in the cluster with the uid ours: whoever was met as a
// member of another cluster is not known.
func (k Known) in(ours core.UID) Known {
	if k.UID != (core.UID{}) && ours != (core.UID{}) && k.UID != ours {
		return Known{}
	}
	return k
}

// Asked returns what is known for a server that has no goal yet and whose uid is
// not known, once a peer names its uid: it has promised nothing to anybody, so a
// stray that it met here may give way to the member.
func (k Known) Asked(them Identity) Known { return k.in(them.UID) }

// Lost reports whether a peer that says this has lost something that it had.
func (k Known) Lost(s Standing) bool { return k.behind(s) != "" }
