package stage

import (
	"net"
	"sync"
)

// house is the port of a node's clients, whose connections can be ended at once.
type house struct {
	net.Listener

	mu      sync.Mutex // guards the fields below
	evicted bool
	guests  map[*guest]bool
}

func newHouse(l net.Listener) *house { return &house{Listener: l, guests: map[*guest]bool{}} }

// Accept implements net.Listener.
func (h *house) Accept() (net.Conn, error) {
	conn, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	g := &guest{conn, h}
	h.mu.Lock()
	evicted := h.evicted
	if !evicted {
		h.guests[g] = true
	}
	h.mu.Unlock()
	if evicted {
		conn.Close()
	}
	return g, nil
}

// evict closes the port and all connections.
func (h *house) evict() {
	h.Close()
	h.mu.Lock()
	h.evicted = true
	guests := h.guests
	h.guests = map[*guest]bool{}
	h.mu.Unlock()
	for g := range guests { // any order will do
		g.Conn.Close()
	}
}

// guest is one connection.
type guest struct {
	net.Conn
	house *house
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.house.mu.Lock()
	delete(g.house.guests, g)
	g.house.mu.Unlock()
	return g.Conn.Close()
}
