package stage

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/kvserver/explain"
	"raftkv/kvserver/recorder"
	"raftkv/raft/core"
)

// load writes to all nodes at a steady rate, whatever is answered, and notes when writes
// were done.
type load struct {
	mu   sync.Mutex
	done []time.Time
	wait sync.WaitGroup
	stop chan struct{}
}

// loadPause is the time between two writes to a node.
const loadPause = 20 * time.Millisecond

func (w *world) load() *load {
	l := &load{stop: make(chan struct{})}
	for _, id := range w.ids {
		l.wait.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				case <-time.After(loadPause):
				}
				l.wait.Go(func() {
					if w.ask(id, "PUT", "/v1/kv/felt", "v") {
						l.mu.Lock()
						defer l.mu.Unlock()
						l.done = append(l.done, time.Now())
					}
				})
			}
		})
	}
	return l
}

// gaps ends the load and returns the times of more than 50 ms in which no write was done.
func (l *load) gaps() (gaps []time.Duration) {
	close(l.stop)
	l.wait.Wait()
	for i := 1; i < len(l.done); i++ {
		if gap := l.done[i].Sub(l.done[i-1]); gap > 50*time.Millisecond {
			gaps = append(gaps, gap)
		}
	}
	return gaps
}

// Goal (I16): for how long nobody could write is told as an outside load felt it, one story
// for each time in which it was stuck for more than 50 ms; that of all nodes at once, which
// nobody recorded, is told as no shorter.
// Method: a leader that is killed, one whose process is stopped, and a power cut of all nodes,
// in virtual time; a load writes to all nodes at a steady rate.
func TestStoriesSayWhatClientsFelt(t *testing.T) {
	for _, c := range []struct {
		name  string
		kind  explain.Kind
		play  func(w *world, leader core.ID)
		stuck bool // for more than 50 ms
		upper bool // what is told is what it was at most
	}{
		{"killed", explain.LeaderEnded, func(w *world, leader core.ID) {
			w.must(w.stage.Kill(leader))
			time.Sleep(time.Second)
			w.must(w.stage.Start(leader))
		}, false, false},
		{"stopped", explain.LeaderStopped, func(w *world, leader core.ID) {
			w.must(w.stage.Pause(leader))
			time.Sleep(2 * time.Second)
			w.must(w.stage.GoOn(leader))
		}, true, false},
		{"power cut", explain.MajorityGone, func(w *world, _ core.ID) {
			for _, id := range w.ids {
				w.must(w.stage.Kill(id))
			}
			time.Sleep(2 * time.Second)
			for _, id := range w.ids {
				w.must(w.stage.Start(id))
			}
		}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inVirtualTime(t, func(t *testing.T) {
				w := newWorld(t, 3, false, false)
				time.Sleep(3 * time.Second) // they know each other
				leader := w.stage.Leader()
				l := w.load()
				time.Sleep(500 * time.Millisecond)
				c.play(w, leader)
				time.Sleep(1500 * time.Millisecond)
				gaps := l.gaps()
				rings := w.end()
				to := explain.End(rings)
				stories := explain.Stories(rings, explain.Span{From: to - 60_000, To: to})
				var told []time.Duration
				text := ""
				for _, s := range stories {
					text += string(s.Kind) + ": " + strings.Join(s.Sentences, " ") + "\n"
					if s.Effect.NoWritesFor > int64(50*time.Millisecond) {
						told = append(told, time.Duration(s.Effect.NoWritesFor))
					}
				}
				if !slices.ContainsFunc(stories, func(s explain.Story) bool { return s.Kind == c.kind }) || len(gaps) != len(told) || len(gaps) > 1 || c.stuck && len(gaps) == 0 {
					t.Fatalf("the load was stuck for %v, and told is %v:\n%s", gaps, told, text)
				}
				if len(gaps) == 0 {
					return
				}
				// A write is done some turns of the network after it is committed.
				if off := told[0] - gaps[0]; off < -gaps[0]/10-2*loadPause || !c.upper && off > gaps[0]/10+loadPause {
					t.Errorf("the load was stuck for %v, and told is %v:\n%s", gaps[0], told[0], text)
				}
			})
		})
	}
}

// Goal (I2): of a time without incidents it is told that nothing happened, and nothing else.
// Method: three nodes in virtual time, for a minute and more; make campaign NAME=quiet makes
// it an hour, with a client that writes.
func TestAQuietTimeIsToldAsQuiet(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		w := newWorld(t, 3, *quietFor > 10*time.Minute, false)
		time.Sleep(5 * time.Second) // the first election is over
		from := time.Now().UnixMilli()
		time.Sleep(*quietFor)
		to := time.Now().UnixMilli()
		rings := w.end()
		for i := range rings { // the pauses of this process are real
			rings[i].Events = slices.DeleteFunc(rings[i].Events, func(e recorder.Event) bool { return e.Kind == recorder.CollectorPause })
		}
		stories := explain.Stories(rings, explain.Span{From: from, To: to})
		if len(stories) != 1 || stories[0].Kind != explain.Quiet || stories[0].Certainty != explain.Certain {
			t.Errorf("of %v without incidents is told %+v", *quietFor, stories)
		}
	})
}
