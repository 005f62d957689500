package peers

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"

	"raftkv/tests/cluster"
)

// etcdCoordinator is etcd by its own client and that client's package concurrency. The
// settings of the servers are those of startEtcd. History is compacted by nobody, which
// is etcd's default.
type etcdCoordinator struct{ *etcd }

func startEtcdCoordinator(t *testing.T) (coordinator, error) {
	s, err := startEtcd(t)
	return etcdCoordinator{s}, err
}

func (c etcdCoordinator) connect(_ context.Context, server int) (connection, error) {
	one, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{c.endpoints[server%len(c.endpoints)]}, // one connection, as the other side has
		DialTimeout: cluster.Patience, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, err
	}
	return etcdConnection{one}, nil
}

type etcdConnection struct{ client *clientv3.Client }

func (c etcdConnection) close() { c.client.Close() }

func (c etcdConnection) put(ctx context.Context, key string, value []byte, lease int64) (int64, error) {
	var options []clientv3.OpOption
	if lease != 0 {
		options = append(options, clientv3.WithLease(clientv3.LeaseID(lease)))
	}
	r, err := c.client.Put(ctx, key, string(value), options...)
	if err != nil {
		return 0, err
	}
	return r.Header.Revision, nil
}

func (c etcdConnection) putTwo(ctx context.Context, third, a, b string, value []byte) error {
	r, err := c.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(third), ">", 0)).
		Then(clientv3.OpPut(a, string(value)), clientv3.OpPut(b, string(value))).Commit()
	if err == nil && !r.Succeeded {
		err = errNoThird
	}
	return err
}

func (c etcdConnection) watch(ctx context.Context, of selection, each func(event)) error {
	options := []clientv3.OpOption{clientv3.WithRev(of.after + 1), clientv3.WithCreatedNotify()}
	if of.prefix {
		options = append(options, clientv3.WithPrefix())
	}
	responses := c.client.Watch(ctx, of.key, options...)
	created := make(chan error, 1)
	go func() {
		first := true
		for r := range responses {
			if first {
				created <- r.Err()
				first = false
			}
			if err := r.Err(); err != nil && ctx.Err() == nil {
				each(event{err: err})
			}
			for _, e := range r.Events {
				each(event{value: e.Kv.Value, gone: e.Type == clientv3.EventTypeDelete})
			}
		}
		if first {
			created <- errors.New("the watch has ended before it was in place")
		} else if ctx.Err() == nil {
			each(event{err: errors.New("the watch has ended by itself")})
		}
	}()
	return <-created
}

func (c etcdConnection) grant(ctx context.Context, ttl time.Duration) (int64, error) {
	r, err := c.client.Grant(ctx, int64(ttl/time.Second))
	if err != nil {
		return 0, err
	}
	return int64(r.ID), nil
}

func (c etcdConnection) renew(ctx context.Context, leases []int64) error {
	for _, lease := range leases { // the client has no call for several
		if _, err := c.client.KeepAliveOnce(ctx, clientv3.LeaseID(lease)); err != nil {
			return fmt.Errorf("renewing lease %d: %w", lease, err)
		}
	}
	return nil
}

func (c etcdConnection) session(ctx context.Context, ttl time.Duration) (session, error) {
	// The session's own context is that of the client, so that it outlives this call.
	s, err := concurrency.NewSession(c.client, concurrency.WithTTL(int(ttl/time.Second)))
	if err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	return &etcdSession{lease: s}, nil
}

func (c etcdConnection) waiting(ctx context.Context, lock string) (int, error) {
	r, err := c.client.Get(ctx, lock+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return max(int(r.Count)-1, 0), nil // a key of each that waits, and of the holder
}

type etcdSession struct {
	lease *concurrency.Session
	held  *concurrency.Mutex
}

func (s *etcdSession) lost() bool {
	select {
	case <-s.lease.Done():
		return true
	default:
		return false
	}
}

func (s *etcdSession) lock(ctx context.Context, name string) error {
	s.held = concurrency.NewMutex(s.lease, name)
	return s.held.Lock(ctx)
}

func (s *etcdSession) unlock(ctx context.Context) error { return s.held.Unlock(ctx) }

func (s *etcdSession) end(context.Context) error {
	err := s.lease.Close()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return errLeaseGone
	}
	return err
}
