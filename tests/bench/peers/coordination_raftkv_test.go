package peers

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/tests/bench/rod"
)

// raftkvCoordinator is raftkv by its Go client. No setting of the servers differs from
// the default: a node has room for 131,072 watches of Clerks, 16,384 of them on one
// connection, a cluster for 131,072 leases and 1,024 waiters of a lock, and its history
// of 128 MiB for 340,000 changes of values of 256 bytes.
type raftkvCoordinator struct{ *rod.Raftkv }

func startRaftkvCoordinator(t *testing.T) (coordinator, error) {
	s, err := rod.StartRaftkv(t, rod.Ours, "")
	return raftkvCoordinator{s}, err
}

func (c raftkvCoordinator) connect(ctx context.Context, server int) (connection, error) {
	addresses := c.Addresses()
	clerk, err := client.Dial(ctx, client.Config{
		Endpoints: addresses[server%len(addresses) : server%len(addresses)+1],
		// One connection each, as the other side has. Writes, and what keeps leases alive,
		// go to the leader, over another connection if that is another node.
		FixedEndpoints: true,
	})
	if err != nil {
		return nil, err
	}
	return raftkvConnection{clerk}, nil
}

type raftkvConnection struct{ clerk *client.Clerk }

func (c raftkvConnection) close() { c.clerk.Close() }

func (c raftkvConnection) put(ctx context.Context, key string, value []byte, lease int64) (int64, error) {
	var options []client.WriteOption
	if lease != 0 {
		options = append(options, client.WithLeaseID(lease))
	}
	w, err := c.clerk.Put(ctx, key, value, options...)
	return int64(w.Revision), err
}

func (c raftkvConnection) putTwo(ctx context.Context, third, a, b string, value []byte) error {
	r, err := c.clerk.Txn(ctx).If(client.KeyExists(third)).Then(client.OpPut(a, value), client.OpPut(b, value)).Commit()
	if err == nil && !r.Succeeded {
		err = errNoThird
	}
	return err
}

func (c raftkvConnection) watch(ctx context.Context, of selection, each func(event)) error {
	keys := client.Key(of.key)
	if of.prefix {
		keys = client.Prefix(of.key)
	}
	w := c.clerk.NewWatcher(keys, client.AfterRevision(uint64(of.after)))
	inPlace, fail := context.WithCancelCause(ctx)
	go func() {
		for e, err := range w.Events(ctx) {
			if err != nil {
				if fail(err); ctx.Err() == nil {
					each(event{err: err})
				}
				return
			}
			for _, change := range e.Changes {
				each(event{value: change.Item.Value, gone: change.Op != client.ChangePut})
			}
		}
	}()
	// The answer to Sync says that the server has the watch. inPlace ends with ctx.
	if _, err := w.Sync(inPlace); err != nil {
		return fmt.Errorf("the watch is not in place: %w (%v)", err, context.Cause(inPlace))
	}
	return nil
}

func (c raftkvConnection) grant(ctx context.Context, ttl time.Duration) (int64, error) {
	return c.clerk.GrantUnkept(ctx, ttl)
}

func (c raftkvConnection) renew(ctx context.Context, leases []int64) error {
	const atOnce = 1024 // the most that a request may name
	for len(leases) > 0 {
		n := min(len(leases), atOnce)
		ttls, err := c.clerk.KeepAlive(ctx, leases[:n]...)
		if err != nil {
			return err
		}
		for i, ttl := range ttls {
			if ttl == 0 {
				return fmt.Errorf("lease %d has ended before it was renewed", leases[i])
			}
		}
		leases = leases[n:]
	}
	return nil
}

func (c raftkvConnection) session(ctx context.Context, ttl time.Duration) (session, error) {
	lease, err := c.clerk.Grant(ctx, ttl)
	if err != nil {
		return nil, err
	}
	return &raftkvSession{clerk: c.clerk, lease: lease}, nil
}

func (c raftkvConnection) waiting(ctx context.Context, lock string) (int, error) {
	info, err := c.clerk.ShowLock(ctx, lock)
	return info.Waiting, err
}

type raftkvSession struct {
	clerk *client.Clerk
	lease *client.Lease
	held  *client.Lock
}

func (s *raftkvSession) lost() bool { return s.lease.Context().Err() != nil }

func (s *raftkvSession) lock(ctx context.Context, name string) (err error) {
	s.held, err = s.lease.Lock(ctx, name)
	return err
}

func (s *raftkvSession) unlock(ctx context.Context) error { return s.held.Release(ctx) }

func (s *raftkvSession) end(ctx context.Context) error {
	s.lease.Abandon()
	err := s.clerk.Revoke(ctx, s.lease.ID()) // that of the lease hides that there is none
	if errors.Is(err, client.ErrLeaseLost) {
		return errLeaseGone
	}
	return err
}
