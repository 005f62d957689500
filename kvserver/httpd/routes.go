package httpd

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/httpd/page"
)

// Route is one thing that can be asked over HTTP. Everything that holds for all
// requests of a route stands in its row, and is applied in one place, dispatch.
type Route struct {
	Method string
	// Path may hold "{key}", which stands for everything to the end of the path, or end
	// with "{id}", which stands for one segment.
	Path string
	// Class says with which other requests it shares room. Requests of a class
	// without a queue have a place from their beginning to their end; the others
	// when they have come so far that only the server is waited for.
	Class kvserver.Class
	// Permission says what a client must be allowed to do. Nothing asks for it yet.
	Permission Permission
	// Query lists the parameters that may be given; any other is refused.
	Query []string
	// Headers lists the headers of a request that have a meaning of their own
	// for it; those of every request (see docs/http.md) are left out.
	Headers []string
	// Statuses lists what it may be answered with, in addition to the refusals that
	// meet any request.
	Statuses []int
}

// Permission is what a client must be allowed to do if it is to be served. Every client
// is, as long as there are no tokens; every route says already what it would need.
type Permission int

// The permissions, each of which includes those before it. None is for probes and for
// routes whose requests are judged one by one, as those of a Clerk. Admin is for what
// concerns the whole store or the cluster.
const (
	_ Permission = iota // not decided
	None
	Read
	Write
	Admin
)

// Routes lists everything that Door.Handler answers, for documents and tests
// to be held against.
func Routes() []Route {
	var all []Route
	for _, r := range routeTable() {
		all = append(all, r.Route)
	}
	return all
}

// route is a Route and what serves it.
type route struct {
	Route
	serve func(*Door, *exchange) error
}

// routeTable is the one list of routes.
func routeTable() []route {
	reads := []string{"consistency", "min_revision", "redirect", "wait", "changed_after"}
	watches := []string{"key", "prefix", "from", "to", "after", "mirror", "prev", "keys_only", "text", "progress", "cluster"}
	lists := append([]string{"prefix", "after", "limit", "keys_only"}, reads...)
	writes := []string{"cas", "redirect"}
	onReads := []string{"Accept", "If-None-Match"}
	onWrites := []string{"If-Match", "If-None-Match", api.HeaderIdempotencyKey}
	afterRead := []int{200, 304, 307, 400, 404, 409, 414, 429, 500, 501, 503, 504}
	afterList := []int{200, 304, 307, 400, 409, 414, 429, 500, 501, 503, 504}
	afterWatch := []int{200, 400, 409, 410, 414, 429, 500, 501, 503, 504}
	afterPut := []int{200, 201, 307, 400, 411, 412, 413, 414, 422, 429, 500, 503, 504, 507}
	afterAppend := []int{200, 307, 400, 411, 412, 413, 414, 422, 429, 500, 503, 504, 507}
	afterDelete := []int{204, 307, 400, 412, 414, 422, 429, 500, 503, 504}
	all := []route{
		{Route{"GET", "/v1/kv/{key}", kvserver.Reads, Read, reads, onReads, afterRead}, (*Door).serveGet},
		{Route{"HEAD", "/v1/kv/{key}", kvserver.Reads, Read, reads, onReads, afterRead}, (*Door).serveGet},
		{Route{"PUT", "/v1/kv/{key}", kvserver.Writes, Write, writes, onWrites, afterPut}, (*Door).servePut},
		{Route{"POST", "/v1/kv/{key}", kvserver.Writes, Write, append([]string{"op"}, writes...), onWrites, afterAppend}, (*Door).servePost},
		{Route{"DELETE", "/v1/kv/{key}", kvserver.Deletes, Write, writes, onWrites, afterDelete}, (*Door).serveDelete},
		{Route{"GET", "/v1/kv", kvserver.Reads, Read, lists, []string{"Accept"}, afterList}, (*Door).serveList},
		{Route{"HEAD", "/v1/kv", kvserver.Reads, Read, lists, []string{"Accept"}, afterList}, (*Door).serveList},
		{Route{"GET", "/v1/watch", kvserver.Free, Read, watches, []string{"Accept", "Last-Event-Id"}, afterWatch}, (*Door).serveWatch},
		{Route{"GET", "/v1/clerk", kvserver.Free, None, nil, nil, []int{101, 200, 400, 429, 500, 503}}, (*Door).serveClerk},
		{Route{"GET", "/v1/status", kvserver.Free, Read, nil, nil, []int{200, 400, 500}}, (*Door).serveStatus},
		{Route{"HEAD", "/v1/status", kvserver.Free, Read, nil, nil, []int{200, 400, 500}}, (*Door).serveStatus},
		{Route{"GET", "/v1/integrity", kvserver.Free, Read, []string{"at"}, nil, []int{200, 400, 500}}, (*Door).serveDigest},
		{Route{"GET", "/v1/snapshot", kvserver.Backups, Admin, nil, nil, []int{200, 400, 429, 500, 503, 504}}, (*Door).serveBackup},
		{Route{"POST", "/v1/leader", kvserver.Free, Admin, nil, []string{"Content-Type"}, []int{200, 400, 413, 500, 503, 504}}, (*Door).serveTransfer},
		{Route{"GET", "/metrics", kvserver.Scrapes, Read, nil, []string{"Accept"}, []int{200, 400, 404, 429, 500}}, (*Door).serveMetrics},
		{Route{"HEAD", "/metrics", kvserver.Scrapes, Read, nil, []string{"Accept"}, []int{200, 400, 404, 429, 500}}, (*Door).serveMetrics},
		{Route{"GET", "/v1/recorder", kvserver.Scrapes, Read, []string{"after", "seconds", "limit"}, nil, []int{200, 400, 404, 429, 500}}, (*Door).serveRecorder},
		{Route{"GET", "/v1/explain", kvserver.Scrapes, Read, []string{"seconds"}, []string{"Accept"}, []int{200, 400, 404, 429, 500}}, (*Door).serveExplain},
		{Route{"GET", "/v1/overview", kvserver.Free, Read, nil, nil, []int{200, 400, 500}}, (*Door).serveOverview},
		{Route{"GET", "/livez", kvserver.Free, None, nil, nil, []int{200, 400, 500, 503}}, (*Door).serveLive},
		{Route{"HEAD", "/livez", kvserver.Free, None, nil, nil, []int{200, 400, 500, 503}}, (*Door).serveLive},
		{Route{"GET", "/readyz", kvserver.Free, None, []string{"verbose"}, nil, []int{200, 400, 429, 500, 503}}, (*Door).serveReady},
		{Route{"HEAD", "/readyz", kvserver.Free, None, []string{"verbose"}, nil, []int{200, 400, 429, 500, 503}}, (*Door).serveReady},
	}
	all = append(all, memberRoutes()...)
	for i, name := range page.Names {
		path := "/ui/"
		if i > 0 {
			path += name
		}
		all = append(all, route{Route{"GET", path, kvserver.Free, None, nil, nil, []int{200, 400, 500}}, (*Door).servePage})
	}
	return all
}

// AnyStatus lists the refusals that may meet any request: by the guard, the
// router or net/http.
func AnyStatus() []int { return []int{400, 403, 404, 405, 415, 417, 431, 501, 505} }

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
			table.Path(strings.Replace(r.Path, "{key}", "{key:.*}", 1)).Handler(m)
			if before, ofKey := strings.CutSuffix(r.Path, "{key}"); ofKey {
				router.keys, router.before = m, before
			}
		}
		m.methods = append(m.methods, r.Method)
		m.byMethod[r.Method] = d.dispatch(r)
	}
	table.NotFoundHandler = d.handle(func(*exchange) error {
		return failure.Of(failure.NoSuchPath, nil, "there is nothing at this path; keys are under /v1/kv/, health is at /livez and /readyz, what the node knows is at /v1/status")
	})
	return router
}

// dispatch returns what serves one route: it measures the request, holds it to its
// row, and gives it a place in the row's class.
func (d *Door) dispatch(r route) func(*exchange) error {
	var enter func(bytes int64)
	var leave func(status, sent int, took time.Duration)
	if d.config.Observer != nil {
		enter, leave = d.config.Observer.Route(r.Method, r.Path)
	}
	return func(x *exchange) error {
		x.route = &r
		if enter != nil {
			x.begun, x.leave = time.Now(), leave
			enter(x.r.ContentLength)
		}
		if err := x.checkAgainst(r.Route); err != nil {
			return err
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
	if strings.HasSuffix(x.route.Path, "/kv") && accepts(x.r.Header, api.MediaNDJSON) {
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
		allowed := strings.Join(m.methods, ", ")
		x.w.Header().Set("Allow", allowed)
		return failure.Of(failure.MethodNotAllowed, nil, "this path takes %s", allowed)
	})(w, r)
}
