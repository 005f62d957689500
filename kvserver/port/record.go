package port

import (
	"bytes"
	"net/http"
)

// smallPiece is how many bytes of a body may be read without entering the gate.
const smallPiece = 64

// maxRecorded bounds the record: net/http reads a little past its own limit.
const maxRecorded = MaxHeaderBytes + 8<<10

// note keeps the header of the request that is coming, and reports whether what
// has come gives the server more to do than to read on. A part of a header does
// not, and a small piece of a body hardly ever: thousands of clients that send such at
// the same moment are not to queue at the gate for it.
func (c *Conn) note(p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.recording {
		return len(p) > smallPiece
	}
	searched := max(len(c.record)-3, 0)
	c.record = append(c.record, p[:min(len(p), maxRecorded-len(c.record))]...)
	c.recording = len(c.record) < maxRecorded && !bytes.Contains(c.record[searched:], []byte("\r\n\r\n"))
	return !c.recording
}

// rawHead is what the bytes of a request's header say about where its body ends.
// net/http removes some of it: Content-Length next to Transfer-Encoding, and
// Transfer-Encoding from a request of HTTP/1.0.
type rawHead struct {
	// known is false if the header was not seen by itself, because the request
	// came before the one ahead of it was answered.
	known     bool
	lengths   int  // fields Content-Length
	codings   int  // fields Transfer-Encoding
	bareLF    bool // a line ends with LF alone
	oddLength bool // a Content-Length is not written in the shortest way, as 010
}

// cutLine cuts the first line of a request, without its end, from the front of head.
// method is what it begins with.
func cutLine(head []byte, method string, r *http.Request) (rest []byte, found bool) {
	for _, part := range [...]string{method, " ", r.RequestURI, " ", r.Proto} {
		if len(head) < len(part) || string(head[:len(part)]) != part {
			return nil, false
		}
		head = head[len(part):]
	}
	return head, true
}

// rawHead reads the header of the request that is being served as it came.
func (c *Conn) rawHead(r *http.Request) (h rawHead) {
	if c == nil {
		return h
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	head := bytes.TrimLeft(c.record, "\r\n")
	rest, isWhole := cutLine(head, r.Method, r)
	if !isWhole && r.Method != "" {
		// net/http may have taken the first byte while the answer before was on its
		// way: it looks for the client's end then.
		rest, isWhole = cutLine(head, r.Method[1:], r)
	}
	if !isWhole {
		return h
	}
	h.known = true
	end, fields, _ := bytes.Cut(rest, []byte("\n")) // of the first line
	h.bareLF = !bytes.HasSuffix(end, []byte("\r"))
	for field := range bytes.Lines(fields) {
		h.bareLF = h.bareLF || bytes.HasSuffix(field, []byte("\n")) && !bytes.HasSuffix(field, []byte("\r\n"))
		text := bytes.TrimSpace(field)
		if len(text) == 0 {
			break
		}
		name, value, _ := bytes.Cut(text, []byte(":"))
		switch name = bytes.TrimSpace(name); {
		case bytes.EqualFold(name, []byte("Content-Length")):
			h.lengths++
			_, isPlain := ParseNumber(string(bytes.TrimSpace(value)))
			h.oddLength = h.oddLength || !isPlain
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			h.codings++
		}
	}
	return h
}
