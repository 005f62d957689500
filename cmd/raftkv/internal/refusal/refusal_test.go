package refusal

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
	"raftkv/raft/certs/issue"
)

// meet returns the error of a client that shakes hands with a server and reads from it.
func meet(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		far, err := l.Accept()
		if err != nil {
			return
		}
		s := tls.Server(far, server)
		defer s.Close()
		if s.Handshake() == nil {
			s.Write([]byte{1})
		}
	}()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	near.SetDeadline(time.Now().Add(10 * time.Second))
	c := tls.Client(near, client)
	err = c.Handshake()
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if err != nil {
		err = fmt.Errorf("somewhere: %w", err)
	}
	return err
}

// Goal: each mistake that people make with TLS is told by what mends it, and what is no mistake
// of the caller's is none. Method: handshakes that fail for each of them.
func TestMistakesWithTLSAreToldByWhatMendsThem(t *testing.T) {
	a, err := issue.NewAuthority("a", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	b, err := issue.NewAuthority("b", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair := func(by *issue.Authority, host string, valid time.Duration) tls.Certificate {
		cert, key, err := by.IssueFor(issue.Request{Name: "x", Hosts: []string{host}, Server: true, Client: true}, time.Now().Add(-time.Hour/2), valid)
		if err != nil {
			t.Fatal(err)
		}
		p, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.CertPEM)
	trusting := func(of ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: pool, ServerName: "kv1", NextProtos: []string{"http/1.1"}, Certificates: of}
	}
	serving := func(of tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{of}} }
	good := pair(a, "kv1", time.Hour)
	demanding := serving(good)
	demanding.ClientAuth, demanding.VerifyConnection = tls.RequestClientCert, func(cs tls.ConnectionState) error {
		return errors.New("not for you")
	}
	peer := serving(good)
	peer.NextProtos = []string{"raftkv-peer"}
	with, shows := Caller{CA: "ca.pem"}, Caller{CA: "ca.pem", Cert: "laptop.pem"}
	for name, c := range map[string]struct {
		caller Caller
		err    error
		says   string // "": nothing
	}{
		"all is well":         {with, meet(t, trusting(), serving(good)), ""},
		"another CA":          {with, meet(t, trusting(), serving(pair(b, "kv1", time.Hour))), "--tls-ca (ca.pem) does not hold the CA of these servers"},
		"no CA was named":     {Caller{}, meet(t, trusting(), serving(pair(b, "kv1", time.Hour))), "name it with --tls-ca or RAFTKV_TLS_CA"},
		"another host":        {with, meet(t, trusting(), serving(pair(a, "kv2", time.Hour))), "valid for kv2, not kv1; ask at one that the certificate holds"},
		"expired":             {with, meet(t, trusting(), serving(pair(a, "kv1", time.Minute))), "this machine's clock"},
		"shows none":          {with, meet(t, trusting(), demanding), "show one with --tls-cert and --tls-key, or RAFTKV_TLS_CERT and RAFTKV_TLS_KEY"},
		"shows another":       {shows, meet(t, trusting(good), demanding), "would not take the certificate in laptop.pem"},
		"a peer port":         {with, meet(t, trusting(), peer), "it is a peer port, and clients ask at the address of serve --http"},
		"a port in clear":     {with, tls.RecordHeaderError{Msg: "no TLS"}, "leave --tls-ca and RAFTKV_TLS_CA out"},
		"https in clear":      {Caller{}, tls.RecordHeaderError{Msg: "no TLS"}, "write http:// in place of https://"},
		"clear to TLS":        {Caller{}, ask.ErrTLSOnly, "name the CA with --tls-ca or RAFTKV_TLS_CA"},
		"http to TLS":         {Caller{Clear: true}, ask.ErrTLSOnly, "write https:// in place of http://"},
		"refused connections": {with, &net.OpError{Op: "dial", Err: errors.New("refused")}, ""},
	} {
		got := c.caller.Mistake(c.err)
		if (c.err == nil) != (name == "all is well") {
			t.Fatalf("%s: void: %v", name, c.err)
		}
		if got != c.says && (c.says == "" || !strings.Contains(got, c.says)) {
			t.Errorf("%s, %v: told %q, want %q", name, c.err, got, c.says)
		}
	}
}

// Goal: a caller whom a server refused ends with code 14 and hears whose token it was, or that
// none was sent; whoever knows less of what happened, or more, keeps the code.
// Method: errors as commands end with them.
func TestARefusedCallerEndsWithACodeOfItsOwn(t *testing.T) {
	unknown, forbidden := ask.Refused(api.CodeUnauthenticated, "no"), ask.Refused(api.CodeForbidden, "needs the right status")
	var reasons ask.Reasons
	reasons.Add("a:1", errors.New("does not answer"))
	reasons.Add("b:1", errors.New("does not answer"))
	reasons.Add("c:1", forbidden)
	of := Caller{Token: "svc.token (--token-file)"}
	for name, c := range map[string]struct {
		caller Caller
		err    error
		code   int
		says   string
	}{
		"a bare refusal":        {Caller{}, unknown, exit.Denied, "no. No token was sent: name a file with one by --token-file or RAFTKV_TOKEN_FILE"},
		"the variable of locks": {Caller{Hint: "; RAFTKV_AUTH_TOKEN"}, unknown, exit.Denied, "RAFTKV_TOKEN_FILE; RAFTKV_AUTH_TOKEN"},
		"a bad token":           {of, exit.With(exit.Unavailable, fmt.Errorf("x: %w", unknown)), exit.Denied, "The token of svc.token (--token-file) is unknown there, has expired or was revoked"},
		"one of three":          {of, exit.With(exit.Unavailable, fmt.Errorf("no node did it: %w", &reasons)), exit.Denied, "a:1, b:1: does not answer; c:1: needs the right status. The token was that of svc.token"},
		"by a Clerk":            {of, exit.With(exit.Failed, &Worded{Text: "y", Err: &client.Error{Code: api.CodeForbidden}}), exit.Denied, "y"},
		"a failure":             {of, exit.Fail(forbidden), exit.Denied, "needs the right"},
		"another host":          {Caller{}, ask.Refused(api.CodeForbidden, "this node does not serve the host"), exit.Denied, "this node does not serve the host"},
		"perhaps it happened":   {of, exit.With(exit.Unknown, forbidden), exit.Unknown, ""},
		"an end of its own":     {of, exit.Silently(7), 7, ""},
		"no such key":           {of, exit.With(exit.Failed, errors.New("no such key")), exit.Failed, "no such key"},
		"wrong usage":           {of, errors.New("no flag"), exit.Usage, "no flag"},
	} {
		err := c.caller.Judge(c.err)
		code := exit.Usage
		var ending *exit.Ending
		var silent *exit.Silent
		switch {
		case errors.As(err, &ending):
			code = ending.Code
		case errors.As(err, &silent):
			code = silent.Code
		}
		if code != c.code || c.says != "" && !strings.Contains(err.Error(), c.says) || name == "another host" && err.Error() != c.says {
			t.Errorf("%s: code %d and %q, want %d and %q", name, code, err, c.code, c.says)
		}
	}
	if (Caller{}).Judge(nil) != nil {
		t.Error("what went well is an error")
	}
}
