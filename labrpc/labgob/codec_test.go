package labgob

import (
	"bytes"
	"encoding/gob"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

// Goods are of every shape that the labs send.
type Goods struct {
	Whole  int
	Small  uint8
	Part   float64
	Sure   bool
	Name   string
	Raw    []byte
	Some   []Item
	Pair   [2]string
	Prices map[string]*Item
	Next   *Goods
	Any    any
	Anys   []any
}

type Item struct {
	Price int
	Tags  map[string]bool
}

// Note is an Item that only interfaces hold.
type Note struct{ Text string }

// Memo is registered under a name of its own.
type Memo struct{ Text string }

func init() {
	Register(Note{})
	RegisterName("a memo", Memo{})
}

func goods() Goods {
	return Goods{
		Whole: -7, Small: 255, Part: 0.5, Sure: true, Name: "n", Raw: []byte{0, 1},
		Some: []Item{{1, nil}, {2, map[string]bool{"t": true}}}, Pair: [2]string{"", "b"},
		Prices: map[string]*Item{"p": {3, nil}}, Next: &Goods{Any: Note{"hello"}},
		Any: 5, Anys: []any{nil, "s", Note{"n"}, Memo{"m"}},
	}
}

// Goal: what is encoded is decoded again, value after value, by labgob and by
// gob in either direction: the stream and the registry are gob's. Method: all
// four pairs, three values of two types.
func TestRoundTrip(t *testing.T) {
	type encoder interface{ Encode(any) error }
	type decoder interface{ Decode(any) error }
	encoders := map[string]func(io.Writer) encoder{
		"labgob": func(w io.Writer) encoder { return NewEncoder(w) },
		"gob":    func(w io.Writer) encoder { return gob.NewEncoder(w) },
	}
	decoders := map[string]func(io.Reader) decoder{
		"labgob": func(r io.Reader) decoder { return NewDecoder(r) },
		"gob":    func(r io.Reader) decoder { return gob.NewDecoder(r) },
	}
	for from, newEncoder := range encoders {
		for to, newDecoder := range decoders {
			var stream bytes.Buffer
			enc := newEncoder(&stream)
			first := goods()
			for _, value := range []any{first, 42, &first} {
				if err := enc.Encode(value); err != nil {
					t.Fatalf("%s: %v", from, err)
				}
			}
			dec := newDecoder(&stream)
			var a, b Goods
			var number int
			for _, variable := range []any{&a, &number, &b} {
				if err := dec.Decode(variable); err != nil {
					t.Fatalf("%s to %s: %v", from, to, err)
				}
			}
			if !reflect.DeepEqual(a, first) || !reflect.DeepEqual(b, first) || number != 42 {
				t.Fatalf("%s to %s: %+v, %d, %+v", from, to, a, number, b)
			}
			if err := dec.Decode(new(int)); err != io.EOF {
				t.Fatalf("%s to %s: after the last value: %v", from, to, err)
			}
		}
	}
}

// Goal: a fresh encoder describes the types again, so that its output stands
// alone and always has the same length; the same encoder does so once. Method:
// lengths of the same value.
func TestEncoderDescribesTypesOnce(t *testing.T) {
	var one, other bytes.Buffer
	enc := NewEncoder(&one)
	if err := enc.Encode(Item{Price: 1}); err != nil {
		t.Fatal(err)
	}
	first := one.Len()
	if err := enc.Encode(Item{Price: 1}); err != nil {
		t.Fatal(err)
	}
	if err := NewEncoder(&other).Encode(Item{Price: 1}); err != nil {
		t.Fatal(err)
	}
	if second := one.Len() - first; second >= first || other.Len() != first {
		t.Fatalf("%d bytes, then %d; from another encoder %d", first, second, other.Len())
	}
}

// Goal: EncodeValue is Encode. Method: the same bytes.
func TestEncodeValue(t *testing.T) {
	var one, other bytes.Buffer
	item := Item{Price: 9}
	if err := NewEncoder(&one).Encode(&item); err != nil {
		t.Fatal(err)
	}
	if err := NewEncoder(&other).EncodeValue(reflect.ValueOf(&item)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), other.Bytes()) {
		t.Fatal("different encodings of one value")
	}
}

// Goal: nil has no type and panics; a nil inside a value is sent. Method: both
// ways to pass nil, then nil interfaces in a struct and in a slice.
func TestNil(t *testing.T) {
	for name, encode := range map[string]func(enc *LabEncoder) error{
		"Encode":      func(enc *LabEncoder) error { return enc.Encode(nil) },
		"EncodeValue": func(enc *LabEncoder) error { return enc.EncodeValue(reflect.Value{}) },
	} {
		func() {
			defer func() {
				if says, ok := recover().(string); !ok || !strings.Contains(says, "labgob: nil") {
					t.Errorf("%s of nil: panic %q", name, says)
				}
			}()
			_ = encode(NewEncoder(io.Discard))
		}()
	}
	var stream bytes.Buffer
	enc := NewEncoder(&stream)
	for _, value := range []any{Item{Price: 1}, Goods{Whole: 1, Anys: []any{nil, 1, nil}}} {
		if err := enc.Encode(value); err != nil {
			t.Fatal(err)
		}
	}
	dec := NewDecoder(&stream)
	if err := dec.Decode(nil); err != nil {
		t.Fatalf("skipping a value: %v", err)
	}
	var got Goods
	if err := dec.Decode(&got); err != nil || got.Any != nil || !reflect.DeepEqual(got.Anys, []any{nil, 1, nil}) {
		t.Fatalf("%+v, %v", got, err)
	}
}

// Goal: errors of gob and of the stream come through, and none of them is a
// panic. Method: one of each kind.
func TestErrors(t *testing.T) {
	if err := NewEncoder(io.Discard).Encode(make(chan int)); err == nil {
		t.Error("a channel was encoded")
	}
	broken := errors.New("broken")
	if err := NewEncoder(writer(func([]byte) (int, error) { return 0, broken })).Encode(1); !errors.Is(err, broken) {
		t.Errorf("the writer's error became %v", err)
	}
	var stream bytes.Buffer
	if err := NewEncoder(&stream).Encode("text"); err != nil {
		t.Fatal(err)
	}
	whole := stream.Bytes()
	for name, variable := range map[string]any{"another type": new(int), "no pointer": 1, "nil pointer": (*string)(nil)} {
		if err := NewDecoder(bytes.NewReader(whole)).Decode(variable); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for cut := range whole {
		if err := NewDecoder(bytes.NewReader(whole[:cut])).Decode(new(string)); err == nil {
			t.Errorf("no error after %d of %d bytes", cut, len(whole))
		}
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
