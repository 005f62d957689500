package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// verify returns nil if a chain, the leaf first, leads to a CA of the set at a time, for a
// usage, and no certificate on the way was revoked. The error is a *Refusal.
func (s *Set) verify(chain []*x509.Certificate, usage x509.ExtKeyUsage, at time.Time) error {
	if len(chain) == 0 {
		return refuse(ResultCertificate, "the other side showed no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	found, err := chain[0].Verify(x509.VerifyOptions{
		Roots: s.roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return explain(chain, err, usage, at)
	}
	var revoked *x509.Certificate
	for _, chain := range found {
		if revoked = s.revoked.in(chain); revoked == nil {
			return nil
		}
	}
	return refuse(ResultCertificate, "the certificate of %s was revoked (serial %x)", nameOf(revoked), revoked.SerialNumber)
}

// stands reports whether a connection whose handshake was at some time may go on: its
// chain leads to a CA that is still trusted, and was not revoked. A certificate that has
// expired since ends nothing, because all of a cluster's may expire together; the chain
// is judged at the time of the handshake, now, or when the leaf expired.
func (s *Set) stands(chain []*x509.Certificate, usage x509.ExtKeyUsage, handshake, now time.Time) (err error) {
	for _, at := range []time.Time{handshake, now, chain[0].NotAfter} {
		if err = s.verify(chain, usage, at); err == nil {
			return nil
		}
	}
	return err
}

// explain says in words why a chain leads nowhere.
func explain(chain []*x509.Certificate, err error, usage x509.ExtKeyUsage, at time.Time) error {
	for _, c := range chain {
		if dates := checkDates(c, at); dates != nil {
			return &Refusal{Result: ResultCertificate, text: dates.Error()}
		}
	}
	leaf := chain[0]
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return refuse(ResultCertificate, "the certificate of %s, issued by %q, comes from no CA of the bundle", nameOf(leaf), leaf.Issuer.String())
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return refuse(ResultCertificate, "the certificate of %s lacks the extended key usage %s", nameOf(leaf), usageName(usage))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return refuse(ResultCertificate, "a CA of the certificate of %s has expired or is not valid yet; this machine's clock shows %s", nameOf(leaf), stamp(at))
	}
	return refuse(ResultCertificate, "the certificate of %s does not verify: %v", nameOf(leaf), err)
}

func usageName(usage x509.ExtKeyUsage) string {
	if usage == x509.ExtKeyUsageClientAuth {
		return "clientAuth"
	}
	return "serverAuth"
}

// checkDates says that a certificate has expired or is not valid yet, and what this
// machine's clock shows: most certificates of which that is said are good, and the clock
// is wrong.
func checkDates(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("the certificate of %s expired at %s, and this machine's clock shows %s; issue a new one, or correct the clock", nameOf(c), stamp(c.NotAfter), stamp(now))
	case now.Before(c.NotBefore):
		return fmt.Errorf("the certificate of %s is valid from %s on, and this machine's clock shows %s; correct the clock, or issue a new one", nameOf(c), stamp(c.NotBefore), stamp(now))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
