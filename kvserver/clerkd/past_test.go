package clerkd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/kv"
)

// Goal: reads of the past by Clerk show the store at that revision, with what each key had
// (H1), need no confirmation (H2), and say when the history does not reach back (H3); a Scan
// shows one moment on all its pages, and says when that is gone (H4). Lists of ranges, and
// counts of all their keys, come by Clerk, too.
// Method: a server whose log confirms nothing while the past is asked for; then the history
// forgets.
func TestClerksReadThePast(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		c := leaseClerk(t, s, nil)
		defer c.Close()
		ctx := t.Context()
		for _, key := range []string{"a", "b", "c", "d"} { // revisions 2 to 5
			if _, err := c.Put(ctx, key, []byte(key)); err != nil {
				t.Fatal(err)
			}
		}
		shown := func(items []client.Item, err error) string {
			all := ""
			for _, i := range items {
				all += fmt.Sprintf("%s=%s@%d.%d.%d", i.Key, i.Value, i.Revision, i.Version, i.Created)
				if i.Lease != 0 {
					all += fmt.Sprint(" of ", i.Lease)
				}
				all += " "
			}
			if err != nil {
				all += err.Error()
			}
			return strings.TrimSpace(all)
		}
		scanned := func(options ...client.ListOption) (string, error) {
			var items []client.Item
			for item, err := range c.Scan(ctx, "", options...) {
				if err != nil {
					return shown(items, nil), err
				}
				if items = append(items, item); len(items) == 1 { // behind the first page
					for range 2 {
						if _, err := c.Put(ctx, "c", []byte("new")); err != nil {
							t.Fatal(err)
						}
					}
					if _, err := c.Delete(ctx, "d"); err != nil {
						t.Fatal(err)
					}
				}
			}
			return shown(items, nil), nil
		}
		if got, err := scanned(client.Limit(1)); got != "a=a@2.1.2 b=b@3.1.3 c=c@4.1.4 d=d@5.1.5" || err != nil {
			t.Errorf("scanned %s, %v", got, err)
		}
		page, err := c.ListRange(ctx, "b", "d", client.Count(), client.Limit(1))
		if got := shown(page.Items, err); got != "b=b@3.1.3" || page.Count != 2 || !page.More {
			t.Errorf("a range: %s, %+v", got, page)
		}
		if page, err := c.List(ctx, "", client.CountOnly()); err != nil || page.Count != 3 || len(page.Items) != 0 || page.More {
			t.Errorf("a count: %+v, %v", page, err)
		}
		log.Reading(func(context.Context) (uint64, error) { return 0, errors.New("nobody confirms anything") })
		for at, want := range []string{"", "", "a=a@2.1.2", "a=a@2.1.2 b=b@3.1.3", "a=a@2.1.2 b=b@3.1.3 c=c@4.1.4"} {
			pinned := client.AtRevision(uint64(at))
			page, err := c.List(ctx, "", pinned, client.Count())
			if got := shown(page.Items, err); got != want || page.Revision != uint64(at) || page.Count != len(page.Items) {
				t.Errorf("at %d: %s, %+v; want %s", at, got, page, want)
			}
			item, err := c.Get(ctx, "c", pinned)
			if there := at >= 4; there && (err != nil || shown([]client.Item{item}, nil) != "c=c@4.1.4") || !there && !errors.Is(err, client.ErrNotFound) {
				t.Errorf("c at %d: %+v, %v", at, item, err)
			}
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		if _, err := c.Get(short, "c", client.AtRevision(99)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a revision that is to come: %v", err)
		}
		cancel()
		log.Reading(nil)
		if _, err := s.Machine().Propose(ctx, kv.Forget(5)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(ctx, "c", client.AtRevision(3)); !errors.Is(err, client.ErrRevisionGone) {
			t.Errorf("a revision that is gone: %v", err)
		}
		if _, err := c.List(ctx, "", client.AtRevision(3)); !errors.Is(err, client.ErrRevisionGone) || !strings.Contains(err.Error(), "from revision 4 to 8") {
			t.Errorf("a list of one: %v", err)
		}
		last := error(nil)
		for _, err := range c.Scan(ctx, "", client.Limit(1)) {
			if last = err; err == nil {
				if _, err := c.Put(ctx, "c", []byte("newer")); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Machine().Propose(ctx, kv.Forget(s.Machine().Revision())); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Put(ctx, "c", []byte("newest")); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Machine().Propose(ctx, kv.Forget(s.Machine().Revision())); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !errors.Is(last, client.ErrRevisionGone) {
			t.Errorf("a scan whose moment has gone ends with %v", last)
		}
		if _, err := c.ListRange(ctx, "b", "b"); !errors.Is(err, client.ErrInvalid) {
			t.Errorf("a range without keys: %v", err)
		}
	})
}

// Goal: a read by Clerk says when the key was created and to which lease it is tied, of now
// and of the past, of one key, of a page and in a transaction; to a Clerk of protocol 1, and
// where the cluster has no history, it says neither.
// Method: a key of a lease, which then becomes one without; each kind of read; frames of
// protocol 1; a server of level 2.
func TestReadsOfClerksNameTheLease(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		network := servePipes(t, s)
		c, err := client.Dial(t.Context(), client.Config{Endpoints: []string{"kv:1"}, Dial: network.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx := t.Context()
		id, err := c.GrantUnkept(ctx, time.Minute, client.LeaseID(-7))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(ctx, "a", []byte("1"), client.WithLeaseID(id)); err != nil { // revision 2
			t.Fatal(err)
		}
		check := func(what string, want int64, options ...client.ReadOption) {
			t.Helper()
			item, err := c.Get(ctx, "a", options...)
			if err != nil || item.Lease != want || item.Created != 2 {
				t.Errorf("%s: %+v, %v", what, item, err)
			}
		}
		listed := func(what string, want int64, options ...client.ListOption) {
			t.Helper()
			page, err := c.List(ctx, "", options...)
			if err != nil || len(page.Items) != 1 || page.Items[0].Lease != want || page.Items[0].Created != 2 {
				t.Errorf("%s: %+v, %v", what, page, err)
			}
		}
		check("now", -7)
		check("of this server's own copy", -7, client.Stale())
		listed("a page", -7)
		listed("a page with a count", -7, client.Count())
		r, err := c.Txn(ctx).Then(client.OpGet("a"), client.OpPut("a", []byte("2")).WithPrev()).Commit() // revision 3
		if err != nil || r.Results[0].Items[0].Lease != -7 || r.Results[1].Prev[0].Lease != -7 {
			t.Errorf("a transaction: %+v, %v", r, err)
		}
		check("without", 0)
		listed("a page without", 0)
		check("the past", -7, client.AtRevision(2))
		listed("a page of the past", -7, client.AtRevision(2))

		conn := network.Open(t, "GET /v1/clerk HTTP/1.1\r\nHost: kv\r\nConnection: Upgrade\r\nUpgrade: "+clerkwire.Protocol+"\r\n\r\n")
		early := bufio.NewReader(conn)
		if response, err := http.ReadResponse(early, &http.Request{Method: "GET"}); err != nil || response.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("the upgrade: %v, %v", response, err)
		}
		old := &rawClerk{t: t, conn: conn, frames: clerkwire.NewFrameReader(conn, early, clerkwire.Answers)}
		var got clerkwire.Got
		old.want(askClerk(old, clerkwire.KindGet, clerkwire.Get{Key: []byte("a")}), clerkwire.KindGot, &got)
		var page clerkwire.Listed
		old.want(askClerk(old, clerkwire.KindList, clerkwire.List{}), clerkwire.KindListed, &page)
		if !got.Found || got.Created != 0 || len(page.Items) != 1 || page.Items[0].Created != 0 {
			t.Errorf("to a Clerk of protocol 1: %+v, %+v", got, page)
		}
	})
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, nil)
		c := leaseClerk(t, s, nil)
		defer c.Close()
		_, err := c.Put(t.Context(), "a", []byte("1"))
		item, got := c.Get(t.Context(), "a")
		page, listed := c.List(t.Context(), "")
		if err := errors.Join(err, got, listed); err != nil || item.Created != 0 || len(page.Items) != 1 || page.Items[0].Created != 0 {
			t.Errorf("at level 2: %+v, %+v, %v", item, page, err)
		}
	})
}
