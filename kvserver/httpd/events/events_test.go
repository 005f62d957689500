package events

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/watch"
)

// Goal: an item and an event are what package api says, however long their values are and
// wherever a piece ends. Method: values around the ends of pieces, of plain text, of text
// that JSON escapes, of letters of several bytes, and of bytes that are no text, each as
// encoding/json writes the types of package api.
func TestValuesAreWrittenAsTheAPISays(t *testing.T) {
	var values [][]byte
	for _, unit := range []string{"x", "\"\\\n\u2028<", "aé€😀", "\xff\x00\x7f"} {
		for _, n := range []int{0, 1, 2, 3, 100, 3*textPiece - 1, 3 * textPiece, 3*textPiece + 1} {
			values = append(values, []byte(strings.Repeat(unit, n/len(unit)+1)))
		}
	}
	values = append(values, []byte{})
	for i, v := range values {
		before := kv.Item{Value: values[(i+1)%len(values)], Revision: 4, Version: 1, Created: 4}
		after := kv.Item{Value: v, Revision: 9, Version: 2, Created: 4}
		for _, f := range []Format{{}, {Text: true}, {Prev: true}, {Text: true, Prev: true, Lines: true}, {KeysOnly: true, Prev: true}} {
			state := func(i kv.Item, lease int64) api.ItemState {
				s := api.ItemState{Revision: i.Revision, Version: i.Version, Created: i.Creation(), Lease: lease}
				if text := string(i.Value); f.Text && utf8.ValidString(text) {
					s.Text = &text
				} else if !f.KeysOnly {
					s.Value = i.Value
				}
				return s
			}
			key := "k\xff"[:1+i%2]
			compare(t, &f, &watch.Out{Kind: watch.Item, Key: key, Item: after, Lease: 7},
				"event: item\ndata: ", `{"event":"item",`, api.WatchItem{KeyName: api.NameKey(key), ItemState: state(after, 7)})
			e := kv.Event{Revision: 9, Op: kv.EventPut, Key: key, Item: after, Lease: 7, Prev: before}
			s := state(after, 7)
			want := api.WatchEvent{Op: api.OpPut, KeyName: api.NameKey(key), Value: s.Value, Text: s.Text, Version: 2, Created: 4, Lease: 7}
			if f.Prev {
				p := state(before, 0)
				want.Prev = &p
			}
			var got bytes.Buffer
			w := bufio.NewWriterSize(&got, 512)
			f.eventOf(w, &e)
			_ = w.Flush()
			if got.String() != string(encode(want)) {
				t.Fatalf("%+v: a value of %d bytes is written as\n%.300q\nwant\n%.300q", f, len(v), &got, encode(want))
			}
		}
	}
}

// compare compares how an Out is written with the JSON of a type of package api.
func compare(t *testing.T, f *Format, out *watch.Out, head, line string, want any) {
	t.Helper()
	text := fmt.Sprintf("%s%s\n\n", head, encode(want))
	if f.Lines {
		text = fmt.Sprintf("%s%s\n", line, encode(want)[1:])
	}
	var got bytes.Buffer
	w := bufio.NewWriterSize(&got, 512)
	f.Write(w, out)
	if err := w.Flush(); err != nil || got.String() != text {
		t.Fatalf("%+v: got\n%.300q\nwant\n%.300q", f, &got, text)
	}
}
