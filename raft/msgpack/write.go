package msgpack

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// AppendArray adds the header of an array of n items, 0 to 65535.
func AppendArray(dst []byte, n int) []byte {
	if n <= 15 {
		return append(dst, 0x90|byte(n))
	}
	if n > math.MaxUint16 {
		panic(fmt.Sprintf("msgpack: an array of %d items; the longest has %d", n, math.MaxUint16))
	}
	return binary.BigEndian.AppendUint16(append(dst, 0xdc), uint16(n))
}

// AppendUint adds an unsigned number.
func AppendUint(dst []byte, v uint64) []byte {
	switch {
	case v <= 0x7f:
		return append(dst, byte(v))
	case v <= math.MaxUint8:
		return append(dst, 0xcc, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), v)
}

// AppendBool adds a truth value.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 0xc3)
	}
	return append(dst, 0xc2)
}

// AppendString adds a string.
func AppendString(dst []byte, s string) []byte {
	if len(s) <= 31 {
		dst = append(dst, 0xa0|byte(len(s)))
	} else {
		dst = appendLength(dst, 0xd9, len(s))
	}
	return append(dst, s...)
}

// AppendBytes adds a byte string.
func AppendBytes[B ~[]byte | ~string](dst []byte, b B) []byte {
	return append(AppendBytesHeader(dst, len(b)), b...)
}

// AppendBytesHeader adds what stands before a byte string of n bytes, which the caller
// adds behind it.
func AppendBytesHeader(dst []byte, n int) []byte { return appendLength(dst, 0xc4, n) }

// AppendExtensionHeader adds the header of an extension of the given type with n
// bytes, which the caller adds behind it.
func AppendExtensionHeader(dst []byte, typ byte, n int) []byte {
	switch n {
	case 1, 2, 4, 8, 16:
		dst = append(dst, 0xd4+byte(bits.TrailingZeros(uint(n))))
	default:
		dst = appendLength(dst, 0xc7, n)
	}
	return append(dst, typ)
}

// appendLength adds a length in one, two or four bytes, announced by first or
// one of the two above it.
func appendLength(dst []byte, first byte, n int) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(dst, first, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, first+1), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, first+2), uint32(n))
	}
	panic(fmt.Sprintf("msgpack: %d bytes in one item", n))
}
