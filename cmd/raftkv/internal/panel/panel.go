// Package panel is the page of raftkv dev by which somebody breaks things: a port of its
// own in addition to those of the nodes, with a button for each of what a stage can do.
//
// The mental model is the prompter's box of a theatre: it has ropes, and the audience sees
// only the stage. No node has these routes, and raftkv serve has no panel. The port is open
// on loopback alone, and refuses requests to other names and those of other pages.
package panel

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"raftkv/cmd/raftkv/internal/stage"
	"raftkv/kvserver/httpd/page"
	"raftkv/raft/core"
)

//go:embed files
var files embed.FS

var mediaTypes = map[string]string{".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}

// maxFaultBytes bounds the body of a request.
const maxFaultBytes = 4 << 10

// Node is a node as the page shows it.
type Node struct {
	Node  core.ID `json:"node"`
	Page  string  `json:"page"` // the address of the node's own page
	State string  `json:"state"`
	Leads bool    `json:"leads,omitempty"`
}

// state is the answer to GET /dev/state.
type state struct {
	Nodes []Node   `json:"nodes"`
	Cuts  []string `json:"cuts"` // "n1>n2": n1 is not heard by n2
	Verbs []string `json:"verbs"`
}

// Panel serves the page and what it asks for.
type Panel struct {
	stage  *stage.Stage
	pages  map[core.ID]string
	origin *http.CrossOriginProtection
}

// New returns the panel of a stage. pages are the addresses of the nodes' own pages.
func New(s *stage.Stage, pages map[core.ID]string) *Panel {
	return &Panel{stage: s, pages: pages, origin: http.NewCrossOriginProtection()}
}

// Listen opens the panel's port, on loopback alone.
func Listen(port int) (net.Listener, error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, fmt.Errorf("the panel cannot listen: %w; --port moves it with the nodes' ports", err)
	}
	return l, nil
}

// Serve serves on a listener until that is closed. Addresses that are not loopback's are
// refused.
func (p *Panel) Serve(l net.Listener) error {
	if at, err := netip.ParseAddrPort(l.Addr().String()); err != nil || !at.Addr().IsLoopback() {
		return fmt.Errorf("the panel is served on loopback alone, and not at %s", l.Addr())
	}
	server := &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	if err := server.Serve(l); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (p *Panel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", page.Policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if !isLoopback(r.Host) {
		http.Error(w, fmt.Sprintf("the panel does not serve the host %.80q; ask 127.0.0.1 or localhost", r.Host), http.StatusForbidden)
		return
	}
	if err := p.origin.Check(r); err != nil {
		http.Error(w, "a page of another site may not make a browser send this", http.StatusForbidden)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /dev/state":
		answer(w, p.state())
	case "POST /dev/faults":
		p.fault(w, r)
	default:
		p.file(w, r)
	}
}

// isLoopback reports whether a request is addressed to this machine by a name that no
// other page can have.
func isLoopback(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.IsLoopback()
}

// state returns how all nodes are.
func (p *Panel) state() state {
	s := state{Cuts: p.stage.Network.Cuts(), Verbs: stage.Verbs()}
	slices.Sort(s.Cuts)
	leader := p.stage.Leader()
	for _, id := range p.stage.Nodes() {
		s.Nodes = append(s.Nodes, Node{Node: id, Page: p.pages[id], State: p.stage.State(id), Leads: id == leader})
	}
	return s
}

// fault does what a request asks for.
func (p *Panel) fault(w http.ResponseWriter, r *http.Request) {
	if media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); media != "application/json" {
		http.Error(w, "send the fault as application/json, as in {\"do\":\"kill\",\"node\":\"n1\"}", http.StatusUnsupportedMediaType)
		return
	}
	var f stage.Fault
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxFaultBytes))
	d.DisallowUnknownFields()
	err := d.Decode(&f)
	if err == nil && d.More() {
		err = errors.New("there is more behind it")
	}
	if err != nil {
		http.Error(w, "the body is no fault: "+err.Error(), http.StatusBadRequest)
		return
	}
	if err := p.stage.Do(f); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	answer(w, p.state())
}

// file serves a file of the page.
func (p *Panel) file(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = "panel.html"
	}
	content, err := files.ReadFile("files/" + name)
	if err != nil {
		http.Error(w, "there is nothing at this path; the panel is at /", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this path takes GET", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", mediaTypes[path.Ext(name)])
	_, _ = w.Write(content) // an error means that the browser is gone
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	content, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("panel: a %T cannot be written as JSON: %v", body, err))
	}
	_, _ = io.WriteString(w, string(content)+"\n") // an error means that the browser is gone
}
