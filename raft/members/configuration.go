package members

import "slices"

// Configuration says which servers make up the cluster, and in which decisions each
// of them counts (§6). Every rule that counts servers asks its methods: no rule knows
// how many servers there are. It is immutable; a pointer to it may be kept.
//
// What is asked about each server is given by its position among Places.
type Configuration struct {
	Places []Place // sorted by ID, each once: the order of every loop over servers
	Joint  bool    // it has two halves, and a decision needs a majority of each (§6, Figure 11)
}

// Place is one server of a configuration.
type Place struct {
	ID ID
	// Votes names the halves in which the server votes. A server that votes in neither
	// is a learner: it is sent the log and counts in nothing (thesis 4.2.1). Without a
	// change under way the voters are those of the new half.
	Votes Half
	Added uint64 // index of the entry that added it; 0: of a static list
}

// Half is a set of halves of a joint configuration (§6: C_old and C_new). A
// configuration that is not joint has the new half only.
type Half uint8

const (
	NewHalf Half = 1 << iota // the voters that the change leads to
	OldHalf                  // the voters that the change began with
)

// Static returns the configuration in which exactly these servers vote, in any order.
// If one is named twice, it is in it twice.
func Static(voters []ID) *Configuration {
	ids := slices.Sorted(slices.Values(voters))
	c := &Configuration{Places: make([]Place, len(ids))}
	for i, id := range ids {
		c.Places[i] = Place{ID: id, Votes: NewHalf}
	}
	return c
}

// Configuration returns what consensus reads of the record.
func (r *Record) Configuration() *Configuration {
	c := &Configuration{Places: make([]Place, len(r.Members)), Joint: r.Joint()}
	for i := range r.Members {
		m := &r.Members[i]
		votes := m.votes()
		if !c.Joint {
			votes &= NewHalf
		}
		c.Places[i] = Place{ID: m.ID, Votes: votes, Added: m.Added}
	}
	return c
}

// Joint reports whether the record is the first of two that lead from one set of
// voters to another.
func (r *Record) Joint() bool {
	return slices.ContainsFunc(r.Members, func(m Member) bool { return m.WasVoter != (m.Role == Voter) })
}

// Voters returns the IDs of the servers that vote in the new half, sorted.
func (c *Configuration) Voters() []ID { return c.half(NewHalf) }

// OldVoters returns the IDs of the servers that a change would begin with: those of
// the old half of a joint configuration, the voters of any other.
func (c *Configuration) OldVoters() []ID {
	if c.Joint {
		return c.half(OldHalf)
	}
	return c.half(NewHalf)
}

func (c *Configuration) half(of Half) []ID {
	ids := make([]ID, 0, len(c.Places))
	for _, p := range c.Places {
		if p.Votes&of != 0 {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// Position returns where a server stands among Places, -1 if it does not.
func (c *Configuration) Position(id ID) int {
	i, known := slices.BinarySearchFunc(c.Places, id, comparePlace)
	if !known {
		return -1
	}
	return i
}

func comparePlace(p Place, id ID) int { return compareIDs(p.ID, id) }

// Votes returns the halves in which a server votes, 0 if it is none of them or not a
// member.
func (c *Configuration) Votes(id ID) Half {
	if i := c.Position(id); i >= 0 {
		return c.Places[i].Votes
	}
	return 0
}
