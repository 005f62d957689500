package labgob

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"reflect"
	"testing"
)

// fuzzLimit bounds the streams that are tried, in bytes.
const fuzzLimit = 4 << 10

// outcome is the result of decoding into one variable.
type outcome struct {
	value    any
	err      string
	panicked string
}

// try decodes two values of the types of the variables, and takes note of
// panics.
func try(decode func(any) error, variables ...any) (outcomes []outcome) {
	for _, variable := range variables {
		o := outcome{value: variable}
		func() {
			defer func() {
				if r := recover(); r != nil {
					o.panicked = fmt.Sprint(r)
				}
			}()
			if err := decode(variable); err != nil {
				o.err = err.Error()
			}
		}()
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// Goal: whatever the stream, Decode does what gob does: the same values, the
// same errors, and a panic only where gob panics; and a value that was decoded
// survives another round. Method: the same bytes to both decoders.
func FuzzDecode(f *testing.F) {
	for _, values := range [][]any{{goods()}, {1, goods()}, {Item{1, map[string]bool{"a": true}}, "text"}, {privateScalar{A: 1}}, {[]any{1, "a", Note{"n"}}}} {
		var stream bytes.Buffer
		enc := NewEncoder(&stream)
		for _, value := range values {
			if err := enc.Encode(value); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(stream.Bytes())
		f.Add(stream.Bytes()[:stream.Len()/2])
	}
	f.Add([]byte{})
	f.Add([]byte{0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) > fuzzLimit {
			t.Skip("longer than what is worth decoding")
		}
		for _, variables := range []func() []any{
			func() []any { return []any{new(Goods), new(int), new(Goods)} },
			func() []any { return []any{new(Item), new(string)} },
			func() []any { return []any{new([]any), nil, new(map[string]Item)} },
			func() []any { return []any{new(privateScalar), 1} },
		} {
			ours := try(NewDecoder(bytes.NewReader(stream)).Decode, variables()...)
			gobs := try(gob.NewDecoder(bytes.NewReader(stream)).Decode, variables()...)
			for i := range ours {
				// Compared as text, in which NaN is equal to itself.
				if got, want := describe(ours[i]), describe(gobs[i]); got != want {
					t.Fatalf("value %d: labgob says %s, gob %s", i, got, want)
				}
				if ours[i].err == "" && ours[i].panicked == "" && ours[i].value != nil {
					again(t, ours[i].value)
				}
			}
		}
	})
}

// describe writes an outcome out, with what the pointers in Goods point to.
func describe(o outcome) string {
	text := fmt.Sprintf("error %q, panic %q", o.err, o.panicked)
	goods, ok := o.value.(*Goods)
	if !ok {
		if v := reflect.ValueOf(o.value); v.Kind() == reflect.Pointer {
			return fmt.Sprintf("%s: %+v", text, v.Elem())
		}
		return text
	}
	for ; goods != nil; goods = goods.Next {
		flat := *goods
		flat.Next, flat.Prices = nil, nil
		text += fmt.Sprintf(": %+v", flat)
		prices := make(map[string]Item)
		for name, item := range goods.Prices {
			if item != nil {
				prices[name] = *item
			}
		}
		text += fmt.Sprint(prices)
	}
	return text
}

// again encodes a decoded value and decodes it: it must not have changed.
func again(t *testing.T, pointer any) {
	var first, second bytes.Buffer
	if err := NewEncoder(&first).Encode(pointer); err != nil {
		return // a nil in an array of pointers can be decoded, but not sent
	}
	var other any
	switch pointer.(type) {
	case *Goods:
		other = new(Goods)
	case *Item:
		other = new(Item)
	default:
		return
	}
	if err := NewDecoder(bytes.NewReader(first.Bytes())).Decode(other); err != nil {
		t.Fatalf("what was just encoded cannot be decoded: %v", err)
	}
	if err := NewEncoder(&second).Encode(other); err != nil {
		t.Fatal(err)
	}
	if got, want := describe(outcome{value: other}), describe(outcome{value: pointer}); first.Len() != second.Len() || got != want {
		t.Fatalf("%s became %s", want, got)
	}
}
