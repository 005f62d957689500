package port

import (
	"net/http"
	"strconv"

	"raftkv/kvserver/failure"
)

// JudgeFraming returns why a request must be refused because two readers may
// disagree about where it ends, or nil. last says that the request must be the
// last one on its connection, whether it is served or refused: what a client, or
// a proxy before it, takes for the body, this server might take for a request.
//
// A connection goes on only behind a request of HTTP/1.1 that has no body, or one
// that a single Content-Length measures.
func JudgeFraming(r *http.Request) (err error, last bool) {
	if r.ProtoMajor != 1 || r.ProtoMinor > 1 {
		return failure.Of(failure.Version, nil, "the version of HTTP is %.20q; this node speaks HTTP/1.1 and HTTP/1.0", r.Proto), true
	}
	conn := Of(r)
	head := conn.rawHead(r)
	old, coded := r.ProtoMinor == 0, len(r.TransferEncoding) > 0 || head.codings > 0
	last = old || coded || head.lengths > 1 || head.bareLF || head.oddLength
	switch {
	case conn == nil: // a port without a Listener, which sees no bytes
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

// ParseNumber reads a number as it is written most shortly: digits only.
func ParseNumber(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64) // takes digits alone
	return n, err == nil && (text[0] != '0' || len(text) == 1)
}
