// Package events writes what a watch sends over HTTP: as Server-Sent Events, or as lines
// of JSON. It only writes; what is sent, and when, is decided in package watch.
package events

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/watch"
)

// Format says how a client wants it.
type Format struct {
	Lines    bool // of JSON, and not Server-Sent Events
	Prev     bool // with the item before each event
	KeysOnly bool // without values
	Text     bool // values that are UTF-8 as text
	// Node and ClusterUID are those of the event open.
	Node, ClusterUID string
}

// Media returns the media type.
func (f *Format) Media() string {
	if f.Lines {
		return api.MediaNDJSON
	}
	return api.MediaEvents
}

// A writer of this package's methods holds no more than its own room of what is sent,
// however large that is: values are encoded on their way out. Its errors are for the
// caller of Flush to notice.

// WriteRetry writes after how long a client that lost the stream should come back.
func (f *Format) WriteRetry(w *bufio.Writer, after time.Duration) {
	if !f.Lines {
		_, _ = fmt.Fprintf(w, "retry: %d\n\n", after.Milliseconds())
	}
}

// Write writes one thing.
func (f *Format) Write(w *bufio.Writer, out *watch.Out) {
	switch out.Kind {
	case watch.Open:
		id := bookmark(out.Revision)
		if out.Before {
			id = ""
		}
		f.event(w, api.EventOpen, id, api.WatchOpen{Revision: out.Now, Oldest: out.Oldest, Node: f.Node, ClusterUID: f.ClusterUID})
	case watch.Item:
		f.item(w, out)
	case watch.Synced:
		f.event(w, api.EventSynced, bookmark(out.Revision), api.WatchSynced{Revision: out.Revision, Items: out.Items})
	case watch.Change:
		f.change(w, out)
	case watch.Progress:
		f.event(w, api.EventProgress, bookmark(out.Revision), api.WatchProgress{Revision: out.Revision})
	case watch.Reset:
		f.event(w, api.EventReset, "", api.WatchReset{Code: api.CodeRevisionGone, Oldest: out.Oldest})
	case watch.Comment:
		if f.Lines {
			_ = w.WriteByte('\n') // readers of lines of JSON pass over empty ones
			return
		}
		_, _ = w.WriteString(":\n\n")
	default:
		panic(fmt.Sprintf("events: there is no way to write the kind %d", out.Kind))
	}
}

// WriteEnd writes why the stream ends.
func (f *Format) WriteEnd(w *bufio.Writer, problem api.Problem) {
	f.event(w, api.EventEnd, "", problem)
}

// bookmark is the id of an event, which clients take as it is.
func bookmark(revision uint64) string { return strconv.FormatUint(revision, 10) }

// event writes a thing whose data is one line, and short.
func (f *Format) event(w *bufio.Writer, name, id string, data any) {
	f.begin(w, name, id)
	_, _ = w.Write(encode(data)[1:]) // the brace is there already
	f.end(w)
}

// begin writes what stands before the fields of a thing whose data is one line.
func (f *Format) begin(w *bufio.Writer, name, id string) {
	if f.Lines {
		lineHead(w, name, id)
		return
	}
	head(w, name, id)
	_, _ = w.WriteString("data: {")
}

// end ends a thing.
func (f *Format) end(w *bufio.Writer) {
	_ = w.WriteByte('\n')
	if !f.Lines {
		_ = w.WriteByte('\n')
	}
}

func head(w *bufio.Writer, name, id string) {
	_, _ = fmt.Fprintf(w, "event: %s\n", name)
	if id != "" {
		_, _ = fmt.Fprintf(w, "id: %s\n", id)
	}
}

func lineHead(w *bufio.Writer, name, id string) {
	_, _ = fmt.Fprintf(w, `{"event":%q,`, name)
	if id != "" {
		_, _ = fmt.Fprintf(w, `"id":%q,`, id)
	}
}

// item writes a key of the state as an api.WatchItem, or a holder of a lock.
func (f *Format) item(w *bufio.Writer, out *watch.Out) {
	if out.OfLock {
		f.event(w, api.EventItem, "", f.lock(out.Key, out.Item, out.Lease))
		return
	}
	f.begin(w, api.EventItem, "")
	_, _ = w.Write(keyName(out.Key))
	_ = w.WriteByte(',')
	f.state(w, &out.Item, out.Lease)
	f.end(w)
}

// change writes a change: with a line of data for each of its events, or as one line.
func (f *Format) change(w *bufio.Writer, out *watch.Out) {
	f.begin(w, api.EventChange, bookmark(out.Revision))
	_, _ = fmt.Fprintf(w, `"revision":%d,"events":[`, out.Revision)
	separator := ","
	if !f.Lines {
		_, _ = w.WriteString("\ndata: ")
		separator = ",\ndata: "
	}
	for i, e := range out.Events {
		if i > 0 {
			_, _ = w.WriteString(separator)
		}
		f.eventOf(w, e)
	}
	_, _ = w.WriteString("]}")
	f.end(w)
}

// eventOf writes one event: an api.WatchEvent, or one of a lock.
func (f *Format) eventOf(w *bufio.Writer, e *kv.Event) {
	if e.OfLock() {
		_, _ = w.Write(encode(f.lockEvent(e)))
		return
	}
	_, _ = fmt.Fprintf(w, `{"op":%q,`, e.Op.String())
	_, _ = w.Write(keyName(e.Key))
	if e.Item.Version != 0 {
		_ = w.WriteByte(',')
		f.value(w, e.Item.Value)
		_, _ = fmt.Fprintf(w, `"version":%d,"created":%d`, e.Item.Version, e.Item.Creation())
		lease(w, e.Lease)
	}
	if f.Prev && e.Existed() {
		_, _ = w.WriteString(`,"prev":{`)
		f.state(w, &e.Prev, e.PrevLease)
	}
	_ = w.WriteByte('}')
}

// lockEvent describes an event of a lock: a release names the holder before.
func (f *Format) lockEvent(e *kv.Event) api.WatchLockEvent {
	holder, lease := e.Item, e.Lease
	if holder.Version == 0 {
		holder, lease = e.Prev, e.PrevLease
	}
	return api.WatchLockEvent{Op: e.Op.String(), WatchLock: f.lock(e.Key, holder, lease), Reason: e.Op.Reason()}
}

// lock describes a holder of a lock, whose value is short.
func (f *Format) lock(name string, holder kv.Item, lease int64) api.WatchLock {
	j := api.WatchLock{LockName: api.NameLock(name), Token: holder.Revision, Lease: lease}
	switch {
	case f.KeysOnly:
	case f.Text && utf8.Valid(holder.Value):
		text := string(holder.Value)
		j.Text = &text
	default:
		j.Value = append([]byte{}, holder.Value...) // not nil, if it is empty
	}
	return j
}

// keyName is an api.KeyName without its braces.
func keyName(key string) []byte {
	text := encode(api.NameKey(key))
	return text[1 : len(text)-1]
}

// state writes an api.ItemState behind its brace: an item that is tied to a lease, or to
// none.
func (f *Format) state(w *bufio.Writer, i *kv.Item, of int64) {
	f.value(w, i.Value)
	_, _ = fmt.Fprintf(w, `"revision":%d,"version":%d,"created":%d`, i.Revision, i.Version, i.Creation())
	lease(w, of)
	_ = w.WriteByte('}')
}

func lease(w *bufio.Writer, id int64) {
	if id != 0 {
		_, _ = fmt.Fprintf(w, `,"lease":%d`, id)
	}
}

// value writes the field with a value and the comma behind it, unless only keys are asked
// for.
func (f *Format) value(w *bufio.Writer, v []byte) {
	switch {
	case f.KeysOnly:
	case f.Text && utf8.Valid(v):
		_, _ = w.WriteString(`"text":"`)
		WriteText(w, v)
		_, _ = w.WriteString(`",`)
	default:
		_, _ = w.WriteString(`"value":"`)
		inBase64(w, v)
		_, _ = w.WriteString(`",`)
	}
}

// textPiece is how much of a text is escaped at once.
const textPiece = 4 << 10

// WriteText writes UTF-8 as JSON escapes it, without the quotes, a piece at a time. It ends at
// an error of w.
func WriteText(w io.Writer, v []byte) {
	for len(v) > 0 {
		n := min(len(v), textPiece)
		for n < len(v) && !utf8.RuneStart(v[n]) {
			n--
		}
		escaped := encode(string(v[:n]))
		if _, err := w.Write(escaped[1 : len(escaped)-1]); err != nil {
			return
		}
		v = v[n:]
	}
}

// inBase64 writes v in base64, as much at a time as there is room for.
func inBase64(w *bufio.Writer, v []byte) {
	for len(v) > 0 {
		n := min(len(v), w.Available()/4*3)
		if n == 0 {
			if w.Flush() != nil {
				return
			}
			continue
		}
		if _, err := w.Write(base64.StdEncoding.AppendEncode(w.AvailableBuffer(), v[:n])); err != nil {
			return
		}
		v = v[n:]
	}
}

// encode writes one of the types of package api without the end of a line.
func encode(v any) []byte {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("events: a %T cannot be written as JSON: %v", v, err))
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n"))
}
