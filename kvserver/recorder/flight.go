package recorder

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Disk holds the two flight files. Its methods are called by one goroutine at a time.
type Disk interface {
	// Read returns a file's content, up to MaxFileBytes of it; nil if there is none.
	Read(name string) ([]byte, error)
	// Cut makes the file if there is none and cuts it to size.
	Cut(name string, size int64) error
	// Write writes b at an offset, which is the end of the file.
	Write(name string, at int64, b []byte) error
}

// Files are the names of the two flight files.
var Files = [2]string{"flight-0", "flight-1"}

// A new event is written within writeInterval, with those that came meanwhile. Where there is
// nothing new, the process is woken every lookInterval: four times a second were some 25 of the
// 280 context switches of an idle one.
const (
	writeInterval = 250 * time.Millisecond
	lookInterval  = time.Second
)

// Flight keeps the end of a Recorder's events in two files in turn. It belongs to one
// goroutine; see Run. A disk that fails or hangs costs the events that it would have
// held, and nothing else.
type Flight struct {
	disk    Disk
	current int    // the file that is written
	size    int64  // its length
	names   int    // it holds the section of this boot with so many; -1: not yet
	written uint64 // the Seq of the last event on the disk
	failed  error  // the last attempt's
}

// Load reads what the two files hold of earlier boots, oldest first, and returns the
// Flight that goes on with them. A file that is damaged or of a later version counts as
// far as it can be read.
func Load(disk Disk) (*Flight, []Ring) {
	f := &Flight{disk: disk, current: -1, names: -1}
	former, _ := f.read()
	if f.current >= 0 && disk.Cut(Files[f.current], f.size) != nil {
		f.current = -1
	}
	return f, former
}

// ReadFiles reads the rings in both files, oldest first, and changes nothing. The error
// is of the last file that could not be read; what is in the other one is returned all
// the same.
func ReadFiles(disk Disk) ([]Ring, error) {
	return (&Flight{disk: disk, current: -1, names: -1}).read()
}

// read reads both files and finds the one that was written last.
func (f *Flight) read() (rings []Ring, failed error) {
	for i, name := range Files {
		content, err := f.disk.Read(name)
		if err == nil && len(content) == 0 {
			continue
		}
		var found []Ring
		whole := 0
		if err == nil {
			found, whole, err = ReadFile(content)
		}
		if err != nil {
			failed = fmt.Errorf("%s: %w", name, err)
			continue
		}
		if last := lastSeq(found); f.current < 0 || last > f.written {
			f.current, f.size, f.written = i, int64(whole), last
		}
		rings = append(rings, found...)
	}
	rings = slices.DeleteFunc(rings, func(r Ring) bool { return len(r.Events) == 0 })
	slices.SortStableFunc(rings, func(a, b Ring) int { return cmp.Compare(a.Events[0].Seq, b.Events[0].Seq) })
	return rings, failed
}

// Run writes new events until stop is closed, and then once more. It returns when that
// is done. watch, if not nil, is called once a second until then, by a goroutine of its own:
// what it looks at happens while the disk hangs, too.
func (f *Flight) Run(r *Recorder, stop <-chan struct{}, watch func()) {
	var watching sync.WaitGroup
	if watch != nil {
		watching.Go(func() { eachLook(stop, watch) })
	}
	next := time.NewTimer(writeInterval)
	defer next.Stop()
	for {
		select {
		case <-stop:
			watching.Wait()
			r.settle(true)
			f.Write(r)
			return
		case <-r.news:
			select { // others may follow
			case <-stop:
				continue
			case <-time.After(writeInterval):
			}
		case <-next.C: // equal events may have come to their end, or an attempt has failed
		}
		f.Write(r)
		if f.failed != nil {
			next.Reset(writeInterval)
		} else {
			next.Reset(lookInterval)
		}
	}
}

// eachLook calls watch at every lookInterval until stop is closed.
func eachLook(stop <-chan struct{}, watch func()) {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			watch()
		}
	}
}

// Err returns why the last attempt to write failed, nil if it did not.
func (f *Flight) Err() error { return f.failed }

// Write writes what is new. What could not be written is tried again with the next
// call, as long as the ring holds it.
func (f *Flight) Write(r *Recorder) {
	for newest := r.Newest(); f.written < newest; {
		rings := r.After(f.written, pieceEvents) // not all at once: behind a disk that hung they are many
		if len(rings) == 0 {
			return
		}
		for i := range rings {
			if f.failed = f.take(&rings[i]); f.failed != nil {
				return
			}
		}
	}
}

// take writes the events of a ring.
func (f *Flight) take(ring *Ring) error {
	for events := ring.Events; len(events) > 0; {
		n := min(len(events), frameEventsMax)
		if err := f.append(&ring.Section, events[:n]); err != nil {
			return err
		}
		f.written, events = events[n-1].Seq, events[n:]
	}
	return nil
}

// append writes events of a section behind what is there, or begins the other file.
func (f *Flight) append(s *Section, events []Event) error {
	frames := appendEvents(nil, events)
	section := appendSection(nil, s)
	if f.current < 0 || f.size+int64(len(frames)+len(section)) > MaxFileBytes {
		next := (f.current + 1) % len(Files)
		if err := f.disk.Cut(Files[next], 0); err != nil {
			return err
		}
		f.current, f.size, f.names = next, 0, -1
	}
	var b []byte
	if f.size == 0 {
		b = append(b, fileMagic...)
	}
	if len(s.Names) > f.names {
		b = append(b, section...)
	}
	b = append(b, frames...)
	if err := f.disk.Write(Files[f.current], f.size, b); err != nil {
		return err
	}
	f.size += int64(len(b))
	f.names = max(f.names, len(s.Names))
	return nil
}
