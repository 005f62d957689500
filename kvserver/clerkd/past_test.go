package clerkd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"raftkv/client"
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
				all += fmt.Sprintf("%s=%s@%d.%d.%d ", i.Key, i.Value, i.Revision, i.Version, i.Created)
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
