// Package events writes what a watch sends over HTTP: as Server-Sent Events, or as lines
// of JSON. It only writes; what is sent, and when, is decided in package watch.
package events

import (
	"bytes"
	"encoding/json"
	"fmt"
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

// AppendRetry appends after how long a client that lost the stream should come back.
func (f *Format) AppendRetry(dst []byte, after time.Duration) []byte {
	if f.Lines {
		return dst
	}
	return fmt.Appendf(dst, "retry: %d\n\n", after.Milliseconds())
}

// Append appends one thing.
func (f *Format) Append(dst []byte, out *watch.Out) []byte {
	switch out.Kind {
	case watch.Open:
		id := bookmark(out.Revision)
		if out.Before {
			id = ""
		}
		return f.event(dst, api.EventOpen, id, api.WatchOpen{Revision: out.Now, Oldest: out.Oldest, Node: f.Node, ClusterUID: f.ClusterUID})
	case watch.Item:
		if out.OfLock {
			return f.event(dst, api.EventItem, "", f.lock(out.Key, out.Item, out.Lease))
		}
		return f.event(dst, api.EventItem, "", api.WatchItem{KeyName: api.NameKey(out.Key), ItemState: f.state(out.Item, out.Lease)})
	case watch.Synced:
		return f.event(dst, api.EventSynced, bookmark(out.Revision), api.WatchSynced{Revision: out.Revision, Items: out.Items})
	case watch.Change:
		return f.change(dst, out)
	case watch.Progress:
		return f.event(dst, api.EventProgress, bookmark(out.Revision), api.WatchProgress{Revision: out.Revision})
	case watch.Reset:
		return f.event(dst, api.EventReset, "", api.WatchReset{Code: api.CodeRevisionGone, Oldest: out.Oldest})
	case watch.Comment:
		if f.Lines {
			return append(dst, '\n') // readers of lines of JSON pass over empty ones
		}
		return append(dst, ":\n\n"...)
	}
	panic(fmt.Sprintf("events: there is no way to write the kind %d", out.Kind))
}

// AppendEnd appends why the stream ends.
func (f *Format) AppendEnd(dst []byte, problem api.Problem) []byte {
	return f.event(dst, api.EventEnd, "", problem)
}

// bookmark is the id of an event, which clients take as it is.
func bookmark(revision uint64) string { return strconv.FormatUint(revision, 10) }

// event appends a thing whose data is one line.
func (f *Format) event(dst []byte, name, id string, data any) []byte {
	text := encode(data)
	if f.Lines {
		dst = appendLineHead(dst, name, id)
		dst = append(dst, text[1:]...) // the brace is there already
		return append(dst, '\n')
	}
	dst = appendHead(dst, name, id)
	dst = append(dst, "data: "...)
	dst = append(dst, text...)
	return append(dst, "\n\n"...)
}

func appendHead(dst []byte, name, id string) []byte {
	dst = fmt.Appendf(dst, "event: %s\n", name)
	if id != "" {
		dst = fmt.Appendf(dst, "id: %s\n", id)
	}
	return dst
}

func appendLineHead(dst []byte, name, id string) []byte {
	dst = fmt.Appendf(dst, `{"event":%q,`, name)
	if id != "" {
		dst = fmt.Appendf(dst, `"id":%q,`, id)
	}
	return dst
}

// change appends a change: with a line of data for each of its events, or as one line.
func (f *Format) change(dst []byte, out *watch.Out) []byte {
	id, separator := bookmark(out.Revision), ","
	if f.Lines {
		dst = appendLineHead(dst, api.EventChange, id)
	} else {
		dst = append(appendHead(dst, api.EventChange, id), "data: {"...)
		separator = ",\ndata: "
	}
	dst = fmt.Appendf(dst, `"revision":%d,"events":[`, out.Revision)
	if !f.Lines {
		dst = append(dst, "\ndata: "...)
	}
	for i, e := range out.Events {
		if i > 0 {
			dst = append(dst, separator...)
		}
		dst = append(dst, encode(f.eventOf(e))...)
	}
	dst = append(dst, "]}\n"...)
	if !f.Lines {
		dst = append(dst, '\n')
	}
	return dst
}

// eventOf describes one event.
func (f *Format) eventOf(e *kv.Event) any {
	if e.OfLock() {
		return f.lockEvent(e)
	}
	j := api.WatchEvent{Op: e.Op.String(), KeyName: api.NameKey(e.Key)}
	if e.Item.Version != 0 {
		after := f.state(e.Item, e.Lease)
		j.Value, j.Text, j.Version, j.Created, j.Lease = after.Value, after.Text, after.Version, after.Created, after.Lease
	}
	if f.Prev && e.Existed() {
		before := f.state(e.Prev, e.PrevLease)
		j.Prev = &before
	}
	return j
}

// lockEvent describes an event of a lock: a release says who held it.
func (f *Format) lockEvent(e *kv.Event) api.WatchLockEvent {
	holder, lease := e.Item, e.Lease
	if holder.Version == 0 {
		holder, lease = e.Prev, e.PrevLease
	}
	return api.WatchLockEvent{Op: e.Op.String(), WatchLock: f.lock(e.Key, holder, lease), Reason: e.Op.Reason()}
}

// lock describes a holder of a lock.
func (f *Format) lock(name string, holder kv.Item, lease int64) api.WatchLock {
	s := f.state(holder, lease)
	return api.WatchLock{LockName: api.NameLock(name), Token: s.Revision, Lease: lease, Value: s.Value, Text: s.Text}
}

// state describes an item, which is tied to a lease or to none.
func (f *Format) state(i kv.Item, lease int64) api.ItemState {
	j := api.ItemState{Revision: i.Revision, Version: i.Version, Created: i.Creation(), Lease: lease}
	switch {
	case f.KeysOnly:
	case f.Text && utf8.Valid(i.Value):
		text := string(i.Value)
		j.Text = &text
	default:
		j.Value = append([]byte{}, i.Value...) // not nil, if it is empty
	}
	return j
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
