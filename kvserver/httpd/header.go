package httpd

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strconv"
	"unicode/utf8"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
)

// Values of headers that are the same in all answers which have them. An answer's
// header holds these very slices, so nothing may change their elements. Their
// capacity is 1: what appends to one gets a copy.
var (
	valueNoStore      = []string{"no-store"}
	valueNoCache      = []string{"no-cache"}
	valueNosniff      = []string{"nosniff"}
	valueNoReferrer   = []string{"no-referrer"}
	valueAccept       = []string{"Accept"}
	valueClose        = []string{"close"}
	valueJSON         = []string{api.MediaJSON}
	valueBytes        = []string{"application/octet-stream"}
	valueLinearizable = []string{api.ConsistencyLinearizable}
	valueStale        = []string{api.ConsistencyStale}
	valuePinned       = []string{api.ConsistencyPinned}
)

// leaderStamp is the headers that name a leader in its term. It is not changed once
// it is made.
type leaderStamp struct {
	leader                  string // "": none is known
	term                    uint64
	leaderValue, termValues []string
}

// leaderStamp returns the headers for the leader that the server knows now. They
// change with the leader, so the last ones are kept.
func (d *Door) leaderStamp() *leaderStamp {
	leader, term := d.server.Leader()
	if s := d.stamped.Load(); s != nil && s.leader == leader && s.term == term {
		return s
	}
	s := &leaderStamp{leader: leader, term: term, leaderValue: []string{leader}, termValues: []string{strconv.FormatUint(term, 10)}}
	d.stamped.Store(s)
	return s
}

// stampHeader sets what every answer says: which node answers and what it knows.
// requestID is a slice of one element, which the header keeps.
func (d *Door) stampHeader(h http.Header, requestID []string) {
	s := d.leaderStamp()
	h[api.HeaderNode] = d.nodeValue
	h[api.HeaderLeader] = s.leaderValue
	h[api.HeaderTerm] = s.termValues
	h[api.HeaderRequestID] = requestID
	stampSafety(h)
}

// unstampNode takes the node, and what it knows of the cluster, out of the header of an answer.
func unstampNode(h http.Header) {
	for _, name := range []string{api.HeaderNode, api.HeaderLeader, api.HeaderTerm, api.HeaderConfiguration} {
		h.Del(name)
	}
}

// stampSafety says what no cache, browser or site may make of an answer.
func stampSafety(h http.Header) {
	// What was read a moment ago is not linearizable any more.
	h["Cache-Control"] = valueNoStore
	h["X-Content-Type-Options"] = valueNosniff
	h["Referrer-Policy"] = valueNoReferrer
}

// stampStrict tells a browser that came by TLS to ask this host by TLS alone from now on,
// where the operator wants that. What came in clear is told nothing: an answer in clear
// could be anybody's.
func (x *exchange) stampStrict() {
	if value := x.door.strictValue; value != nil && x.conn.Secret() {
		x.w.Header()["Strict-Transport-Security"] = value
	}
}

// stampConfiguration says which configuration of the members this node knows.
func (x *exchange) stampConfiguration() {
	if known, _ := x.door.server.Configuration(); known.Version != 0 {
		x.w.Header().Set(api.HeaderConfiguration, known.String())
	}
}

// numbers are the headers of one answer that hold a number. Their texts share one
// buffer and become one string when the header is sent, so that an answer with four
// numbers needs one allocation and not eight.
type numbers struct {
	room   [64]byte
	text   []byte
	fields [6]numberField
	count  int
	values [6]string // what the header's slices are cut from
}

// numberField is one header and where its text is.
type numberField struct {
	name     string // as http.CanonicalHeaderKey writes it
	from, to int
}

// stampNumber sets a header to a number. name is in its canonical form.
func (x *exchange) stampNumber(name string, n uint64) {
	from := x.openNumber()
	x.numbers.text = strconv.AppendUint(x.numbers.text, n, 10)
	x.closeNumber(name, from)
}

// stampETag sets the entity tag of a revision.
func (x *exchange) stampETag(revision uint64) {
	from := x.openNumber()
	x.numbers.text = append(x.numbers.text, '"')
	x.numbers.text = strconv.AppendUint(x.numbers.text, revision, 10)
	x.numbers.text = append(x.numbers.text, '"')
	x.closeNumber("Etag", from)
}

// openNumber returns where the next text begins.
func (x *exchange) openNumber() int {
	if x.numbers.text == nil {
		x.numbers.text = x.numbers.room[:0]
	}
	return len(x.numbers.text)
}

// closeNumber ends a text. The header is set when all texts are there; see
// flushNumbers.
func (x *exchange) closeNumber(name string, from int) {
	n := &x.numbers
	n.fields[n.count] = numberField{name: name, from: from, to: len(n.text)}
	n.count++
}

// flushNumbers puts the numbers into the header. A later one of a name counts.
func (x *exchange) flushNumbers(h http.Header) {
	n := &x.numbers
	text := string(n.text)
	for i, f := range n.fields[:n.count] {
		n.values[i] = text[f.from:f.to]
		h[f.name] = n.values[i : i+1 : i+1]
	}
}

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
