package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"
)

// The protocols above TLS, as ALPN names them. No connection of one port has a meaning on
// the other.
const (
	ClientProtocol = "http/1.1"
	PeerProtocol   = "raftkv-peer"
)

// ClientListener returns the terms of a port for clients. minVersion is tls.VersionTLS12
// or tls.VersionTLS13. If demand is set, clients must show a certificate of a CA of the
// set; it says that their machine may connect, and nothing about rights.
func ClientListener(store *Store, minVersion uint16, demand bool) *tls.Config {
	c := listener(store)
	c.MinVersion, c.NextProtos, c.CipherSuites = minVersion, []string{ClientProtocol}, authenticated
	if demand {
		c.ClientAuth = tls.RequestClientCert // VerifyConnection demands it
	}
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := checkTerms(cs, ClientProtocol, true); err != nil || !demand {
			return err
		}
		return store.Set().verify(cs.PeerCertificates, x509.ExtKeyUsageClientAuth, time.Now())
	}
	return c
}

// authenticated are the ciphers for clients of TLS 1.2: forward secrecy and authenticated
// encryption. Go by itself also takes those with CBC and SHA-1. TLS 1.3 has its own, all good.
var authenticated = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// PeerListener returns the terms of the port for peers: TLS 1.3, and a certificate that
// names one node.
func PeerListener(store *Store, identity Identity) *tls.Config {
	c := listener(store)
	c.MinVersion, c.NextProtos, c.ClientAuth = tls.VersionTLS13, []string{PeerProtocol}, tls.RequestClientCert // VerifyConnection demands it
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := checkTerms(cs, PeerProtocol, false); err != nil {
			return err
		}
		if err := store.Set().verify(cs.PeerCertificates, x509.ExtKeyUsageClientAuth, time.Now()); err != nil {
			return err
		}
		_, err := identity.Of(cs.PeerCertificates[0])
		return err
	}
	return c
}

// listener returns what both ports have in common.
func listener(store *Store) *tls.Config {
	return &tls.Config{
		// A resumed session would skip the chain and the revocation lists.
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return store.Set().leaf, nil
		},
	}
}

// PeerDialer returns the terms on which a node calls another one, id: TLS 1.3, and the
// certificate of that very node; "" stands for any node.
func PeerDialer(store *Store, identity Identity, id string) *tls.Config {
	c := dialer(store)
	c.MinVersion, c.NextProtos = tls.VersionTLS13, []string{PeerProtocol}
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := checkTerms(cs, PeerProtocol, false); err != nil {
			return err
		}
		if err := store.Set().verify(cs.PeerCertificates, x509.ExtKeyUsageServerAuth, time.Now()); err != nil {
			return err
		}
		is, err := identity.Of(cs.PeerCertificates[0])
		if err == nil && !identity.any && is != id && id != "" {
			err = refuse(ResultIdentity, "node %q was called, and the certificate that answers is that of node %q", id, is)
		}
		return err
	}
	return c
}

// NodeDialer returns the terms on which a node calls the client port of another one. The
// certificate must be that of node id, or one for the host that was called; id is "" where
// the node is not known.
func NodeDialer(store *Store, identity Identity, id, host string) *tls.Config {
	c := dialer(store)
	c.MinVersion, c.NextProtos, c.ServerName = tls.VersionTLS12, []string{ClientProtocol}, host
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := checkTerms(cs, ClientProtocol, true); err != nil {
			return err
		}
		if err := store.Set().verify(cs.PeerCertificates, x509.ExtKeyUsageServerAuth, time.Now()); err != nil {
			return err
		}
		leaf := cs.PeerCertificates[0]
		if is, err := identity.Of(leaf); err == nil && is != "" && is == id {
			return nil
		}
		if err := leaf.VerifyHostname(host); err != nil {
			return refuse(ResultIdentity, "the certificate of %s is neither for the host %s nor that of node %q", nameOf(leaf), host, id)
		}
		return nil
	}
	return c
}

// dialer returns what all dialers have in common. Go verifies nothing by itself then: all
// of that stands in the VerifyConnection which every caller adds.
func dialer(store *Store) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if leaf := store.Set().leaf; leaf != nil {
				return leaf, nil
			}
			return new(tls.Certificate), nil
		},
	}
}

// checkTerms refuses a session that was resumed, and another protocol than was agreed.
// Clients of HTTP may name none.
func checkTerms(cs tls.ConnectionState, protocol string, optional bool) error {
	switch {
	case cs.DidResume:
		return refuse(ResultProtocol, "the session was resumed, which skips the checks of the certificate")
	case cs.NegotiatedProtocol == protocol, cs.NegotiatedProtocol == "" && optional:
		return nil
	}
	return &Refusal{Result: ResultProtocol, text: fmt.Sprintf("the other side speaks the protocol %.40q above TLS, not %q", cs.NegotiatedProtocol, protocol)}
}
