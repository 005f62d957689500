package client

import (
	"context"
	"fmt"
	"net"
	"time"
)

// Config says where the servers are. Endpoints must be set; for the rest zero
// means the default named beside it.
type Config struct {
	// Endpoints are the addresses where servers take clients, as ParseEndpoint reads
	// them: host:port, with or without http:// before them. One that works is enough, but only a Clerk
	// that knows all is sure to find one.
	Endpoints []string
	// Connections is how many connections there are to each server that is
	// asked; calls take turns. More than one pays only when one is the
	// bottleneck. 1.
	Connections int
	// MaxWrites is how many writes may be in flight, 1 to 1024; more wait. 1024.
	MaxWrites int
	// AttemptTimeout is how long an attempt waits for its answer before another
	// is made. It is no bound on the call; its context is. 3 s.
	AttemptTimeout time.Duration
	// DialTimeout bounds the time for a connection to one server. 2 s.
	DialTimeout time.Duration
	// Dial makes the connections. TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// OnRefusal, if not nil, is told of every attempt that did not do what its call
	// asked, while the call goes on. It is called by the goroutines of the calls, at
	// the same time, and must not block.
	OnRefusal func(Refusal)
}

const mostConnections = 256

func (c Config) withDefaults() (Config, error) {
	if c.Connections == 0 {
		c.Connections = 1
	}
	if c.MaxWrites == 0 {
		c.MaxWrites = maxLanes
	}
	if c.AttemptTimeout == 0 {
		c.AttemptTimeout = 3 * time.Second
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = 2 * time.Second
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	switch {
	case c.Connections < 1 || c.Connections > mostConnections:
		return c, fmt.Errorf("client: %d connections per server; choose 1 to %d", c.Connections, mostConnections)
	case c.MaxWrites < 1 || c.MaxWrites > maxLanes:
		return c, fmt.Errorf("client: %d writes in flight; choose 1 to %d", c.MaxWrites, maxLanes)
	case c.AttemptTimeout < 0 || c.DialTimeout < 0:
		return c, fmt.Errorf("client: AttemptTimeout and DialTimeout must be positive")
	}
	endpoints, err := parseAll(c.Endpoints)
	if err != nil {
		return c, err
	}
	c.Endpoints = endpoints
	return c, nil
}
