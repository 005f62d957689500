package httpd

import (
	"errors"
	"net"
	"sync"
)

// leaderConn is a connection to the leader that can tell, beyond doubt, that
// nothing of a request was written to it. net/http cannot: when it gives a
// request up, its writing goroutine may be just about to begin.
type leaderConn struct {
	net.Conn

	mu     sync.Mutex // guards the fields below; not held while writing
	writes uint64     // begun so far
	sealed bool
}

var errSealed = errors.New("the connection was given up before the request was written")

// Write counts itself before it begins.
func (c *leaderConn) Write(p []byte) (int, error) {
	if !c.begin() {
		return 0, errSealed
	}
	return c.Conn.Write(p)
}

func (c *leaderConn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sealed {
		return false
	}
	c.writes++
	return true
}

// mark returns a mark for seal. It is taken when a request gets the connection;
// a connection carries one request at a time.
func (c *leaderConn) mark() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

// seal reports whether nothing was written since the mark, and if so sees to it
// that nothing ever will be.
func (c *leaderConn) seal(mark uint64) bool {
	if !c.sealIf(mark) {
		return false
	}
	c.Close()
	return true
}

func (c *leaderConn) sealIf(mark uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writes != mark {
		return false
	}
	c.sealed = true
	return true
}

// trail is the connections on which net/http may have written one request.
type trail []held

type held struct {
	conn *leaderConn
	mark uint64
}

func (t *trail) add(c *leaderConn) { *t = append(*t, held{c, c.mark()}) }

// seal reports whether nothing of the request was written on any of them, and if
// so sees to it that nothing ever will be.
func (t trail) seal() bool {
	sealed := true
	for _, h := range t {
		sealed = h.conn.seal(h.mark) && sealed
	}
	return sealed
}
