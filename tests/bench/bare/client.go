package bare

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"

	"raftkv/client/bench"
	"raftkv/kvserver/api"
)

// Client puts load on one server over HTTP/1.1. Each client of the load may call Do
// for itself; calls of the same client must follow each other.
type Client struct {
	address string
	conns   []*conn // by client
}

// conn is one connection.
type conn struct {
	net.Conn
	in      *bufio.Reader
	request []byte          // reused
	bounded context.Context // whose deadline the connection has
}

// Dial makes a connection for each client.
func Dial(address string, clients int) (*Client, error) {
	c := &Client{address: address}
	for range clients {
		one, err := net.Dial("tcp", address)
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("connecting to %s: %w", address, err)
		}
		c.conns = append(c.conns, &conn{Conn: one, in: bufio.NewReader(one)})
	}
	return c, nil
}

// Close closes the connections.
func (c *Client) Close() {
	for _, one := range c.conns {
		one.Close()
	}
}

// Do makes one request: bench.Put, bench.Get or bench.Stale. An answer counts as done
// if its status is 200 or 201 and a node has given it: a key that does not exist is a
// failure. After a failure the client's connection may be of no use.
func (c *Client) Do(ctx context.Context, client int, op bench.Op, key string, value []byte) (failure string) {
	one := c.conns[client]
	if one.bounded != ctx {
		deadline, _ := ctx.Deadline()
		if err := one.SetDeadline(deadline); err != nil {
			return "not_applied no_connection"
		}
		one.bounded = ctx
	}
	one.compose(c.address, op, key, value)
	if _, err := one.Write(one.request); err != nil {
		return "unknown no_answer"
	}
	status, err := one.readAnswer()
	if err != nil {
		return "unknown no_answer"
	}
	if status == 200 || status == 201 {
		return ""
	}
	return "unknown status_" + strconv.Itoa(status)
}

// compose writes the request. Keys must need no escapes in a path.
func (c *conn) compose(address string, op bench.Op, key string, value []byte) {
	method, query := "GET", ""
	switch op {
	case bench.Put:
		method = "PUT"
	case bench.Stale:
		query = "?consistency=stale"
	}
	b := append(c.request[:0], method...)
	b = append(b, " /v1/kv/"...)
	b = append(b, key...)
	b = append(b, query...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, address...)
	if op == bench.Put {
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(value)), 10)
	}
	b = append(b, "\r\n\r\n"...)
	if op == bench.Put {
		b = append(b, value...)
	}
	c.request = b
}

// readAnswer returns the status of an answer that a node has given.
func (c *conn) readAnswer() (status int, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, fmt.Errorf("the answer begins with %q", line)
	}
	status, err = strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, fmt.Errorf("the answer begins with %q", line)
	}
	length, node := -1, false
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if value, is := header(line, "Content-Length"); is {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, fmt.Errorf("the answer's length is %q", value)
			}
		} else if _, is := header(line, api.HeaderNode); is {
			node = true
		}
	}
	if length < 0 || !node {
		return 0, fmt.Errorf("the answer has no length, or comes from no node")
	}
	_, err = c.in.Discard(length)
	return status, err
}

// header returns the value of a header's line, if it has this name.
func header(line []byte, name string) (value []byte, is bool) {
	if len(line) <= len(name) || line[len(name)] != ':' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name)+1:]), true
}
