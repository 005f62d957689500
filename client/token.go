package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
)

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
		e.Detail = "the token is not sent to " + address + " in clear, where others could read it; ask by TLS, or set AllowClear if nobody can"
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
