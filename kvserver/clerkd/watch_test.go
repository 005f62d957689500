package clerkd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/internal/fakelog"
	"raftkv/kvserver/internal/pipenet"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/watch"
)

// atLevel3 makes the cluster of a test work at the level of the history.
func atLevel3(c *settings) { c.Level = kv.LevelHistory }

// follower is the client's end of a connection with watches, frame by frame.
type follower struct {
	*rawClerk
	contents map[uint32][]byte // of each watch, that have not come to their end
}

// follow opens a connection of protocol 2 over a network in memory.
func follow(t *testing.T, s *testServer) *follower {
	t.Helper()
	return followOn(t, servePipes(t, s), "")
}

func followOn(t *testing.T, network *pipenet.Net, header string) *follower {
	t.Helper()
	conn := network.Open(t, "GET /v1/clerk HTTP/1.1\r\nHost: kv\r\nConnection: Upgrade\r\nUpgrade: "+clerkwire.Protocol2+"\r\n"+header+"\r\n")
	t.Cleanup(func() { conn.Close() })
	early := bufio.NewReader(conn)
	response, err := http.ReadResponse(early, &http.Request{Method: "GET"})
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("Upgrade") != clerkwire.Protocol2 {
		t.Fatalf("the upgrade was answered %+v, %v", response, err)
	}
	return &follower{&rawClerk{t: t, conn: conn, frames: clerkwire.NewFrameReader(conn, early, clerkwire.Answers2)}, map[uint32][]byte{}}
}

// prefixed is a watch of a prefix, with bookmarks as seldom as may be.
func prefixed(prefix string) clerkwire.Watch {
	return clerkwire.Watch{Prefixes: [][]byte{[]byte(prefix)}, ProgressMs: 60_000}
}

// begin asks for a watch and takes the answer that it is in place.
func (f *follower) begin(m clerkwire.Watch) (number uint32, w clerkwire.Watching) {
	f.t.Helper()
	number = askClerk(f.rawClerk, clerkwire.KindWatch, m)
	f.want(number, clerkwire.KindWatching, &w)
	return number, w
}

// said returns the next frame, in words, and its number. What a watch brings is said note
// by note.
func (f *follower) said() (number uint32, says string) {
	f.t.Helper()
	for {
		h, body := f.next()
		switch h.Kind {
		case clerkwire.KindChanges:
			var m clerkwire.Changes
			if err := m.Parse(body); err != nil {
				f.t.Fatal(err)
			}
			f.contents[h.Number] = append(f.contents[h.Number], m.Content...)
			if m.More {
				continue
			}
			content := f.contents[h.Number]
			delete(f.contents, h.Number)
			return h.Number, wordsOf(f.t, content)
		case clerkwire.KindEnded:
			var m clerkwire.Ended
			if err := m.Parse(body); err != nil {
				f.t.Fatal(err)
			}
			return h.Number, fmt.Sprintf("ended %s", m.Why.Code)
		case clerkwire.KindSynced:
			var m clerkwire.Synced
			if err := m.Parse(body); err != nil {
				f.t.Fatal(err)
			}
			return h.Number, fmt.Sprintf("synced %d", m.Revision)
		case clerkwire.KindGoodbye:
			return h.Number, "goodbye"
		}
		return h.Number, fmt.Sprintf("kind %#x", h.Kind)
	}
}

func wordsOf(t *testing.T, content []byte) string {
	t.Helper()
	if len(content) == 0 {
		return "alive"
	}
	var all []string
	notes, n := clerkwire.NewNotes(content), clerkwire.Note{}
	state := func(s clerkwire.State) string {
		return fmt.Sprintf("%.8q v%d c%d", s.Value, s.Version, s.Created)
	}
	for notes.Next(&n) {
		switch n.Kind {
		case clerkwire.NoteItem:
			all = append(all, fmt.Sprintf("item %s %s r%d", n.Key, state(n.State), n.State.Revision))
		case clerkwire.NoteState:
			all = append(all, fmt.Sprintf("state %d of %d", n.Revision, n.Items))
		case clerkwire.NoteProgress:
			all = append(all, fmt.Sprintf("progress %d", n.Revision))
		case clerkwire.NoteReset:
			all = append(all, fmt.Sprintf("reset %d", n.Revision))
		case clerkwire.NoteChange:
			for _, e := range n.Events {
				text := fmt.Sprintf("%d %s %s", n.Revision, e.Op, e.Key)
				if e.After.Version != 0 {
					text += " " + state(e.After)
				}
				if e.HadPrev {
					text += " before " + state(e.Prev)
				}
				all = append(all, text)
			}
		}
	}
	if err := notes.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "; ")
}

// expect takes the next frames, each of a watch or request and what it says.
func (f *follower) expect(want ...any) {
	f.t.Helper()
	for i := 0; i < len(want); i += 2 {
		if number, says := f.said(); number != want[i].(uint32) || says != want[i+1] {
			f.t.Fatalf("to %d came %q, want to %d %q", number, says, want[i], want[i+1])
		}
	}
}

// Goal: a watch of a Clerk brings what one of HTTP does: changes behind a revision, what
// was before them, keys alone, bookmarks, and nothing behind its end; a second one on the
// same connection has its own place. Method: two watches; puts, a delete, a value of no
// bytes.
func TestAWatchOfAClerkBringsWhatChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		for _, k := range []string{"a/1", "b", "a/1"} {
			log.Deliver(fakelog.PutCommand(k, "x"+k))
		}
		synctest.Wait()
		f := follow(t, s)
		m := prefixed("a/")
		m.Resume, m.Prev = true, true
		a, in := f.begin(m)
		if in != (clerkwire.Watching{Revision: 4, Oldest: 1}) {
			t.Errorf("it is in place as %+v", in)
		}
		f.expect(a, `2 put a/1 "xa/1" v1 c2; 4 put a/1 "xa/1" v2 c2 before "xa/1" v1 c2`, a, "progress 4")
		b, in := f.begin(clerkwire.Watch{Keys: [][]byte{[]byte("b")}, KeysOnly: true, ProgressMs: 60_000})
		if in != (clerkwire.Watching{After: 4, Revision: 4, Oldest: 1}) {
			t.Errorf("it is in place as %+v", in)
		}
		f.expect(b, "progress 4")
		log.Deliver(kv.EncodeCommand(kv.Command{Op: kv.OpDelete, Key: []byte("a/1")}))
		f.expect(a, `5 delete a/1 before "xa/1" v2 c2`)
		log.Deliver(fakelog.PutCommand("b", "secret"))
		f.expect(b, `6 put b "" v2 c3`)
		number := askClerk(f.rawClerk, clerkwire.KindUnwatch, clerkwire.Empty{})
		_ = number // of no watch: nothing comes of it
		f.number = a - 1
		askClerk(f.rawClerk, clerkwire.KindUnwatch, clerkwire.Empty{})
		f.number = number
		f.expect(a, "ended ")
		log.Deliver(fakelog.PutCommand("a/2", ""))
		log.Deliver(fakelog.PutCommand("b", ""))
		f.expect(b, `8 put b "" v3 c3`)
		if n := s.WatchCounts(); n.Streams != 1 || n.Cursors != 1 {
			t.Errorf("there are %+v", n)
		}
	})
}

// Goal: with the state first a watch brings the state, then changes; a history that does
// not reach its place is said, with how far it reaches, or the state comes again. Method:
// a history that is cut.
func TestAWatchOfAClerkWithTheState(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		for _, k := range []string{"a", "b"} {
			log.Deliver(fakelog.PutCommand(k, "1"))
		}
		synctest.Wait()
		f := follow(t, s)
		m := prefixed("")
		m.Mirror = true
		a, in := f.begin(m)
		if !in.StateFirst || in.Revision != 3 {
			t.Errorf("it is in place as %+v", in)
		}
		f.expect(a, `item a "1" v1 c2 r2; item b "1" v1 c3 r3; state 3 of 2`, a, "progress 3")
		log.Deliver(kv.EncodeCommand(kv.Forget(3)))
		synctest.Wait()
		m.Resume, m.After = true, 1
		b, _ := f.begin(m)
		f.expect(b, "reset 3", b, `item a "1" v1 c2 r2; item b "1" v1 c3 r3; state 3 of 2`, b, "progress 3")
		m.Mirror = false
		number := askClerk(f.rawClerk, clerkwire.KindWatch, m)
		var ended clerkwire.Ended
		f.want(number, clerkwire.KindEnded, &ended)
		if ended.Oldest != 3 || ended.Why.Revision != 3 || ended.Why.Code != api.CodeRevisionGone {
			t.Errorf("it is told %+v", ended)
		}
	})
}

// Goal: what cannot be watched is refused with the code that says why. Method: each
// refusal.
func TestWatchesOfClerksAreRefusedForAReason(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		low, _ := newServer(t, nil)
		f := follow(t, low)
		f.wantRefused(askClerk(f.rawClerk, clerkwire.KindWatch, prefixed("")), api.CodeNotActive, api.OutcomeNotApplied)
		s, _ := newServer(t, atLevel3)
		f = follow(t, s)
		f.wantRefused(askClerk(f.rawClerk, clerkwire.KindWatch, clerkwire.Watch{}), api.CodeBadRequest, api.OutcomeNotApplied)
		m := prefixed("")
		m.Resume, m.After = true, 9
		f.wantRefused(askClerk(f.rawClerk, clerkwire.KindWatch, m), api.CodeRevisionAhead, "")
		m = prefixed("")
		m.Cluster = "another"
		f.wantRefused(askClerk(f.rawClerk, clerkwire.KindWatch, m), api.CodeOtherCluster, "")
		a, _ := f.begin(prefixed("a"))
		f.expect(a, "progress 1")
		f.number = a - 1
		f.wantRefused(askClerk(f.rawClerk, clerkwire.KindWatch, prefixed("b")), api.CodeBadRequest, api.OutcomeNotApplied)
		f.wantRefused(askClerk(f.rawClerk, clerkwire.KindSync, clerkwire.Sync{Watch: 99}), api.CodeStopping, api.OutcomeNotApplied)
	})
}

// Goal: a change comes whole, however large it is, in pieces that answers to requests come
// between. Method: a value of 3 MiB, its former value with it, and a read meanwhile.
func TestALargeChangeComesInPieces(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, func(c *settings) { atLevel3(c); c.MaxValueBytes = 4 << 20 })
		f := follow(t, s)
		m := prefixed("")
		m.Prev = true
		a, _ := f.begin(m)
		f.expect(a, "progress 1")
		large := string(bytes.Repeat([]byte("x"), 3<<20))
		log.Deliver(fakelog.PutCommand("k", large))
		var m1 clerkwire.Changes
		var content []byte
		pieces := 0
		for m1.More = true; m1.More; pieces++ {
			f.want(a, clerkwire.KindChanges, &m1)
			content = append(content, m1.Content...)
		}
		if pieces != 13 || wordsOf(t, content) != `2 put k "xxxxxxxx" v1 c2` {
			t.Errorf("in %d pieces came %.80s", pieces, wordsOf(t, content))
		}
	})
}

// Goal (W13): what a connection keeps while its client takes nothing does not grow with the
// size of a change. Method: connections that are never read, with a watch each; then one
// change of 6 MiB, with the former value; the memory in use before and after.
func TestALargeChangeIsNotKeptForEachConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		const connections = 8
		value := strings.Repeat("x", 3<<20)
		log.Deliver(fakelog.PutCommand("k", value))
		for range connections {
			f := follow(t, s)
			m := prefixed("")
			m.Prev = true
			a, _ := f.begin(m)
			f.expect(a, "progress 2")
		}
		synctest.Wait()
		inUse := func() int64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := inUse()
		log.Deliver(fakelog.PutCommand("k", value))
		synctest.Wait()
		if grown, most := inUse()-before, int64(3*len(value)+connections*3<<19); grown > most {
			t.Errorf("%d connections that nobody reads keep %d KiB, want at most %d KiB", connections, grown>>10, most>>10)
		}
	})
}

// Goal (W12, W13): a watch whose client returns no credit is sent no more than the credit
// and one change, holds up neither the others on its connection nor the answers to
// requests, and ends when it has taken nothing for a minute. With credit it goes on where
// it was. Method: one watch that takes nothing and one that does; writes of far more than
// the credit; reads meanwhile.
func TestASlowWatchHoldsUpOnlyItself(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		f := follow(t, s)
		a, _ := f.begin(prefixed(""))
		f.expect(a, "progress 1")
		b, _ := f.begin(prefixed("quick"))
		f.expect(b, "progress 1")
		value := strings.Repeat("x", 16<<10)
		sent, last := 0, uint64(0)
		for i := range 40 {
			log.Deliver(fakelog.PutCommand("slow", value))
			log.Deliver(fakelog.PutCommand("quick", fmt.Sprint(i)))
			for heard := false; !heard; {
				h, body := f.next()
				var m clerkwire.Changes
				if err := m.Parse(body); err != nil || h.Kind != clerkwire.KindChanges {
					t.Fatalf("%+v, %v", h, err)
				}
				n, notes := clerkwire.Note{}, clerkwire.NewNotes(m.Content)
				for notes.Next(&n) {
					if h.Number == a {
						last = n.Revision
					}
				}
				if h.Number == a {
					sent += len(m.Content)
				}
				heard = h.Number == b
			}
		}
		if f.get("quick") != "39" {
			t.Error("a read is not answered")
		}
		if most := clerkwire.FirstCredit + 2*len(value); sent < clerkwire.FirstCredit || sent > most {
			t.Errorf("without credit it was sent %d bytes, at most %d may be", sent, most)
		}
		f.number = a - 1
		askClerk(f.rawClerk, clerkwire.KindCredit, clerkwire.Credit{Bytes: uint64(sent)})
		number, says := f.said()
		if want := fmt.Sprintf("%d put ", last+1); number != a || !strings.HasPrefix(says, want) {
			t.Errorf("with credit it goes on with %.80q, want %q", says, want)
		}
		begun := time.Now()
		for {
			number, says := f.said()
			if number == a && strings.HasPrefix(says, "ended") {
				if took := time.Since(begun); says != "ended slow_watcher" || took < 59*time.Second || took > 61*time.Second {
					t.Errorf("after %v it was told %q", took, says)
				}
				return
			}
			if time.Since(begun) > 10*time.Minute {
				t.Fatalf("a watch without credit has not ended; it is told %q", says)
			}
		}
	})
}

// Goal: a bookmark that is asked for comes at once, behind everything that was answered
// before, also where a confirmation was under way already. Method: sync while the read
// index of an earlier question is held back; a write between the two.
func TestSyncBringsABookmarkNow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		f := follow(t, s)
		a, _ := f.begin(prefixed(""))
		f.expect(a, "progress 1")
		begun := time.Now()
		first := askClerk(f.rawClerk, clerkwire.KindSync, clerkwire.Sync{Watch: a})
		f.expect(a, "progress 1", first, "synced 1")
		held := make(chan uint64, 2)
		log.Reading(func(context.Context) (uint64, error) { return <-held, nil })
		second := askClerk(f.rawClerk, clerkwire.KindSync, clerkwire.Sync{Watch: a})
		synctest.Wait()
		log.Deliver(fakelog.PutCommand("k", "v"))
		f.expect(a, `2 put k "v" v1 c2`)
		third := askClerk(f.rawClerk, clerkwire.KindSync, clerkwire.Sync{Watch: a})
		synctest.Wait()
		held <- 0 // the question of the second, which began before the third was asked
		f.expect(a, "progress 2", second, "synced 2")
		synctest.Wait()
		held <- 1
		f.expect(a, "progress 2", third, "synced 2")
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v", took)
		}
		log.Reading(nil)
	})
}

// Goal (W11): something comes at least every 15 s on a connection with watches, and a
// watch of a node that can confirm nothing ends. Method: virtual time; the majority goes.
func TestWatchesOfClerksAreNeverSilent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		f := follow(t, s)
		a, _ := f.begin(prefixed(""))
		f.expect(a, "progress 1")
		for range 3 {
			begun := time.Now()
			f.expect(uint32(0), "alive")
			if gap := time.Since(begun); gap > time.Duration(watch.Silence)*time.Millisecond {
				t.Errorf("nothing came for %v", gap)
			}
		}
		log.Reading(func(context.Context) (uint64, error) { return 0, errors.New("no majority") })
		for begun := time.Now(); ; {
			number, says := f.said()
			if number == a && says != "ended no_leader" {
				continue
			}
			if number == a {
				break
			}
			if time.Since(begun) > 2*time.Minute {
				t.Fatal("it goes on")
			}
		}
		log.Reading(nil)
	})
}

// Goal: a node that stops, and one whose state is wrong, end the watches of Clerks behind
// everything that was applied, say why, and close the connection. Method: a write and the
// end; the quarantine.
func TestWatchesOfClerksEndWithTheNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, log := newServer(t, atLevel3)
		f := follow(t, s)
		a, _ := f.begin(prefixed(""))
		f.expect(a, "progress 1")
		log.Deliver(fakelog.PutCommand("k", "v"))
		synctest.Wait()
		s.EndWatches()
		f.expect(a, `2 put k "v" v1 c2`, a, "ended stopping")
		f.wantRefused(askClerk(f.rawClerk, clerkwire.KindWatch, prefixed("")), api.CodeStopping, api.OutcomeNotApplied)
		go s.clerks.Drain(t.Context())
		f.expect(uint32(0), "goodbye")
		f.ended()

		s, _ = newServer(t, atLevel3)
		f = follow(t, s)
		a, _ = f.begin(prefixed(""))
		f.expect(a, "progress 1")
		synctest.Wait()
		s.Machine().Quarantine("it is a test")
		f.expect(a, "ended diverged")
		// A connection that is sent away ends when its watches have.
		s, log = newServer(t, atLevel3)
		f = follow(t, s)
		a, _ = f.begin(prefixed(""))
		f.expect(a, "progress 1")
		log.Deliver(fakelog.PutCommand("k", "v"))
		synctest.Wait()
		go s.clerks.Drain(t.Context())
		var all []string
		for range 3 {
			_, says := f.said()
			all = append(all, says)
		}
		if !slices.Equal(all, []string{`2 put k "v" v1 c2`, "goodbye", "ended stopping"}) {
			t.Errorf("it was sent %q", all)
		}
		f.ended()
	})
}

// Goal (W13): one connection takes at most 16,384 places for watches, whatever there is room
// for, and gives them back. Method: places are reserved until one is refused; one is given
// back.
func TestAConnectionHasALimitOfWatches(t *testing.T) {
	var m watches
	m.set(nil)
	var last *watched
	for i := range uint32(maxWatches) {
		f, err := m.reserve(i, new(clerkwire.Watch))
		if err != nil {
			t.Fatalf("watch %d: %v", i, err)
		}
		last = f
	}
	if maxWatches != 16_384 {
		t.Errorf("the limit is %d", maxWatches)
	}
	if _, err := m.reserve(maxWatches, new(clerkwire.Watch)); !errors.Is(err, failure.TooManyWatches) {
		t.Errorf("one more: %v", err)
	}
	m.forget(last)
	if _, err := m.reserve(maxWatches, new(clerkwire.Watch)); err != nil {
		t.Errorf("behind the end of one: %v", err)
	}
}

// Goal (W13): watches have room of their own, bounded by their number and by what their
// selectors take, and give it back. Method: selectors of 240 KiB until there is no room;
// then the connections end.
func TestWatchesOfClerksHaveARoom(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, _ := newServer(t, atLevel3)
		f := follow(t, s)
		m := clerkwire.Watch{ProgressMs: 60_000}
		for i := range 240 {
			m.Keys = append(m.Keys, bytes.Repeat([]byte{byte(i)}, 1000))
		}
		begun := 0
		for begun < 1000 {
			h := clerkwire.Header{}
			number := askClerk(f.rawClerk, clerkwire.KindWatch, m)
			var body []byte
			for h.Number != number {
				h, body = f.next()
			}
			if h.Kind == clerkwire.KindRefused {
				var refused clerkwire.Refused
				if err := refused.Parse(body); err != nil || refused.Code != api.CodeTooManyWatches || refused.RetryAfter == 0 {
					t.Errorf("it is refused as %+v, %v", refused, err)
				}
				break
			}
			begun++
		}
		if begun < 100 || begun > 300 {
			t.Errorf("there was room for %d", begun)
		}
		if l := s.Load(kvserver.ClerkWatches); l.Count != int64(begun) || l.Bytes < 30<<20 {
			t.Errorf("they take %+v", l)
		}
		f.conn.Close()
		synctest.Wait()
		if l := s.Load(kvserver.ClerkWatches); l.Count != 0 || l.Bytes != 0 {
			t.Errorf("%+v are left", l)
		}
	})
}
