package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// File is the content of a file in PEM, with its name for error texts. The zero File
// stands for one that was not named.
type File struct {
	Name string
	PEM  []byte
}

// given reports whether a file was named.
func (f File) given() bool { return f.Name != "" }

// blocks returns the blocks of the file. pem.Decode passes over what is no whole block, so
// without the count a file that is being written would be taken for one that holds less: a
// bundle without its last CA, or a revocation list fewer.
func (f File) blocks() (all []*pem.Block, err error) {
	begun := 0
	for line := range bytes.Lines(f.PEM) {
		if bytes.HasPrefix(line, []byte("-----BEGIN ")) {
			begun++
		}
	}
	for rest := f.PEM; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		all = append(all, block)
	}
	if begun != len(all) {
		return nil, fmt.Errorf("%s is damaged or half written: %d blocks of PEM begin in it and %d are whole; write it anew, beside its place, and move it there", f.Name, begun, len(all))
	}
	return all, nil
}

// Files are what a Set is made of. Cert and Key go together. Without a CA bundle the
// certificates of others are judged by the roots of the system.
type Files struct {
	Cert, Key File
	CA        File
	CRL       File
}

// Set is a certificate with its key, the CAs by which others are judged, and the
// certificates that were revoked. It never changes, so it may be shared.
type Set struct {
	leaf    *tls.Certificate // nil: this side shows none
	bundle  []*x509.Certificate
	roots   *x509.CertPool // of bundle; nil: those of the system
	revoked *revocations
}

// Parse makes a set of the content of its files. now is the time by which the
// certificate must be valid. The error names the file, says what is wrong with it, and
// never shows a key.
func Parse(files Files, now time.Time) (*Set, error) {
	s := &Set{}
	if files.Cert.given() != files.Key.given() {
		return nil, fmt.Errorf("a certificate needs its key and a key its certificate: there is %s alone; name both", firstOf(files.Cert.Name, files.Key.Name))
	}
	if files.Cert.given() {
		leaf, err := parsePair(files.Cert, files.Key)
		if err != nil {
			return nil, err
		}
		s.leaf = leaf
		if err := checkDates(leaf.Leaf, now); err != nil {
			return nil, fmt.Errorf("%s: %w", files.Cert.Name, err)
		}
	}
	if files.CA.given() {
		bundle, err := parseCertificates(files.CA)
		if err != nil {
			return nil, err
		}
		s.bundle, s.roots = bundle, x509.NewCertPool()
		for _, c := range bundle {
			if !c.IsCA {
				return nil, fmt.Errorf("%s: the certificate of %s is not that of a CA; a CA bundle holds certificates of CAs only", files.CA.Name, nameOf(c))
			}
			s.roots.AddCert(c)
		}
	}
	var err error
	s.revoked, err = parseRevocations(files.CRL, s.bundle)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// parsePair reads a certificate, behind it those that lead to its CA, and its key.
func parsePair(cert, key File) (*tls.Certificate, error) {
	if _, err := parseCertificates(cert); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert.PEM, key.PEM)
	switch {
	case err == nil:
	case !hasBlock(key.PEM, "PRIVATE KEY"):
		return nil, fmt.Errorf("%s holds no private key in PEM (a block \"PRIVATE KEY\")", key.Name)
	default:
		return nil, fmt.Errorf("the certificate in %s and the key in %s do not fit: %w; if they are being replaced, replace both", cert.Name, key.Name, err)
	}
	if public, ok := pair.Leaf.PublicKey.(*ecdsa.PublicKey); ok && public.Curve.Params().BitSize < 256 {
		return nil, fmt.Errorf("%s: the key has %d bits; make one with ECDSA P-256 or better", cert.Name, public.Curve.Params().BitSize)
	}
	return &pair, nil
}

// hasBlock reports whether a text in PEM has a block whose type ends in kind.
func hasBlock(text []byte, kind string) bool {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return false
		}
		if bytes.HasSuffix([]byte(block.Type), []byte(kind)) {
			return true
		}
		text = rest
	}
}

// maxBundle bounds the certificates in one file.
const maxBundle = 256

// ParseCertificates reads all certificates of a file, 1 to 256.
func ParseCertificates(f File) ([]*x509.Certificate, error) { return parseCertificates(f) }

func parseCertificates(f File) (all []*x509.Certificate, err error) {
	blocks, err := f.blocks()
	if err != nil {
		return nil, err
	}
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" {
			continue // keys may stand in the same file
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d cannot be read: %w", f.Name, len(all)+1, err)
		}
		if all = append(all, c); len(all) > maxBundle {
			return nil, fmt.Errorf("%s holds more than %d certificates", f.Name, maxBundle)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM (a block \"CERTIFICATE\")", f.Name)
	}
	return all, nil
}

// Leaf returns the set's own certificate, nil if it has none.
func (s *Set) Leaf() *x509.Certificate {
	if s.leaf == nil {
		return nil
	}
	return s.leaf.Leaf
}

// Chain returns the set's own certificate and those that lead to its CA.
func (s *Set) Chain() (chain []*x509.Certificate, err error) {
	if s.leaf == nil {
		return nil, errors.New("the set has no certificate")
	}
	for _, der := range s.leaf.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	return chain, nil
}

// FirstExpiry returns when the first certificate of the CA bundle expires; zero if the
// set has no bundle.
func (s *Set) FirstExpiry() (first time.Time) {
	for _, c := range s.bundle {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// CheckOwn returns why others that have the same CA bundle and revocation lists would
// refuse the set's own certificate for a usage, or nil.
func (s *Set) CheckOwn(usage x509.ExtKeyUsage, now time.Time) error {
	chain, err := s.Chain()
	if err != nil {
		return err
	}
	return s.verify(chain, usage, now)
}

// Serves returns why the set's own certificate cannot be that of a server, or nil.
func (s *Set) Serves() error {
	leaf := s.Leaf()
	switch {
	case leaf == nil:
		return errors.New("there is no certificate")
	case len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0: // for anything
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny):
		return fmt.Errorf("the certificate of %s is not for servers: it lacks the extended key usage serverAuth", nameOf(leaf))
	}
	return nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// nameOf says for people whose a certificate is.
func nameOf(c *x509.Certificate) string {
	switch {
	case len(c.URIs) > 0:
		return c.URIs[0].String()
	case len(c.DNSNames) > 0:
		return c.DNSNames[0]
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	}
	return fmt.Sprintf("%q", c.Subject.String())
}
