package peers

import (
	"context"
	"errors"
	"time"

	"raftkv/tests/bench/rod"
)

// coordinator is a store with watches, transactions, leases and locks.
type coordinator interface {
	rod.Side
	PIDs() []int // of its servers
	// connect makes a connection that asks the server of this number, counted around.
	connect(ctx context.Context, server int) (connection, error)
}

// connection is a client of a coordinator. All methods are safe for concurrent use.
type connection interface {
	// put sets a key, and ties it to a lease that is not 0.
	put(ctx context.Context, key string, value []byte, lease int64) (revision int64, err error)
	// putTwo sets two keys in one change if a third one exists, and fails if it does not.
	putTwo(ctx context.Context, third, a, b string, value []byte) error
	// watch calls each, in one goroutine, for what happens to the keys of a selection,
	// until ctx ends. It returns when the server has the watch.
	watch(ctx context.Context, of selection, each func(event)) error
	// grant makes a lease that nobody keeps alive, and renew gives leases their TTL again.
	grant(ctx context.Context, ttl time.Duration) (lease int64, err error)
	renew(ctx context.Context, leases []int64) error
	// session makes a lease that is kept alive.
	session(ctx context.Context, ttl time.Duration) (session, error)
	// waiting returns how many sessions wait for a lock.
	waiting(ctx context.Context, lock string) (int, error)
	close()
}

// session is a lease that is kept alive and may hold a lock. The methods are for one
// goroutine.
type session interface {
	// lost reports whether the client believes the lease lost.
	lost() bool
	// lock waits until the session holds a lock, and unlock gives that back.
	lock(ctx context.Context, name string) error
	unlock(ctx context.Context) error
	// end revokes the lease: errLeaseGone if the server has none.
	end(ctx context.Context) error
}

// selection is the keys that a watch follows, and from when on.
type selection struct {
	key    string
	prefix bool  // all keys that begin with key
	after  int64 // the watch begins behind this revision
}

// event is a change of a key.
type event struct {
	value []byte // nil if the key is gone
	gone  bool
	err   error // the watch has failed, and brings nothing more
}

// errLeaseGone says that a lease had ended before it was revoked.
var errLeaseGone = errors.New("the lease had ended before it was revoked")

// errNoThird says that the compare of putTwo did not hold.
var errNoThird = errors.New("the transaction's compare did not hold; the row must create the key first")

// connections share the load of a row.
type connections []connection

// connectAll makes connections that are spread over the servers. They end with close.
func connectAll(ctx context.Context, c coordinator, n int) (all connections, err error) {
	for i := range n {
		one, err := c.connect(ctx, i)
		if err != nil {
			all.close()
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (all connections) close() {
	for _, c := range all {
		c.close()
	}
}

// of returns the connection of a client.
func (all connections) of(client int) connection { return all[client%len(all)] }
