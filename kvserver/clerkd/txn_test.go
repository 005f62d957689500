package clerkd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"raftkv/client"
	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/txn"
)

// Goal (T1, T3, T4, T5, T6, T7, T8, D1, D2): transactions and removals of ranges over the
// Clerk's protocol are what they are over HTTP. Method: a Clerk at a server, with every
// compare and operation that the client can make; reads take no entry of the log.
func TestTransactionsOfClerks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *settings) { c.Level = kv.LevelHistory })
		c, err := client.Dial(t.Context(), client.Config{Endpoints: []string{"kv:1"}, Dial: servePipes(t, s).Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx := t.Context()
		r, err := c.Txn(ctx).If(client.KeyAbsent("a")).
			Then(client.OpPut("a", []byte("1")), client.OpAppend("a", []byte("2")), client.OpPut("b", []byte("x")), client.OpGet("a")).
			Else(client.OpDelete("a")).Commit()
		if err != nil || !r.Succeeded || r.Revision != 2 || len(r.Results) != 4 || r.Results[1].Version != 2 || string(r.Results[3].Items[0].Value) != "12" || r.Results[3].Items[0].Created != 2 {
			t.Fatalf("%+v, %v", r, err)
		}
		for name, compare := range map[string]client.Compare{
			"revision": client.KeyRevision("a", 2), "version": client.KeyVersion("a", 2), "created": client.KeyCreated("a", 2), "value": client.KeyValue("a", []byte("12")),
			"exists": client.KeyExists("a"), "absent": client.KeyAbsent("none"), "unchanged": client.PrefixUnchanged("", 2, 2), "count": client.PrefixCount("a", 1),
			"not": client.KeyRevision("a", 3).Not(), "less": client.KeyVersion("a", 3).Less(), "greater": client.KeyValue("a", []byte("1")).Greater(),
		} {
			before := log.Attempts()
			r, err := c.Txn(ctx).If(compare).Else(client.OpGet("a")).Commit()
			if err != nil || !r.Succeeded || len(r.Results) != 0 || log.Attempts() != before {
				t.Errorf("%s: %+v, %v, %d entries", name, r, err, log.Attempts()-before)
			}
		}
		r, err = c.Txn(ctx).If(client.KeyExists("a"), client.KeyAbsent("b")).Else(
			client.OpPut("a", []byte("3")).WithPrev(),
			client.OpTxn([]client.Compare{client.KeyValue("a", []byte("12"))}, []client.Op{client.OpList("", 1)}, nil),
			client.OpDeletePrefix("b"),
		).Commit()
		if err != nil || r.Succeeded || r.Failed != 1 || r.Revision != 3 || string(r.Results[0].Prev[0].Value) != "12" || r.Results[2].Deleted != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		if nested := r.Results[1].Txn; !nested.Succeeded || !nested.Results[0].More || string(nested.Results[0].Items[0].Value) != "3" {
			t.Errorf("%+v", nested)
		}
		for i := range 5 {
			if _, err := c.Put(ctx, fmt.Sprint("k/", i), nil); err != nil {
				t.Fatal(err)
			}
		}
		var refused *client.Error
		if _, err := c.DeletePrefix(ctx, "k/", client.AtMost(4)); !errors.As(err, &refused) || refused.Code != api.CodeTooManyKeys || refused.Outcome != api.OutcomeNotApplied {
			t.Errorf("%v", err)
		}
		if d, err := c.DeletePrefix(ctx, "k/", client.AtMost(2), client.Partially()); err != nil || d.Deleted != 2 || !d.More || d.Revision != 9 {
			t.Errorf("%+v, %v", d, err)
		}
		for _, open := range []func(...client.RangeOption) (client.RangeRemoved, error){
			func(o ...client.RangeOption) (client.RangeRemoved, error) { return c.DeletePrefix(ctx, "", o...) },
			func(o ...client.RangeOption) (client.RangeRemoved, error) { return c.DeleteRange(ctx, "x", "", o...) },
		} { // a slip deletes nothing
			if _, err := open(); !errors.Is(err, client.ErrInvalid) || !strings.Contains(err.Error(), "say Everything") {
				t.Errorf("%v", err)
			}
			if _, err := open(client.Everything(), client.AtMost(0)); errors.Is(err, client.ErrInvalid) {
				t.Errorf("%v", err)
			}
		}
		for _, o := range []client.Op{client.OpDeletePrefix(""), client.OpDeleteRange("x", ""), client.OpTxn(nil, []client.Op{client.OpDeletePrefix("")}, nil)} {
			if _, err := c.Txn(ctx).Then(o).Commit(); !errors.Is(err, client.ErrInvalid) || !strings.Contains(err.Error(), "say Everything") {
				t.Errorf("%v", err)
			}
		}
		if d, err := c.DeleteRange(ctx, "k/", "k/4"); err != nil || d.Deleted != 2 || d.More || d.Revision != 10 {
			t.Errorf("%+v, %v", d, err)
		}
		if _, err := c.Txn(ctx).Then(client.OpPut("", nil)).Commit(); !errors.Is(err, client.ErrInvalid) {
			t.Errorf("an empty key: %v", err)
		}
		if _, err := c.Txn(ctx).If(client.KeyExists("a").Not()).Commit(); !errors.Is(err, client.ErrInvalid) {
			t.Errorf("a compare that cannot be: %v", err)
		}
		if _, err := c.Txn(ctx).Then(client.OpPut("a", []byte(strings.Repeat("x", 3<<20)))).Commit(); !errors.As(err, &refused) || refused.Code != api.CodeTxnTooLarge {
			t.Errorf("3 MiB: %v", err)
		}
	})
}

// Goal: below the level of the history a Clerk hears that it is not active yet, and
// nothing comes into the log. Method: a server at level 2.
func TestTransactionsOfClerksNeedALevel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, nil)
		c, err := client.Dial(t.Context(), client.Config{Endpoints: []string{"kv:1"}, Dial: servePipes(t, s).Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Put(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		before := log.Attempts()
		var refused *client.Error
		if _, err := c.Txn(t.Context()).Then(client.OpDelete("a")).Commit(); !errors.As(err, &refused) || refused.Code != api.CodeNotActive {
			t.Errorf("%v", err)
		}
		if _, err := c.Txn(t.Context()).Then(client.OpGet("a")).Commit(); !errors.As(err, &refused) || refused.Code != api.CodeNotActive {
			t.Errorf("%v", err)
		}
		if _, err := c.DeletePrefix(t.Context(), "a"); !errors.As(err, &refused) || refused.Code != api.CodeNotActive {
			t.Errorf("%v", err)
		}
		if n := log.Attempts() - before; n != 0 {
			t.Errorf("%d commands were proposed", n)
		}
	})
}

// losing is a connection that loses what comes on it after some answers.
type losing struct {
	net.Conn
	left int
}

func (l *losing) Read(p []byte) (int, error) {
	if l.left--; l.left < 0 {
		l.Conn.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return l.Conn.Read(p)
}

// Goal (T5): a transaction of a Clerk happens once though many of its answers are lost,
// and the attempt that is answered has the results of the first. Method: connections that
// end after a few answers; transactions that add to a key and read it.
func TestTransactionsHappenOnceThoughAnswersAreLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, func(c *settings) { c.Level = kv.LevelHistory })
		random, pipes, dialled := rand.New(rand.NewPCG(5, 18)), servePipes(t, s), 0
		c, err := client.Dial(t.Context(), client.Config{Endpoints: []string{"kv:1"}, Connections: 1, Dial: func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := pipes.Dial(ctx, address)
			dialled++
			return &losing{conn, 2 + random.IntN(5)}, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		want := ""
		for i := range 150 {
			want += fmt.Sprint(i, ";")
			r, err := c.Txn(t.Context()).Then(client.OpAppend("log", fmt.Append(nil, i, ";")), client.OpGet("log"), client.OpPut("last", fmt.Append(nil, i))).Commit()
			if err != nil || string(r.Results[1].Items[0].Value) != want || r.Results[2].Version != uint64(i+1) || r.Revision != uint64(i+2) {
				t.Fatalf("transaction %d: %+v, %v", i, r, err)
			}
		}
		if stored(s, "log") != want || dialled < 20 {
			t.Errorf("void: %d connections, %q", dialled, stored(s, "log"))
		}
	})
}

// Goal: the answers that wait for a Clerk which reads nothing take a bounded amount of
// memory, and come when it reads. Method: transactions that read 1 MiB each, with a write
// and without; the memory in use before and after.
func TestLargeAnswersWaitInTheStore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		f := follow(t, s)
		f.open()
		f.want(f.write(clerkwire.KindPut, "k", strings.Repeat("x", 1<<20)), clerkwire.KindPut.Answer(), new(clerkwire.Written))
		get := txn.Op{Kind: txn.Get, Span: txn.Span{From: "k"}}
		reads := &txn.Txn{Then: []txn.Op{get}}
		writes := &txn.Txn{Then: []txn.Op{{Kind: txn.Put, Span: txn.Span{From: "other"}}, get}}
		inUse := func() int64 {
			synctest.Wait()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		const each = 16
		before := inUse()
		wanted := map[uint32]bool{}
		for range each {
			wanted[askClerk(f.rawClerk, clerkwire.KindTxn, clerkwire.Txn{Body: reads.Body(2 << 20)})] = true
			f.seq++
			wanted[askClerk(f.rawClerk, clerkwire.KindTxn, clerkwire.Txn{Session: f.session, Seq: f.seq, Body: writes.Body(2 << 20)})] = true
		}
		if grown := inUse() - before; grown > 10<<20 {
			t.Errorf("%d answers of 1 MiB that nobody reads keep %d KiB", 2*each, grown>>10)
		}
		for range 2 * each {
			h, body := f.next()
			var done clerkwire.TxnDone
			if err := done.Parse(body); err != nil || h.Kind != clerkwire.KindTxn.Answer() || !wanted[h.Number] || len(done.Outcome) < 1<<20 {
				t.Fatalf("%+v: %v, %d bytes", h, err, len(done.Outcome))
			}
			delete(wanted, h.Number)
		}
		f.want(f.write(clerkwire.KindPut, "k", ""), clerkwire.KindPut.Answer(), new(clerkwire.Written))
	})
}

// Goal: in Go, a transaction compares ranges and reads, counts and removes them, and puts
// what keeps its value, as one in JSON does. Method: each builder once, with a compare that
// holds and one that does not.
func TestTransactionsOfClerksOnRanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		c := leaseClerk(t, s, nil)
		defer c.Close()
		ctx := t.Context()
		for _, key := range []string{"a/1", "a/2", "b/1", "c"} { // revisions 2 to 5
			if _, err := c.Put(ctx, key, []byte(key)); err != nil {
				t.Fatal(err)
			}
		}
		for name, compare := range map[string][2]client.Compare{ // one that holds, and one that does not
			"count":     {client.RangeCount("a/2", "c", 2), client.RangeCount("a/2", "", 2)},
			"unchanged": {client.RangeUnchanged("a/", "b", 2, 3), client.RangeUnchanged("a/", "b", 2, 2)},
			"prefix":    {client.KeyVersion("", 1).EachWith("a/"), client.KeyRevision("", 2).EachWith("a/")},
			"range":     {client.KeyRevision("", 5).Less().EachOf("", "c"), client.KeyRevision("", 5).Less().EachOf("", "")},
			"nothing":   {client.KeyVersion("", 0).EachWith("none"), client.KeyExists("").EachWith("none")},
		} {
			for i, want := range []bool{true, false} {
				if r, err := c.Txn(ctx).If(compare[i]).Commit(); err != nil || r.Succeeded != want {
					t.Errorf("%s: %v, %v, want %v", name, r.Succeeded, err, want)
				}
			}
		}
		r, err := c.Txn(ctx).Then(
			client.OpListRange("a/2", "c", 1).WithCount().WithoutValues(), client.OpList("", 0).CountOnly(),
			client.OpDeleteRange("a/2", "b/2"), client.OpPut("c", nil).KeepValue().WithPrev(), client.OpGet("c"),
		).Commit()
		if err != nil || len(r.Results) != 5 {
			t.Fatalf("%+v, %v", r, err)
		}
		list, count, gone, kept := r.Results[0], r.Results[1], r.Results[2], r.Results[4]
		if len(list.Items) != 1 || list.Items[0].Key != "a/2" || len(list.Items[0].Value) != 0 || !list.More || list.Count != 2 {
			t.Errorf("a list: %+v", list)
		}
		if count.Count != 4 || len(count.Items) != 0 || gone.Deleted != 2 {
			t.Errorf("a count of %d, %d are gone", count.Count, gone.Deleted)
		}
		if len(kept.Items) != 1 || string(kept.Items[0].Value) != "c" || kept.Items[0].Version != 2 {
			t.Errorf("the value that is kept: %+v", kept)
		}
	})
}
