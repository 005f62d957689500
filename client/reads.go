package client

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// Item is a key and its value.
type Item struct {
	Key   string
	Value []byte // the caller may keep and change it; nil if only keys were asked for
	// Revision is the number of the change that made this value among all changes
	// of the store, Version its number among those of the key.
	Revision, Version uint64
	// Created is the revision of the change that created the key, 1 if that was before the
	// cluster had a history; 0 where it has none, or the server is of the first release.
	Created uint64
	// Lease is what the key was tied to, 0 for none.
	Lease int64
}

// Page is a part of the store, in the order of the keys' bytes, as it was at one
// moment.
type Page struct {
	Items []Item
	// More: there are keys behind the last item; After(its key) begins there.
	More bool
	// Revision is the store's.
	Revision uint64
	// Count is the number of keys in the whole range, with Count or CountOnly.
	Count int
}

// Get returns the value of a key, or ErrNotFound. Unless Stale is given, it sees
// every write that was answered before.
func (c *Clerk) Get(ctx context.Context, key string, options ...ReadOption) (Item, error) {
	if err := checkKey(key); err != nil {
		return Item{}, err
	}
	m := clerkwire.Get{Key: []byte(key)}
	for _, o := range options {
		o.applyGet(&m)
	}
	w := c.newCall(clerkwire.KindGet)
	defer c.free(w)
	if m.Pinned.Set {
		w.needs, m.Consistency, m.MinRevision = needsPast, clerkwire.Stale, 0 // any server will do
	}
	if _, err := run(ctx, c, c.readRoute(m.Consistency), w, m); err != nil {
		return Item{}, asRead(err)
	}
	if !w.got.Found {
		return Item{}, &Error{
			Code: api.CodeKeyNotFound, Outcome: api.OutcomeNotApplied, Detail: "there is no such key", Revision: w.got.Store,
		}
	}
	return Item{Key: key, Value: w.got.Value, Revision: w.got.Revision, Version: w.got.Version, Created: w.got.Created, Lease: w.got.Lease}, nil
}

// needsPast and needsRanges are what an old server does not have.
const (
	needsPast   = "reads of the past"
	needsRanges = "lists of ranges, and counts"
)

// List returns the keys that begin with a prefix, "" for all, with their
// values: a page of them, see After and Limit.
func (c *Clerk) List(ctx context.Context, prefix string, options ...ListOption) (Page, error) {
	m := clerkwire.List{Prefix: []byte(prefix)}
	for _, o := range options {
		o.applyList(&m)
	}
	if len(m.Prefix) > api.MaxKeyBytes || len(m.After) > api.MaxKeyBytes {
		return Page{}, invalid("the prefix has %d bytes, the key to begin after %d; each may have at most %d", len(m.Prefix), len(m.After), api.MaxKeyBytes)
	}
	return c.list(ctx, m)
}

// ListRange is List for the keys from one on, in the order of their bytes, up to but not
// including another one; to the last if that is "".
func (c *Clerk) ListRange(ctx context.Context, from, to string, options ...ListOption) (Page, error) {
	m := clerkwire.List{More: &clerkwire.ListMore{From: []byte(from), To: []byte(to)}}
	for _, o := range options {
		o.applyList(&m)
	}
	switch {
	case max(len(from), len(to), len(m.After)) > api.MaxKeyBytes:
		return Page{}, invalid("an end of the range, or the key to begin after, has more than %d bytes, which no key has", api.MaxKeyBytes)
	case to != "" && to <= from:
		return Page{}, invalid("the range ends at %.40q, which does not stand behind its beginning, %.40q", to, from)
	}
	return c.list(ctx, m)
}

func (c *Clerk) list(ctx context.Context, m clerkwire.List) (Page, error) {
	w := c.newCall(clerkwire.KindList)
	defer c.free(w)
	if m.More != nil {
		w.needs = needsRanges
		if m.More.Pinned.Set {
			w.needs, m.Consistency, m.MinRevision = needsPast, clerkwire.Stale, 0 // any server will do
		}
	}
	if _, err := run(ctx, c, c.readRoute(m.Consistency), w, m); err != nil {
		return Page{}, asRead(err)
	}
	page := Page{More: w.listed.More, Revision: w.listed.Store, Count: int(w.listed.Count), Items: make([]Item, 0, len(w.listed.Items))}
	for _, i := range w.listed.Items {
		item := Item{Key: string(i.Key), Revision: i.Revision, Version: i.Version, Created: i.Created, Lease: i.Lease}
		if !m.KeysOnly {
			item.Value = i.Value
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}

// All yields the keys that begin with a prefix, page after page. Each page shows
// the store at one moment; the pages together do not. An error ends the sequence.
// Limit bounds the pages, not the whole.
func (c *Clerk) All(ctx context.Context, prefix string, options ...ListOption) iter.Seq2[Item, error] {
	return pages(options, func(options []ListOption) (Page, error) { return c.List(ctx, prefix, options...) })
}

// AllOf is All for the range of ListRange.
func (c *Clerk) AllOf(ctx context.Context, from, to string, options ...ListOption) iter.Seq2[Item, error] {
	return pages(options, func(options []ListOption) (Page, error) { return c.ListRange(ctx, from, to, options...) })
}

// pages yields the items of one page after the other.
func pages(options []ListOption, list func(options []ListOption) (Page, error)) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for options := options; ; {
			page, err := list(options)
			if err != nil {
				yield(Item{}, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if !page.More || len(page.Items) == 0 {
				return
			}
			options = append(options[:len(options):len(options)], After(page.Items[len(page.Items)-1].Key))
		}
	}
}

// Scan is All of one moment: every page shows the store as it was when the first one was
// read. The items say when they were created. It ends with ErrRevisionGone if the servers' history forgets that moment before
// the last page.
func (c *Clerk) Scan(ctx context.Context, prefix string, options ...ListOption) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		pinned := []ListOption{listOption(func(m *clerkwire.List) { more(m) })} // with what later pages have
		pages(options, func(options []ListOption) (Page, error) {
			page, err := c.List(ctx, prefix, append(options[:len(options):len(options)], pinned...)...)
			pinned = []ListOption{AtRevision(page.Revision)}
			return page, err
		})(yield)
	}
}

// readRoute returns the route of a read: to the leader, or to the servers in turn
// if any will do.
func (c *Clerk) readRoute(consistency clerkwire.Consistency) *route {
	if consistency == clerkwire.Linearizable {
		return &c.route
	}
	c.anyone.leader.Store(int32(c.turns.Add(1) % uint32(c.anyone.servers())))
	return &c.anyone
}

// asRead marks the error of a read: nothing was written.
func asRead(err *Error) *Error {
	err.Outcome = api.OutcomeNotApplied
	return err
}

// Holder is a lease that holds a lock.
type Holder struct {
	Lock  string // its name
	Token uint64
	Lease int64
	Value []byte // that it publishes
	Note  string // of the lease; "" in what a watch brings
}

// LockInfo is a lock as a read shows it.
type LockInfo struct {
	Name    string
	Limit   int      // of holders
	Holders []Holder // in the order of their tokens
	Waiting int      // how many leases wait for it
}

// ShowLock shows a lock. One that nobody holds or waits for has no holders.
func (c *Clerk) ShowLock(ctx context.Context, name string) (LockInfo, error) {
	if err := checkLockName(name); err != nil {
		return LockInfo{}, err
	}
	shown, err := c.readLocks(ctx, clerkwire.Locks{Lock: []byte(name)})
	var e *Error
	switch {
	case errors.As(err, &e) && e.Code == api.CodeLockNotFound:
		return LockInfo{Name: name}, nil
	case err == nil && len(shown.Locks) != 1:
		err = &Error{Outcome: api.OutcomeNotApplied, Detail: fmt.Sprintf("the server shows %d locks, and was asked about one", len(shown.Locks))}
	}
	if err != nil {
		return LockInfo{}, err
	}
	return lockInfoOf(&shown.Locks[0]), nil
}

// Locks yields the locks whose names begin with a prefix, in the order of their names, page
// after page. An error ends the sequence.
func (c *Clerk) Locks(ctx context.Context, prefix string) iter.Seq2[LockInfo, error] {
	return func(yield func(LockInfo, error) bool) {
		m := clerkwire.Locks{Prefix: []byte(prefix)}
		for {
			if len(prefix) > api.MaxLockNameBytes {
				yield(LockInfo{}, invalid("the prefix has %d bytes; no lock has a name of more than %d", len(prefix), api.MaxLockNameBytes))
				return
			}
			shown, err := c.readLocks(ctx, m)
			if err != nil {
				yield(LockInfo{}, err)
				return
			}
			for i := range shown.Locks {
				if !yield(lockInfoOf(&shown.Locks[i]), nil) {
					return
				}
			}
			if !shown.More || len(shown.Locks) == 0 {
				return
			}
			m.After = shown.Locks[len(shown.Locks)-1].Lock
		}
	}
}

func (c *Clerk) readLocks(ctx context.Context, m clerkwire.Locks) (clerkwire.LocksShown, error) {
	w := c.newCall(clerkwire.KindLocks)
	defer c.free(w)
	w.needs = needsLocks
	if _, err := run(ctx, c, &c.route, w, m); err != nil {
		return clerkwire.LocksShown{}, asRead(err)
	}
	return w.locks, nil
}

func lockInfoOf(l *clerkwire.LockShown) LockInfo {
	info := LockInfo{Name: string(l.Lock), Limit: int(l.Limit), Waiting: int(l.Waiting)}
	for i := range l.Holders {
		h := &l.Holders[i]
		info.Holders = append(info.Holders, Holder{Lock: info.Name, Token: h.Token, Lease: h.Lease, Value: h.Value, Note: h.Note})
	}
	return info
}
