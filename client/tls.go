package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

// withoutScheme settles whether the Clerk speaks TLS, and returns the endpoints as
// host:port.
func (c *Config) withoutScheme(endpoints []string) (addresses []string, err error) {
	secure := IsSecure(endpoints[0])
	if secure && c.TLS == nil {
		c.TLS = &tls.Config{} // the system's CAs
	}
	if c.TLS != nil && c.TLS.InsecureSkipVerify && c.TLS.VerifyConnection == nil {
		return nil, errors.New("client: TLS.InsecureSkipVerify would talk to anybody; put the servers' CA into TLS.RootCAs, or verify them in TLS.VerifyConnection")
	}
	for _, given := range c.Endpoints {
		if c.TLS != nil && strings.HasPrefix(strings.ToLower(strings.TrimSpace(given)), "http://") {
			return nil, fmt.Errorf("client: the endpoint %q asks for no TLS, and Config.TLS is set; write https:// before it, or leave TLS out", given)
		}
	}
	for _, e := range endpoints {
		addresses = append(addresses, Address(e))
	}
	return addresses, nil
}

// clearError says that a server does not speak TLS. errors.As finds what it sent instead.
type clearError struct{ header tls.RecordHeaderError }

func (e clearError) Error() string {
	return "it does not speak TLS on this port; write http:// in place of https://, or leave the CA out, if that is meant"
}

func (e clearError) As(target any) bool {
	header, is := target.(*tls.RecordHeaderError)
	if is {
		*header = e.header
	}
	return is
}

// unverified reports whether a server is not the one that it should be, or speaks no TLS.
func unverified(err error) bool {
	var certificate *tls.CertificateVerificationError
	var inClear clearError
	return errors.As(err, &inClear) || errors.As(err, &certificate)
}

// turnedDown reports whether a server has ended a handshake of TLS, or the connection behind
// it, for what it would end it for again: it is a peer port, or it demands a certificate and the
// Clerk has none.
func (c *Clerk) turnedDown(err error) bool {
	var remote *net.OpError
	if !errors.As(err, &remote) || remote.Op != "remote error" {
		return false
	}
	alert, terms := remote.Err.Error(), c.config.TLS
	return strings.Contains(alert, "no application protocol") ||
		strings.Contains(alert, "certificate") && terms != nil && len(terms.Certificates) == 0 && terms.GetClientCertificate == nil
}

// secretConn is a connection of TLS that ends without a farewell, for which its end might
// have to wait.
type secretConn struct {
	*tls.Conn
	raw net.Conn
}

func (c *secretConn) Close() error { return c.raw.Close() }

// secured makes a connection one of TLS. The certificate must be for the host of address,
// unless the configuration names another one.
func secured(raw net.Conn, address string, config *tls.Config) (net.Conn, error) {
	config = config.Clone()
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		config.ServerName = host
	}
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS12
	}
	config.NextProtos, config.ClientSessionCache = []string{"http/1.1"}, nil
	conn := tls.Client(raw, config)
	err := conn.Handshake()
	var header tls.RecordHeaderError
	switch {
	case err == nil:
		return &secretConn{conn, raw}, nil
	case errors.As(err, &header):
		return nil, clearError{header}
	case unverified(err):
		return nil, fmt.Errorf("its certificate does not verify: %w", err)
	}
	return nil, fmt.Errorf("the handshake of TLS failed: %w", err)
}

// TokenFromEnvironment returns a Config.Token that does what the commands of raftkv do: it
// reads the file that the environment variable RAFTKV_TOKEN_FILE names, anew each time, so
// that a newer token is found; else it returns the token in RAFTKV_AUTH_TOKEN. Where neither
// is set it returns nil, for a Clerk that sends none.
func TokenFromEnvironment() func(ctx context.Context) (string, error) {
	const fileVariable, variable = "RAFTKV_TOKEN_FILE", "RAFTKV_AUTH_TOKEN"
	if path := os.Getenv(fileVariable); path != "" {
		return func(context.Context) (string, error) {
			token, err := readToken(path)
			if err != nil {
				err = fmt.Errorf("$%s: %w", fileVariable, err)
			}
			return token, err
		}
	}
	if token := strings.TrimSpace(os.Getenv(variable)); token != "" {
		return func(context.Context) (string, error) { return token, nil }
	}
	return nil
}

// maxTokenFile bounds a file with a token, in bytes.
const maxTokenFile = 4 << 10

// readToken reads a file that holds a token and the end of a line. The text does not show in
// the error.
func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	if err == nil && (len(text) > maxTokenFile || len(bytes.TrimSpace(text)) == 0) {
		err = fmt.Errorf("%s holds no token: it is empty, or has more than %d bytes", path, maxTokenFile)
	}
	return string(bytes.TrimSpace(text)), err
}

var errNoToken = errors.New("it holds a space or the end of a line")

// token returns the token for a connection to an address, "" if the Clerk has none. An
// error says that there is none to be had, or that it may not go there.
func (c *Clerk) token(ctx context.Context, address string) (string, *Error) {
	if c.config.Token == nil {
		return "", nil
	}
	if c.config.TLS == nil && !c.config.AllowClear && !isLoopback(address) {
		e := unreachable(address, nil)
		e.Code = api.CodeUnauthenticated
		e.Detail = "the token is not sent to " + address + " in clear, where others could read it; ask by TLS"
		e.final = true
		return "", e
	}
	token, err := c.config.Token(ctx)
	if err == nil && strings.ContainsAny(token, "\r\n\x00 ") {
		err = errNoToken
	}
	if err != nil {
		e := unreachable(address, err)
		e.Code, e.Detail, e.final = api.CodeUnauthenticated, "the token could not be had", true
		return "", e
	}
	return token, nil
}

// isLoopback reports whether an address is of this machine.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// renew gives a connection a token that is asked for anew, and reports whether the
// server has taken it.
func (c *Clerk) renew(ctx context.Context, s *server, conn *conn) bool {
	if c.config.Token == nil {
		return false
	}
	token, failed := c.token(ctx, s.address)
	if failed != nil {
		return false
	}
	w := &call{kind: clerkwire.KindAuth, done: make(chan struct{}, 1)}
	return send(ctx, conn, w, clerkwire.Auth{Token: []byte(token)}) && w.err == nil && w.refused == nil
}
