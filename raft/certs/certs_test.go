package certs_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/raft/certs"
	"raftkv/raft/certs/issue"
)

const valid = 24 * time.Hour

func newAuthority(t testing.TB, name string) *issue.Authority {
	t.Helper()
	a, err := issue.NewAuthority(name, time.Now(), 2*valid)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// node asks for the certificate of a node of cluster "c".
func node(id string) issue.Request {
	return issue.Request{Name: id, URIs: []string{"raftkv://c/node/" + id}, Server: true, Client: true}
}

// filesOf returns the files of a set that a CA has certified.
func filesOf(t testing.TB, a *issue.Authority, r issue.Request) certs.Files {
	t.Helper()
	if r.To.IsZero() {
		r.From, r.To = time.Now().Add(-time.Minute), time.Now().Add(valid)
	}
	cert, key, err := a.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return certs.Files{Cert: certs.File{Name: "cert.pem", PEM: cert}, Key: certs.File{Name: "key.pem", PEM: key}, CA: certs.File{Name: "ca.pem", PEM: a.CertPEM}}
}

func parse(t testing.TB, f certs.Files) *certs.Set {
	t.Helper()
	s, err := certs.Parse(f, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func crl(t testing.TB, a *issue.Authority, revoked ...*x509.Certificate) certs.File {
	t.Helper()
	text, err := a.Revoke(revoked, time.Now(), valid)
	if err != nil {
		t.Fatal(err)
	}
	return certs.File{Name: "crl.pem", PEM: text}
}

// Goal: a set is made whole or not at all, and the error says which file is wrong, and how.
// Method: sets that are wrong in one way each.
func TestASetIsMadeWholeOrNotAtAll(t *testing.T) {
	a, b := newAuthority(t, "a"), newAuthority(t, "b")
	good, other := filesOf(t, a, node("n1")), filesOf(t, a, node("n1"))
	expired := node("n1")
	expired.From, expired.To = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	early := node("n1")
	early.From, early.To = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	file := func(text string) certs.File { return certs.File{Name: "odd.pem", PEM: []byte(text)} }
	half := good.Cert.PEM[:len(good.Cert.PEM)/2]
	for what, c := range map[string]struct {
		files certs.Files
		want  string
	}{
		"a key of another certificate": {certs.Files{Cert: good.Cert, Key: other.Key}, "do not fit"},
		"no key":                       {certs.Files{Cert: good.Cert}, "cert.pem alone"},
		"no certificate":               {certs.Files{Key: good.Key}, "key.pem alone"},
		"half a certificate":           {certs.Files{Cert: file(string(half)), Key: good.Key}, "odd.pem is damaged or half written"},
		"an empty key":                 {certs.Files{Cert: good.Cert, Key: file("")}, "odd.pem holds no private key"},
		"expired":                      {filesOf(t, a, expired), "this machine's clock shows"},
		"not yet valid":                {filesOf(t, a, early), "this machine's clock shows"},
		"a bundle of leaves":           {certs.Files{CA: good.Cert}, "not that of a CA"},
		"an empty bundle":              {certs.Files{CA: file("")}, "odd.pem holds no certificate"},
		"an empty revocation list":     {certs.Files{CA: good.CA, CRL: file("")}, "odd.pem holds no revocation list"},
		"a certificate for a list":     {certs.Files{CA: good.CA, CRL: good.Cert}, "may hold revocation lists alone"},
	} {
		if s, err := certs.Parse(c.files, time.Now()); err == nil || s != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
	forged := good
	forged.CA = certs.File{Name: "ca.pem", PEM: newAuthority(t, "b").CertPEM}
	forged.CRL = crl(t, b)
	if _, err := certs.Parse(forged, time.Now()); err == nil || !strings.Contains(err.Error(), "not signed by the CA") {
		t.Errorf("a list that another CA of the same name has signed: %v", err)
	}
	good.CRL = crl(t, b) // of a CA that is not in the bundle, or has left it
	parse(t, good)
}

// Goal: a file of several blocks of which not all are there, or one is damaged, changes
// nothing. Taken for a shorter one, it would end the connections of a CA that is still
// trusted, or make a revoked certificate good again.
// Method: a bundle, a file of lists, and a certificate with those that lead to its CA, cut
// within the last block at each length, and with a damaged one; the whole file is taken.
func TestAFileThatIsHalfThereIsRefused(t *testing.T) {
	a, b := newAuthority(t, "a"), newAuthority(t, "b")
	pair := filesOf(t, a, node("n1"))
	for what, c := range map[string]struct {
		first, second []byte
		in            func(certs.File) certs.Files
	}{
		"bundle":      {a.CertPEM, b.CertPEM, func(f certs.File) certs.Files { return certs.Files{CA: f} }},
		"lists":       {crl(t, a).PEM, crl(t, b).PEM, func(f certs.File) certs.Files { return certs.Files{CRL: f} }},
		"certificate": {pair.Cert.PEM, b.CertPEM, func(f certs.File) certs.Files { return certs.Files{Cert: f, Key: pair.Key} }},
	} {
		whole := slices.Concat(c.first, c.second)
		parse(t, c.in(certs.File{Name: "odd.pem", PEM: whole}))
		var texts [][]byte
		for n := len(c.first) + len("-----BEGIN "); n < len(whole)-1; n++ { // the last byte is the end of the line
			texts = append(texts, whole[:n])
		}
		damaged := bytes.Clone(whole)
		damaged[len(c.first)/2] = '!'
		for _, text := range append(texts, damaged) {
			if _, err := certs.Parse(c.in(certs.File{Name: "odd.pem", PEM: text}), time.Now()); err == nil || !strings.Contains(err.Error(), "odd.pem is damaged or half written") {
				t.Fatalf("%s: %d of %d bytes: %v", what, len(text), len(whole), err)
			}
		}
	}
}

// meeting makes a handshake between a dialler and a listener and returns how both ended.
func meeting(t testing.TB, dialler, listener *tls.Config) (dials, listens error) {
	t.Helper()
	// TCP, because a handshake that is refused writes where nobody reads.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			listens = err
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		secret := tls.Server(conn, listener)
		_, listens = certs.Explain(secret.Handshake())
		if listens == nil {
			_, _ = secret.Write([]byte("x"))
			_, _ = io.Copy(io.Discard, secret)
		}
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	secret := tls.Client(conn, dialler)
	if dials = secret.Handshake(); dials == nil {
		_, dials = io.ReadFull(secret, make([]byte, 1)) // a listener's refusal comes after the dialler's end
	}
	conn.Close()
	work.Wait()
	return dials, listens
}

// Goal: a peer's certificate must come from the CA, be in date, not revoked, for the use,
// and name one node: the one that was called. Dialler and listener judge alike.
// Method: a peer with a certificate that is wrong in one way, on either side.
func TestBothSidesOfThePeerPortJudgeAlike(t *testing.T) {
	a, b := newAuthority(t, "a"), newAuthority(t, "b")
	identity, err := certs.ParseIdentity("", "c")
	if err != nil {
		t.Fatal(err)
	}
	revoked := filesOf(t, a, node("n2"))
	honest := filesOf(t, a, node("n1"))
	honest.CRL = crl(t, a, parse(t, revoked).Leaf())
	store := certs.NewStore(parse(t, honest))
	with := func(r issue.Request, change func(*issue.Request)) issue.Request { change(&r); return r }
	for what, c := range map[string]struct {
		files certs.Files
		want  string // "": accepted
	}{
		"n2 itself":          {filesOf(t, a, node("n2")), ""},
		"of another CA":      {filesOf(t, b, node("n2")), "comes from no CA of the bundle"},
		"of another cluster": {filesOf(t, a, with(node("n2"), func(r *issue.Request) { r.URIs = []string{"raftkv://d/node/n2"} })), "names no node of this cluster"},
		"of nobody":          {filesOf(t, a, with(node("n2"), func(r *issue.Request) { r.URIs = nil })), "names no node"},
		"of two nodes":       {filesOf(t, a, with(node("n2"), func(r *issue.Request) { r.URIs = append(r.URIs, "raftkv://c/node/n3") })), "names 2 nodes"},
		"of one, twice":      {filesOf(t, a, with(node("n2"), func(r *issue.Request) { r.URIs = append(r.URIs, r.URIs[0]) })), "names 2 nodes"},
		"revoked":            {revoked, "was revoked"},
		"for nothing of it":  {filesOf(t, a, with(node("n2"), func(r *issue.Request) { r.Server, r.Client = false, false; r.URIs = []string{"raftkv://c/node/n2"} })), ""},
	} {
		theirs := c.files
		theirs.CA = honest.CA
		their := certs.NewStore(parse(t, theirs))
		_, listens := meeting(t, certs.PeerDialer(their, identity, "n1"), certs.PeerListener(store, identity))
		dials, _ := meeting(t, certs.PeerDialer(store, identity, "n2"), certs.PeerListener(their, identity))
		for side, err := range map[string]error{"listener": listens, "dialler": dials} {
			var refusal *certs.Refusal
			if (err == nil) != (c.want == "") || err != nil && (!errors.As(err, &refusal) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s, judged by the %s: %v, want %q", what, side, err, c.want)
			}
		}
	}
	dials, _ := meeting(t, certs.PeerDialer(store, identity, "n3"), certs.PeerListener(certs.NewStore(parse(t, filesOf(t, a, node("n2")))), identity))
	if dials == nil || !strings.Contains(dials.Error(), `node "n3" was called`) {
		t.Errorf("another node than the one that was called: %v", dials)
	}
	for what, use := range map[string]func(*issue.Request){"clientAuth": func(r *issue.Request) { r.Client = false }, "serverAuth": func(r *issue.Request) { r.Server = false }} {
		their := certs.NewStore(parse(t, filesOf(t, a, with(node("n2"), use))))
		_, listens := meeting(t, certs.PeerDialer(their, identity, "n1"), certs.PeerListener(store, identity))
		dials, _ := meeting(t, certs.PeerDialer(store, identity, "n2"), certs.PeerListener(their, identity))
		refused := dials
		if what == "clientAuth" {
			refused = listens
		}
		if refused == nil || !strings.Contains(refused.Error(), "lacks the extended key usage "+what) {
			t.Errorf("without %s: %v", what, refused)
		}
	}
}

// Goal: a certificate whose dates do not fit is refused at the handshake, and the error
// says what this machine's clock shows.
// Method: a set that is valid when it is loaded, a minute, and a handshake after.
func TestADateInAHandshakeNamesTheClock(t *testing.T) {
	a := newAuthority(t, "a")
	identity, _ := certs.ParseIdentity("", "c")
	store := certs.NewStore(parse(t, filesOf(t, a, node("n1"))))
	for what, r := range map[string]issue.Request{
		"expired":    {URIs: node("n2").URIs, Server: true, Client: true, From: time.Now().Add(-time.Hour), To: time.Now().Add(-time.Minute)},
		"valid from": {URIs: node("n2").URIs, Server: true, Client: true, From: time.Now().Add(time.Hour), To: time.Now().Add(2 * time.Hour)},
	} {
		f := filesOf(t, a, r)
		set, err := certs.Parse(f, r.From.Add(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		_, listens := meeting(t, certs.PeerDialer(certs.NewStore(set), identity, "n1"), certs.PeerListener(store, identity))
		if listens == nil || !strings.Contains(listens.Error(), what) || !strings.Contains(listens.Error(), "this machine's clock shows") {
			t.Errorf("%s: %v", what, listens)
		}
	}
}

// Goal: the peer port speaks TLS 1.3 and its own protocol, and shows its certificate to
// no client that shows none.
// Method: clients of other kinds.
func TestThePeerPortHasItsTerms(t *testing.T) {
	a := newAuthority(t, "a")
	identity, _ := certs.ParseIdentity("", "c")
	store := certs.NewStore(parse(t, filesOf(t, a, node("n1"))))
	peer := func(change func(*tls.Config)) *tls.Config {
		c := certs.PeerDialer(certs.NewStore(parse(t, filesOf(t, a, node("n2")))), identity, "n1")
		change(c)
		return c
	}
	for what, c := range map[string]struct {
		config *tls.Config
		want   string
	}{
		"TLS 1.2":        {peer(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }), "unsupported versions"},
		"HTTP":           {peer(func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }), "unsupported application protocols"},
		"no protocol":    {peer(func(c *tls.Config) { c.NextProtos, c.VerifyConnection = nil, nil }), `speaks the protocol ""`},
		"no certificate": {peer(func(c *tls.Config) { c.GetClientCertificate = nil }), "showed no certificate"},
	} {
		if _, listens := meeting(t, c.config, certs.PeerListener(store, identity)); listens == nil || !strings.Contains(listens.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, listens, c.want)
		}
	}
}

// Goal: no session is resumed on either port, whatever the client offers.
// Method: a client with a cache of sessions connects three times, by TLS 1.3 and 1.2.
func TestNoSessionIsResumed(t *testing.T) {
	a := newAuthority(t, "a")
	f := filesOf(t, a, issue.Request{Hosts: []string{"127.0.0.1"}, Server: true})
	listener := certs.ClientListener(certs.NewStore(parse(t, f)), tls.VersionTLS12, false)
	roots := x509.NewCertPool()
	roots.AddCert(a.Cert)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		resumed := false
		client := &tls.Config{
			RootCAs: roots, ServerName: "127.0.0.1", ClientSessionCache: tls.NewLRUClientSessionCache(8), MinVersion: version, MaxVersion: version,
			VerifyConnection: func(cs tls.ConnectionState) error { resumed = resumed || cs.DidResume; return nil },
		}
		for range 3 {
			if dials, listens := meeting(t, client, listener); dials != nil || listens != nil {
				t.Fatal(dials, listens)
			}
		}
		if resumed {
			t.Errorf("version %#x: a session was resumed", version)
		}
	}
}

// Goal: a client of TLS 1.2 gets no cipher without authenticated encryption, and one with it.
// Method: every cipher of TLS 1.2 that Go knows, alone.
func TestOldClientsGetNoWeakCipher(t *testing.T) {
	a := newAuthority(t, "a")
	f := filesOf(t, a, issue.Request{Hosts: []string{"127.0.0.1"}, Server: true})
	listener := certs.ClientListener(certs.NewStore(parse(t, f)), tls.VersionTLS12, false)
	roots, taken := x509.NewCertPool(), 0
	roots.AddCert(a.Cert)
	for _, cipher := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if !slices.Contains(cipher.SupportedVersions, tls.VersionTLS12) {
			continue
		}
		good := strings.Contains(cipher.Name, "ECDHE_ECDSA") && (strings.Contains(cipher.Name, "GCM") || strings.Contains(cipher.Name, "CHACHA20"))
		client := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{cipher.ID}}
		_, listens := meeting(t, client, listener)
		if (listens == nil) != good {
			t.Errorf("%s: %v", cipher.Name, listens)
		}
		if listens == nil {
			taken++
		}
	}
	if taken < 3 {
		t.Errorf("%d ciphers are taken", taken)
	}
}

// Goal: a node calls the client port of another only where the certificate is for the host
// or for that node, comes from the CA, is in time, is a server's and was not revoked.
// Method: certificates of servers, and lists that revoke one.
func TestANodeVerifiesClientPorts(t *testing.T) {
	a, b := newAuthority(t, "a"), newAuthority(t, "b")
	identity, _ := certs.ParseIdentity("", "c")
	host := filesOf(t, a, issue.Request{Hosts: []string{"127.0.0.1"}, Server: true})
	byID, other := filesOf(t, a, node("n2")), filesOf(t, a, node("n3"))
	own := filesOf(t, a, node("n1"))
	now := time.Now()
	of := func(by *issue.Authority, change func(*issue.Request)) certs.Files {
		r := issue.Request{Hosts: []string{"127.0.0.1"}, URIs: []string{"raftkv://c/node/n2"}, Server: true, Client: true}
		change(&r)
		return filesOf(t, by, r)
	}
	expired := of(a, func(r *issue.Request) { r.From, r.To = now.Add(-time.Hour), now.Add(-time.Minute) })
	early := of(a, func(r *issue.Request) { r.From, r.To = now.Add(time.Hour), now.Add(2*time.Hour) })
	parseAtItsTime := func(f certs.Files) *certs.Set {
		for _, at := range []time.Time{now, now.Add(-time.Hour / 2), now.Add(time.Hour * 3 / 2)} {
			if s, err := certs.Parse(f, at); err == nil {
				return s
			}
		}
		t.Fatal("the files are never in time")
		return nil
	}
	for what, c := range map[string]struct {
		server  certs.Files
		revoked *certs.Files
		want    string
	}{
		"by its host":          {host, nil, ""},
		"by its node":          {byID, nil, ""},
		"of another node":      {other, nil, "neither for the host"},
		"of another cluster":   {of(a, func(r *issue.Request) { r.Hosts, r.URIs = nil, []string{"raftkv://d/node/n2"} }), nil, "neither for the host"},
		"of another CA":        {of(b, func(*issue.Request) {}), nil, "comes from no CA of the bundle"},
		"expired":              {expired, nil, "expired"},
		"not yet valid":        {early, nil, "valid from"},
		"a client's":           {of(a, func(r *issue.Request) { r.Server = false }), nil, "lacks the extended key usage serverAuth"},
		"by its host, revoked": {host, &host, "was revoked"},
		"by its node, revoked": {byID, &byID, "was revoked"},
	} {
		ours := own
		if c.revoked != nil {
			ours.CRL = crl(t, a, parse(t, *c.revoked).Leaf())
		}
		dials, _ := meeting(t, certs.NodeDialer(certs.NewStore(parse(t, ours)), identity, "n2", "127.0.0.1"),
			certs.ClientListener(certs.NewStore(parseAtItsTime(c.server)), tls.VersionTLS13, false))
		if (dials == nil) != (c.want == "") || dials != nil && !strings.Contains(dials.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, dials, c.want)
		}
	}
}

// Goal: connections survive a new leaf and the expiry of an old one, and end when a CA
// left the bundle or a list names their certificate.
// Method: two tracked connections, and sets that differ in one thing each.
func TestStandingConnectionsAreJudgedAgain(t *testing.T) {
	a, b := newAuthority(t, "a"), newAuthority(t, "b")
	ours := filesOf(t, a, node("n1"))
	both := certs.File{Name: "ca.pem", PEM: append(append([]byte{}, a.CertPEM...), b.CertPEM...)}
	ours.CA = both
	store := certs.NewStore(parse(t, ours))
	ended := map[string]error{}
	track := func(name string, c *x509.Certificate) {
		_, err := store.Track(tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}, x509.ExtKeyUsageClientAuth, func(why error) { ended[name] = why })
		if err != nil {
			t.Fatal(err)
		}
	}
	ofA, ofB := parse(t, filesOf(t, a, node("n2"))).Leaf(), parse(t, filesOf(t, b, node("n3"))).Leaf()
	track("n2", ofA)
	track("n3", ofB)

	renewed := filesOf(t, b, node("n1"))
	renewed.CA = both
	if n := store.Swap(parse(t, renewed), nil); n != 0 {
		t.Errorf("a new leaf ended %d connections: %v", n, ended)
	}
	renewed.CRL = crl(t, a, ofA)
	if n := store.Swap(parse(t, renewed), nil); n != 1 || ended["n2"] == nil || !strings.Contains(ended["n2"].Error(), "was revoked") {
		t.Errorf("a list that names n2 ended %d: %v", n, ended)
	}
	renewed.CRL, renewed.CA = certs.File{}, certs.File{Name: "ca.pem", PEM: a.CertPEM}
	if n := store.Swap(parse(t, renewed), nil); n != 1 || ended["n3"] == nil || store.Connections() != 0 {
		t.Errorf("without the CA of n3 %d ended: %v; %d are left", n, ended, store.Connections())
	}
	if _, err := store.Track(tls.ConnectionState{PeerCertificates: []*x509.Certificate{ofB}}, x509.ExtKeyUsageClientAuth, func(error) {}); err == nil || store.Connections() != 0 {
		t.Error("a handshake that an earlier set had passed stands by a set that refuses it")
	}
}

// Goal: an expired certificate ends no standing connection.
// Method: a connection whose leaf expires a moment after its handshake.
func TestExpiryEndsNoConnection(t *testing.T) {
	a := newAuthority(t, "a")
	r := node("n2")
	r.From, r.To = time.Now().Add(-time.Hour), time.Now().Add(-time.Second)
	old, err := certs.Parse(filesOf(t, a, r), r.From.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	store := certs.NewStore(parse(t, filesOf(t, a, node("n1"))))
	s, err := store.Track(tls.ConnectionState{PeerCertificates: []*x509.Certificate{old.Leaf()}}, x509.ExtKeyUsageClientAuth, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	if n := store.Swap(parse(t, filesOf(t, a, node("n1"))), nil); n != 0 {
		t.Errorf("%d connections ended", n)
	}
	s.Forget()
	s.Forget()
	if store.Connections() != 0 {
		t.Error("a connection that has ended is still known")
	}
}
