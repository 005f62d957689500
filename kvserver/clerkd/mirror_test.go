package clerkd

import (
	"context"
	"maps"
	"sync"
	"time"

	"raftkv/client"
	"raftkv/kvserver/internal/truth"
)

// worldMirror is a mirror of a world, which is compared with the truth.
type worldMirror struct {
	world  *watchWorld
	prefix string
	ready  chan struct{} // closed when it is made, or the world has ended

	mirror *client.Mirror
	last   *client.MirrorView // that was compared
}

// mirrors makes mirrors with some Clerks, while the world goes on.
func (w *watchWorld) mirrors(ctx context.Context, running *sync.WaitGroup, clerks ...*client.Clerk) (all []*worldMirror) {
	for i, clerk := range clerks {
		m := &worldMirror{world: w, prefix: []string{"", "a/"}[i%2], ready: make(chan struct{})}
		all = append(all, m)
		running.Go(func() {
			defer close(m.ready)
			var err error
			if m.mirror, err = client.NewMirror(ctx, clerk, m.prefix); err != nil && ctx.Err() == nil {
				w.t.Errorf("the mirror of %q: %v", m.prefix, err)
			}
		})
	}
	return all
}

// check compares what the mirror shows with the truth at its revision.
func (m *worldMirror) check() {
	select {
	case <-m.ready:
	default:
		return
	}
	if m.world.t.Failed() || m.mirror.View() == m.last {
		return
	}
	v, t := m.mirror.View(), m.world.t
	var want map[string]truth.Item
	m.world.Ask(func(model *truth.Model) { want = model.At(v.Revision(), truth.Prefix(m.prefix)) })
	got := map[string]truth.Item{}
	for item := range v.Range("", "") {
		got[item.Key] = *truthOf(&item)
	}
	if !maps.Equal(got, want) {
		t.Errorf("the mirror of %q is at %d\n %v\nand the truth\n %v", m.prefix, v.Revision(), got, want)
	}
	if m.last != nil && v.Revision() < m.last.Revision() {
		t.Errorf("the mirror of %q went back from %d to %d", m.prefix, m.last.Revision(), v.Revision())
	}
	m.last = v
}

// checkSync finds the mirror at the truth behind a Sync.
func (m *worldMirror) checkSync(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	select {
	case <-m.ready:
	case <-ctx.Done():
		m.world.t.Errorf("the mirror of %q is not made", m.prefix)
		return
	}
	if m.world.t.Failed() {
		return
	}
	if err := m.mirror.Sync(ctx); err != nil {
		m.world.t.Errorf("the mirror of %q: %v", m.prefix, err)
	}
	m.check()
	m.world.Ask(func(model *truth.Model) {
		if m.mirror.Revision() != model.Revision {
			m.world.t.Errorf("the mirror of %q is at %d, and %d was committed", m.prefix, m.mirror.Revision(), model.Revision)
		}
	})
}

// rereads returns how often the mirror has read the state anew.
func (m *worldMirror) rereads() uint64 {
	if m.mirror == nil {
		return 0
	}
	return m.mirror.Rereads()
}
