package secure

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"raftkv/raft/certs/issue"
)

// Goal: a list that revokes nothing, as that of another CA, is warned about for each port that
// names it, and one that does its work is not.
// Method: lists of the CA and of another one, for both ports.
func TestAListOfAnotherCAIsWarnedAbout(t *testing.T) {
	f := newFolder(t)
	another, err := issue.NewAuthority("another", time.Now(), 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		of       *issue.Authority
		warnings int
	}{{f.Authority, 0}, {another, 2}} {
		s := f.node("n1")
		s.crl = f.list(c.of)
		s.peerCRL = s.crl
		var log bytes.Buffer
		if _, err := f.openWith(s, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "not in the CA bundle"); n != c.warnings {
			t.Errorf("a list of %s: %d warnings, want %d:\n%s", c.of.Cert.Subject, n, c.warnings, log.String())
		}
	}
}

// Goal: a CA of a bundle whose certificates no list can revoke is named, for each port, with
// its serial number; at the start, and again when files are taken that leave it so. A CA of
// another's name is told apart by the key. The other ports' CAs, one that cannot issue, and files
// without any list are no matter.
// Method: bundles of two CAs, of one name or of two, with the list of one, of both and of none;
// clients' CA beside the nodes'; then a look at files that have changed.
func TestACAWithoutAListIsNamed(t *testing.T) {
	another := func(name string) *issue.Authority {
		a, err := issue.NewAuthority(name, time.Now(), 48*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	listOf := func(all ...*issue.Authority) (text []byte) {
		for _, a := range all {
			list, err := a.Revoke(nil, time.Now(), time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, list...)
		}
		return text
	}
	f, next, twin := newFolder(t), another("next"), another("a")
	both := func(a *issue.Authority) string {
		return f.write("both.pem", slices.Concat(f.CertPEM, a.CertPEM, a.CertPEM))
	}
	for what, c := range map[string]struct {
		change       func(s *Settings)
		client, peer int
		of           *issue.Authority
	}{
		"all have one":   {func(s *Settings) { s.crl = f.write("l", listOf(f.Authority)); s.peerCRL = s.crl }, 0, 0, nil},
		"no list at all": {func(s *Settings) { s.ca = both(next); s.peerCA = s.ca }, 0, 0, nil},
		"a new CA": {func(s *Settings) {
			s.crl = f.write("l", listOf(f.Authority))
			s.peerCRL = s.crl
			s.ca = both(next)
			s.peerCA = s.ca
		}, 1, 1, next},
		"a list of both": {func(s *Settings) {
			s.crl = f.write("l", listOf(f.Authority, next))
			s.peerCRL = s.crl
			s.ca = both(next)
			s.peerCA = s.ca
		}, 0, 0, nil},
		"of the same name":  {func(s *Settings) { s.peerCRL = f.write("l", listOf(f.Authority)); s.ca = both(twin); s.peerCA = s.ca }, 0, 1, twin},
		"the clients' CA":   {func(s *Settings) { s.crl = f.write("l", listOf(f.Authority)); s.clientCA = both(next) }, 1, 0, next},
		"the nodes' for it": {func(s *Settings) { s.crl = f.write("l", listOf(next)); s.clientCA = both(next) }, 1, 0, f.Authority},
	} {
		s := f.node("n1")
		c.change(&s)
		var log bytes.Buffer
		k, err := f.openWith(s, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		for port, want := range map[string]int{"client": c.client, "peer": c.peer} {
			warned := strings.Count(log.String(), "can be revoked: make one (raftkv cert crl) and add it to the file\" port="+port)
			if warned != want || unlistedNow(k)[port] != int64(want) {
				t.Errorf("%s: %d warnings of the %s port, and %d by the metric, want %d:\n%s", what, warned, port, unlistedNow(k)[port], want, log.String())
			}
		}
		if c.of != nil && !strings.Contains(log.String(), "ca=\"CN="+c.of.Cert.Subject.CommonName+"\" serial="+c.of.Cert.SerialNumber.Text(16)) && !strings.Contains(log.String(), "ca=CN="+c.of.Cert.Subject.CommonName+" serial="+c.of.Cert.SerialNumber.Text(16)) {
			t.Errorf("%s: %q is not named:\n%s", what, c.of.Cert.Subject, log.String())
		}
	}
	s := f.node("n1")
	s.peerCRL = f.write("l", listOf(f.Authority))
	var log bytes.Buffer
	k, err := f.openWith(s, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		name    string
		content []byte
		want    int64
		warned  int
	}{{"ca.pem", slices.Concat(f.CertPEM, next.CertPEM), 1, 1}, {"ca.pem", slices.Concat(f.CertPEM, next.CertPEM), 1, 1}, {"ca.pem", slices.Concat(next.CertPEM, f.CertPEM), 1, 2}, {"l", listOf(next, f.Authority), 0, 2}} {
		f.write(step.name, step.content)
		if err := k.Reload(); err != nil {
			t.Fatal(err)
		}
		if warned := strings.Count(log.String(), "can be revoked"); warned != step.warned || unlistedNow(k)["peer"] != step.want {
			t.Errorf("look %d: %d warnings, %d CAs, want %d and %d:\n%s", i, warned, unlistedNow(k)["peer"], step.warned, step.want, log.String())
		}
	}
}

func unlistedNow(k *Keys) map[string]int64 {
	all := map[string]int64{}
	k.Unlisted(func(port string, cas int64) { all[port] = cas })
	return all
}
