package kvserver

import (
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
)

// Route is one thing that can be asked over HTTP.
type Route struct {
	Method string
	// Path may hold "{key}", which stands for everything to the end of the path.
	Path string
	// Query lists the parameters that may be given; any other is refused.
	Query []string
	// Headers lists the headers of a request that have a meaning of their own
	// for it; those of every request (see docs/http.md) are left out.
	Headers []string
	// Statuses lists what it may be answered with, beside the refusals that meet
	// any request.
	Statuses []int
}

// Routes lists everything that Server.Handler answers, for documents and tests
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
	serve func(*Server, *exchange) error
}

// routeTable is the one list of routes.
func routeTable() []route {
	reads := []string{"consistency", "min_revision", "redirect"}
	lists := append([]string{"prefix", "after", "limit", "keys_only"}, reads...)
	writes := []string{"cas", "redirect"}
	onReads := []string{"Accept", "If-None-Match"}
	onWrites := []string{"If-Match", "If-None-Match", api.HeaderIdempotencyKey}
	afterRead := []int{200, 304, 307, 400, 404, 414, 429, 500, 503, 504}
	afterList := []int{200, 307, 400, 414, 429, 500, 503, 504}
	afterPut := []int{200, 201, 307, 400, 411, 412, 413, 414, 422, 429, 500, 503, 504, 507}
	afterAppend := []int{200, 307, 400, 411, 412, 413, 414, 422, 429, 500, 503, 504, 507}
	afterDelete := []int{204, 307, 400, 412, 414, 422, 429, 500, 503, 504}
	return []route{
		{Route{"GET", "/v1/kv/{key}", reads, onReads, afterRead}, (*Server).serveGet},
		{Route{"HEAD", "/v1/kv/{key}", reads, onReads, afterRead}, (*Server).serveGet},
		{Route{"PUT", "/v1/kv/{key}", writes, onWrites, afterPut}, (*Server).servePut},
		{Route{"POST", "/v1/kv/{key}", append([]string{"op"}, writes...), onWrites, afterAppend}, (*Server).servePost},
		{Route{"DELETE", "/v1/kv/{key}", writes, onWrites, afterDelete}, (*Server).serveDelete},
		{Route{"GET", "/v1/kv", lists, []string{"Accept"}, afterList}, (*Server).serveList},
		{Route{"HEAD", "/v1/kv", lists, []string{"Accept"}, afterList}, (*Server).serveList},
		{Route{"GET", "/v1/clerk", nil, nil, []int{101, 200, 400, 429, 500, 503}}, (*Server).serveClerk},
		{Route{"GET", "/v1/status", nil, nil, []int{200, 400, 500}}, (*Server).serveStatus},
		{Route{"HEAD", "/v1/status", nil, nil, []int{200, 400, 500}}, (*Server).serveStatus},
		{Route{"GET", "/v1/integrity", []string{"at"}, nil, []int{200, 400, 500}}, (*Server).serveDigest},
		{Route{"GET", "/v1/snapshot", nil, nil, []int{200, 400, 429, 500, 503, 504}}, (*Server).serveBackup},
		{Route{"POST", "/v1/leader", nil, []string{"Content-Type"}, []int{200, 400, 413, 500, 503, 504}}, (*Server).serveTransfer},
		{Route{"GET", "/metrics", nil, []string{"Accept"}, []int{200, 400, 404, 429, 500}}, (*Server).serveMetrics},
		{Route{"HEAD", "/metrics", nil, []string{"Accept"}, []int{200, 400, 404, 429, 500}}, (*Server).serveMetrics},
		{Route{"GET", "/livez", nil, nil, []int{200, 400, 500, 503}}, (*Server).serveLive},
		{Route{"HEAD", "/livez", nil, nil, []int{200, 400, 500, 503}}, (*Server).serveLive},
		{Route{"GET", "/readyz", []string{"verbose"}, nil, []int{200, 400, 429, 500, 503}}, (*Server).serveReady},
		{Route{"HEAD", "/readyz", []string{"verbose"}, nil, []int{200, 400, 429, 500, 503}}, (*Server).serveReady},
	}
}

// AnyStatus lists the refusals that may meet any request: by the guard, the
// router or net/http.
func AnyStatus() []int { return []int{400, 403, 404, 405, 415, 417, 431, 501, 505} }

// newRouter returns what finds the route of a request. Paths are neither cleaned
// nor redirected and are matched as they were sent, still percent-encoded: in a
// key, "//", "..", "%2F" and a slash at the end are bytes like any others.
func newRouter(s *Server) http.Handler {
	router := mux.NewRouter().SkipClean(true).UseEncodedPath()
	at := map[string]*crossing{}
	for _, r := range routeTable() {
		c := at[r.Path]
		if c == nil {
			c = &crossing{server: s, byMethod: map[string]http.Handler{}}
			at[r.Path] = c
			router.Path(strings.Replace(r.Path, "{key}", "{key:.*}", 1)).Handler(c)
		}
		c.methods = append(c.methods, r.Method)
		meter := s.config.Metrics.meter(r.Route)
		c.byMethod[r.Method] = s.handle(func(x *exchange) error {
			meter.enter(x)
			if err := x.keepTo(r.Route); err != nil {
				return err
			}
			return r.serve(s, x)
		})
	}
	router.NotFoundHandler = s.handle(func(*exchange) error {
		return failure.Of(failure.NoSuchPath, nil, "there is nothing at this path; keys are under /v1/kv/, health is at /livez and /readyz, what the node knows is at /v1/status")
	})
	return router
}

// crossing is the routes with the same path.
type crossing struct {
	server   *Server
	methods  []string
	byMethod map[string]http.Handler
}

func (c *crossing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := c.byMethod[r.Method]; h != nil {
		h.ServeHTTP(w, r)
		return
	}
	c.server.handle(func(x *exchange) error {
		allowed := strings.Join(c.methods, ", ")
		x.w.Header().Set("Allow", allowed)
		return failure.Of(failure.MethodNotAllowed, nil, "this path takes %s", allowed)
	})(w, r)
}
