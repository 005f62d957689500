package httpd

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
)

// The answers that are given most often are appended to a buffer, byte for byte as
// encodeJSON writes them. Reflection took eight allocations for each.

// appendKeyName appends an api.KeyName without the brace that ends it.
func appendKeyName(b []byte, key string) []byte {
	switch {
	case isPlain(key):
		b = append(b, `{"key":"`...)
		b = append(b, key...)
	case utf8.ValidString(key): // with something that JSON escapes
		return append(b, bytes.TrimSuffix(encodeJSON(api.NameKey(key), ""), []byte("}\n"))...)
	default:
		b = append(b, `{"key_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(key))
	}
	return append(b, '"')
}

// isPlain reports whether a JSON string holds a text as it is: printable ASCII
// without quotes and backslashes. The others are rare and are left to encoding/json.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return text != ""
}

// appendVersions appends the fields revision and version.
func appendVersions(b []byte, revision, version uint64) []byte {
	b = append(b, `,"revision":`...)
	b = strconv.AppendUint(b, revision, 10)
	b = append(b, `,"version":`...)
	return strconv.AppendUint(b, version, 10)
}

// appendWritten appends an api.Written and the end of the line.
func appendWritten(b []byte, key string, r kv.Result) []byte {
	b = appendVersions(appendKeyName(b, key), r.Revision, r.Version)
	return append(b, "}\n"...)
}

// appendAppended appends an api.Appended and the end of the line.
func appendAppended(b []byte, key string, r kv.Result) []byte {
	b = appendVersions(appendKeyName(b, key), r.Revision, r.Version)
	b = append(b, `,"length":`...)
	b = strconv.AppendUint(b, r.Length, 10)
	return append(b, "}\n"...)
}
