package labgob

import (
	"encoding/gob"
	"io"
	"reflect"
)

// LabEncoder encodes values onto a stream, and describes each type the first
// time that a value of it is encoded; NewEncoder makes it. It is safe for
// concurrent use.
type LabEncoder struct {
	gob *gob.Encoder
}

// LabDecoder decodes values from a stream that a LabEncoder, or a gob.Encoder,
// wrote; NewDecoder makes it. It is safe for concurrent use.
type LabDecoder struct {
	gob *gob.Decoder
}

// NewEncoder returns an encoder that writes to w.
func NewEncoder(w io.Writer) *LabEncoder {
	return &LabEncoder{gob: gob.NewEncoder(w)}
}

// NewDecoder returns a decoder that reads from r, possibly more than it needs.
func NewDecoder(r io.Reader) *LabDecoder {
	return &LabDecoder{gob: gob.NewDecoder(r)}
}

// Encode writes a value, or the value that it points to. It panics on nil, which
// has no type to encode; an interface that holds nil inside a value is allowed.
// The error is gob's, or the writer's.
func (enc *LabEncoder) Encode(e any) error {
	return enc.EncodeValue(reflect.ValueOf(e))
}

// EncodeValue does the same as Encode for a reflect.Value.
func (enc *LabEncoder) EncodeValue(value reflect.Value) error {
	if !value.IsValid() {
		panic("labgob: nil cannot be encoded; encode a value, or a pointer to one")
	}
	checkType(value.Type())
	return enc.gob.EncodeValue(value)
}

// Decode reads the next value into the variable that e points to, which should be
// zero: fields that were zero when encoded keep their present values. With nil it
// skips the value. The error is gob's, or io.EOF at the end of the stream.
func (dec *LabDecoder) Decode(e any) error {
	checkType(reflect.TypeOf(e))
	checkDefault(e)
	return dec.gob.Decode(e)
}

// Register makes values of this type known to gob, which allows them to be
// held by interfaces in what is encoded and decoded. It panics if the type or
// its name stands for something else already.
func Register(value any) {
	checkType(reflect.TypeOf(value))
	gob.Register(value)
}

// RegisterName does the same as Register under a name of the caller's choice.
func RegisterName(name string, value any) {
	checkType(reflect.TypeOf(value))
	gob.RegisterName(name, value)
}
