package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/raft/certs"
	"raftkv/raft/certs/issue"
	"raftkv/raft/core"
	"raftkv/tests/virtual"
)

// trust is a CA and what its certificates are for.
type trust struct {
	*issue.Authority
	identity certs.Identity
}

func newTrust(t testing.TB, name string) trust {
	t.Helper()
	a, err := issue.NewAuthority(name, time.Now(), 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := certs.ParseIdentity("", "c")
	if err != nil {
		t.Fatal(err)
	}
	return trust{a, identity}
}

// set returns a set whose certificate this CA has issued, with CAs that may differ.
func (a trust) set(t testing.TB, r issue.Request, cas, crl []byte) *certs.Set {
	t.Helper()
	at := time.Now()
	if r.To.IsZero() {
		r.From, r.To = at.Add(-time.Minute), at.Add(24*time.Hour)
	} else {
		at = r.From.Add(time.Second) // a set is not loaded out of date; it comes to be
	}
	cert, key, err := a.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	f := certs.Files{Cert: certs.File{Name: "cert", PEM: cert}, Key: certs.File{Name: "key", PEM: key}, CA: certs.File{Name: "ca", PEM: cas}}
	if crl != nil {
		f.CRL = certs.File{Name: "crl", PEM: crl}
	}
	s, err := certs.Parse(f, at)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ofNode(id core.ID) issue.Request {
	return issue.Request{Name: string(id), URIs: []string{"raftkv://c/node/" + string(id)}, Server: true, Client: true}
}

// secure returns how a server with the certificate of a node speaks TLS.
func (a trust) secure(t testing.TB, id core.ID, dials, requires bool) *Secure {
	return &Secure{Store: certs.NewStore(a.set(t, ofNode(id), a.CertPEM, nil)), Identity: a.identity, Dials: dials, Requires: requires}
}

// everywhere makes a cluster speak TLS only.
func (a trust) everywhere(t testing.TB) func(*Config) {
	return func(c *Config) { c.TLS = a.secure(t, c.ID, true, true) }
}

// Goal (S3): where TLS is required, a connection that does not prove to be the peer that
// its hello names is refused before the Handler hears a byte, and counted; the peer itself
// is served.
// Method: a stranger speaks as n2, with everything right but one thing.
func TestThePeerPortIsForPeersAlone(t *testing.T) {
	a, b := newTrust(t, "a"), newTrust(t, "b")
	mine := a.secure(t, "n1", true, true)
	with := func(change func(*issue.Request)) *certs.Set {
		r := ofNode("n2")
		change(&r)
		return a.set(t, r, a.CertPEM, nil)
	}
	revoked := with(func(*issue.Request) {})
	crl, err := a.Revoke(append(revokedOf(revoked), revokedOf(with(func(*issue.Request) {}))...), time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	mine.Store.Swap(a.set(t, ofNode("n1"), a.CertPEM, crl), nil)
	dead := listen(t, "127.0.0.1:0") // n2 itself is not there
	dead.Close()
	s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n1": "-", "n2": dead.Addr().String()}, func(c *Config) { c.TLS = mine }, nil)
	hour := time.Hour
	now := time.Now()
	for what, c := range map[string]struct {
		set    *certs.Set // nil: in clear
		change func(*tls.Config)
		taken  bool
	}{
		"n2 itself":        {set: with(func(*issue.Request) {}), taken: true},
		"clear":            {},
		"no certificate":   {set: with(func(*issue.Request) {}), change: func(c *tls.Config) { c.GetClientCertificate = nil }},
		"another CA":       {set: b.set(t, ofNode("n2"), a.CertPEM, nil)},
		"a client's":       {set: with(func(r *issue.Request) { r.URIs, r.Hosts, r.Server = nil, []string{"client.example.org"}, false })},
		"another cluster":  {set: with(func(r *issue.Request) { r.URIs = []string{"raftkv://d/node/n2"} })},
		"another node":     {set: with(func(r *issue.Request) { r.URIs = []string{"raftkv://c/node/n3"} })},
		"this node's own":  {set: with(func(r *issue.Request) { r.URIs = []string{"raftkv://c/node/n1"} })},
		"two nodes":        {set: with(func(r *issue.Request) { r.URIs = append(r.URIs, "raftkv://c/node/n3") })},
		"expired":          {set: with(func(r *issue.Request) { r.From, r.To = now.Add(-hour), now.Add(-hour/2) })},
		"not yet valid":    {set: with(func(r *issue.Request) { r.From, r.To = now.Add(hour), now.Add(2*hour) })},
		"revoked":          {set: revoked},
		"TLS 1.2":          {set: with(func(*issue.Request) {}), change: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }},
		"another protocol": {set: with(func(*issue.Request) {}), change: func(c *tls.Config) { c.NextProtos = []string{certs.ClientProtocol} }},
	} {
		before := s.Stats().Rejected[ReasonIdentity]
		conn, err := net.Dial("tcp", s.config.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		stream := net.Conn(conn)
		if c.set != nil {
			config := certs.PeerDialer(certs.NewStore(c.set), a.identity, "n1")
			if c.change != nil {
				c.change(config)
			}
			stream = tls.Client(conn, config)
		}
		r := newRaw(stream)
		_, _ = r.Write(r.encoder.hello(nil, kindHello, validHello("n2", "n1")))
		frame, err := r.encoder.request(nil, &core.AppendEntries{Term: 9, LeaderID: "n2"})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = r.Write(frame)
		k, _, err := r.frames.next(greetingFrames)
		if c.taken {
			if err != nil || k != kindHello {
				t.Errorf("%s: kind 0x%02x, %v", what, uint8(k), err)
			}
			eventually(t, "the request of the peer itself", func() bool { return len(s.received()) == 1 })
		} else {
			if err == nil && k == kindHello {
				t.Errorf("%s: a hello came back", what)
			}
			eventually(t, what+" is counted", func() bool { return s.Stats().Rejected[ReasonIdentity] == before+1 })
		}
		conn.Close()
	}
	if n := len(s.received()); n != 1 {
		t.Errorf("the Handler got %d requests, want that of the peer itself", n)
	}
}

// Goal (S3): a server talks to no process that answers at a peer's address with a certificate
// that is not that peer's, and says its hello to nobody else.
// Method: other servers at the address of n2.
func TestADiallerTalksToThePeerAlone(t *testing.T) {
	a, b := newTrust(t, "a"), newTrust(t, "b")
	now := time.Now()
	with := func(change func(*issue.Request)) *Secure {
		r := ofNode("n2")
		change(&r)
		return &Secure{Store: certs.NewStore(a.set(t, r, a.CertPEM, nil)), Identity: a.identity, Dials: true, Requires: true}
	}
	for what, secure := range map[string]*Secure{
		"another node": a.secure(t, "n3", true, true), "another CA": b.secure(t, "n2", true, true), "clear": nil,
		"another cluster": with(func(r *issue.Request) { r.URIs = []string{"raftkv://d/node/n2"} }),
		"expired":         with(func(r *issue.Request) { r.From, r.To = now.Add(-time.Hour), now.Add(-time.Minute) }),
		"not yet valid":   with(func(r *issue.Request) { r.From, r.To = now.Add(time.Hour), now.Add(2*time.Hour) }),
	} {
		t.Run(what, func(t *testing.T) {
			l := listen(t, "127.0.0.1:0")
			heard := make(chan []byte, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				l.Close()
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				stream := net.Conn(conn)
				if secure != nil {
					stream = tls.Server(conn, certs.PeerListener(secure.Store, secure.Identity))
				}
				b := make([]byte, 1<<10)
				n, _ := stream.Read(b)
				if secure == nil {
					_, _ = conn.Write(certs.ClearAlert)
				}
				heard <- b[:n]
			}()
			s := start(t, "n1", listen(t, "127.0.0.1:0"), map[core.ID]string{"n1": "-", "n2": l.Addr().String()}, func(c *Config) { c.TLS = a.secure(t, "n1", true, true) }, nil)
			eventually(t, "the refusal is counted", func() bool { return s.Stats().Rejected[ReasonIdentity] > 0 })
			if got := <-heard; bytes.Contains(got, []byte("http-n1")) {
				t.Errorf("the hello was said: %q", got)
			}
		})
	}
}

func revokedOf(s *certs.Set) (all []*x509.Certificate) { return append(all, s.Leaf()) }

// sniffer notes all bytes that pass between a dialler and an address.
type sniffer struct {
	net.Listener
	mu   sync.Mutex
	seen bytes.Buffer
}

func (s *sniffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.Write(b)
}

// contains reports whether a text has passed in clear, and how many bytes have passed.
func (s *sniffer) contains(text string) (bool, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Contains(s.seen.Bytes(), []byte(text)), s.seen.Len()
}

// sniffAt returns a sniffer in front of an address.
func sniffAt(t testing.TB, to string) *sniffer {
	t.Helper()
	s := &sniffer{Listener: listen(t, "127.0.0.1:0")}
	t.Cleanup(func() { s.Close() })
	go func() {
		for {
			conn, err := s.Accept()
			if err != nil {
				return
			}
			on, err := net.Dial("tcp", to)
			if err != nil {
				conn.Close()
				continue
			}
			go func() { _, _ = io.Copy(on, io.TeeReader(conn, s)); on.Close() }()
			go func() { _, _ = io.Copy(conn, io.TeeReader(on, s)); conn.Close() }()
		}
	}()
	return s
}

// Goal (S2): with TLS required, no byte of a message, a snapshot or a hello is on the wire
// in clear.
// Method: two servers behind listeners that note all bytes; messages and a snapshot that
// hold a word. The same without TLS shows that the listeners would see it.
func TestNoByteOfAPeerIsInClear(t *testing.T) {
	const word = "a word that only those who may hear it should hear"
	for _, secret := range []bool{true, false} {
		t.Run(fmt.Sprint("TLS ", secret), func(t *testing.T) {
			a := newTrust(t, "a")
			l1, l2 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
			s1, s2 := sniffAt(t, l1.Addr().String()), sniffAt(t, l2.Addr().String())
			addrs := map[core.ID]string{"n1": s1.Addr().String(), "n2": s2.Addr().String()}
			from, to := newShelf(), newShelf()
			from.files[[2]uint64{7, 2}] = word
			tweak := func(c *Config) {
				c.ClientAddr, c.Snapshots = word[:20], from
				if c.ID == "n2" {
					c.Snapshots = to
				}
				if secret {
					c.TLS = a.secure(t, c.ID, true, true)
				}
			}
			n1 := start(t, "n1", l1, addrs, tweak, nil)
			n2 := start(t, "n2", l2, addrs, tweak, nil)
			connected(t, n1, 1)
			connected(t, n2, 1)
			o := newOutcomes()
			n1.Send(core.Call{To: "n2", Request: &core.AppendEntries{Term: 1, LeaderID: "n1", Entries: []core.Entry{core.NewEntry(1, 0, core.KindCommand, []byte(word))}}}, o.done)
			eventually(t, "an answer", func() bool { return o.count() == 1 })
			r := newResult()
			n1.Send(install("n2", 1, 7), r.done)
			if r.wait(t) == nil || to.get(7, 2) != word {
				t.Error("the snapshot was lost")
			}
			// The protocol's name is in the handshake: ALPN is said in clear.
			for _, text := range []string{word[:20], word, "\xa1c\xa2n1\xa2n2"} {
				if seen, n := s2.contains(text); seen == secret || n == 0 {
					t.Errorf("%q was seen among %d bytes: %v", text, n, seen)
				}
				if seen, n := s1.contains(text); seen && secret || n == 0 {
					t.Errorf("%q was seen among %d bytes", text, n)
				}
			}
			n1.Close()
			n2.Close()
		})
	}
}

// Goal: servers come from clear to TLS one by one, without a moment in which two of them
// cannot talk: off, accept, prefer, require. A step that is left out names its cause.
// Method: all pairs of modes.
func TestServersMoveToTLSOneByOne(t *testing.T) {
	a := newTrust(t, "a")
	modes := []struct {
		name            string
		dials, requires bool
	}{{"off", false, false}, {"accept", false, false}, {"prefer", true, false}, {"require", true, true}}
	for i, first := range modes {
		for j, second := range modes {
			if j < i {
				continue
			}
			t.Run(first.name+" and "+second.name, func(t *testing.T) {
				var log logbook
				l1, l2 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
				addrs := map[core.ID]string{"n1": l1.Addr().String(), "n2": l2.Addr().String()}
				begin := func(id core.ID, l net.Listener, mode int) *server {
					return start(t, id, l, addrs, func(c *Config) {
						c.Logger = slog.New(slog.NewTextHandler(&log, nil))
						if m := modes[mode]; mode > 0 {
							c.TLS = a.secure(t, id, m.dials, m.requires)
						}
					}, nil)
				}
				n1, n2 := begin("n1", l1, i), begin("n2", l2, j)
				if j-i <= 1 {
					connected(t, n1, 1)
					connected(t, n2, 1)
				} else {
					for _, what := range map[string][]string{
						"off and prefer": {"speaks no TLS", "--peer-tls of this server is off"}, "off and require": {"speaks no TLS", "speaks TLS only"}, "accept and require": {"speaks TLS only", "in clear"},
					}[first.name+" and "+second.name] {
						eventually(t, "the log says "+what, func() bool { return strings.Contains(log.String(), what) })
					}
				}
				n1.Close()
				n2.Close()
			})
		}
	}
}

// Goal: a revoked peer loses its connections at once, is not suspected, and is refused
// from then on; the others go on.
// Method: three servers; n1 gets a list that names the certificate of n2.
func TestARevokedPeerIsCutOff(t *testing.T) {
	a := newTrust(t, "a")
	all := cluster(t, 3, a.everywhere(t))
	n1 := all["n1"]
	crl, err := a.Revoke(revokedOf(all["n2"].config.TLS.Store.Set()), time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if n := n1.config.TLS.Store.Swap(a.set(t, ofNode("n1"), a.CertPEM, crl), nil); n != 2 {
		t.Errorf("%d connections ended, want both with n2", n)
	}
	eventually(t, "n2 is refused in both directions", func() bool {
		s := n1.Stats()
		return !s.Peers["n2"].Connected && !s.Peers["n2"].Accepted && s.Rejected[ReasonIdentity] > 4
	})
	if p := n1.Stats().Peers["n3"]; !p.Connected || !p.Accepted || p.Connects != 1 {
		t.Errorf("n3: %+v", p)
	}
	if s := n1.suspected(); len(s) > 0 {
		t.Errorf("suspected: %v", s)
	}
	for _, s := range all {
		s.Close()
		if left := s.config.TLS.Store.Connections(); left != 0 {
			t.Errorf("%s still tracks %d connections after its end", s.config.ID, left)
		}
	}
}

// Goal: a handshake that never ends holds its place for the time of the hello and no
// longer.
// Method: a stranger that sends the first byte of a handshake, and one that answers as a
// peer and never does, in virtual time.
func TestAHandshakeThatNeverEndsIsGivenUp(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		a := newTrust(t, "a")
		n := newPipes()
		peer := n.listen("n2:1")
		s := start(t, "n1", n.listen("n1:1"), map[core.ID]string{"n2": "n2:1"}, func(c *Config) {
			c.TLS, c.Dial = a.secure(t, "n1", true, true), n.dial
		}, nil)
		conn, err := n.dial(context.Background(), "n1:1")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte{certs.RecordHandshake})
		mute, err := peer.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, mute)
		begun := time.Now()
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if took := time.Since(begun); took < time.Second || took > maxHelloTimeout+time.Second {
			t.Errorf("it was given up after %v", took)
		}
		for s.Stats().Strangers > 0 || s.Stats().Peers["n2"].DialFailures == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		mute.Close()
		s.Close()
	})
}

// Goal: a server that is asked for its identity, whoever that may be, must prove to be the one
// that its hello names, and so must the one that asks.
// Method: servers with certificates of their own and of others, asked by address.
func TestWhoIsThereMustBeProved(t *testing.T) {
	a := newTrust(t, "a")
	for _, c := range []struct {
		server, asker core.ID // whom their certificates name; they are n2 and n1
		answered      bool
	}{{"n2", "n1", true}, {"n3", "n1", false}, {"n2", "n3", false}} {
		l1, l2 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
		n1 := start(t, "n1", l1, nil, func(cfg *Config) { cfg.TLS = a.secure(t, c.asker, true, true) }, nil)
		n2 := start(t, "n2", l2, nil, func(cfg *Config) { cfg.TLS = a.secure(t, c.server, true, true) }, nil)
		shown, err := n1.Ask(t.Context(), l2.Addr().String())
		if (err == nil) != c.answered || err == nil && shown.ID != "n2" {
			t.Errorf("%+v: %+v, %v", c, shown, err)
		}
		n1.Close()
		n2.Close()
	}
}

// Goal: a peer says in its hello whether its port for clients speaks TLS, and is found by
// the address of that port.
// Method: two servers, of which one says so.
func TestAPeerSaysWhetherItsClientPortSpeaksTLS(t *testing.T) {
	all := cluster(t, 2, func(c *Config) { c.ClientTLS = c.ID == "n2" })
	if id, secret := all["n1"].ClientAt("http-n2"); id != "n2" || !secret {
		t.Errorf("%q, %v", id, secret)
	}
	if id, secret := all["n2"].ClientAt("http-n1"); id != "n1" || secret {
		t.Errorf("%q, %v", id, secret)
	}
	if id, _ := all["n1"].ClientAt("http-n3"); id != core.None {
		t.Errorf("%q is at an address that nobody has named", id)
	}
}
