package recorder

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/tests/virtual"
)

// memory is a Disk in memory.
type memory struct {
	mu    sync.Mutex // guards the next two
	fails bool
	hang  chan struct{} // nil: it does not
	files map[string][]byte
}

// set makes the disk fail or hang.
func (m *memory) set(fails bool, hang chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fails, m.hang = fails, hang
}

// wait waits while the disk hangs, and reports whether it fails.
func (m *memory) wait() error {
	m.mu.Lock()
	fails, hang := m.fails, m.hang
	m.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if fails {
		return errors.New("no space left on device")
	}
	return nil
}

func newMemory() *memory { return &memory{files: map[string][]byte{}} }

func (m *memory) Read(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.files[name]), nil
}

func (m *memory) Cut(name string, size int64) error {
	if err := m.wait(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = append([]byte{}, m.files[name][:min(size, int64(len(m.files[name])))]...)
	return nil
}

func (m *memory) Write(name string, at int64, b []byte) error {
	if err := m.wait(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = append(m.files[name][:at], b...)
	return nil
}

// boot starts a recorder on a disk, as a node does.
func boot(disk Disk, number uint64) (*Recorder, *Flight) {
	f, former := Load(disk)
	return New(Section{Node: "n1", Boot: number, Names: []string{"n1", "n2"}, Build: "test"}, former, time.Now()), f
}

// Goal: what a killed node recorded up to its last look is there after its restart,
// over many boots; the files stay within 4 MiB and hold at least the last 2.
// Method: boots that record random numbers of events and end without a word; after each
// the next must know the end of all of them, by a number that counts over all.
func TestAKilledNodesEventsAreThereAfterItsRestart(t *testing.T) {
	disk := newMemory()
	rng := rand.New(rand.NewPCG(1, 2))
	total := int64(0)
	for b := range uint64(60) {
		r, f := boot(disk, b+1)
		known := all(r.After(0, Capacity))
		if want := min(total, 20_000); int64(len(known)) < want {
			t.Fatalf("boot %d knows %d events, of %d", b+1, len(known), total)
		}
		for i, e := range known {
			if e.A != total-int64(len(known)-i) {
				t.Fatalf("boot %d: event %d of %d is number %d, of %d", b+1, i, len(known), e.A, total)
			}
		}
		for range rng.IntN(4) {
			for range rng.IntN(3000) {
				r.Record(Event{Kind: Campaign, A: total})
				total++
			}
			f.Write(r)
			if f.Err() != nil {
				t.Fatal(f.Err())
			}
		}
		for range rng.IntN(10) {
			r.Record(Event{Kind: Campaign, A: -1}) // these never reach the disk
		}
		for name, content := range disk.files {
			if len(content) > MaxFileBytes {
				t.Fatalf("%s has %d bytes", name, len(content))
			}
		}
	}
}

// Goal: a node that starts a thousand times in a row, as one that crashes at its start
// does, still holds what happened before that.
func TestManyShortBootsKeepWhatWasBefore(t *testing.T) {
	disk := newMemory()
	r, f := boot(disk, 1)
	r.Record(Event{Kind: DiskHangs, A: 42})
	f.Write(r)
	for b := range uint64(1000) {
		r, f = boot(disk, b+2)
		r.Record(Event{Kind: Started})
		f.Write(r)
	}
	r, _ = boot(disk, 2000)
	rings := r.After(0, Capacity)
	if len(rings) != 1001 || rings[0].Events[0].A != 42 || rings[0].Boot != 1 || rings[1000].Boot != 1001 {
		t.Errorf("%d boots are known", len(rings))
	}
}

// Goal: a file that is torn, damaged anywhere, empty or of a later version costs its own
// events and nothing else: what is read is what was written, and recording goes on.
// Method: a file of events is cut at every length, and a bit of it is flipped at random
// places.
func TestADamagedFileCostsItsEventsOnly(t *testing.T) {
	disk := newMemory()
	r, f := boot(disk, 1)
	for i := range 100 {
		r.Record(Event{Kind: Campaign, A: int64(i)})
		f.Write(r)
	}
	whole := disk.files[Files[0]]
	check := func(content []byte, how string, at int) {
		t.Helper()
		disk := newMemory()
		disk.files[Files[0]] = content
		r, f := boot(disk, 2)
		known := all(r.After(0, Capacity))
		for i, e := range known {
			if e.A != int64(i) || e.Kind != Campaign {
				t.Fatalf("%s at %d: event %d is %+v", how, at, i, e)
			}
		}
		r.Record(Event{Kind: Elected})
		f.Write(r)
		r, _ = boot(disk, 3)
		if again := all(r.After(0, Capacity)); f.Err() != nil || len(again) != len(known)+1 {
			t.Fatalf("%s at %d: %d events were known, and then %d; %v", how, at, len(known), len(again), f.Err())
		}
	}
	for cut := 0; cut < len(whole); cut += 7 {
		check(slices.Clone(whole[:cut]), "cut", cut)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		content := slices.Clone(whole)
		at := rng.IntN(len(content))
		content[at] ^= 1 << rng.IntN(8)
		check(content, "a flipped bit", at)
	}
	check([]byte("RKVFLT\x00\x02 of a later version"), "another version", 6)
}

// Goal: a disk that is full costs events only while it is full, and a disk that hangs
// holds nobody up: what is recorded meanwhile is in memory at once, and on the disk when
// it works again.
func TestNothingWaitsForTheDisk(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		disk := newMemory()
		r, f := boot(disk, 1)
		stop, done := make(chan struct{}), make(chan struct{})
		var looks atomic.Int64
		go func() {
			defer close(done)
			f.Run(r, stop, func() { looks.Add(1) })
		}()
		disk.set(true, nil)
		r.Record(Event{Kind: Campaign, A: 1})
		time.Sleep(time.Second)
		hang := make(chan struct{})
		disk.set(false, hang)
		before := looks.Load()
		time.Sleep(4 * time.Second)
		if n := looks.Load() - before; n < 3 {
			t.Errorf("in four seconds in which the disk hangs it looked %d times", n)
		}
		r.Record(Event{Kind: Campaign, A: 2})
		if n := len(all(r.After(0, 10))); n != 2 {
			t.Errorf("while the disk hangs, %d events are in memory", n)
		}
		close(hang)
		disk.set(false, nil)
		time.Sleep(time.Second)
		r.Record(Event{Kind: EndedInOrder})
		close(stop)
		<-done
		r, _ = boot(disk, 2)
		if e := all(r.After(0, 10)); len(e) != 3 || e[0].A != 1 || e[1].A != 2 || e[2].Kind != EndedInOrder {
			t.Errorf("the next boot knows %+v", e)
		}
	})
}

// Goal: an event is on the disk within writeInterval, whenever it comes, and so is what equal
// events have come to when their second is over; where nothing comes, nothing is written.
func TestAnEventIsOnTheDiskWithinAQuarterOfASecond(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		disk := newMemory()
		r, f := boot(disk, 1)
		stop, done := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); f.Run(r, stop, nil) }()
		onDisk := func() int {
			rings, err := ReadFiles(disk)
			if err != nil {
				t.Fatal(err)
			}
			return len(all(rings))
		}
		for n := range 20 {
			time.Sleep(time.Duration(n) * 77 * time.Millisecond)
			r.Record(Event{Kind: Campaign, A: int64(n)})
			time.Sleep(writeInterval)
			synctest.Wait()
			if got := onDisk(); got != n+1 {
				t.Fatalf("%v after event %d, %d are on the disk", writeInterval, n+1, got)
			}
		}
		r.Record(Event{Kind: SlowSave, A: 1})
		r.Record(Event{Kind: SlowSave, A: 2}) // counted with the one before
		time.Sleep(3 * lookInterval)
		if got := onDisk(); got != 22 {
			t.Errorf("with a slow save and an equal one, %d events are on the disk, want 22", got)
		}
		close(stop)
		<-done
	})
}

// Goal: rings that travel as lines arrive as they were.
func TestLinesKeepRings(t *testing.T) {
	now := time.Now()
	r := clocked(&now, Ring{Section{Node: "n1", Boot: 7, Tick: 10, Names: []string{"n1", "n2"}, Build: "b"}, []Event{{Seq: 5, Kind: Started, Group: 1}}})
	r.Record(Event{Kind: VoteRefused, Why: LogBehind, Peer: 3, Term: 9, Index: 812, A: -4, B: 5})
	r.Record(Event{Kind: 999, Why: 998})
	rings := r.After(0, 100)
	var b bytes.Buffer
	if err := WriteLines(&b, rings); err != nil {
		t.Fatal(err)
	}
	again, err := ReadLines(bytes.NewReader(b.Bytes()))
	if err != nil || len(again) != len(rings) {
		t.Fatalf("%d rings become %d: %v", len(rings), len(again), err)
	}
	for i := range rings {
		if again[i].Node != rings[i].Node || again[i].Boot != rings[i].Boot || !slices.Equal(again[i].Events, rings[i].Events) || !slices.Equal(again[i].Names, rings[i].Names) {
			t.Errorf("%+v becomes %+v", rings[i], again[i])
		}
	}
	for _, bad := range []string{`{"seq":1}`, `{"recorder":2,"node":"n1"}`, "{", `{"recorder":1}` + "\n" + `{"seq":-1}`} {
		if _, err := ReadLines(bytes.NewReader([]byte(bad))); err == nil {
			t.Errorf("%q was taken for a ring", bad)
		}
	}
}

// FuzzReadFile: no bytes make the decoder of files fail, hand out more than there is,
// or take for whole what it then reads otherwise.
func FuzzReadFile(f *testing.F) {
	disk := newMemory()
	r, flight := boot(disk, 1)
	for range 3 {
		r.Record(Event{Kind: Campaign})
		flight.Write(r)
	}
	f.Add(disk.files[Files[0]])
	f.Add([]byte(fileMagic))
	f.Add(appendSection([]byte(fileMagic), &Section{Node: "n1", Names: []string{"a", "b"}}))
	f.Fuzz(func(t *testing.T, content []byte) {
		rings, whole, err := ReadFile(content)
		if err != nil {
			return
		}
		if whole > len(content) || len(all(rings))*eventBytes > len(content) {
			t.Fatalf("%d bytes hold %d events, and %d bytes are whole", len(content), len(all(rings)), whole)
		}
		again, same, err := ReadFile(content[:whole])
		if err != nil || same != whole || len(all(again)) != len(all(rings)) {
			t.Fatalf("the whole part holds %d events and then %d", len(all(rings)), len(all(again)))
		}
	})
}

// FuzzReadLines: no bytes make the decoder of lines fail, and what it takes can be
// written and read again.
func FuzzReadLines(f *testing.F) {
	f.Add([]byte(`{"recorder":1,"node":"n1","boot":1,"names":["n1","n2"]}` + "\n" + `{"seq":1,"kind":"elected","peer":"n2"}` + "\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		rings, err := ReadLines(bytes.NewReader(content))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := WriteLines(&b, rings); err != nil {
			t.Fatal(err)
		}
		again, err := ReadLines(&b)
		if err != nil || len(all(again)) != len(all(rings)) {
			t.Fatalf("%d events become %d: %v", len(all(rings)), len(all(again)), err)
		}
	})
}

// Goal (I9): what is recorded of nodes that were not known when the process began names
// them, in memory, on the disk and after a restart; what was recorded before still names
// whom it did.
// Method: names that come while it runs, around a write to the disk; then a restart, and one
// of a directory that counts its boots anew and has met the nodes in another order.
func TestNodesThatComeLaterHaveNames(t *testing.T) {
	disk := newMemory()
	r, f := boot(disk, 1)
	note := func(r *Recorder, name string, term uint64) {
		r.Record(Event{Kind: Followed, Peer: r.Peer(name), Term: term})
	}
	named := func(rings []Ring) (all []string) {
		for _, ring := range rings {
			for _, e := range ring.Events {
				all = append(all, ring.Name(e.Peer))
			}
		}
		return all
	}
	note(r, "n2", 1)
	f.Write(r)
	old := r.After(0, 10)
	note(r, "n7", 2)
	f.Write(r)
	note(r, "n8", 3)
	note(r, "n2", 4)
	note(r, "", 5)
	note(r, strings.Repeat("x", maxNameBytes+1), 6)
	f.Write(r)
	want := []string{"n2", "n7", "n8", "n2", "", ""}
	onDisk, err := ReadFiles(disk)
	if err != nil || !slices.Equal(named(onDisk), want) || !slices.Equal(named(r.After(0, 10)), want) || !slices.Equal(named(old), want[:1]) {
		t.Errorf("on the disk are %q (%v), in memory %q, before %q", named(onDisk), err, named(r.After(0, 10)), named(old))
	}
	_, former := Load(disk)
	anew := New(Section{Node: "n1", Boot: 1, Names: []string{"n8"}}, former, time.Now())
	note(anew, "n2", 7)
	note(anew, "n8", 8)
	if got := named(anew.After(0, 10)); !slices.Equal(got, append(want, "n2", "n8")) {
		t.Errorf("after a restart it names %q", got)
	}
	for i := range 2 * maxNames {
		anew.Peer(fmt.Sprint("node ", i))
	}
	if last := anew.After(0, 100); len(last[len(last)-1].Names) != maxNames {
		t.Errorf("%d names are kept", len(last[len(last)-1].Names))
	}
}
