package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"raftkv/raft/certs"
	"raftkv/raft/certs/issue"
	"raftkv/raft/vfs"
	"raftkv/tests/virtual"
)

// folder is files of certificates of one CA.
type folder struct {
	*issue.Authority
	t   *testing.T
	dir string
}

func newFolder(t *testing.T) *folder {
	t.Helper()
	a, err := issue.NewAuthority("a", time.Now(), 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f := &folder{a, t, t.TempDir()}
	f.write("ca.pem", a.CertPEM)
	return f
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

func (f *folder) write(name string, content []byte) string {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), content, 0o600); err != nil {
		f.t.Fatal(err)
	}
	return f.path(name)
}

func ofNode(id string) issue.Request {
	return issue.Request{Name: id, URIs: []string{"raftkv://c/node/" + id}, Hosts: []string{"127.0.0.1"}, Server: true, Client: true}
}

// issue makes a certificate and returns its content and its key's.
func (f *folder) issue(r issue.Request) (cert, key []byte) {
	f.t.Helper()
	cert, key, err := f.IssueFor(r, time.Now(), 24*time.Hour)
	if err != nil {
		f.t.Fatal(err)
	}
	return cert, key
}

// node writes the certificate of a node and returns settings that use it on both ports.
func (f *folder) node(id string) Settings {
	cert, key := f.issue(ofNode(id))
	return ForDev(f.write("cert.pem", cert), f.write("key.pem", key), f.path("ca.pem"))
}

func (f *folder) open(s Settings) (*Keys, error) { return f.openWith(s, slog.New(slog.DiscardHandler)) }

func (f *folder) openWith(s Settings, logger *slog.Logger) (*Keys, error) {
	f.t.Helper()
	plan, err := s.Plan("c", "n1", false)
	if err != nil {
		f.t.Fatal(err)
	}
	plan.Hosts = []string{"127.0.0.1"}
	return Open(plan, logger)
}

// list writes the revocation list of a CA.
func (f *folder) list(a *issue.Authority, revoked ...*x509.Certificate) (name string) {
	f.t.Helper()
	list, err := a.Revoke(revoked, time.Now(), time.Hour)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.write("crl.pem", list)
}

// Goal: settings that lack others, or are none of the words, are refused in a sentence
// that names the flag; a certificate alone means require.
// Method: settings with one fault each.
func TestSettingsAreCheckedAgainstEachOther(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"--tls-cert and --tls-key":           func(s *Settings) { s.key = "" },
		"--peer-tls-cert and --peer-tls-key": func(s *Settings) { s.peerCert = "" },
		"--client-tls is \"prefer\"":         func(s *Settings) { s.client = "prefer" },
		"--peer-tls is \"on\"":               func(s *Settings) { s.peer = "on" },
		"and there is no certificate":        func(s *Settings) { s.cert, s.key, s.client = "", "", "accept" },
		"give --peer-tls-cert":               func(s *Settings) { s.peerCA = "" },
		"--client-tls is off":                func(s *Settings) { s.client, s.clientCA = "off", "x" },
		"since they may come in clear":       func(s *Settings) { s.client, s.clientCA = "accept", "x" },
		"--tls-min-version":                  func(s *Settings) { s.minVersion = "1.1" },
		"--hsts keeps browsers":              func(s *Settings) { s.client, s.strict = "accept", time.Hour },
		"--hsts is -1h0m0s":                  func(s *Settings) { s.strict = -time.Hour },
		"--peer-identity":                    func(s *Settings) { s.peerIdentity = "x" },
		"--insecure names \"all\"":           func(s *Settings) { s.insecure = "client,all" },
	} {
		s := ForDev("cert", "key", "ca")
		change(&s)
		if _, err := s.Plan("c", "n1", false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	s := ForDev("cert", "key", "ca")
	if p, err := s.Plan("c", "n1", false); err != nil || p.Client != Require || p.Peer != Require {
		t.Errorf("%+v, %v", p, err)
	}
	var none Settings
	none.Table()
	if p, err := none.Plan("c", "n1", false); err != nil || p.Secret() {
		t.Errorf("%+v, %v", p, err)
	}
}

// Goal: files that are wrong stop the start with a sentence that says which, and what to do.
// Method: one fault each.
func TestWrongFilesStopTheStart(t *testing.T) {
	for want, change := range map[string]func(f *folder, s *Settings){
		"can be read by others (mode 0644); chmod 600": func(f *folder, s *Settings) { _ = os.Chmod(s.key, 0o644) },
		"does not exist":                       func(f *folder, s *Settings) { s.cert = f.path("nothing.pem") },
		"do not fit":                           func(f *folder, s *Settings) { _, key := f.issue(ofNode("n1")); f.write("key.pem", key) },
		"it is the certificate of node \"n2\"": func(f *folder, s *Settings) { *s = f.node("n2") },
		"names no node of this cluster": func(f *folder, s *Settings) {
			cert, key := f.issue(issue.Request{Hosts: []string{"127.0.0.1"}, Server: true, Client: true})
			f.write("cert.pem", cert)
			f.write("key.pem", key)
		},
		"the peers would refuse it: the certificate of raftkv://c/node/n1 lacks the extended key usage clientAuth": func(f *folder, s *Settings) {
			r := ofNode("n1")
			r.Client = false
			cert, key := f.issue(r)
			f.write("cert.pem", cert)
			f.write("key.pem", key)
		},
		"other nodes would refuse it": func(f *folder, s *Settings) { f.write("ca.pem", newFolder(f.t).CertPEM) },
		"was revoked": func(f *folder, s *Settings) {
			set, err := certs.Parse(certs.Files{Cert: mustRead(f.t, s.cert), Key: mustRead(f.t, s.key)}, time.Now())
			if err != nil {
				f.t.Fatal(err)
			}
			s.peerCRL = f.list(f.Authority, set.Leaf())
		},
		"with --tls-client-ca nodes show it to each other": func(f *folder, s *Settings) { s.clientCA = f.write("clients.pem", newFolder(f.t).CertPEM) },
	} {
		f := newFolder(t)
		s := f.node("n1")
		change(f, &s)
		if k, err := f.open(s); err == nil || k != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func mustRead(t *testing.T, name string) certs.File {
	t.Helper()
	f, err := read(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Goal (S10): 100 reloads under handshakes fail none of them; files that are written one
// after the other, or in halves, change nothing until all are there, and are counted and
// said once.
// Method: a listener and a dialler of one node's keys, while the files are replaced.
func TestFilesAreTakenWholeOrNotAtAll(t *testing.T) {
	f := newFolder(t)
	k, err := f.open(f.node("n1"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				secret := tls.Server(conn, k.Port().Terms)
				_, _ = io.Copy(secret, secret)
			})
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			for ctx.Err() == nil {
				conn, err := k.Dial(t.Context(), Called{Node: "n1", Address: l.Addr().String(), Secret: true})
				if err == nil {
					_, err = conn.Write([]byte("x"))
				}
				if err == nil {
					_, err = io.ReadFull(conn, make([]byte, 1))
				}
				if err != nil {
					t.Errorf("a call failed: %v", err)
					cancel()
					return
				}
				conn.Close()
			}
		})
	}
	for i := range 100 {
		before := k.peer.Set().Leaf()
		cert, key := f.issue(ofNode("n1"))
		f.write("cert.pem", cert)
		if err := k.Reload(); err == nil || k.peer.Set().Leaf() != before {
			t.Fatalf("reload %d: a certificate whose key is not there yet was taken", i)
		}
		if i == 0 {
			for range 3 { // the same is said once
				_ = k.Reload()
			}
			if taken, refused := k.Reloads(); taken != 0 || refused != 2 {
				t.Errorf("%d were taken and %d refused; want one refusal for each port", taken, refused)
			}
			if got := refusedNow(k); got != "client peer " {
				t.Errorf("the files of %q are refused, want those of both ports for as long as they are wrong", got)
			}
			f.write("key.pem", key[:len(key)/2])
			if err := k.Reload(); err == nil {
				t.Error("half a key was taken")
			}
		}
		f.write("key.pem", key)
		if err := k.Reload(); err != nil || k.peer.Set().Leaf().Equal(before) || !k.client.Set().Leaf().Equal(k.peer.Set().Leaf()) {
			t.Fatalf("reload %d: %v", i, err)
		}
	}
	if got := refusedNow(k); got != "" {
		t.Errorf("the files of %q are refused, though they were taken", got)
	}
	if taken, _ := k.Reloads(); taken != 200 {
		t.Errorf("%d sets were taken, want 200", taken)
	}
	cancel()
	calls.Wait()
	l.Close()
	serving.Wait()
	if n := k.forward.Connections(); n != 0 {
		t.Errorf("%d connections are still known", n)
	}
}

// refusedNow names the ports whose files are refused.
func refusedNow(k *Keys) (ports string) {
	k.Refused(func(port string, refused bool) {
		if refused {
			ports += port + " "
		}
	})
	return ports
}

// Goal: the files are looked at every ten seconds, at once when that is asked for, and no
// more after the end.
// Method: virtual time, in which the files change.
func TestFilesAreLookedAt(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		f := newFolder(t)
		k, err := f.open(f.node("n1"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		asked := make(chan struct{})
		done := make(chan struct{})
		go func() { defer close(done); k.Watch(ctx, asked) }()
		leaf := k.peer.Set().Leaf()
		f.node("n1")
		time.Sleep(lookPause + time.Millisecond)
		synctest.Wait()
		if k.peer.Set().Leaf() == leaf {
			t.Error("nothing was looked at after ten seconds")
		}
		leaf = k.peer.Set().Leaf()
		f.node("n1")
		asked <- struct{}{}
		synctest.Wait()
		if k.peer.Set().Leaf() == leaf {
			t.Error("nothing was looked at when that was asked for")
		}
		cancel()
		<-done
	})
}

// Goal (S15): what is open beyond this machine is found, for each port by itself, and is
// allowed only where it was said or was so before.
// Method: addresses and modes, and what was said.
func TestWhatIsOpenMustBeSaid(t *testing.T) {
	at := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }
	for _, c := range []struct {
		http, peer     string
		client, to     Mode
		auth           bool
		open, insecure string
		older, starts  bool
	}{
		{"127.0.0.1", "::1", Off, Off, false, "", "", false, true},
		{"0.0.0.0", "127.0.0.1", Off, Off, false, "client auth", "", false, false},
		{"0.0.0.0", "127.0.0.1", Off, Off, false, "client auth", "client", false, false},
		{"0.0.0.0", "127.0.0.1", Off, Off, false, "client auth", "client,auth", false, true},
		{"10.0.0.1", "10.0.0.1", Require, Require, true, "", "", false, true},
		{"10.0.0.1", "10.0.0.1", Require, Require, false, "auth", "", false, false},
		{"10.0.0.1", "10.0.0.1", Accept, Require, true, "client", "", false, false},
		{"10.0.0.1", "10.0.0.1", Require, Prefer, true, "peer", "", false, false},
		{"::", "::", Require, Accept, true, "peer", "peer", false, true},
		{"::", "::", Off, Off, false, "client auth peer", "", true, true},
	} {
		p := Plan{Client: c.client, Peer: c.to}
		var err error
		if p.Insecure, err = parseInsecure(c.insecure); err != nil {
			t.Fatal(err)
		}
		open := p.Exposed(at(c.http), at(c.peer), c.auth)
		if !slices.Equal(open, strings.Fields(c.open)) {
			t.Errorf("%+v: open %v", c, open)
		}
		if _, err := p.Allow(open, c.older, slog.New(slog.DiscardHandler)); (err == nil) != c.starts {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if isLoopback(at("169.254.1.1")) || !isLoopback(&net.UnixAddr{Name: "x"}) {
		t.Error("what is beyond this machine is mistaken")
	}
}

// Goal (S7, S15): a data directory remembers under which rule it was begun and whether
// identities are enforced, each without the other: one from before the rule stays one.
// Method: marks of a new directory and of an older one, written and read.
func TestADirectoryRemembersItsRules(t *testing.T) {
	is := func(dir string, holds bool, identities string) {
		t.Helper()
		if m, err := ReadMark(vfs.OS{}, dir); err != nil || m.Holds() != holds || m.Identities != identities {
			t.Errorf("%+v, %v; want %v and %q", m, err, holds, identities)
		}
	}
	remember := func(dir string, enforces bool) {
		t.Helper()
		if err := Remember(vfs.OS{}, dir, enforces); err != nil {
			t.Fatal(err)
		}
	}
	dir, older := t.TempDir(), t.TempDir()
	is(dir, false, "")
	if err := (Mark{Identities: Begins}).Write(vfs.OS{}, dir); err != nil {
		t.Fatal(err)
	}
	is(dir, true, Begins)
	for _, enforces := range []bool{true, true, false, true} {
		remember(dir, enforces)
		remember(older, enforces)
		want := map[bool]string{true: Enforces, false: ""}[enforces]
		is(dir, true, want)
		is(older, false, want)
	}
	fresh := t.TempDir()
	remember(fresh, false)
	if _, err := os.Stat(markPath(fresh)); err == nil {
		t.Error("a file says nothing")
	}
	if err := os.WriteFile(markPath(fresh), []byte("format = 1\nidentities = 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadMark(vfs.OS{}, fresh); err == nil {
		t.Error("nonsense is read")
	}
}

// Goal: what came here by TLS goes no further in clear, and a node that has said that it
// speaks TLS is not asked in clear.
// Method: a port in clear, called by nodes of each mode.
func TestNothingIsPassedOnInClear(t *testing.T) {
	f := newFolder(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			conn.Close()
		}
	}()
	for _, c := range []struct {
		mode   string
		secret bool
		taken  bool
	}{{"off", false, true}, {"accept", false, true}, {"accept", true, false}, {"require", false, false}, {"require", true, false}} {
		s := f.node("n1")
		s.client = c.mode
		k, err := f.open(s)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := k.Dial(t.Context(), Called{Node: "n2", Address: l.Addr().String(), Secret: c.secret})
		if (err == nil) != c.taken {
			t.Errorf("%+v: %v", c, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

// Goal: a data directory that others may enter is closed to them; a fresh one that others may
// write to is refused and stays as it is; what an orchestrator gives to a group is taken, and
// what a node has used goes on.
// Method: real directories of this user; a table for those of other users.
func TestADataDirectoryIsClosedToOthers(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	for _, c := range []struct {
		mode  os.FileMode
		fresh bool
		want  os.FileMode
	}{{0o755, true, 0o700}, {0o770, false, 0o700}, {0o700, true, 0o700}, {0o777, true, 0o777}, {0o777, false, 0o700}} {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, c.mode); err != nil {
			t.Fatal(err)
		}
		err := CloseDirectory(dir, c.fresh, false, quiet)
		info, statErr := os.Stat(dir)
		if statErr != nil || info.Mode().Perm() != c.want || (err != nil) != (c.want == 0o777) {
			t.Errorf("%04o becomes %v: %v", c.mode, info.Mode(), err)
		}
	}
	if err := CloseDirectory(filepath.Join(t.TempDir(), "none"), true, false, quiet); err != nil {
		t.Errorf("one that is not there: %v", err)
	}
	for _, c := range []struct {
		mode         os.FileMode
		owner, user  int
		closes, open bool
	}{
		{0o775, 0, 5, false, false}, {0o770, 0, 5, false, false}, {0o755, 5, 5, true, false}, {0o755, 0, 0, true, false},
		{0o777, 0, 5, false, true}, {0o702, 5, 5, true, true}, {0o700, 6, 5, false, false},
	} {
		if closes, open := judgeDirectory(c.mode, c.owner, c.user); closes != c.closes || open != c.open {
			t.Errorf("%04o of user %d for user %d: %v, %v", c.mode, c.owner, c.user, closes, open)
		}
	}
}

// Goal: a certificate and a key that were swapped are told so, and nobody is told to close the
// certificate to others. Method: both ways, for a node and for a command.
func TestASwappedPairIsToldSo(t *testing.T) {
	f := newFolder(t)
	f.node("n1")
	if err := os.Chmod(f.path("cert.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, ofNode := f.open(ForDev(f.path("key.pem"), f.path("cert.pem"), f.path("ca.pem")))
	_, ofCommand := ClientFiles{CA: f.path("ca.pem"), Cert: f.path("key.pem"), Key: f.path("cert.pem")}.Config()
	for _, err := range []error{ofNode, ofCommand} {
		if err == nil || !strings.Contains(err.Error(), "swapped") || strings.Contains(err.Error(), "chmod") {
			t.Errorf("%v", err)
		}
	}
}
