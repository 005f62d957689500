package machine

import "raftkv/kvserver/lease"

// Lease is a lease as this node has it.
type Lease struct {
	ID int64
	lease.Lease
	Remaining uint64 // milliseconds of lease time, at least
	Count     int    // of its keys
	Keys      []string
}

// Lease returns a lease, with the names of its keys if withKeys is set.
func (m *Machine) Lease(id int64, withKeys bool) (l Lease, found bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	table := m.store.Leases()
	l.ID = id
	if l.Lease, found = table.Get(id); !found {
		return l, false
	}
	l.Remaining, l.Count = table.Remaining(l.Deadline), table.Count(id)
	if withKeys {
		l.Keys = table.Keys(id)
	}
	return l, true
}

// Leases returns leases that select picks, the first of them with an id of at least from,
// and whether there are more. It looks at no more than looked of them.
func (m *Machine) Leases(from int64, limit, looked int, pick func(*lease.Lease) bool) (page []Lease, next int64, more bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	table := m.store.Leases()
	table.Ascend(from, func(id int64, l lease.Lease, keys int) bool {
		if len(page) == limit || looked == 0 {
			next, more = id, true
			return false
		}
		looked--
		if pick(&l) {
			page = append(page, Lease{ID: id, Lease: l, Remaining: table.Remaining(l.Deadline), Count: keys})
		}
		return true
	})
	return page, next, more
}
