package secure

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/kvserver/port"
	"raftkv/raft/certs"
	"raftkv/raft/wire"
)

// Keys are the certificates of a node, in use. All methods are safe for concurrent use; on
// nil they say that there are none.
type Keys struct {
	plan   Plan
	logger *slog.Logger

	client  *certs.Store // of the client port; nil: it speaks in clear
	forward *certs.Store // for calling the client ports of others; nil: never by TLS
	peer    *certs.Store // of the peer port; nil: it speaks in clear

	reloaded, failed atomic.Uint64

	groups []*group // set by Open

	mu    sync.Mutex                       // guards what the groups know of their files, and the field below
	noted func(port string, refused error) // nil: nobody is told
}

// group is files that are taken whole or not at all.
type group struct {
	name   string // for the log
	load   func(now time.Time) (apply func() (ended int), is digest, err error)
	is     digest // of the files in use
	failed digest // of the last files that were refused, which is said once
	said   string
	wrong  atomic.Bool // the files that are there are refused; not guarded

	unlisted atomic.Int64 // CAs of which the files in use have no revocation list; not guarded
}

// Open reads the files of a plan. The error is a sentence for the user; nothing is opened
// then. Without TLS on any port the result is nil.
func Open(plan Plan, logger *slog.Logger) (*Keys, error) {
	if !plan.Secret() {
		return nil, nil
	}
	k := &Keys{plan: plan, logger: logger}
	if plan.Client != Off {
		k.client, k.forward = certs.NewStore(nil), certs.NewStore(nil)
		g := &group{name: "client"}
		g.load = func(now time.Time) (func() int, digest, error) { return k.loadClient(g, now) }
		k.groups = append(k.groups, g)
	}
	if plan.Peer != Off {
		k.peer = certs.NewStore(nil)
		g := &group{name: "peer"}
		g.load = func(now time.Time) (func() int, digest, error) { return k.loadPeer(g, now) }
		k.groups = append(k.groups, g)
	}
	for _, g := range k.groups {
		apply, is, err := g.load(time.Now())
		if err != nil {
			return nil, err
		}
		apply()
		g.is = is
	}
	if plan.Peer != Off && plan.Identity.Any() {
		logger.Warn("--peer-identity is cluster: whoever has the key of one node can pose as any of them")
	}
	return k, nil
}

// loadClient reads what the client port needs, and what is needed to call others'.
func (k *Keys) loadClient(g *group, now time.Time) (apply func() int, is digest, err error) {
	p := &k.plan
	var cert, key, clientCA, crl, ca certs.File
	for _, f := range []struct {
		into *certs.File
		name string
		read func(string) (certs.File, error)
	}{{&cert, p.cert, read}, {&key, p.key, readKey}, {&clientCA, p.clientCA, read}, {&crl, p.crl, read}, {&ca, firstOf(p.ca, p.peerCA), read}} {
		if *f.into, err = f.read(f.name); err != nil {
			return nil, digest{}, err
		}
	}
	is = digestOf(cert, key, clientCA, crl, ca)
	own, err := certs.Parse(certs.Files{Cert: cert, Key: key, CA: clientCA, CRL: crl}, now)
	if err != nil {
		return nil, is, err
	}
	others, err := certs.Parse(certs.Files{Cert: cert, Key: key, CA: ca, CRL: crl}, now)
	if err != nil {
		return nil, is, err
	}
	if err := k.checkClient(own, others, ca.Name != "", now); err != nil {
		return nil, is, fmt.Errorf("%s: %w", cert.Name, err)
	}
	return func() int {
		k.warnOfLists(g, p.crl, now, own, others)
		return k.client.Swap(own, nil) + k.forward.Swap(others, nil)
	}, is, nil
}

// warnOfLists says which revocation lists of a file revoke nothing, as far as it can be told.
// It also names each CA whose list is missing.
func (k *Keys) warnOfLists(g *group, file string, now time.Time, sets ...*certs.Set) {
	for _, issuer := range certs.ForeignLists(sets...) {
		k.logger.Warn("a revocation list is of a CA that is not in the CA bundle; unless certificates have that CA between them and the bundle, it revokes nothing: name the list of the bundle's CA", "file", file, "issuer", issuer)
	}
	unlisted := certs.Unlisted(now, sets...)
	for _, ca := range unlisted {
		k.logger.Warn("there are revocation lists, and none of this CA of the bundle, so nothing that it issued can be revoked: make one (raftkv cert crl) and add it to the file", "port", g.name, "file", file, "ca", ca.Subject.String(), "serial", ca.SerialNumber.Text(16))
	}
	g.unlisted.Store(int64(len(unlisted)))
}

// checkClient refuses a certificate by which clients or other nodes would refuse this one.
func (k *Keys) checkClient(own, others *certs.Set, known bool, now time.Time) error {
	if err := own.Serves(); err != nil {
		return err
	}
	leaf := own.Leaf()
	if id, err := k.plan.Identity.Of(leaf); err == nil && id != "" && id != k.plan.Node {
		return fmt.Errorf("it is the certificate of node %q, and this is node %q", id, k.plan.Node)
	}
	if k.plan.Alone {
		return nil
	}
	// Nodes pass the writes of their clients on to each other's client ports.
	if known {
		if err := others.CheckOwn(x509.ExtKeyUsageServerAuth, now); err != nil {
			return fmt.Errorf("other nodes would refuse it: %w; name its CA with --tls-ca", err)
		}
	}
	if k.plan.clientCA != "" {
		if err := own.CheckOwn(x509.ExtKeyUsageClientAuth, now); err != nil {
			return fmt.Errorf("with --tls-client-ca nodes show it to each other as clients do: %w; issue it from a CA in that file, with both usages", err)
		}
	}
	if !k.named(leaf) {
		k.logger.Warn("the certificate of the client port is neither for an address at which the other nodes reach this one nor that of this node; they cannot pass writes on to it", "reached at", k.plan.Hosts)
	}
	return nil
}

// named reports whether other nodes find in a certificate the host that they call, or this
// node.
func (k *Keys) named(leaf *x509.Certificate) bool {
	if id, err := k.plan.Identity.Of(leaf); err == nil && id == k.plan.Node {
		return true
	}
	return len(k.plan.Hosts) == 0 || slices.ContainsFunc(k.plan.Hosts, func(host string) bool { return leaf.VerifyHostname(host) == nil })
}

// loadPeer reads what the peer port needs.
func (k *Keys) loadPeer(g *group, now time.Time) (apply func() int, is digest, err error) {
	p := &k.plan
	var f certs.Files
	for _, r := range []struct {
		into *certs.File
		name string
		read func(string) (certs.File, error)
	}{{&f.Cert, p.peerCert, read}, {&f.Key, p.peerKey, readKey}, {&f.CA, p.peerCA, read}, {&f.CRL, p.peerCRL, read}} {
		if *r.into, err = r.read(r.name); err != nil {
			return nil, digest{}, err
		}
	}
	is = digestOf(f.Cert, f.Key, f.CA, f.CRL)
	set, err := certs.Parse(f, now)
	if err != nil {
		return nil, is, err
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if err := set.CheckOwn(usage, now); err != nil {
			return nil, is, fmt.Errorf("%s: the peers would refuse it: %w", f.Cert.Name, err)
		}
	}
	id, err := p.Identity.Of(set.Leaf())
	if err == nil && !p.Identity.Any() && id != p.Node {
		err = fmt.Errorf("it is the certificate of node %q, and this is node %q", id, p.Node)
	}
	if err != nil {
		return nil, is, fmt.Errorf("%s: %w", f.Cert.Name, err)
	}
	return func() int {
		k.warnOfLists(g, p.peerCRL, now, set)
		return k.peer.Swap(set, func() { time.Sleep(peerPause) })
	}, is, nil
}

// peerPause is the time between the ends of two connections with peers whose certificates
// are not good any more: a leader must not lose all of its followers at one time. They
// connect again within milliseconds if they have better ones.
const peerPause = 250 * time.Millisecond

// Port returns how the client port speaks TLS; nil if it does not.
func (k *Keys) Port() *port.Secure {
	if k == nil || k.client == nil {
		return nil
	}
	return &port.Secure{Terms: certs.ClientListener(k.client, k.plan.MinVersion, k.plan.clientCA != ""), Store: k.client, Required: k.plan.Client == Require}
}

// Wire returns how connections with peers speak TLS; nil if they do not.
func (k *Keys) Wire() *wire.Secure {
	if k == nil || k.peer == nil {
		return nil
	}
	return &wire.Secure{Store: k.peer, Identity: k.plan.Identity, Dials: k.plan.Peer == Prefer || k.plan.Peer == Require, Requires: k.plan.Peer == Require}
}

// Modes returns the modes of the two ports.
func (k *Keys) Modes() (client, peer Mode) {
	if k == nil {
		return Off, Off
	}
	return k.plan.Client, k.plan.Peer
}

// Shared reports whether one certificate stands for all nodes of the cluster.
func (k *Keys) Shared() bool { return k != nil && k.peer != nil && k.plan.Identity.Any() }

// Handshakes calls show with the number of handshakes of each port and result.
func (k *Keys) Handshakes(show func(port string, result certs.Result, n uint64)) {
	k.each(func(name string, s *certs.Store) {
		for _, r := range certs.Results {
			show(name, r, s.Handshakes(r))
		}
	})
}

// Expiries calls show with the time at which each certificate in use expires, by its use:
// client, peer, client-ca, peer-ca.
func (k *Keys) Expiries(show func(use string, at time.Time)) {
	k.each(func(name string, s *certs.Store) {
		show(name, s.Set().Leaf().NotAfter)
		if first := s.Set().FirstExpiry(); !first.IsZero() {
			show(name+"-ca", first)
		}
	})
}

// Reloads returns how often files were taken, and refused, since the start.
func (k *Keys) Reloads() (taken, refused uint64) { return k.reloaded.Load(), k.failed.Load() }

// Refused calls do for each port that has certificates, and says whether the files that are
// there now are refused, as far as they were looked at. It waits for no file.
func (k *Keys) Refused(do func(port string, refused bool)) {
	if k == nil {
		return
	}
	for _, g := range k.groups {
		do(g.name, g.wrong.Load())
	}
}

// Unlisted calls do for each port that has certificates, with the number of CAs of which the
// files in use have no revocation list, although they have lists.
func (k *Keys) Unlisted(do func(port string, cas int64)) {
	if k == nil {
		return
	}
	for _, g := range k.groups {
		do(g.name, g.unlisted.Load())
	}
}

func (k *Keys) each(do func(name string, s *certs.Store)) {
	if k == nil {
		return
	}
	for _, c := range []struct {
		name  string
		store *certs.Store
	}{{"client", k.client}, {"peer", k.peer}} {
		if c.store != nil {
			do(c.name, c.store)
		}
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// hostOf returns the host of a host:port.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
