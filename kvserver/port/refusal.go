package port

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"time"

	"raftkv/kvserver/failure"
)

// maxRefusals bounds the refused connections to which the refusal is sent with care,
// and so does an eighth of the places; others are just closed.
const maxRefusals = 64

// refuse tells a client that there is no room, as far as that costs nothing.
func (p *Port) refuse(conn net.Conn) {
	if p.config.TLS != nil && p.config.TLS.Required {
		conn.Close() // a handshake would cost more than a place
		return
	}
	if p.refusals.Add(1) > int64(max(1, min(maxRefusals, p.config.MaxConnections/8))) {
		p.refusals.Add(-1)
		conn.Close()
		return
	}
	go func() {
		defer p.refusals.Add(-1)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		err := failure.Of(failure.Overloaded, nil, "too many connections (limit %d, --max-connections; %d from one address, --max-connections-per-ip, 0 for no limit); close some, or connect to another node", p.config.MaxConnections, p.config.MaxPerIP)
		if _, err := conn.Write(p.config.Problem(err)); err != nil {
			return
		}
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		// What the client is still sending would reset the connection before the
		// answer is read.
		_, _ = io.CopyN(io.Discard, conn, 64<<10)
	}()
}

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
		return failure.Of(failure.HeaderTooLarge, nil, "the header has more than %d bytes", MaxHeaderBytes)
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
