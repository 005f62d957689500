package stage

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"raftkv/raft/core"
)

// way is one direction between two nodes.
type way struct{ from, to core.ID }

// Network is what the nodes of a stage reach each other by: the dialling side of every
// connection between two of them passes its bytes through it. All methods are safe for
// concurrent use.
type Network struct {
	mu    sync.Mutex // guards the fields below
	nodes map[string]core.ID
	shut  map[way]chan struct{} // closed when the way opens again
	gone  map[core.ID]bool      // nodes whose process does not exist
	lines map[*line]bool
}

// NewNetwork returns a network on which all ways are open.
func NewNetwork() *Network {
	return &Network{nodes: map[string]core.ID{}, shut: map[way]chan struct{}{}, gone: map[core.ID]bool{}, lines: map[*line]bool{}}
}

// Know says that a node listens at an address.
func (n *Network) Know(address string, id core.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[address] = id
}

// silence is after how much time without an answer TCP's keep-alives give a connection up.
const silence = 5 * time.Second

// Shut cuts the way from one node to another. What is under way stays there. Connections
// over a way that stays shut are given up after a while, also where nothing is said.
func (n *Network) Shut(from, to core.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := way{from, to}
	if n.shut[w] != nil || from == to {
		return
	}
	opened := make(chan struct{})
	n.shut[w] = opened
	go func() {
		select {
		case <-opened:
		case <-time.After(silence):
			for _, l := range n.find(func(l *line) bool { return (way{l.from, l.to}) == w || (way{l.to, l.from}) == w }) {
				l.ours.giveUp()
			}
		}
	}()
}

// Open ends a cut.
func (n *Network) Open(from, to core.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := way{from, to}
	if opened := n.shut[w]; opened != nil {
		delete(n.shut, w)
		close(opened)
	}
}

// OpenAll ends all cuts.
func (n *Network) OpenAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w, opened := range n.shut { // any order will do
		delete(n.shut, w)
		close(opened)
	}
}

// Cuts returns the ways that are shut, as "from>to".
func (n *Network) Cuts() (all []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.shut { // the caller sorts them
		all = append(all, string(w.from)+">"+string(w.to))
	}
	return all
}

// Break ends the connections between two nodes, as a device between them may. New ones can
// be made.
func (n *Network) Break(a, b core.ID) {
	for _, l := range n.find(func(l *line) bool { return l.from == a && l.to == b || l.from == b && l.to == a }) {
		l.near.Close()
		l.far.Close()
	}
}

// remove ends what a node has to do with the network, as the end of its process does: its
// ends of all connections are closed, and nobody listens there any more.
func (n *Network) remove(id core.ID) {
	n.mu.Lock()
	n.gone[id] = true
	n.mu.Unlock()
	for _, l := range n.find(func(l *line) bool { return l.from == id || l.to == id }) {
		if l.from == id {
			l.near.Close()
		} else {
			l.far.Close()
		}
	}
}

// admit is the opposite of remove.
func (n *Network) admit(id core.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.gone, id)
}

func (n *Network) find(is func(l *line) bool) (found []*line) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.lines { // any order will do
		if is(l) {
			found = append(found, l)
		}
	}
	return found
}

// opening returns what is closed when a way opens; nil if it is open.
func (n *Network) opening(from, to core.ID) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.shut[way{from, to}]
}

// Dial connects to an address over a network.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// errGone is that of an address at which nobody listens.
var errGone = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// Dialer returns how a node dials over this network, which dials with dial.
func (n *Network) Dialer(from core.ID, dial Dial) Dial {
	return func(ctx context.Context, address string) (net.Conn, error) {
		n.mu.Lock()
		to, known := n.nodes[address]
		n.mu.Unlock()
		if !known {
			return dial(ctx, address)
		}
		for _, w := range []way{{from, to}, {to, from}} {
			if opened := n.opening(w.from, w.to); opened != nil {
				select {
				case <-opened:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
		}
		n.mu.Lock()
		gone := n.gone[to] || n.gone[from]
		n.mu.Unlock()
		if gone {
			return nil, errGone
		}
		raw, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		return n.connect(from, to, raw), nil
	}
}

// line is a connection between two nodes: the node that dialled has the other end of near,
// and far leads to the node that accepted.
type line struct {
	from, to  core.ID
	ours      *end
	near, far net.Conn
}

func (n *Network) connect(from, to core.ID, raw net.Conn) net.Conn {
	ours, near := net.Pipe()
	l := &line{from: from, to: to, ours: &end{Conn: ours, raw: raw}, near: near, far: raw}
	n.mu.Lock()
	n.lines[l] = true
	n.mu.Unlock()
	var pumps sync.WaitGroup
	pumps.Go(func() { n.pump(from, to, near, raw) })
	pumps.Go(func() { n.pump(to, from, raw, near) })
	go func() {
		pumps.Wait()
		near.Close()
		raw.Close()
		n.mu.Lock()
		delete(n.lines, l)
		n.mu.Unlock()
	}()
	return l.ours
}

// longestCut bounds how long a pump waits at a way that is shut, so that it ends with the
// nodes in any case.
const longestCut = time.Hour

// pump carries bytes one way until one end is closed; it closes the other one then. It
// keeps what comes while the way is shut, the end included.
func (n *Network) pump(from, to core.ID, in, out net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		count, err := in.Read(buffer)
		for opened := n.opening(from, to); opened != nil; opened = n.opening(from, to) {
			select {
			case <-opened:
			case <-time.After(longestCut):
				return
			}
		}
		if count > 0 && err == nil {
			_, err = out.Write(buffer[:count])
		}
		if err != nil {
			out.Close()
			in.Close()
			return
		}
	}
}

// end is what the dialling node has of a connection. Its errors are those of TCP.
type end struct {
	net.Conn
	raw     net.Conn
	givenUp atomic.Bool
}

// giveUp ends the connection as TCP does when the other side does not answer.
func (e *end) giveUp() {
	e.givenUp.Store(true)
	e.Conn.Close()
}

// Read implements net.Conn.
func (e *end) Read(b []byte) (int, error) {
	count, err := e.Conn.Read(b)
	return count, e.explain("read", syscall.ECONNRESET, err)
}

// Write implements net.Conn.
func (e *end) Write(b []byte) (int, error) {
	count, err := e.Conn.Write(b)
	return count, e.explain("write", syscall.EPIPE, err)
}

// explain gives the end of a pipe the words of TCP.
func (e *end) explain(op string, why syscall.Errno, err error) error {
	if !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	if e.givenUp.Load() {
		why = syscall.ETIMEDOUT
	}
	return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, why)}
}

// RemoteAddr implements net.Conn.
func (e *end) RemoteAddr() net.Addr { return e.raw.RemoteAddr() }

// LocalAddr implements net.Conn.
func (e *end) LocalAddr() net.Addr { return e.raw.LocalAddr() }
