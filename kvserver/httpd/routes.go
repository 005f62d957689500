package httpd

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
)

// Route is one thing that can be asked over HTTP. Everything that holds for all
// requests of a route stands in its row, and is applied in one place, dispatch.
type Route struct {
	Method string
	// Path may hold "{key}", which stands for everything to the end of the path, or
	// "{name}" or "{id}", which stands for one segment at its end.
	Path string
	// Class says with which other requests it shares room. Requests of a class
	// without a queue have a place from their beginning to their end; the others
	// when they have come so far that only the server is waited for.
	Class kvserver.Class
	// Right is what the caller needs, on the range that the row's span returns.
	Right auth.Right
	// Query lists the parameters that may be given; any other is refused.
	Query []string
	// Headers lists the headers of a request that have a meaning of their own
	// for it; those of every request (see docs/http.md) are left out.
	Headers []string
	// Statuses lists what it may be answered with, in addition to the refusals that
	// meet any request.
	Statuses []int
}

// Routes lists everything that Door.Handler answers, for documents and tests
// to be held against.
func Routes() []Route {
	var all []Route
	for _, r := range routeTable() {
		all = append(all, r.Route)
	}
	return all
}

// route is a Route, the ranges that its requests execute, and what serves it. A row
// without one of them does not compile.
type route struct {
	Route
	span  func(*exchange) ([]auth.Range, error)
	serve func(*Door, *exchange) error
}

// ofKey is the range of requests about the key in the path.
func ofKey(x *exchange) ([]auth.Range, error) {
	key, err := x.key()
	return []auth.Range{auth.OneKey(key)}, err
}

// ofList is the range of a list, after its parameters are resolved.
func ofList(x *exchange) ([]auth.Range, error) {
	l, err := x.listing()
	q := l.query()
	return []auth.Range{q.Range()}, err
}

// ofWatch are the ranges of the selectors of a watch.
func ofWatch(x *exchange) ([]auth.Range, error) {
	r, err := x.watchRequest()
	return kvserver.Spans(&r.Selectors), err
}

// ofDelete is the range that a DELETE removes.
func ofDelete(x *exchange) ([]auth.Range, error) {
	d, err := x.deleteRange()
	return []auth.Range{auth.KeysBetween(d.From, d.To)}, err
}

// ofBody is for requests whose ranges and rights stand in the body: the hall decides
// about all of them when that was read.
func ofBody(*exchange) ([]auth.Range, error) { return nil, nil }

// ofSystem is the range of requests that are about no key.
func ofSystem(*exchange) ([]auth.Range, error) { return []auth.Range{{}}, nil }

// routeTable is the one list of routes.
func routeTable() []route {
	reads := []string{"consistency", "min_revision", "at_revision", "redirect", "wait", "changed_after"}
	watches := []string{"key", "prefix", "lock", "from", "to", "after", "mirror", "prev", "keys_only", "text", "progress", "cluster"}
	lists := append([]string{"prefix", "from", "to", "after", "limit", "keys_only", "text", "pin", "count", "count_only"}, reads...)
	writes := []string{"cas", "lock", "token", "redirect", "prev"}
	ranges := []string{"prefix", "from", "to", "all", "at_most", "partial", "lock", "token", "prev", "redirect"}
	onReads := []string{"Accept", "If-None-Match"}
	onWrites := []string{"If-Match", "If-None-Match", api.HeaderIfLock, api.HeaderIdempotencyKey}
	afterRead := []int{200, 304, 307, 400, 404, 409, 410, 414, 429, 500, 501, 503, 504}
	afterList := []int{200, 304, 307, 400, 409, 410, 414, 429, 500, 501, 503, 504}
	afterWatch := []int{200, 400, 409, 410, 414, 429, 500, 501, 503, 504}
	afterPut := []int{200, 201, 307, 400, 404, 409, 411, 412, 413, 414, 422, 429, 500, 501, 503, 504, 507}
	afterAppend := []int{200, 307, 400, 404, 409, 411, 412, 413, 414, 422, 429, 500, 501, 503, 504, 507}
	afterDelete := []int{200, 204, 307, 400, 412, 414, 422, 429, 500, 501, 503, 504}
	afterRange := []int{200, 307, 400, 412, 413, 414, 422, 429, 500, 501, 503, 504}
	afterTxn := []int{200, 307, 400, 404, 409, 411, 412, 413, 415, 422, 429, 500, 501, 503, 504, 507}
	authReads := []int{200, 400, 404, 429, 500, 501, 503, 504}
	authWrites := []int{200, 201, 204, 400, 404, 409, 412, 413, 415, 422, 429, 500, 501, 503, 504, 507}
	all := []route{
		{Route{"GET", "/v1/kv/{key}", kvserver.Reads, auth.Read, reads, onReads, afterRead}, ofKey, (*Door).serveGet},
		{Route{"HEAD", "/v1/kv/{key}", kvserver.Reads, auth.Read, reads, onReads, afterRead}, ofKey, (*Door).serveGet},
		{Route{"PUT", "/v1/kv/{key}", kvserver.Writes, auth.Write, append([]string{"ttl", "lease"}, writes...), onWrites, afterPut}, ofKey, (*Door).servePut},
		{Route{"POST", "/v1/kv/{key}", kvserver.Writes, auth.Write, append([]string{"op", "ttl"}, writes...), onWrites, afterAppend}, ofKey, (*Door).servePost},
		{Route{"DELETE", "/v1/kv/{key}", kvserver.Deletes, auth.Delete, writes, onWrites, afterDelete}, ofKey, (*Door).serveDelete},
		{Route{"GET", "/v1/kv", kvserver.Reads, auth.List, lists, []string{"Accept"}, afterList}, ofList, (*Door).serveList},
		{Route{"HEAD", "/v1/kv", kvserver.Reads, auth.List, lists, []string{"Accept"}, afterList}, ofList, (*Door).serveList},
		{Route{"DELETE", "/v1/kv", kvserver.Deletes, auth.Delete, ranges, []string{api.HeaderIfLock, api.HeaderIdempotencyKey}, afterRange}, ofDelete, (*Door).serveDeleteRange},
		{Route{"POST", txnPath, kvserver.Writes, auth.Write, []string{"strict", "text", "lock", "token", "redirect"}, []string{"Content-Type", api.HeaderIfLock, api.HeaderIdempotencyKey}, afterTxn}, ofBody, (*Door).serveTxn},
		{Route{"GET", "/v1/watch", kvserver.Free, auth.Watch, watches, []string{"Accept", "Last-Event-Id"}, afterWatch}, ofWatch, (*Door).serveWatch},
		{Route{"POST", "/v1/watch", kvserver.Free, auth.Watch, nil, []string{"Accept", "Content-Type"}, append([]int{413, 415}, afterWatch...)}, ofBody, (*Door).serveWatchBody},
		{Route{"GET", clerkPath, kvserver.Free, auth.Known, nil, nil, []int{101, 200, 400, 429, 500, 503}}, ofSystem, (*Door).serveClerk},
		{Route{"GET", "/v1/status", kvserver.Free, auth.Status, nil, nil, []int{200, 400, 500}}, ofSystem, (*Door).serveStatus},
		{Route{"HEAD", "/v1/status", kvserver.Free, auth.Status, nil, nil, []int{200, 400, 500}}, ofSystem, (*Door).serveStatus},
		{Route{"GET", "/v1/integrity", kvserver.Free, auth.Open, []string{"at"}, nil, []int{200, 400, 500}}, ofSystem, (*Door).serveDigest},
		{Route{"GET", "/v1/snapshot", kvserver.Backups, auth.Backup, nil, nil, []int{200, 400, 429, 500, 503, 504}}, ofSystem, (*Door).serveBackup},
		{Route{"POST", "/v1/leader", kvserver.Free, auth.Members, nil, []string{"Content-Type"}, []int{200, 400, 413, 500, 503, 504}}, ofSystem, (*Door).serveTransfer},
		{Route{"GET", "/metrics", kvserver.Scrapes, auth.Metrics, nil, []string{"Accept"}, []int{200, 400, 404, 429, 500}}, ofSystem, (*Door).serveMetrics},
		{Route{"HEAD", "/metrics", kvserver.Scrapes, auth.Metrics, nil, []string{"Accept"}, []int{200, 400, 404, 429, 500}}, ofSystem, (*Door).serveMetrics},
		{Route{"GET", "/v1/recorder", kvserver.Records, auth.Status, []string{"after", "seconds", "limit", "request"}, nil, []int{200, 400, 404, 429, 500}}, ofSystem, (*Door).serveRecorder},
		{Route{"GET", "/v1/explain", kvserver.Explains, auth.Status, []string{"seconds"}, []string{"Accept"}, []int{200, 400, 404, 429, 500}}, ofSystem, (*Door).serveExplain},
		{Route{"GET", "/v1/overview", kvserver.Free, auth.Status, nil, nil, []int{200, 400, 500}}, ofSystem, (*Door).serveOverview},
		{Route{"GET", "/v1/events", kvserver.Free, auth.Status, nil, []string{"Last-Event-Id"}, []int{200, 400, 429, 500, 503}}, ofSystem, (*Door).serveEvents},
		{Route{"GET", "/v1/auth/identities", kvserver.Free, auth.Auth, nil, nil, authReads}, ofSystem, (*Door).serveIdentities},
		{Route{"GET", "/v1/auth/identities/{name}", kvserver.Free, auth.Auth, nil, nil, authReads}, ofSystem, (*Door).serveIdentity},
		{Route{"PUT", "/v1/auth/identities/{name}", kvserver.Free, auth.Auth, nil, []string{"If-Match", "Content-Type"}, authWrites}, ofSystem, (*Door).servePutIdentity},
		{Route{"DELETE", "/v1/auth/identities/{name}", kvserver.Free, auth.Auth, nil, []string{"If-Match"}, authWrites}, ofSystem, (*Door).serveDeleteIdentity},
		{Route{"GET", "/v1/auth/tokens", kvserver.Free, auth.Known, nil, nil, authReads}, ofSystem, (*Door).serveTokens},
		{Route{"POST", "/v1/auth/tokens", kvserver.Free, auth.Known, nil, []string{"Content-Type", api.HeaderIdempotencyKey}, authWrites}, ofSystem, (*Door).serveNewToken},
		{Route{"DELETE", "/v1/auth/tokens/{name}", kvserver.Free, auth.Known, nil, []string{"If-Match"}, authWrites}, ofSystem, (*Door).serveDeleteToken},
		{Route{"GET", "/v1/auth/state", kvserver.Free, auth.Auth, nil, nil, authReads}, ofSystem, (*Door).serveAuthState},
		{Route{"PUT", "/v1/auth/state", kvserver.Free, auth.Auth, nil, []string{"If-Match", "Content-Type"}, authWrites}, ofSystem, (*Door).servePutAuthState},
		{Route{"POST", "/v1/auth/check", kvserver.Free, auth.Auth, nil, []string{"Content-Type"}, append([]int{413}, authReads...)}, ofSystem, (*Door).serveAuthCheck},
		{Route{"GET", "/v1/auth/me", kvserver.Free, auth.Known, nil, nil, []int{200, 400, 404, 500, 503}}, ofSystem, (*Door).serveMe},
		{Route{"GET", "/livez", kvserver.Free, auth.Open, nil, nil, []int{200, 400, 500, 503}}, ofSystem, (*Door).serveLive},
		{Route{"HEAD", "/livez", kvserver.Free, auth.Open, nil, nil, []int{200, 400, 500, 503}}, ofSystem, (*Door).serveLive},
		{Route{"GET", "/readyz", kvserver.Free, auth.Open, []string{"verbose"}, nil, []int{200, 400, 429, 500, 503}}, ofSystem, (*Door).serveReady},
		{Route{"HEAD", "/readyz", kvserver.Free, auth.Open, []string{"verbose"}, nil, []int{200, 400, 429, 500, 503}}, ofSystem, (*Door).serveReady},
	}
	all = slices.Concat(all, lockRoutes(), leaseRoutes(), memberRoutes())
	for _, path := range []string{pagePath, pagePath + "{name}"} {
		// Files of the program hold nothing of anybody's. What the page shows is asked for
		// by the routes above.
		all = append(all, route{Route{"GET", path, kvserver.Free, auth.Open, nil, []string{"If-None-Match", "Accept-Encoding"}, []int{200, 304, 400, 500}}, ofSystem, (*Door).servePage})
	}
	return all
}

// AnyStatus lists the refusals that may meet any request: by the guard, the
// router or net/http.
func AnyStatus() []int { return []int{400, 401, 403, 404, 405, 415, 417, 429, 431, 501, 505} }

// router finds the route of a request. All routes stand in the table. The path of one
// key, which nearly all requests have, is recognised without it: the table makes two
// copies of a request and fourteen allocations.
type router struct {
	table  *mux.Router
	keys   *methodMux // of the path of one key
	before string     // what stands before the key in that path
}

func (t *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rawKey, plain := t.plainKey(r.URL); plain {
		t.keys.serve(w, r, rawKey)
		return
	}
	t.table.ServeHTTP(w, r)
}

// plainKey returns the key in the path, percent-encoded as the table gives it, and
// whether the path is that of one key in the usual encoding. Every other path, with an
// encoded slash for instance, is for the table to judge.
func (t *router) plainKey(u *url.URL) (rawKey string, plain bool) {
	if u.RawPath != "" {
		return "", false
	}
	return strings.CutPrefix(u.EscapedPath(), t.before)
}

// newRouter returns what finds the route of a request. Paths are neither cleaned
// nor redirected and are matched as they were sent, still percent-encoded: in a
// key, "//", "..", "%2F" and a slash at the end are bytes like any others.
func newRouter(d *Door) *router {
	table := mux.NewRouter().SkipClean(true).UseEncodedPath()
	router := &router{table: table}
	at := map[string]*methodMux{}
	for _, r := range routeTable() {
		m := at[r.Path]
		if m == nil {
			m = &methodMux{door: d, byMethod: map[string]func(*exchange) error{}}
			at[r.Path] = m
			table.Path(pathPattern.Replace(r.Path)).Handler(m)
			if before, ofKey := strings.CutSuffix(r.Path, "{key}"); ofKey {
				router.keys, router.before = m, before
			}
		}
		m.methods = append(m.methods, r.Method)
		m.byMethod[r.Method] = d.dispatch(r)
	}
	table.NotFoundHandler = d.handle(func(x *exchange) error {
		if err := x.authenticate(); err != nil {
			return err
		}
		return failure.Of(failure.NoSuchPath, nil, "there is nothing at this path; keys are under /v1/kv/, health is at /livez and /readyz, what the node knows is at /v1/status")
	})
	return router
}

// pathPattern writes a row's path as the table of the router takes it.
var pathPattern = strings.NewReplacer("{key}", "{key:.*}", "{name}", "{key:[^/]+}")

// dispatch returns what serves one route: it measures the request, lets it in if its
// caller may, holds it to its row, and gives it a place in the row's class.
func (d *Door) dispatch(r route) func(*exchange) error {
	var enter func(bytes int64)
	var leave func(status, sent int, took time.Duration)
	if d.config.Observer != nil {
		enter, leave = d.config.Observer.Route(r.Method, r.Path)
	}
	return func(x *exchange) error {
		x.route = &r
		x.begun = time.Now()
		if enter != nil {
			x.leave = leave
			enter(x.r.ContentLength)
		}
		if err := x.let(&r); err != nil {
			return err
		}
		defer x.letOut()
		if uid := x.r.Header[api.HeaderClusterUID]; len(uid) > 0 {
			if err := d.server.CheckUID(uid[0], r.Method != http.MethodGet); err != nil {
				return err
			}
		}
		class := x.class()
		if !class.HasQueue() {
			if err := x.checkFirst(class); err != nil {
				return err
			}
			if err := d.server.EnterOrRefuse(class); err != nil {
				return err
			}
			defer d.server.Leave(class, 0)
		}
		return r.serve(d, x)
	}
}

// class returns the class of a request: that of its route, but for a list that is to
// be sent as lines.
func (x *exchange) class() kvserver.Class {
	if strings.HasSuffix(x.route.Path, "/kv") && x.route.Method != http.MethodDelete && accepts(x.r.Header, api.MediaNDJSON) {
		return kvserver.Streams
	}
	return x.route.Class
}

// methodMux dispatches the routes that share a path by their method.
type methodMux struct {
	door     *Door
	methods  []string
	byMethod map[string]func(*exchange) error
}

// ServeHTTP serves a request whose path the table has found.
func (m *methodMux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	vars := mux.Vars(r)
	m.serve(w, r, cmp.Or(vars["key"], vars["id"]))
}

// serve serves a request with this key in its path, "" if none.
func (m *methodMux) serve(w http.ResponseWriter, r *http.Request, rawKey string) {
	if serve := m.byMethod[r.Method]; serve != nil {
		m.door.serveWith(serve, w, r, rawKey)
		return
	}
	m.door.handle(func(x *exchange) error {
		if err := x.authenticate(); err != nil {
			return err
		}
		allowed := strings.Join(m.methods, ", ")
		x.w.Header().Set("Allow", allowed)
		return failure.Of(failure.MethodNotAllowed, nil, "this path takes %s", allowed)
	})(w, r)
}
