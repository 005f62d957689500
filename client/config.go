package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Config holds the servers' addresses and the Clerk's settings. Endpoints must be
// set; for the rest zero means the default named in each comment.
type Config struct {
	// Endpoints are the addresses where servers take clients, as ParseEndpoint
	// reads them: host:port, with or without http:// before them. One that works
	// is enough, but only a Clerk that knows all of them is sure to find one.
	Endpoints []string
	// FixedEndpoints keeps the Clerk to Endpoints and to the addresses of leaders that the
	// servers name. Otherwise the Clerk follows the cluster: it asks where clients are served
	// when the members have changed, tries what it learns after the servers that it has met,
	// and forgets what the cluster does not name any more. Endpoints are never forgotten.
	FixedEndpoints bool
	// Connections is the number of connections to each server that is asked; calls
	// take turns. More than one pays only when one is the bottleneck. 1 to 256;
	// the default is 1.
	Connections int
	// MaxWrites is the number of writes that may be in flight, 1 to 1024; further
	// writes wait. The default is 1024.
	MaxWrites int
	// AttemptTimeout is the time that an attempt waits for its answer before
	// another is made. It does not bound the call; the call's context does. The
	// default is 3 s.
	AttemptTimeout time.Duration
	// DialTimeout bounds the time for a connection to one server. The default is 2
	// s.
	DialTimeout time.Duration
	// TLS, if not nil, is how servers are verified: RootCAs holds the CAs that are
	// trusted, and Certificates what this client shows where it is asked to. All servers
	// are asked by TLS then, those that are met later as well; endpoints may say so with
	// https:// before them. nil: endpoints with https:// are verified by the system's CAs,
	// and others are asked in clear.
	TLS *tls.Config
	// Dial makes the connections, below TLS. The default is TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Token, if not nil, returns the token of the identity that the Clerk is. It is asked
	// for each connection, and once more when a server says that the token opens
	// nothing; it may block until ctx ends. The token goes to servers
	// that TLS has verified, and in clear to no address but loopback, unless AllowClear
	// says so.
	Token func(ctx context.Context) (string, error)
	// AllowClear lets the token go over connections that others could read, to addresses
	// beyond loopback: for networks in which nobody can.
	AllowClear bool
	// OnRefusal, if not nil, is called for every attempt that did not do what its
	// call asked, while the call goes on. The goroutines of the calls call it,
	// possibly at the same time, and it must not block.
	OnRefusal func(Refusal)
}

const maxConnections = 256

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
	case c.Connections < 1 || c.Connections > maxConnections:
		return c, fmt.Errorf("client: Connections is %d; choose 1 to %d", c.Connections, maxConnections)
	case c.MaxWrites < 1 || c.MaxWrites > maxLanes:
		return c, fmt.Errorf("client: MaxWrites is %d; choose 1 to %d", c.MaxWrites, maxLanes)
	case c.AttemptTimeout < 0 || c.DialTimeout < 0:
		return c, fmt.Errorf("client: AttemptTimeout is %v and DialTimeout %v; both must be positive", c.AttemptTimeout, c.DialTimeout)
	}
	endpoints, err := parseAll(c.Endpoints)
	if err != nil {
		return c, err
	}
	if c.Endpoints, err = c.withoutScheme(endpoints); err != nil {
		return c, err
	}
	return c, nil
}

// ParseEndpoint returns an endpoint in its short form: host:port, and https://host:port
// where TLS is asked for. It may be written with http:// before it and one slash behind
// it. A missing host is 127.0.0.1. The error names the fault: another scheme, a user, a
// path, or a port that is missing or not a number from 1 to 65535.
func ParseEndpoint(given string) (string, error) {
	bad := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("client: the endpoint %q %s", withoutSecrets(given), fmt.Sprintf(format, args...))
	}
	address, before := strings.TrimSpace(given), ""
	if scheme, rest, has := strings.Cut(address, "://"); has {
		switch strings.ToLower(scheme) {
		case "http":
			address = rest
		case "https":
			address, before = rest, secureScheme
		default:
			return bad("begins with %s://; write host:port", scheme)
		}
	}
	address = strings.TrimSuffix(address, "/")
	switch {
	case strings.Contains(address, "@"):
		return bad("names a user, but the store has no users; write host:port")
	case strings.ContainsAny(address, "/?#"):
		return bad("has a path; write host:port")
	}
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil && strings.Count(address, ":") > 1 && !strings.Contains(address, "["):
		return bad("is not of the form host:port; an IPv6 address stands in brackets: [::1]:8701")
	case err != nil || port == "":
		return bad("is not of the form host:port")
	case strings.ContainsFunc(host, isNoHostCharacter):
		return bad("has a host name that cannot be")
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || strings.HasPrefix(port, "+") {
		return bad("has the port %q; choose 1 to 65535", port)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return before + net.JoinHostPort(host, strconv.FormatUint(number, 10)), nil
}

// withoutSecrets returns an endpoint that is wrong as an error may show it: without a user and
// a password before the host, and without what follows a question mark.
func withoutSecrets(given string) string {
	if at := strings.LastIndex(given, "@"); at >= 0 {
		given = "…" + given[at:]
	}
	if before, _, has := strings.Cut(given, "?"); has {
		given = before + "?…"
	}
	return given
}

// secureScheme begins an endpoint that asks for TLS.
const secureScheme = "https://"

// IsSecure reports whether an endpoint, in its short form, asks for TLS.
func IsSecure(endpoint string) bool { return strings.HasPrefix(endpoint, secureScheme) }

// Address returns the host:port of an endpoint in its short form.
func Address(endpoint string) string { return strings.TrimPrefix(endpoint, secureScheme) }

// isNoHostCharacter reports whether c cannot be part of a host name or IP
// address.
func isNoHostCharacter(c rune) bool {
	return c <= ' ' || c == 0x7f || strings.ContainsRune(`",;<>\^|{}`+"`", c)
}

// ParseEndpoints returns the endpoints of a list that is separated by commas,
// each as ParseEndpoint returns it and each once, in their order. Empty elements
// of the list are skipped. An error names the endpoint that is wrong, or says
// that there is none.
func ParseEndpoints(list string) ([]string, error) { return parseAll(strings.Split(list, ",")) }

// parseAll parses endpoints and leaves out repetitions.
func parseAll(given []string) ([]string, error) {
	var all []string
	seen := map[string]bool{}
	for _, g := range given {
		if strings.TrimSpace(g) == "" {
			continue
		}
		address, err := ParseEndpoint(g)
		if err != nil {
			return nil, err
		}
		if !seen[address] {
			seen[address] = true
			all = append(all, address)
		}
	}
	for _, address := range all {
		if IsSecure(address) != IsSecure(all[0]) {
			return nil, fmt.Errorf("client: the endpoint %q is without TLS and another one is with it; write https:// before all of them, or before none", Address(address))
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("client: no endpoint is given; give the host:port where a server takes clients")
	}
	return all, nil
}
