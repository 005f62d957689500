package pipeline

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"

	"raftkv/client/bench"
)

// Client puts load on a pipeline. All methods are safe for concurrent use.
type Client struct {
	conns []*conn
}

// conn is one connection and the requests on it that wait for their end.
type conn struct {
	*session
	running sync.WaitGroup

	waiting struct {
		sync.Mutex
		last  uint64 // number of a request
		ended map[uint64]chan bool
		lost  bool // the connection has ended
	}
	// waiters holds channels that nobody waits on.
	waiters sync.Pool
}

// Dial makes connections to a leader. Clients of the load share them evenly.
func Dial(address string, connections int) (*Client, error) {
	c := &Client{}
	for range connections {
		netConn, err := net.Dial("tcp", address)
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("the pipeline's leader: %w", err)
		}
		one := &conn{session: newSession(netConn)}
		one.waiting.ended = map[uint64]chan bool{}
		one.waiters.New = func() any { return make(chan bool, 1) }
		one.running.Go(one.write)
		one.running.Go(one.read)
		c.conns = append(c.conns, one)
	}
	return c, nil
}

// Close ends the connections. Requests that wait fail.
func (c *Client) Close() {
	for _, one := range c.conns {
		one.close()
	}
	for _, one := range c.conns {
		one.running.Wait()
	}
}

// Do sends a record of the key and the value, and waits until it is acknowledged. The
// only operation is bench.Put.
func (c *Client) Do(ctx context.Context, client int, op bench.Op, key string, value []byte) (failure string) {
	if op != bench.Put || len(key)+len(value) > maxPayload {
		return "not_applied not_supported"
	}
	one := c.conns[client%len(c.conns)]
	number, ended := one.begin()
	if ended == nil {
		return "not_applied no_connection"
	}
	one.send(number, key, value)
	select {
	case done := <-ended:
		one.waiters.Put(ended)
		if !done {
			return "unknown no_answer"
		}
		return ""
	case <-ctx.Done():
		return "unknown timeout"
	}
}

// begin returns the number of a request and a channel on which its end will come; nil
// if the connection has ended.
func (c *conn) begin() (number uint64, ended chan bool) {
	c.waiting.Lock()
	defer c.waiting.Unlock()
	if c.waiting.lost {
		return 0, nil
	}
	c.waiting.last++
	ended = c.waiters.Get().(chan bool)
	c.waiting.ended[c.waiting.last] = ended
	return c.waiting.last, ended
}

// end ends a request, if it is known.
func (c *conn) end(number uint64) {
	c.waiting.Lock()
	ended := c.waiting.ended[number]
	delete(c.waiting.ended, number)
	c.waiting.Unlock()
	if ended != nil {
		ended <- true
	}
}

// read ends requests as they are acknowledged, and all others when the connection has
// ended.
func (c *conn) read() {
	r := bufio.NewReader(c.conn)
	for ack := make([]byte, ackBytes); ; {
		if _, err := io.ReadFull(r, ack); err != nil {
			break
		}
		c.end(binary.LittleEndian.Uint64(ack))
	}
	c.close()
	c.waiting.Lock()
	defer c.waiting.Unlock()
	c.waiting.lost = true
	for _, ended := range c.waiting.ended {
		ended <- false
	}
	clear(c.waiting.ended)
}
