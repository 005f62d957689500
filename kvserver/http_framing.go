package kvserver

import (
	"bytes"
	"net/http"

	"raftkv/kvserver/failure"
)

// rawHead is what the bytes of a request's header say about where its body ends.
// net/http removes some of it: Content-Length beside Transfer-Encoding, and
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

// judgeFraming returns why a request must be refused because two readers may
// disagree about where it ends, or nil. last says that the request must be the
// last one on its connection, whether it is served or refused: what a client, or
// a proxy before it, takes for the body, this server might take for a request.
//
// A connection goes on only behind a request of HTTP/1.1 that has no body, or one
// that a single Content-Length measures.
func judgeFraming(r *http.Request) (err error, last bool) {
	if r.ProtoMajor != 1 || r.ProtoMinor > 1 {
		return failure.Of(failure.Version, nil, "the version of HTTP is %.20q; this node speaks HTTP/1.1 and HTTP/1.0", r.Proto), true
	}
	conn := connOf(r)
	head := conn.rawHead(r)
	old, coded := r.ProtoMinor == 0, len(r.TransferEncoding) > 0 || head.codings > 0
	last = old || coded || head.lengths > 1 || head.bareLF || head.oddLength
	switch {
	case conn == nil: // a port without a clientListener, which sees no bytes
	case !head.known && (coded || old):
		err = failure.Of(failure.BadRequest, nil, "a request with Transfer-Encoding, or of HTTP/1.0, came before the one ahead of it was answered; wait for the answer or send Content-Length")
	case coded && old:
		err = failure.Of(failure.BadRequest, nil, "a request of HTTP/1.0 has Transfer-Encoding, which begins with HTTP/1.1; send Content-Length")
	case coded && head.lengths > 0:
		err = failure.Of(failure.BadRequest, nil, "the request has both Transfer-Encoding and Content-Length; send one of them")
	case head.oddLength:
		err = failure.Of(failure.BadRequest, nil, "Content-Length is not a plain decimal number, or begins with a 0 too many")
	case head.bareLF && r.ContentLength != 0:
		err = failure.Of(failure.BadRequest, nil, "a line of the header ends with LF alone; a request with a body must end its lines with CR LF")
	}
	return err, last
}

// rawHead reads the header of the request that is being served as it came.
func (c *clientConn) rawHead(r *http.Request) (h rawHead) {
	if c == nil {
		return h
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	line := []byte(r.Method + " " + r.RequestURI + " " + r.Proto)
	head := bytes.TrimLeft(c.record, "\r\n")
	rest, isWhole := bytes.CutPrefix(head, line)
	if !isWhole {
		// net/http may have taken the first byte while the answer before was on its
		// way: it looks for the client's end then.
		rest, isWhole = bytes.CutPrefix(head, line[1:])
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
			_, isPlain := parseNumber(string(bytes.TrimSpace(value)))
			h.oddLength = h.oddLength || !isPlain
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			h.codings++
		}
	}
	return h
}
