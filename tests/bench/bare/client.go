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

// Protocol is how a service is asked over HTTP.
type Protocol struct {
	// Append adds a request to b. Keys must need no escapes in a path.
	Append func(b []byte, host string, op bench.Op, key string, value []byte) []byte
	// Header is in every answer of the service, and in no other's.
	Header string
}

// Raftkv is raftkv's protocol.
var Raftkv = Protocol{appendRequest, api.HeaderNode}

// Client puts load on one server over HTTP/1.1. Each client of the load may call Do
// for itself; calls of the same client must follow each other.
type Client struct {
	address  string
	protocol Protocol
	conns    []*conn // by client
}

// conn is one connection.
type conn struct {
	net.Conn
	in      *bufio.Reader
	request []byte          // reused
	bounded context.Context // whose deadline the connection has
}

// Dial makes a connection for each client.
func Dial(address string, clients int, protocol Protocol) (*Client, error) {
	c := &Client{address: address, protocol: protocol}
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
// if its status is 200 or 201 and the service has given it: a key that does not exist is a
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
	one.request = c.protocol.Append(one.request[:0], c.address, op, key, value)
	if _, err := one.Write(one.request); err != nil {
		return "unknown no_answer"
	}
	status, err := one.readAnswer(c.protocol.Header)
	if err != nil {
		return "unknown no_answer"
	}
	if status == 200 || status == 201 {
		return ""
	}
	return "unknown status_" + strconv.Itoa(status)
}

// appendRequest adds a request as raftkv takes it.
func appendRequest(b []byte, host string, op bench.Op, key string, value []byte) []byte {
	method, query := "GET", ""
	switch op {
	case bench.Put:
		method = "PUT"
	case bench.Stale:
		query = "?consistency=stale"
	}
	b = append(b, method...)
	b = append(b, " /v1/kv/"...)
	b = append(b, key...)
	b = append(b, query...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	if op == bench.Put {
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(value)), 10)
	}
	b = append(b, "\r\n\r\n"...)
	if op == bench.Put {
		b = append(b, value...)
	}
	return b
}

// readAnswer returns the status of an answer that has a header of this name.
func (c *conn) readAnswer(name string) (status int, err error) {
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
	length, ours := -1, false
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
		} else if _, is := header(line, name); is {
			ours = true
		}
	}
	if length < 0 || !ours {
		return 0, fmt.Errorf("the answer has no length, or comes from another service")
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
