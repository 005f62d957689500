package httpd

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/watch"
)

// authenticate finds the caller of the request. It comes before everything that the
// request says, so that a caller without a token does not even learn which paths
// there are.
//
// The answer to a caller that is no identity says nothing of the cluster, also where
// `anonymous` may do what is asked for.
func (x *exchange) authenticate() error {
	who, err := x.door.server.Gate().Authenticate(x.r.Header["Authorization"])
	who.Remote = x.r.RemoteAddr
	x.who = who
	if !who.Known() && !x.isLink() {
		x.meetStranger()
	}
	return err
}

// isPerson reports whether a request comes from this machine itself, by its name, and
// does not say that it was passed on from elsewhere.
func isPerson(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !isLoopbackName(r.Host) {
		return false
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header[name] != nil {
			return false
		}
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// let lets a request in that its route takes: its caller is known, what it says has a
// meaning, its caller may do that, and has not used up what it may. letOut must be called
// at its end.
func (x *exchange) let(r *route) error {
	right := r.Right
	if right == auth.Open && x.r.URL.RawQuery != "" && r.asksMore(x.r) {
		right = auth.Status
	}
	if right == auth.Open {
		if !x.isVouchedFor() {
			x.meetStranger()
		}
		if err := x.checkAgainst(r.Route); err != nil {
			return err
		}
		// To join needs another kind of token, is an act, and costs the leader a read of its log.
		return x.enter(r, r.Method == http.MethodPost)
	}
	if err := x.authenticate(); err != nil {
		return err
	}
	if err := x.checkAgainst(r.Route); err != nil {
		return err
	}
	linked := false
	if x.door.server.Gate().State() != auth.Off {
		spans, err := r.span(x)
		if err != nil {
			return err
		}
		if err := x.allowAll(right, spans); err != nil {
			return err
		}
		linked = x.isLink()
		if err := x.own(linked); err != nil {
			return err
		}
	}
	return x.enter(r, !linked || r.Path != clerkPath) // which asks for nothing but the connection
}

// enter counts a request in, if it counts for its caller, and takes what its route needs.
func (x *exchange) enter(r *route, counts bool) error {
	if gate := x.door.server.Gate(); counts && gate.State() != auth.Off {
		if err := gate.Enter(&x.who, x.r.ContentLength); err != nil {
			return err
		}
		x.counted = true
	}
	if err := x.reserve(r); err != nil {
		x.letOut()
		return err
	}
	return nil
}

// isVouchedFor reports whether the maker of a request that needs no token is known all the
// same: it sends the token of an identity, or another node passes the request on.
func (x *exchange) isVouchedFor() bool {
	if x.isLink() {
		return true
	}
	lines := x.r.Header["Authorization"]
	if len(lines) == 0 {
		return false
	}
	who, err := x.door.server.Gate().Authenticate(lines)
	return err == nil && who.Known()
}

// ofNodes owns the connections of other nodes, ofNobody those of callers without a token.
// They are the numbers of no identity.
const (
	ofNodes  = auth.Vouched - 1
	ofNobody = auth.Vouched - 2
)

// isLink reports whether another node has proved that the connection of the request is its
// own.
func (x *exchange) isLink() bool {
	proofs := x.r.Header[api.HeaderLink]
	return len(proofs) == 1 && x.door.server.IsLink(x.r.Header.Get(api.HeaderForwarded), proofs[0])
}

// own makes the connection of the request that of its caller, if that is an identity and
// may have one more; one without a token lodges on it. A connection of another node is that
// node's: on it are the requests of many callers, of whom none has made it.
func (x *exchange) own(linked bool) error {
	number := x.who.Author().Identity
	if linked {
		if x.conn.Belongs(ofNodes) {
			return nil
		}
		return x.conn.Belong(ofNodes, func() (func(), error) { return nil, nil })
	}
	if x.conn.Belongs(cmp.Or(number, ofNobody)) {
		return nil
	}
	gate, who := x.door.server.Gate(), x.who
	take := func() (func(), error) {
		return func() { gate.Drop(&who, access.Connections) }, gate.Hold(&who, access.Connections)
	}
	if number == 0 {
		return x.conn.Lodge(ofNobody, take)
	}
	return x.conn.Belong(number, take)
}

// letOut counts the request out that let has counted in.
func (x *exchange) letOut() {
	if x.counted {
		x.counted = false
		x.door.server.Gate().Leave(&x.who, 1)
	}
}

// allowAll decides about several ranges: all of them must be granted.
func (x *exchange) allowAll(right auth.Right, spans []auth.Range) error {
	for _, span := range spans {
		if err := x.door.server.Allow(&x.who, right, span); err != nil {
			return err
		}
	}
	return nil
}

// asksMore reports whether a probe wants to be told what only some may know.
func (r *route) asksMore(request *http.Request) bool {
	return r.Path == "/readyz" && request.URL.Query().Has("verbose")
}

// meetStranger makes the answer say nothing of the cluster while identities are enforced. It
// is for callers that are no identity, and for requests that are answered before anybody has
// asked who makes them.
func (x *exchange) meetStranger() {
	if x.door.server.Gate().State() == auth.Enforcing {
		x.keepSilent()
	}
}

// keepSilent makes the answer say nothing of the cluster.
func (x *exchange) keepSilent() {
	x.silent = true
	if x.drawn { // a name that the client chose is the client's, whatever it begins with
		x.id, x.drawn = x.door.hideInName(x.id), false
	}
}

// hideNode takes the node, the leader and the term out of a refusal.
func hideNode(r *kvserver.Refusal) {
	r.Node, r.Leader, r.LeaderAddr, r.Term = "", "", "", 0
	r.Detail = cmp.Or(failure.Unnamed(r.Err), r.Detail)
}

// hideInName takes the node out of the name of a request that this node drew, which begins
// with its own.
func (d *Door) hideInName(requestID string) string {
	return strings.TrimPrefix(requestID, d.nodeID+"-")
}

// holdBack lets a caller that is not known wait for its answer where many such came from its
// address. It waits although its client may have gone, whose place among the connections is
// taken so long: a client that closes its half behind the request would be answered at once.
func (x *exchange) holdBack() {
	x.w.Header().Set("Www-Authenticate", "Bearer")
	delay := x.door.server.Gate().Refused(x.r.RemoteAddr)
	if delay == 0 {
		return
	}
	x.conn.LeaveGate()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.door.server.Machine().Lifetime().Done():
	}
}

// adminsOnly lets nobody but admins to the admin port as soon as identities count. Whoever
// connects to its socket has all that is this process's already.
func (d *Door) adminsOnly(next *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isBySocket(r) {
			r.RemoteAddr = "socket" // for the audit; such clients have no address
			next.ServeHTTP(w, r)
			return
		}
		who, err := d.server.Gate().Authenticate(r.Header["Authorization"])
		if err == nil {
			err = d.server.Allow(&who, auth.Admin, auth.Range{})
		}
		if err != nil {
			d.handle(func(x *exchange) error {
				who.Remote = r.RemoteAddr
				x.who = who
				_, x.act = next.Handler(r)
				return err
			})(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// permit is what the request was let in for, if that lasts.
func (x *exchange) permit(right auth.Right, spans ...auth.Range) *access.Permit {
	return x.door.server.Gate().Permit(&x.who, right, spans...)
}

// noted are the rights whose use is an act of the audit, whether it succeeds or not.
var noted = auth.RightsOf(auth.Write, auth.Delete, auth.Lease, auth.Acquire, auth.Backup, auth.Members, auth.JoinTokens, auth.Auth, auth.Admin)

// isAct reports whether a request is an act of the audit.
func (x *exchange) isAct(r *route) bool {
	switch {
	case r.Path == joinPath:
		return true
	case strings.HasPrefix(r.Path, "/v1/auth/"):
		return r.Method != http.MethodGet && r.Path != "/v1/auth/check"
	case r.Right == auth.Lease: // to keep a lease alive and to look at it changes nothing
		return r.Method != http.MethodGet && !strings.HasSuffix(r.Path, "/keepalive")
	case noted.Has(r.Right):
		return true
	case r.Right != auth.Read && r.Right != auth.List:
		return false
	}
	a := x.door.server.Gate().Audit()
	if !a.ReadsToo() {
		return false
	}
	ranges, _ := r.span(x) // of a request that has none there is nothing to read
	return a.Reads(ranges...)
}

// reserveWatch asks the audit for room for the line of a watch, if reads of what it follows
// are noted. The selectors may stand in the body.
func (x *exchange) reserveWatch(s *watch.Selectors) error {
	a := x.door.server.Gate().Audit()
	if a != nil {
		x.needs = access.Over(auth.Watch, kvserver.Spans(s)...)
	}
	if !a.ReadsToo() || !a.Reads(kvserver.Spans(s)...) {
		return nil
	}
	err := a.Reserve()
	x.reserved = err == nil
	return err
}

// reserve asks the audit for room for a line, if the request is an act.
func (x *exchange) reserve(r *route) error {
	a := x.door.server.Gate().Audit()
	if a == nil || !x.isAct(r) {
		return nil
	}
	err := a.Reserve()
	x.reserved = err == nil
	return err
}

// audited notes how the request ended, if it is an act or was refused to its caller, whether or
// not its client took the answer.
func (x *exchange) audited() {
	a := x.door.server.Gate().Audit()
	if a == nil {
		return
	}
	refused := x.status == http.StatusUnauthorized || x.status == http.StatusForbidden
	if !x.reserved && (!refused || !a.ReserveAfter()) {
		return
	}
	h := x.w.Header()
	code, outcome, _ := strings.Cut(h.Get(api.HeaderError), "; outcome=")
	switch {
	case x.status == 0 && x.r.Context().Err() != nil: // the client went while the request waited
		outcome = string(api.OutcomeUnknown)
	case x.status < http.StatusBadRequest:
		outcome = string(api.OutcomeApplied)
	}
	revision, _ := strconv.ParseUint(h.Get(api.HeaderRevision), 10, 64)
	if x.begun.IsZero() {
		x.begun = time.Now() // nothing is measured
	}
	needs := x.needsForAudit()
	if refused && x.lack == nil && x.needs != nil { // the log has refused it, or the leader
		x.lack = x.door.server.Gate().Lacks(&x.who, needs)
	}
	x.reserved = false
	a.Put(access.Line{
		Time: x.begun, Node: x.door.nodeID, RequestID: x.id, Identity: x.who.Name(), TokenID: x.who.Author().Token.String(), Remote: x.r.RemoteAddr,
		Action: x.action(), Key: x.keyForAudit(), Needs: needs, Lack: x.lack, Outcome: outcome, Code: code, Revision: revision,
		TookMs: float64(time.Since(x.begun).Microseconds()) / 1000,
	})
}

// action names what the request does, as the audit shows it.
func (x *exchange) action() string {
	if x.route == nil {
		return cmp.Or(x.act, x.r.Method)
	}
	if x.route.Path != "/v1/kv/{key}" {
		return x.route.Method + " " + x.route.Path
	}
	switch x.route.Method {
	case http.MethodPut:
		return "put"
	case http.MethodPost:
		if x.query["op"] == "touch" {
			return "touch"
		}
		return "append"
	case http.MethodDelete:
		return "delete"
	}
	return "get"
}

// needsForAudit are what a request about several keys or a range asks for, nil for every other.
// The range of one that was refused before its query was read is not known.
func (x *exchange) needsForAudit() access.Needs {
	if x.needs != nil || x.route == nil || x.rawKey != "" || !x.reserved && x.lack == nil {
		return x.needs
	}
	ranges, err := x.route.span(x)
	if err != nil || len(ranges) == 0 || ranges[0].Space() == auth.System {
		return nil
	}
	return access.Over(x.route.Right, ranges...)
}

// keyForAudit is the key, the prefix or the beginning of the range that the request is
// about, "" if none.
func (x *exchange) keyForAudit() string {
	if x.route == nil || !strings.HasPrefix(x.route.Path, "/v1/kv") {
		return cmp.Or(x.about, x.rawKey)
	}
	if key, err := x.key(); err == nil && x.rawKey != "" {
		return key
	}
	return cmp.Or(x.query["prefix"], x.query["from"])
}
