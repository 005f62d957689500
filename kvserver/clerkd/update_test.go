package clerkd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"raftkv/client"
)

// Goal (T5, T7): Update does once what rests on what is there, though others change the
// same keys, and keys come into a range that it has read, and answers are lost. Method:
// six Clerks whose connections end after some answers add to one counter, and to a
// group that may have ten members.
func TestUpdatesRestOnWhatIsThere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		pipes := servePipes(t, s)
		const clerks, turns, most = 6, 12, 10
		limit, end := context.WithTimeout(t.Context(), time.Hour)
		defer end()
		var working sync.WaitGroup
		for i := range clerks {
			dialled := i
			c := leaseClerk(t, s, func(config *client.Config) {
				config.Dial = func(ctx context.Context, address string) (net.Conn, error) {
					conn, err := pipes.Dial(ctx, address)
					dialled++
					return &losing{conn, 6 + dialled%7}, err
				}
			})
			defer c.Close()
			working.Go(func() {
				for turn := range turns {
					if _, err := c.Update(limit, func(tx *client.Tx) error {
						item, err := tx.Get("counter")
						if err != nil && !errors.Is(err, client.ErrNotFound) {
							return err
						}
						n, _ := strconv.Atoi(string(item.Value)) // none counts as 0
						members, err := tx.List("members/")
						if err != nil {
							return err
						}
						if len(members) < most {
							tx.Put(fmt.Sprintf("members/%d-%d", i, turn), nil)
						}
						tx.Put("counter", strconv.AppendInt(nil, int64(n+1), 10))
						return nil
					}); err != nil {
						t.Errorf("Clerk %d: %v", i, err)
						return
					}
				}
			})
		}
		working.Wait()
		c := leaseClerk(t, s, nil)
		defer c.Close()
		if got := stored(s, "counter"); got != fmt.Sprint(clerks*turns) {
			t.Errorf("the counter stands at %s after %d updates", got, clerks*turns)
		}
		if p, err := c.List(t.Context(), "members/"); err != nil || len(p.Items) != most {
			t.Errorf("%d members, %v", len(p.Items), err)
		}

		// What change says ends it, and the end of ctx ends a call that never gets its turn.
		mine, calls := errors.New("mine"), 0
		if _, err := c.Update(t.Context(), func(tx *client.Tx) error { tx.Delete("counter"); return mine }); !errors.Is(err, mine) || stored(s, "counter") == "(none)" {
			t.Errorf("%v, %s", err, stored(s, "counter"))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := c.Update(ctx, func(tx *client.Tx) error {
			calls++
			if _, err := tx.Get("counter"); err != nil {
				return err
			}
			tx.Delete("counter")
			_, err := c.Append(t.Context(), "counter", []byte("0"))
			return err
		})
		if !errors.Is(err, client.ErrConflict) || !errors.Is(err, context.DeadlineExceeded) || calls < 10 || stored(s, "counter") == "(none)" {
			t.Errorf("%d calls: %v", calls, err)
		}
	})
}

// Goal: an update that rests on a key's absence is done again when somebody else has made the
// key meanwhile. Method: a put between the reads of an update and its end.
func TestUpdatesRestOnWhatIsNotThere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		c := leaseClerk(t, s, nil)
		defer c.Close()
		calls := 0
		_, err := c.Update(t.Context(), func(tx *client.Tx) error {
			_, err := tx.Get("k")
			if calls++; calls == 1 {
				if _, err := c.Put(t.Context(), "k", []byte("another's")); err != nil {
					t.Error(err)
				}
			}
			if errors.Is(err, client.ErrNotFound) {
				tx.Put("k", []byte("of the update"))
				return nil
			}
			return err
		})
		if err != nil || calls != 2 || stored(s, "k") != "another's" {
			t.Errorf("after %d calls and %v the value is %q", calls, err, stored(s, "k"))
		}
	})
}
