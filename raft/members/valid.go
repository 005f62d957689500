package members

import (
	"fmt"
	"slices"
)

// Valid reports what makes a record impossible, or nil. It does not look at the length
// of the encoding, which Encode does.
func (r *Record) Valid() error {
	switch s := &r.Settings; {
	case r.UID == UID{}:
		return fmt.Errorf("members: a record without a uid of the cluster")
	case r.Generation < FirstGeneration:
		return fmt.Errorf("members: a record of generation %d; the first is %d", r.Generation, FirstGeneration)
	case s.Wanted < 1 || s.Wanted > MaxVoters || s.Wanted%2 == 0:
		return fmt.Errorf("members: %d voters are wanted: choose an odd number from 1 to %d", s.Wanted, MaxVoters)
	case s.JoinBy > JoinByCertificate:
		return &UnknownError{What: "way to join", Number: uint64(s.JoinBy)}
	case len(r.Members) > MaxMembers:
		return fmt.Errorf("members: %d members; the limit is %d", len(r.Members), MaxMembers)
	case len(r.Removed) > MaxRemoved || len(r.Changes) > MaxChanges || len(r.Tokens) > MaxJoinTokens:
		return fmt.Errorf("members: %d removed, %d changes, %d tokens to join; the limits are %d, %d and %d",
			len(r.Removed), len(r.Changes), len(r.Tokens), MaxRemoved, MaxChanges, MaxJoinTokens)
	}
	if err := r.validMembers(); err != nil {
		return err
	}
	for i := range r.Removed {
		if err := r.Removed[i].ID.valid(); err != nil {
			return err
		}
	}
	for _, c := range r.Changes {
		if len(c.ID) == 0 || len(c.ID) > MaxChangeIDBytes {
			return fmt.Errorf("members: the ID of a change has %d bytes: give it 1 to %d", len(c.ID), MaxChangeIDBytes)
		}
	}
	return r.validTokens()
}

// validMembers judges the members and both halves.
func (r *Record) validMembers() error {
	before := None
	for i := range r.Members {
		m := &r.Members[i]
		if i > 0 && m.ID <= before {
			return fmt.Errorf("members: %q stands behind %q: every member once, in the order of IDs", m.ID, before)
		}
		before = m.ID
		if err := m.valid(); err != nil {
			return err
		}
		if r.IsRemoved(m.ID, m.Incarnation) {
			return fmt.Errorf("members: the data directory %s of %q was removed and never is a member again: empty it first", m.Incarnation, m.ID)
		}
	}
	c := r.Configuration()
	if n := len(c.Voters()); n < 1 || n > MaxVoters {
		return fmt.Errorf("members: %d voters: choose 1 to %d", n, MaxVoters)
	}
	if n := len(c.OldVoters()); n < 1 || n > MaxVoters {
		return fmt.Errorf("members: the change begins with %d voters: a cluster has 1 to %d", n, MaxVoters)
	}
	return nil
}

func (m *Member) valid() error {
	if err := m.ID.valid(); err != nil {
		return err
	}
	switch {
	case m.Role > Replica:
		return &UnknownError{What: "role", Number: uint64(m.Role)}
	case m.Role == Leaving && !m.WasVoter:
		return fmt.Errorf("members: %q leaves and did not vote: such a member goes at once", m.ID)
	case len(m.Peer) > MaxAddressBytes || len(m.HTTP) > MaxAddressBytes:
		return fmt.Errorf("members: an address of %q has %d bytes; the limit is %d", m.ID, max(len(m.Peer), len(m.HTTP)), MaxAddressBytes)
	case len(m.Others) > MaxAddresses:
		return fmt.Errorf("members: %q has %d more addresses; the limit is %d", m.ID, len(m.Others), MaxAddresses)
	case len(m.Replaces) > MaxIDBytes:
		return m.Replaces.valid()
	}
	for i, a := range m.Others {
		switch {
		case i > 0 && a.Name <= m.Others[i-1].Name:
			return fmt.Errorf("members: the addresses of %q are not sorted by name, each once", m.ID)
		case len(a.Name) == 0 || len(a.Name) > MaxNameBytes || len(a.Address) > MaxAddressBytes:
			return fmt.Errorf("members: an address of %q has a name of %d bytes and %d bytes itself; the limits are 1 to %d, and %d",
				m.ID, len(a.Name), len(a.Address), MaxNameBytes, MaxAddressBytes)
		}
	}
	return nil
}

func (r *Record) validTokens() error {
	for i, t := range r.Tokens {
		switch {
		case len(t.ID) == 0 || len(t.ID) > MaxChangeIDBytes:
			return fmt.Errorf("members: the ID of a token has %d bytes: give it 1 to %d", len(t.ID), MaxChangeIDBytes)
		case i > 0 && t.ID <= r.Tokens[i-1].ID:
			return fmt.Errorf("members: the token %q stands behind %q: every token once, in the order of IDs", t.ID, r.Tokens[i-1].ID)
		case !slices.Contains([]Role{Learner, Replica}, t.Role):
			return fmt.Errorf("members: the token %q is for a %v: choose %v or %v", t.ID, t.Role, Learner, Replica)
		case t.Uses == 0:
			return fmt.Errorf("members: the token %q is used up and still kept", t.ID)
		case len(t.For) > MaxIDBytes:
			return t.For.valid()
		}
	}
	return nil
}

// valid reports an ID that no server can have.
func (id ID) valid() error {
	if len(id) == 0 || len(id) > MaxIDBytes {
		return fmt.Errorf("members: the ID %q has %d bytes: give it 1 to %d", id, len(id), MaxIDBytes)
	}
	return nil
}
