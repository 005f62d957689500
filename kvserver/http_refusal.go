package kvserver

import (
	"bytes"
	"strconv"

	"raftkv/kvserver/failure"
)

// netHTTPRefusal returns the error behind an answer that net/http gives by
// itself, and nil for any other bytes. Such an answer is written at once and
// looks like this:
//
//	HTTP/1.1 400 Bad Request: missing required Host header
//	Content-Type: text/plain; charset=utf-8
//	Connection: close
//
//	400 Bad Request: missing required Host header
//
// Should a later net/http write it differently it would reach the client as it
// is.
func netHTTPRefusal(answer []byte) error {
	line, rest, _ := bytes.Cut(answer, []byte("\r\n"))
	text, isHTTP := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !isHTTP || len(text) < 4 {
		return nil
	}
	status, err := strconv.Atoi(string(text[:3]))
	if err != nil || status < 400 {
		return nil
	}
	const header = "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	if status != 417 && !bytes.HasPrefix(rest, []byte(header)) {
		return nil
	}
	_, detail, _ := bytes.Cut(text, []byte(": "))
	switch status {
	case 417:
		return failure.Of(failure.Expectation, nil, "the only expectation that can be met is 100-continue")
	case 431:
		return failure.Of(failure.HeaderTooLarge, nil, "the header has more than %d bytes", maxHeaderBytes)
	case 501:
		return failure.Of(failure.NotImplemented, nil, "the only transfer coding is chunked")
	case 505:
		return failure.Of(failure.Version, nil, "the version of HTTP is not 1.0 or 1.1")
	}
	if len(detail) == 0 {
		// It gives no reason for the mistake that is made most often: a key as it is.
		return failure.Of(failure.BadRequest, nil, "this is not a request of HTTP/1.1; if a key in the path holds a space, a control character or %%, send them as %%20, %%01 or %%25")
	}
	return failure.Of(failure.BadRequest, nil, "this is not a request of HTTP/1.1: %s", detail)
}
