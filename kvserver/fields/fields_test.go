package fields

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// Goal: what was written is read, whatever kind of field it is in. Method: one of each kind,
// one after the other.
func TestFieldsAreReadInTheirOrder(t *testing.T) {
	b := binary.AppendUvarint(nil, 300)
	b = append(b, 7, 1, 2, 'a', 'b', 3, 'x', 'y', 'z', 9, 8)
	r := Reader{Rest: b}
	if n := r.Number(); n != 300 {
		t.Errorf("a number: %d", n)
	}
	if n := r.UpTo(7); n != 7 {
		t.Errorf("a number up to 7: %d", n)
	}
	if !r.Flag() {
		t.Error("a flag is not set")
	}
	if s := r.Text(2); s != "ab" {
		t.Errorf("a text: %q", s)
	}
	if s := r.Bytes(); string(s) != "xyz" || cap(s) != 3 {
		t.Errorf("bytes: %q, with room for %d", s, cap(s))
	}
	if c := r.Byte(); c != 9 {
		t.Errorf("a byte: %d", c)
	}
	var last [1]byte
	if r.Fill(last[:]); last[0] != 8 {
		t.Errorf("the last byte: %d", last[0])
	}
	r.End()
	if unknown, fault := r.Fault(); unknown != nil || fault != "" {
		t.Errorf("%v, %q", unknown, fault)
	}
}

// Goal: each fault is found, the first one stays, and zeros are read behind it. Method: a
// table of bytes that no encoding has.
func TestTheFirstFaultStays(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		read func(r *Reader)
		want string
	}{
		"nothing":          {nil, func(r *Reader) { r.Number() }, "a number that is cut off or too large"},
		"a cut number":     {[]byte{0x80}, func(r *Reader) { r.Number() }, "a number that is cut off or too large"},
		"a long number":    {bytes.Repeat([]byte{0xff}, 11), func(r *Reader) { r.Number() }, "a number that is cut off or too large"},
		"a padded number":  {[]byte{0x81, 0}, func(r *Reader) { r.Number() }, "a number with needless bytes"},
		"beyond a limit":   {[]byte{4, 1}, func(r *Reader) { r.UpTo(3) }, "a number beyond its limit"},
		"a flag of 2":      {[]byte{2}, func(r *Reader) { r.Flag() }, "a number beyond its limit"},
		"no byte":          {nil, func(r *Reader) { r.Byte() }, "cut off"},
		"too short":        {[]byte{1, 2}, func(r *Reader) { r.Fill(make([]byte, 3)) }, "cut off"},
		"bytes beyond end": {[]byte{3, 1, 2}, func(r *Reader) { r.Bytes() }, "a length beyond the end"},
		"text beyond end":  {[]byte{3, 1, 2}, func(r *Reader) { r.Text(9) }, "a length beyond the end"},
		"a long text":      {[]byte{3, 1, 2, 3}, func(r *Reader) { r.Text(2) }, "a number beyond its limit"},
		"something left":   {[]byte{1}, func(r *Reader) { r.End() }, "bytes after the end"},
	} {
		r := Reader{Rest: c.b}
		c.read(&r)
		r.Check(false, "a later fault")
		r.Stop("later number", 1)
		if unknown, fault := r.Fault(); unknown != nil || fault != c.want || !r.Bad() {
			t.Errorf("%s: %v, %q, not %q", name, unknown, fault, c.want)
		}
		if n, b, s, c, f := r.Number(), r.Bytes(), r.Text(9), r.Byte(), r.Flag(); n != 0 || b != nil || s != "" || c != 0 || f || len(r.Rest) > 0 {
			t.Errorf("%s: behind it %d, %q, %q, %d, %v are read, and %d bytes are left", name, n, b, s, c, f, len(r.Rest))
		}
	}
}

// Goal: a number that a later version may know is told as such, with the number. Method: one
// Stop, and a fault behind it.
func TestAnUnknownNumberIsNamed(t *testing.T) {
	r := Reader{Rest: []byte{1, 2, 3}}
	r.Stop("operation", 44)
	r.End()
	unknown, _ := r.Fault()
	if unknown == nil || *unknown != (UnknownError{What: "operation", Number: 44}) || unknown.Error() != "unknown operation 44" {
		t.Errorf("%v", unknown)
	}
}

// Goal: no bytes make the reader fail, allocate beyond them, or read what it does not accept
// when it is written again. Method: the first byte of a pair says which field the rest is.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1}, []byte{0x80, 1, 2, 'a', 'b'})
	f.Fuzz(func(t *testing.T, kinds, b []byte) {
		r := Reader{Rest: b}
		var again []byte
		for _, kind := range kinds {
			switch kind % 4 {
			case 0:
				if n := r.Number(); !r.Bad() {
					again = binary.AppendUvarint(again, n)
				}
			case 1:
				if got := r.Bytes(); !r.Bad() {
					again = append(binary.AppendUvarint(again, uint64(len(got))), got...)
				}
			case 2:
				if got := r.Text(100); !r.Bad() {
					again = append(binary.AppendUvarint(again, uint64(len(got))), got...)
				}
			default:
				if got := r.Byte(); !r.Bad() {
					again = append(again, got)
				}
			}
		}
		if !bytes.Equal(again, b[:len(again)]) {
			t.Errorf("%x is read, and written again it is %x", b, again)
		}
	})
}
