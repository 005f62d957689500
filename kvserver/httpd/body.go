package httpd

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/port"
)

// checkLength decides by the header alone whether the body may be read, and
// returns how many bytes it can have.
func (x *exchange) checkLength() (int64, error) {
	limit := x.bodyLimit()
	switch length := x.r.ContentLength; {
	case length > limit:
		if x.r.Header.Get("Expect") == "" {
			// Bytes of the body are on their way, and closing on them would reset
			// the connection before the client has read the answer. net/http waits
			// a moment if it saw a limit exceeded; one byte shows it that.
			_, _ = http.MaxBytesReader(x.w, x.r.Body, 0).Read(make([]byte, 1))
		}
		return 0, x.tooLarge(length)
	case length < 0: // chunked: the length will show
		return limit, nil
	case length == 0 && len(x.r.Header["Content-Length"]) == 0:
		// A forgotten body must not empty a value. It may come all the same, behind
		// the header, and would be taken for the next request.
		x.w.Header().Set("Connection", "close")
		return 0, failure.Of(failure.LengthRequired, nil, "there is no body; for an empty value send Content-Length: 0")
	default:
		return length, nil
	}
}

// hasBody reports whether the request has a body of at least one byte. Another node passes
// a request without one on as one of unknown length, which is empty: net/http repeats
// requests of which it knows that they have no body.
func (x *exchange) hasBody() bool {
	if x.r.ContentLength >= 0 {
		return x.r.ContentLength > 0
	}
	first := make([]byte, 1)
	n, err := io.ReadFull(x.r.Body, first)
	x.r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(first[:n]), x.r.Body), x.r.Body}
	return n > 0 || err != io.EOF
}

// tooLarge refuses a body for its length, -1 if that is not known. The connection
// ends with the answer, so that nothing past the limit has to be read.
func (x *exchange) tooLarge(length int64) error {
	x.w.Header().Set("Connection", "close")
	switch limit := x.bodyLimit(); x.route.Path {
	case txnPath:
		return failure.Of(failure.TxnTooLarge, nil, "the transaction has more than %d bytes, the limit of this node (--max-txn-bytes); split it", limit)
	case lockPath:
		return failure.Of(failure.ValueTooLarge, nil, "the value has more than %d bytes, which that of a lock may have; publish a key that holds it", limit)
	}
	return x.door.server.CheckValue(length)
}

// bodyLimit is the length of the longest body that the request may have.
func (x *exchange) bodyLimit() int64 {
	switch x.route.Path {
	case txnPath:
		return x.door.server.Config().MaxTxnBytes
	case lockPath:
		return api.MaxLockValueBytes
	}
	return x.door.maxValueBytes
}

const (
	// firstBodyBytes bounds what is set aside for a body before its bytes come,
	// nextBodyBytes what is set aside when those have come. Thousands of clients may
	// announce a body and not send it.
	firstBodyBytes = 1 << 10
	nextBodyBytes  = 4 << 10
	// smallBodyBytes is up to where a body may use the memory that large ones
	// must leave: a quarter of it.
	smallBodyBytes = 64 << 10
)

// body is a request's body, read whole. The memory it takes is accounted for
// until it is released.
type body struct {
	bytes    []byte
	budget   *kvserver.Budget
	reserved int64
}

// release gives the memory back. It may be called again.
func (b *body) release() {
	b.budget.Give(b.reserved)
	b.reserved = 0
}

// grow makes room for more bytes, or reports that the server has none.
func (b *body) grow(length int64) bool {
	ahead := int64(nextBodyBytes)
	if len(b.bytes) == 0 {
		ahead = firstBodyBytes
	}
	more := max(int64(cap(b.bytes)), min(length, ahead)+1)
	if left := length + 1 - int64(len(b.bytes)); left > 0 {
		more = min(more, left)
	}
	reserve := int64(0)
	if int64(cap(b.bytes))+more > smallBodyBytes {
		reserve = b.budget.Limit() / 4
	}
	if !b.budget.Take(more, reserve) {
		return false
	}
	b.reserved += more
	grown := make([]byte, len(b.bytes), int64(cap(b.bytes))+more)
	copy(grown, b.bytes)
	b.bytes = grown
	return true
}

// readBody reads the body, which the header says has length bytes at most. The
// client must keep up a minimum rate; see port.Port.AllowReading. The body must be released, also
// after an error.
func (x *exchange) readBody(length int64) (*body, error) {
	b := &x.body
	b.budget = x.door.server.Bodies()
	err := x.charge(0)
	if err == nil {
		err = x.readWhole(b, length)
		if charged := x.charge(len(b.bytes)); err == nil {
			err = charged
		}
	}
	return b, err
}

// charge counts bytes of a body that were read for the limits of the caller, if let could not
// count them by the header; see access.Gate.Charge.
func (x *exchange) charge(bytes int) error {
	if x.r.ContentLength >= 0 || !x.counted {
		return nil
	}
	return x.door.server.Gate().Charge(&x.who, int64(bytes))
}

// readWhole reads the body into b.
func (x *exchange) readWhole(b *body, length int64) error {
	from := x.r.Body
	if x.r.ContentLength < 0 { // otherwise net/http reads no further than that, which was checked
		from = http.MaxBytesReader(x.w, from, x.bodyLimit())
	}
	for {
		if len(b.bytes) == cap(b.bytes) {
			if !b.grow(length) {
				return x.door.server.NoMemory()
			}
			x.allowReading(len(b.bytes))
		}
		n, err := from.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		var tooLarge *http.MaxBytesError
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			x.conn.Serving()
			return nil
		case errors.As(err, &tooLarge):
			return x.tooLarge(-1)
		default:
			return failure.Of(failure.BadRequest, err, "the body ended after %d bytes, before it was complete", len(b.bytes))
		}
	}
}

// jsonBody reads a small body that must say that it is JSON: a form that some
// page made a browser send does not. example says what it could be.
func (x *exchange) jsonBody(limit int64, example string) ([]byte, error) {
	if err := x.checkJSON(example); err != nil {
		return nil, err
	}
	if x.r.ContentLength > limit {
		return nil, failure.Of(failure.ValueTooLarge, nil, "the body has %d bytes; the limit is %d", x.r.ContentLength, limit)
	}
	if err := x.charge(0); err != nil {
		return nil, err
	}
	x.allowReading(0)
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, limit))
	charged := x.charge(len(body))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, failure.Of(failure.ValueTooLarge, err, "the body has more than %d bytes, the limit", limit)
	}
	if err != nil {
		return nil, failure.Of(failure.BadRequest, err, "the body ended after %d bytes, before it was complete", len(body))
	}
	port.Of(x.r).Serving()
	return body, charged
}

// checkJSON refuses a body that does not say that it is JSON.
func (x *exchange) checkJSON(example string) error {
	media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || media != api.MediaJSON {
		return failure.Of(failure.UnsupportedMedia, err, "the body must be JSON, with Content-Type: %s, as in %s", api.MediaJSON, example)
	}
	return nil
}
