package msgpack

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// library is how a general library writes the same items.
var library = func() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.StructToArray = true
	if err := h.SetBytesExt(reflect.TypeFor[packed](), packedType, asItIs{}); err != nil {
		panic(err)
	}
	return h
}()

// packed is an extension for the library.
type packed []byte

const packedType = 1

type asItIs struct{}

func (asItIs) WriteExt(v any) []byte {
	if p, is := v.(*packed); is {
		return *p
	}
	return v.(packed)
}
func (asItIs) ReadExt(dst any, src []byte) { *dst.(*packed) = src }

// appendExtension adds an extension in its shortest form.
func appendExtension(dst, b []byte) []byte {
	return append(AppendExtensionHeader(dst, packedType, len(b)), b...)
}

func byLibrary(t testing.TB, v any) []byte {
	t.Helper()
	var b []byte
	if err := codec.NewEncoderBytes(&b, library).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b
}

// lengths are those at which the forms change.
var lengths = []int{0, 1, 2, 3, 4, 8, 15, 16, 17, 31, 32, 255, 256, 65535, 65536}

// Goal: every item has the bytes that a general msgpack library writes, and is
// read back. Method: values around every change of form.
func TestItemsAreThoseOfTheLibrary(t *testing.T) {
	for _, v := range []uint64{0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000, math.MaxUint32, math.MaxUint32 + 1, math.MaxUint64} {
		b := AppendUint(nil, v)
		if want := byLibrary(t, v); !bytes.Equal(b, want) {
			t.Errorf("%d is % x, and of the library % x", v, b, want)
		}
		if r := NewReader(b); r.Uint() != v || r.Close() != nil {
			t.Errorf("%d is not read back", v)
		}
	}
	for _, v := range []bool{false, true} {
		b := AppendBool(nil, v)
		if r := NewReader(b); !bytes.Equal(b, byLibrary(t, v)) || r.Bool() != v || r.Close() != nil {
			t.Errorf("%v is % x", v, b)
		}
	}
	for _, n := range lengths {
		s := strings.Repeat("s", n)
		b := AppendString(nil, s)
		if r := NewReader(b); !bytes.Equal(b, byLibrary(t, s)) || r.String(n) != s || r.Close() != nil {
			t.Errorf("a string of %d bytes differs from the library's or is not read back", n)
		}
		b = AppendBytes(nil, s)
		if r := NewReader(b); !bytes.Equal(b, byLibrary(t, []byte(s))) || string(r.Bytes(n)) != s || r.Close() != nil {
			t.Errorf("%d bytes differ from the library's or are not read back", n)
		}
		b = appendExtension(nil, []byte(s))
		if r := NewReader(b); !bytes.Equal(b, byLibrary(t, packed(s))) || string(r.Extension(packedType)) != s || r.Close() != nil {
			t.Errorf("an extension of %d bytes differs from the library's or is not read back", n)
		}
	}
	for _, n := range []int{0, 1, 15, 16, 1000, 65535} {
		b := AppendArray(nil, n)
		for range n {
			b = AppendUint(b, 7)
		}
		numbers := make([]uint64, n)
		for i := range numbers {
			numbers[i] = 7
		}
		r := NewReader(b)
		if got := r.Array(n); got != n || !bytes.Equal(b, byLibrary(t, numbers)) {
			t.Errorf("an array of %d is read as one of %d", n, got)
		}
	}
}

// Goal: nothing is read that another writer could have meant otherwise. Method:
// each kind of reader meets items in a longer form, of another kind, cut off, too
// long, and followed by more.
func TestReadersAreStrict(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		read func(*Reader)
	}{
		"a number in too many bytes":      {"\xcc\x7f", func(r *Reader) { r.Uint() }},
		"a number in far too many bytes":  {"\xcf\x00\x00\x00\x00\xff\xff\xff\xff", func(r *Reader) { r.Uint() }},
		"a number cut off":                {"\xcd\x01", func(r *Reader) { r.Uint() }},
		"a negative number":               {"\xff", func(r *Reader) { r.Uint() }},
		"nil for a number":                {"\xc0", func(r *Reader) { r.Uint() }},
		"nothing for a number":            {"", func(r *Reader) { r.Uint() }},
		"a number for a truth value":      {"\x01", func(r *Reader) { r.Bool() }},
		"nothing for a truth value":       {"", func(r *Reader) { r.Bool() }},
		"a string for bytes":              {"\xa1x", func(r *Reader) { r.Bytes(9) }},
		"bytes for a string":              {"\xc4\x01x", func(r *Reader) { r.String(9) }},
		"a string in too long a form":     {"\xd9\x01x", func(r *Reader) { r.String(9) }},
		"bytes in too long a form":        {"\xc5\x00\x01x", func(r *Reader) { r.Bytes(9) }},
		"bytes cut off":                   {"\xc4\x05x", func(r *Reader) { r.Bytes(9) }},
		"bytes beyond the limit":          {"\xc4\x02xy", func(r *Reader) { r.Bytes(1) }},
		"four GiB that are not there":     {"\xc6\xff\xff\xff\xff", func(r *Reader) { r.Bytes(math.MaxInt) }},
		"an extension of another type":    {"\xd4\x02x", func(r *Reader) { r.Extension(packedType) }},
		"an extension cut off":            {"\xd5\x01x", func(r *Reader) { r.Extension(packedType) }},
		"an extension without a type":     {"\xd4", func(r *Reader) { r.Extension(packedType) }},
		"an extension in too long a form": {"\xc7\x04\x01abcd", func(r *Reader) { r.Extension(packedType) }},
		"an extension far too long":       {"\xc8\x00\x03\x01abc", func(r *Reader) { r.Extension(packedType) }},
		"bytes for an extension":          {"\xc4\x01x", func(r *Reader) { r.Extension(packedType) }},
		"nothing for an extension":        {"", func(r *Reader) { r.Extension(packedType) }},
		"an array header cut off":         {"\xdc\x01", func(r *Reader) { r.ArrayHeader() }},
		"an array header too long":        {"\xdc\x00\x0f", func(r *Reader) { r.ArrayHeader() }},
		"an array of another length":      {"\x92\x01\x01", func(r *Reader) { r.Fields(1) }},
		"an array beyond the limit":       {"\x93\x01\x01\x01", func(r *Reader) { r.Array(2) }},
		"an array in too long a form":     {"\xdc\x00\x01\x01", func(r *Reader) { r.Array(2) }},
		"an array without its items":      {"\xdc\xff\xff", func(r *Reader) { r.Array(65535) }},
		"a map for an array":              {"\x81\x01\x01", func(r *Reader) { r.Array(9) }},
		"bytes after the end":             {"\x01\x01", func(r *Reader) { r.Uint() }},
		"what the caller rejects":         {"\x01", func(r *Reader) { r.Uint(); r.Reject("no") }},
	} {
		r := NewReader([]byte(c.body))
		c.read(&r)
		if err := r.Close(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if r.Fault() == "" || r.Left() != 0 {
			t.Errorf("%s: fault %q, %d bytes left", name, r.Fault(), r.Left())
		}
		if r.Uint() != 0 || r.Bool() || r.String(9) != "" || r.Bytes(9) != nil || r.Extension(packedType) != nil || r.Array(9) != 0 {
			t.Errorf("%s: something is read after the error", name)
		}
	}
}

// Goal: whatever bytes come, reading them does no harm, and what is accepted is
// exactly what writing it again gives. Method: the first bytes say what to read.
func FuzzReader(f *testing.F) {
	f.Add([]byte("ubsya"), []byte("\x01\xc3\xa1x\xc4\x01y\x90"))
	f.Add([]byte("hxx"), []byte("\x92\xd5\x01xy\xc7\x03\x01xyz"))
	f.Fuzz(func(t *testing.T, plan, body []byte) {
		r := NewReader(body)
		var again []byte
		for _, step := range plan[:min(len(plan), 32)] {
			switch step {
			case 'u':
				again = AppendUint(again, r.Uint())
			case 'b':
				again = AppendBool(again, r.Bool())
			case 's':
				again = AppendString(again, r.String(1<<20))
			case 'y':
				again = AppendBytes(again, r.Bytes(1<<20))
			case 'a':
				again = AppendArray(again, r.Array(65535))
			case 'h':
				again = AppendArray(again, r.ArrayHeader())
			case 'x':
				again = appendExtension(again, r.Extension(packedType))
			}
		}
		if err := r.Close(); err == nil && !bytes.Equal(again, body) {
			t.Errorf("% x was read as % x", body, again)
		}
	})
}
