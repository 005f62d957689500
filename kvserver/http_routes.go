package kvserver

import (
	"net/http"
	"strings"

	"github.com/gorilla/mux"
)

// Route is one thing that can be asked over HTTP.
type Route struct {
	Method string
	// Path may hold "{key}", which stands for everything to the end of the path.
	Path string
	// Query lists the parameters that may be given; any other is refused.
	Query []string
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
	return []route{
		{Route{"GET", "/v1/kv/{key}", []string{"consistency"}}, (*Server).serveGet},
		{Route{"HEAD", "/v1/kv/{key}", []string{"consistency"}}, (*Server).serveGet},
		{Route{"PUT", "/v1/kv/{key}", nil}, (*Server).servePut},
		{Route{"POST", "/v1/kv/{key}", []string{"op"}}, (*Server).servePost},
		{Route{"DELETE", "/v1/kv/{key}", nil}, (*Server).serveDelete},
		{Route{"GET", "/v1/clerk", nil}, (*Server).serveClerk},
		{Route{"GET", "/v1/status", nil}, (*Server).serveStatus},
		{Route{"GET", "/livez", nil}, (*Server).serveLive},
		{Route{"GET", "/readyz", []string{"verbose"}}, (*Server).serveReady},
	}
}

// router finds the route of a request. Paths are neither cleaned nor redirected
// and are matched as they were sent, still percent-encoded: in a key, "//",
// "..", "%2F" and a slash at the end are bytes like any others.
type router struct {
	server  *Server
	mux     *mux.Router
	methods []string // that any route takes
}

func newRouter(s *Server) http.Handler {
	r := &router{server: s, mux: mux.NewRouter().SkipClean(true).UseEncodedPath()}
	taken := map[string]bool{}
	for _, route := range routeTable() {
		if !taken[route.Method] {
			taken[route.Method] = true
			r.methods = append(r.methods, route.Method)
		}
		pattern := strings.Replace(route.Path, "{key}", "{key:.*}", 1)
		r.mux.Methods(route.Method).Path(pattern).HandlerFunc(s.handle(func(x *exchange) (err error) {
			if x.query, err = parseQuery(x.r.URL.RawQuery, route.Query); err != nil {
				return err
			}
			return route.serve(s, x)
		}))
	}
	r.mux.NotFoundHandler = s.handle(func(x *exchange) error {
		if x.r.URL.Path == "/v1/kv" {
			return fail(errBadRequest, nil, "this version does not list keys; a key stands after /v1/kv/")
		}
		return fail(errNoSuchPath, nil, "there is nothing at this path; keys are under /v1/kv/")
	})
	r.mux.MethodNotAllowedHandler = s.handle(func(x *exchange) error {
		allowed := strings.Join(r.allowed(x.r), ", ")
		x.w.Header().Set("Allow", allowed)
		return fail(errMethodNotAllowed, nil, "this path takes %s", allowed)
	})
	return r.mux
}

// allowed lists the methods that the request's path takes.
func (r *router) allowed(req *http.Request) []string {
	var allowed []string
	for _, method := range r.methods {
		asked := *req
		asked.Method = method
		var match mux.RouteMatch
		if r.mux.Match(&asked, &match) && match.MatchErr == nil {
			allowed = append(allowed, method)
		}
	}
	return allowed
}
