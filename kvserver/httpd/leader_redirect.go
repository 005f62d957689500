package httpd

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/port"
)

// maxTransferBytes bounds the body of a request to transfer leadership.
const maxTransferBytes = 4 << 10

// serveTransfer hands leadership to another node. Like a write it may come to
// any node and is passed on to the leader.
func (d *Door) serveTransfer(x *exchange) error {
	body := []byte("{}") // of a request without one
	if x.hasBody() {
		var err error
		if body, err = x.jsonBody(maxTransferBytes, `{"to":"n2"} or {}; without a body the node that is most fit takes over`); err != nil {
			return err
		}
	} else {
		x.r.Header.Set("Content-Type", api.MediaJSON) // for the leader
	}
	to, err := parseTransfer(body)
	if err != nil {
		return err
	}
	mayForward, err := x.mayForward()
	if err != nil {
		return err
	}
	ctx, cancel := x.context()
	defer cancel()
	elsewhere, err := d.server.Transfer(ctx, &x.who, x.route.Right, to, x.remote(mayForward, body))
	switch {
	case err != nil:
		return err
	case elsewhere:
		x.relay()
		return nil
	}
	leader, term := d.server.Leader()
	return x.answerJSON(http.StatusOK, api.Leader{Leader: leader, Term: term})
}

// parseTransfer reads an api.Transfer: one object, no field that is unknown or
// there twice, and nothing behind it.
func parseTransfer(body []byte) (to string, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	token, err := d.Token()
	for given := false; err == nil && d.More(); given = true {
		var name json.Token
		var value string
		if name, err = d.Token(); err == nil && (given || name != "to") {
			err = errors.New(`the only field is "to"`)
		}
		if err == nil {
			err = d.Decode(&value)
		}
		to = value
	}
	if err == nil {
		_, err = d.Token()
	}
	if _, trailing := d.Token(); err != nil || token != json.Delim('{') || trailing != io.EOF {
		return "", failure.Of(failure.BadRequest, err, `the body must be an object such as {"to":"n2"}, or {} for whoever is most fit`)
	}
	return to, nil
}

// redirect sends a client to the leader that asks for that with ?redirect, in
// place of being served through this node. It returns false if the request is
// to be served here.
func (d *Door) redirect(x *exchange) (sent bool, err error) {
	asked, err := x.flag("redirect")
	if !asked || err != nil {
		return false, err
	}
	ctx, cancel := x.context()
	defer cancel()
	address, here, err := d.server.FindLeader(ctx)
	if here || err != nil {
		return false, err
	}
	u := *x.r.URL
	u.Scheme, u.Host, u.User = "http", address, nil
	if port.Of(x.r).Secret() {
		u.Scheme = "https" // a client that came by TLS goes on by TLS
	}
	u.Path, u.RawPath = x.r.URL.Path, keepDots(x.r.URL.EscapedPath())
	x.w.Header().Set("Location", u.String())
	x.answer(http.StatusTemporaryRedirect, nil)
	return true, nil
}

// redirectCommand is redirect for a command, about which is decided before: it may need more
// than its route says, and a caller without that right is not told where the leader is.
func (d *Door) redirectCommand(x *exchange, c *kv.Command) (sent bool, err error) {
	if err := d.server.MayAsk(&x.who, c); err != nil {
		return false, err
	}
	return d.redirect(x)
}

// keepDots percent-encodes the dots of a path's segments that are nothing but
// dots: in a key they are bytes like others, and a client that follows a link
// would take them for directions.
func keepDots(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if segment == "." || segment == ".." {
			segments[i] = strings.ReplaceAll(segment, ".", "%2E")
		}
	}
	return strings.Join(segments, "/")
}
