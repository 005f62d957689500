package httpd

import (
	"net/http"
	"strings"

	"raftkv/kvserver/port"
)

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
		u.Scheme = "https" // who came by TLS goes on by TLS
	}
	u.Path, u.RawPath = x.r.URL.Path, keepDots(x.r.URL.EscapedPath())
	x.w.Header().Set("Location", u.String())
	x.answer(http.StatusTemporaryRedirect, nil)
	return true, nil
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
