package client

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// Goal: the calls do what they say. Method: one after the other.
func TestCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n2")
		c := f.dial(nil)
		defer f.end(c)
		ctx := t.Context()
		if w, err := c.Put(ctx, "a", []byte("x")); err != nil || w != (Written{Revision: 1, Version: 1, Length: 1, Created: true}) {
			t.Errorf("put: %+v, %v", w, err)
		}
		if w, err := c.Append(ctx, "a", []byte("yz")); err != nil || w != (Written{Revision: 2, Version: 2, Length: 3}) {
			t.Errorf("append: %+v, %v", w, err)
		}
		if i, err := c.Get(ctx, "a"); err != nil || string(i.Value) != "xyz" || i.Revision != 2 || i.Version != 2 || i.Key != "a" {
			t.Errorf("get: %+v, %v", i, err)
		}
		if _, err := c.Get(ctx, "b"); true {
			wantError(t, err, api.OutcomeNotApplied, ErrNotFound)
		}
		for _, k := range []string{"b", "c", "d", "e"} {
			if _, err := c.Put(ctx, k, nil); err != nil {
				t.Error(err)
			}
		}
		if p, err := c.List(ctx, "", After("a"), Limit(2)); err != nil || len(p.Items) != 2 || p.Items[0].Key != "b" || !p.More {
			t.Errorf("list: %+v, %v", p, err)
		}
		all := ""
		for i, err := range c.All(ctx, "", KeysOnly()) {
			if err != nil || i.Value != nil {
				t.Errorf("%+v, %v", i, err)
			}
			all += i.Key
		}
		if all != "abcde" {
			t.Errorf("all keys: %q", all)
		}
		if r, err := c.Delete(ctx, "a"); err != nil || r != (Removed{Found: true, Revision: 7}) {
			t.Errorf("delete: %+v, %v", r, err)
		}
		if r, err := c.Delete(ctx, "a"); err != nil || r.Found {
			t.Errorf("second delete: %+v, %v", r, err)
		}
		if n := len(f.requests(clerkwire.KindOpen)); n > 3 {
			t.Errorf("the session was asked for %d times", n)
		}
	})
}

// Goal: options travel as they are meant, and those that cannot be are refused
// before anything is sent.
func TestOptions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(nil)
		defer f.end(c)
		ctx := t.Context()
		for _, o := range []WriteOption{IfRevision(7), IfPresent(), IfAbsent()} {
			if _, err := c.Put(ctx, "k", nil, o); err != nil {
				wantError(t, err, api.OutcomeNotApplied, ErrConflict)
			}
		}
		for i, want := range []clerkwire.Write{{Condition: clerkwire.IfRevision, Number: 7}, {Condition: clerkwire.IfPresent}, {Condition: clerkwire.IfAbsent}} {
			if got := f.requests(clerkwire.KindPut)[i].write; got.Condition != want.Condition || got.Number != want.Number {
				t.Errorf("condition %d: %+v", i, got)
			}
		}
		if _, err := c.Get(ctx, "k", Stale(), MinRevision(2)); err != nil {
			t.Error(err)
		}
		if g := f.requests(clerkwire.KindGet)[0].get; g.Consistency != clerkwire.Stale || g.MinRevision != 2 {
			t.Errorf("get: %+v", g)
		}
		if _, err := c.List(ctx, "p", Stale(), MinRevision(3), Limit(4), KeysOnly(), After("q")); err != nil {
			t.Error(err)
		}
		l := f.requests(clerkwire.KindList)[0].list
		if l.Consistency != clerkwire.Stale || l.MinRevision != 3 || l.Limit != 4 || !l.KeysOnly || string(l.After) != "q" || string(l.Prefix) != "p" {
			t.Errorf("list: %+v", l)
		}
		sent := len(f.asked)
		long := string(make([]byte, api.MaxKeyBytes+1))
		for name, call := range map[string]func() error{
			"no key":         func() error { _, err := c.Put(ctx, "", nil); return err },
			"a long key":     func() error { _, err := c.Get(ctx, long); return err },
			"a long prefix":  func() error { _, err := c.List(ctx, long); return err },
			"two conditions": func() error { _, err := c.Delete(ctx, "k", IfAbsent(), IfPresent()); return err },
			"revision 0":     func() error { _, err := c.Append(ctx, "k", nil, IfRevision(0)); return err },
		} {
			if err := call(); err == nil {
				t.Errorf("%s is let through", name)
			} else {
				wantError(t, err, api.OutcomeNotApplied, ErrInvalid)
			}
		}
		_, err := c.Put(ctx, "k", make([]byte, api.MaxValueBytes+1))
		wantError(t, err, api.OutcomeNotApplied, ErrTooLarge)
		if len(f.asked) != sent {
			t.Error("something was sent")
		}
	})
}

// Goal: stale reads are spread over the servers, and others go to the leader.
func TestStaleReadsAreSpread(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n3")
		f.store["k"] = Item{Value: []byte("v")}
		c := f.dial(nil)
		defer f.end(c)
		for range 9 {
			if _, err := c.Get(t.Context(), "k", Stale()); err != nil {
				t.Error(err)
			}
			if _, err := c.Get(t.Context(), "k"); err != nil {
				t.Error(err)
			}
		}
		stale := map[string]int{}
		for _, a := range f.requests(clerkwire.KindGet) {
			if a.get.Consistency == clerkwire.Stale {
				stale[a.server]++
			} else if a.server != "n3" && a.at.After(f.asked[2].at) {
				t.Errorf("%s was asked for the leader's answer", a.server)
			}
		}
		if len(stale) != 3 || stale["n1"] != 3 {
			t.Errorf("stale reads went to %v", stale)
		}
	})
}

// Goal: each write in flight has a lane of its own; lanes are used again; what
// finds none waits. Method: servers that hold writes until told.
func TestLanes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		release, again := make(chan struct{}), make(chan struct{})
		f.before = func(c *fakeConn, a asked) bool {
			gate := map[clerkwire.Kind]chan struct{}{clerkwire.KindAppend: release, clerkwire.KindDelete: again}[a.kind]
			if gate == nil {
				return false
			}
			f.served.Go(func() { <-gate; c.answer(a) })
			return true
		}
		c := f.dial(func(config *Config) { config.MaxWrites = 5; config.AttemptTimeout = time.Hour })
		defer f.end(c)
		var calls sync.WaitGroup
		for i := range 12 {
			calls.Go(func() {
				if _, err := c.Append(t.Context(), fmt.Sprint(i), []byte("x")); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if n := len(f.requests(clerkwire.KindAppend)); n != 5 {
			t.Errorf("%d writes are in flight, where 5 may be", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Append(ctx, "late", nil)
		wantError(t, err, api.OutcomeNotApplied, context.DeadlineExceeded)
		close(release)
		calls.Wait()
		seqs := map[uint64][]uint64{}
		for _, a := range f.requests(clerkwire.KindAppend) {
			seqs[a.write.Lane] = append(seqs[a.write.Lane], a.write.Seq)
		}
		n := 0
		for lane, in := range seqs {
			for i, seq := range in {
				if n++; i > 0 && seq != in[i-1]+1 {
					t.Errorf("the calls of lane %d are numbered %v", lane, in)
				}
			}
		}
		if len(seqs) != 5 || n != 12 {
			t.Errorf("%d calls in %d lanes", n, len(seqs))
		}
		for range 5 { // all lanes are free, and five are taken at once
			calls.Go(func() {
				if _, err := c.Delete(t.Context(), "k"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		second := map[uint64]bool{}
		for _, a := range f.requests(clerkwire.KindDelete) {
			second[a.write.Lane] = true
		}
		if len(second) != 5 {
			t.Errorf("5 writes in flight use the lanes %v", second)
		}
		close(again)
		calls.Wait()
		for range 20 { // one at a time needs one lane
			if _, err := c.Put(t.Context(), "k", nil); err != nil {
				t.Error(err)
			}
		}
		for _, a := range f.requests(clerkwire.KindPut) {
			if a.write.Lane != f.requests(clerkwire.KindPut)[0].write.Lane {
				t.Error("calls one after the other use several lanes")
			}
		}
	})
}

// Goal: many goroutines at once get their own answers, and share connections.
func TestManyGoroutines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFakeCluster(t, "n1")
		c := f.dial(func(config *Config) { config.Connections = 2 })
		defer f.end(c)
		var calls sync.WaitGroup
		for i := range 100 {
			calls.Go(func() {
				key := fmt.Sprint(i)
				for n := range 20 {
					if _, err := c.Append(t.Context(), key, []byte{byte('a' + n)}); err != nil {
						t.Error(err)
					}
				}
				if item, err := c.Get(t.Context(), key); err != nil || string(item.Value) != "abcdefghijklmnopqrst" {
					t.Errorf("%s: %q, %v", key, item.Value, err)
				}
			})
		}
		calls.Wait()
		if f.dials["n1"] > 2 {
			t.Errorf("%d connections to one server", f.dials["n1"])
		}
	})
}
