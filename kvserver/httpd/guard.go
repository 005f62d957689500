package httpd

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"raftkv/kvserver/failure"
	"raftkv/kvserver/httpd/page"
	"raftkv/kvserver/port"
)

// guard lets requests through to the router that may come in at all, whatever
// they ask for.
type guard struct {
	door   *Door
	next   http.Handler
	origin *http.CrossOriginProtection
}

func newGuard(d *Door, next http.Handler) http.Handler {
	return &guard{door: d, next: next, origin: http.NewCrossOriginProtection()}
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err, last := port.JudgeFraming(r)
	if last {
		// This is set before anything is answered, so that a refusal ends the
		// connection, too.
		w.Header().Set("Connection", "close")
	}
	if err == nil {
		err = g.check(r)
	}
	if err != nil {
		g.door.handle(func(x *exchange) error {
			x.meetStranger()
			return err
		})(w, r)
		return
	}
	g.next.ServeHTTP(w, r)
}

// check returns why a request must not come in, or nil.
func (g *guard) check(r *http.Request) error {
	if !g.door.isOwnName(r.Host) {
		return failure.Of(failure.UnknownHost, nil, "this node does not serve the host %.80q; if clients are to reach it by that name, list it in --allowed-hosts", r.Host)
	}
	if err := g.origin.Check(r); err != nil {
		return failure.Of(failure.Forbidden, err, "a page of another site may not make a browser send this")
	}
	if writes := r.Method != http.MethodGet && r.Method != http.MethodHead; writes && r.Header["Origin"] != nil && g.door.config.Page != page.On {
		return failure.Of(failure.Forbidden, nil, "a browser may write nothing here; --ui=on on this node allows it to the page at %s", pagePath)
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return failure.Of(failure.UnsupportedMedia, nil, "the body has the content coding %.40q; send it without one", coding)
	}
	return nil
}

// isOwnName reports whether a request may be addressed to this host. A page
// whose own name was pointed at this node's address (DNS rebinding) is known by
// that name: it cannot make a browser send another one. So addresses are always
// right, and of names those of loopback and those that were configured.
func (d *Door) isOwnName(hostport string) bool {
	host := strings.ToLower(hostOf(hostport))
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true // without a Host there is no browser
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return slices.ContainsFunc(d.config.AllowedHosts, func(allowed string) bool {
		return allowed == "*" || strings.EqualFold(hostOf(allowed), host)
	})
}

// hostOf returns a host without its port, the brackets of an IPv6 address and
// the dot that may end a name.
func hostOf(hostport string) string {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.TrimSuffix(host, ".")
}
