package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/raft/certs/issue"
)

// Goal: a Clerk with TLS talks to servers whose certificates verify for the host that was
// asked, and to no others; what is wrong is said in words. Servers that it meets later are
// verified likewise.
// Method: fake servers behind TLS, with good certificates and bad ones, and one in clear.
func TestAClerkVerifiesItsServers(t *testing.T) {
	authority, err := issue.NewAuthority("a", time.Now(), 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other, err := issue.NewAuthority("b", time.Now(), 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority.Cert)
	now := time.Now()
	between := func(from, to time.Time, a *issue.Authority, hosts ...string) *tls.Config {
		cert, key, err := a.Issue(issue.Request{Hosts: hosts, Server: true, From: from, To: to})
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	}
	server := func(a *issue.Authority, hosts ...string) *tls.Config {
		return between(now.Add(-time.Minute), now.Add(time.Hour), a, hosts...)
	}
	demanding := server(authority, "n1")
	demanding.ClientAuth, demanding.ClientCAs = tls.RequireAndVerifyClientCert, pool
	good := map[string]*tls.Config{"n1": server(authority, "n1"), "n2": server(authority, "n2"), "n3": server(authority, "n3")}
	for what, c := range map[string]struct {
		terms     map[string]*tls.Config // by host; nil: in clear
		endpoints []string
		trust     *tls.Config
		want      string
	}{
		"good":                  {good, []string{"n1:1", "n2:1", "n3:1"}, &tls.Config{RootCAs: pool}, ""},
		"good, by its scheme":   {good, []string{"https://n1:1", "https://n2:1"}, &tls.Config{RootCAs: pool}, ""},
		"one is known at first": {good, []string{"https://n2:1"}, &tls.Config{RootCAs: pool}, ""},
		"of another CA":         {map[string]*tls.Config{"n1": server(other, "n1")}, []string{"n1:1"}, &tls.Config{RootCAs: pool}, "x509: "},
		"of another host":       {map[string]*tls.Config{"n1": server(authority, "n2")}, []string{"n1:1"}, &tls.Config{RootCAs: pool}, "x509: "},
		"expired":               {map[string]*tls.Config{"n1": between(now.Add(-time.Hour), now.Add(-time.Minute), authority, "n1")}, []string{"n1:1"}, &tls.Config{RootCAs: pool}, "has expired or is not yet valid"},
		"not yet valid":         {map[string]*tls.Config{"n1": between(now.Add(time.Hour), now.Add(2*time.Hour), authority, "n1")}, []string{"n1:1"}, &tls.Config{RootCAs: pool}, "has expired or is not yet valid"},
		"one that demands one":  {map[string]*tls.Config{"n1": demanding}, []string{"n1:1"}, &tls.Config{RootCAs: pool}, "certificate required"},
		"by the system's CAs":   {good, []string{"https://n1:1"}, nil, "x509: "},
		"in clear":              {nil, []string{"https://n1:1"}, &tls.Config{RootCAs: pool}, "does not speak TLS"},
		"a contradiction":       {good, []string{"http://n1:1"}, &tls.Config{RootCAs: pool}, "asks for no TLS"},
		"trust in anybody":      {good, []string{"n1:1"}, &tls.Config{InsecureSkipVerify: true}, "would talk to anybody"},
	} {
		f := newFakeCluster(t, "n1")
		f.before = func(c *fakeConn, a asked) bool {
			if c.server == "n2" {
				c.refuse(a, clerkwire.Refused{Code: api.CodeNoLeader, Outcome: api.OutcomeNotApplied, Retryable: true, Leader: "n1", LeaderAddr: "n1:1"})
			}
			return c.server == "n2"
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		dials := 0
		config := Config{Endpoints: c.endpoints, TLS: c.trust, Dial: func(ctx context.Context, address string) (net.Conn, error) {
			if dials++; dials > 1 && what == "one that demands one" {
				cancel() // it would try again for as long as it may
			}
			host, _, _ := net.SplitHostPort(address)
			return behindTLS(ctx, f, address, c.terms[host])
		}}
		clerk, err := Dial(ctx, config)
		if err == nil {
			_, err = clerk.Put(ctx, "k", []byte("v"))
			f.end(clerk)
		}
		cancel()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
		if what == "one is known at first" && f.dials["n1"] == 0 {
			t.Error("the leader was not met")
		}
	}
}

// behindTLS connects to a server of the fakes behind TLS, or to one in clear, which
// answers what it does not understand as net/http does.
func behindTLS(ctx context.Context, f *fakeCluster, address string, terms *tls.Config) (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // a pipe would wait for a reader where one side refuses
	if err != nil {
		return nil, err
	}
	defer l.Close()
	here, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	there, err := l.Accept()
	if err != nil {
		return nil, err
	}
	if terms == nil {
		f.served.Go(func() {
			defer there.Close()
			if _, err := there.Read(make([]byte, 4<<10)); err == nil {
				_, _ = io.WriteString(there, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			}
		})
		return here, nil
	}
	secret := tls.Server(there, terms)
	f.served.Go(func() {
		defer there.Close()
		if secret.Handshake() != nil {
			return
		}
		server, err := f.connect(ctx, address)
		if err != nil {
			return
		}
		f.served.Go(func() { _, _ = io.Copy(server, secret); server.Close() })
		_, _ = io.Copy(secret, server)
	})
	return here, nil
}

// Goal: a program finds its token where the commands do: in the file that one variable names,
// read anew each time, else in the other variable, else nowhere; a file that holds none is an
// error that shows nothing of it. Method: each of them.
func TestATokenFromTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("RAFTKV_TOKEN_FILE", "")
	t.Setenv("RAFTKV_AUTH_TOKEN", "")
	if TokenFromEnvironment() != nil {
		t.Error("there is a token without any variable")
	}
	t.Setenv("RAFTKV_AUTH_TOKEN", " held\n")
	if got, err := TokenFromEnvironment()(t.Context()); got != "held" || err != nil {
		t.Errorf("the variable: %q, %v", got, err)
	}
	t.Setenv("RAFTKV_TOKEN_FILE", path)
	token := TokenFromEnvironment()
	if _, err := token(t.Context()); err == nil || !strings.Contains(err.Error(), "$RAFTKV_TOKEN_FILE") {
		t.Errorf("no file: %v", err)
	}
	for _, now := range []string{"first", "second"} {
		write(now + "\n")
		if got, err := token(t.Context()); got != now || err != nil {
			t.Errorf("the file: %q, %v", got, err)
		}
	}
	for _, wrong := range []string{" \n", strings.Repeat("x", maxTokenFile+1)} {
		write(wrong)
		if _, err := token(t.Context()); err == nil || strings.Contains(err.Error(), "xxx") {
			t.Errorf("a file of %d bytes: %v", len(wrong), err)
		}
	}
}
