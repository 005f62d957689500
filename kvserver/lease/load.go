package lease

import "fmt"

// Load puts a table into the state that a snapshot says: its time, and the next id that
// is given where the log index is taken. Ties and leases follow, in this order; Complete
// ends it. The error says what cannot be.
func (t *Table) Load(time uint64) error {
	if time > maxTime {
		return fmt.Errorf("the lease time %d is beyond %d", time, uint64(maxTime))
	}
	t.time = time
	return nil
}

// LoadTie adds the tie of a key. bytes are those of the key and its value. That its
// lease is there is checked by Complete.
func (t *Table) LoadTie(key string, tie Tie, bytes int) error {
	switch {
	case tie == (Tie{}), tie.Lease != 0 && tie.Deadline != 0:
		return fmt.Errorf("the key %.40q is tied to lease %d and to the time %d", key, tie.Lease, tie.Deadline)
	case tie.Deadline > t.time+MaxTTL:
		return fmt.Errorf("the key %.40q ends at %d, too far behind %d", key, tie.Deadline, t.time)
	}
	t.bind(key, tie)
	if tie.Lease != 0 {
		e, _ := t.leases.Get(tie.Lease)
		e.keys++
		e.bytes += uint64(bytes)
		t.leases.Set(tie.Lease, e) // without a TTL: it is still to come
	}
	return nil
}

// LoadFree sets the next id that is given where the log index is taken.
func (t *Table) LoadFree(free uint64) error {
	if free < firstFree || free > 1<<63-1 {
		return fmt.Errorf("the next id of a lease is %d", free)
	}
	t.free = free
	return nil
}

// LoadLease adds a lease.
func (t *Table) LoadLease(id int64, l Lease) error {
	e, _ := t.leases.Get(id)
	switch {
	case id == 0 || e.TTL != 0:
		return fmt.Errorf("there is a lease %d already", id)
	case l.TTL < MinTTL || l.TTL > MaxTTL || l.Deadline > t.time+l.TTL || len(l.Note) > MaxNoteBytes:
		return fmt.Errorf("the lease %d has a TTL of %d and the deadline %d at %d", id, l.TTL, l.Deadline, t.time)
	case e.keys > t.limits.Keys || e.bytes > t.limits.Bytes:
		return fmt.Errorf("the lease %d has %d keys with %d bytes", id, e.keys, e.bytes)
	}
	e.Lease = l
	t.put(id, e)
	return nil
}

// Complete checks that every tie has its lease.
func (t *Table) Complete() (err error) {
	t.leases.Scan(func(id int64, e entry) bool {
		if e.TTL == 0 {
			err = fmt.Errorf("%d keys are tied to the lease %d, which is not there", e.keys, id)
		}
		return err == nil
	})
	if err == nil && t.leases.Len() > t.limits.Leases {
		err = fmt.Errorf("there are %d leases, where %d may be", t.leases.Len(), t.limits.Leases)
	}
	return err
}
