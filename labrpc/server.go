package labrpc

import (
	"log"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Server is the target that a name on the network leads to: services that share a
// fate. MakeServer makes one; it is safe for concurrent use and may be added to
// networks under any number of names.
type Server struct {
	mu       sync.Mutex // guards the rest; not held while a handler runs
	services map[string]*Service
	count    int
}

// MakeServer returns a server without services.
func MakeServer() *Server {
	return &Server{services: make(map[string]*Service)}
}

// AddService adds a service and replaces one of the same name.
func (s *Server) AddService(service *Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services[service.name] = service
}

// GetCount returns the number of requests that the server was given, by all
// networks.
func (s *Server) GetCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// dispatch runs the handler for the request and returns the encoded reply.
func (s *Server) dispatch(req request) []byte {
	dot := max(strings.LastIndexByte(req.method, '.'), 0)
	name, method := req.method[:dot], strings.TrimPrefix(req.method[dot:], ".")
	s.mu.Lock()
	s.count++
	service := s.services[name]
	s.mu.Unlock()
	if service == nil {
		log.Fatalf("labrpc: %q is called on a server without a service %q; its services are %q", req.method, name, s.names())
	}
	return service.dispatch(method, req)
}

// names returns the services' names in order.
func (s *Server) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.services))
}
