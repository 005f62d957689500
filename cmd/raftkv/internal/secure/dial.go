package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"

	"raftkv/raft/certs"
)

// Called is a client port of another node.
type Called struct {
	Node    string // "": not known
	Address string
	Secret  bool // the node has said that the port speaks TLS
}

// Dial calls the client port of another node. It speaks TLS if the node has said so, or if
// this node's own port takes nothing else: what came here by TLS goes no further in clear.
// On nil it speaks in clear.
func (k *Keys) Dial(ctx context.Context, to Called) (net.Conn, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", to.Address)
	if err != nil {
		return nil, err
	}
	if k == nil || k.forward == nil || !to.Secret && k.plan.Client != Require {
		return raw, nil
	}
	conn := tls.Client(raw, certs.NodeDialer(k.forward, k.plan.Identity, to.Node, hostOf(to.Address)))
	err = conn.HandshakeContext(ctx)
	result, err := certs.Explain(err)
	if result == certs.ResultSilent && ctx.Err() != nil {
		err = fmt.Errorf("the handshake of TLS did not end in time: %w", context.Cause(ctx))
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	standing, err := k.forward.Track(conn.ConnectionState(), x509.ExtKeyUsageServerAuth, func(error) { raw.Close() })
	if err != nil {
		raw.Close()
		return nil, err
	}
	return &called{conn, raw, standing}, nil
}

// called is a connection to the client port of another node.
type called struct {
	*tls.Conn
	raw      net.Conn
	standing *certs.Standing
}

// Close ends the connection without a farewell of TLS, for which it might have to wait.
func (c *called) Close() error {
	c.standing.Forget()
	return c.raw.Close()
}
