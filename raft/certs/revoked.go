package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"time"
)

// revocations are lists of revoked certificates, one or more for each CA. A list goes on
// to count after its next update was due: a list that is late is worth more than none.
type revocations struct {
	lists []*revocationList
}

// revocationList is the list of one CA.
type revocationList struct {
	list    *x509.RevocationList
	serials map[string]bool

	mu      sync.Mutex                 // guards the field below
	signers map[[sha256.Size]byte]bool // CAs, and whether one has signed the list
}

// parseRevocations reads the lists of a file. A list must be signed by the CA that it
// names, if that is in the bundle.
func parseRevocations(f File, bundle []*x509.Certificate) (*revocations, error) {
	r := &revocations{}
	if !f.given() {
		return r, nil
	}
	blocks, err := f.blocks()
	if err != nil {
		return nil, err
	}
	for _, block := range blocks {
		if block.Type != "X509 CRL" {
			return nil, fmt.Errorf("%s holds a block %q; it may hold revocation lists alone (\"X509 CRL\")", f.Name, block.Type)
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: list %d cannot be read: %w", f.Name, len(r.lists)+1, err)
		}
		l := &revocationList{list: list, serials: map[string]bool{}, signers: map[[sha256.Size]byte]bool{}}
		for _, entry := range list.RevokedCertificateEntries {
			l.serials[string(entry.SerialNumber.Bytes())] = true
		}
		if err := l.checkSigner(bundle); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		r.lists = append(r.lists, l)
	}
	if len(r.lists) == 0 {
		return nil, fmt.Errorf("%s holds no revocation list in PEM (a block \"X509 CRL\")", f.Name)
	}
	return r, nil
}

// checkSigner refuses a list that names a CA of the bundle which has not signed it.
func (l *revocationList) checkSigner(bundle []*x509.Certificate) error {
	named := false
	for _, ca := range bundle {
		if !bytes.Equal(l.list.RawIssuer, ca.RawSubject) {
			continue
		}
		if l.signedBy(ca) {
			return nil
		}
		named = true
	}
	if named {
		return fmt.Errorf("the revocation list of %q is not signed by the CA of this name in the bundle", l.list.Issuer.String())
	}
	return nil // of a CA between the bundle and a leaf, or of one that has left the bundle
}

// ForeignLists returns the issuers of the sets' revocation lists that are in no bundle of
// them. Such a list counts only where its issuer stands between a CA of the bundle and a
// certificate; most often the wrong file was named, and nothing is revoked. Sets without a
// bundle, which go by the roots of the system, say nothing.
func ForeignLists(sets ...*Set) (issuers []string) {
	var bundles []*x509.Certificate
	for _, s := range sets {
		bundles = append(bundles, s.bundle...)
	}
	if len(bundles) == 0 {
		return nil
	}
	for _, s := range sets {
		for _, l := range s.revoked.lists {
			issuer := l.list.Issuer.String()
			known := slices.ContainsFunc(bundles, func(ca *x509.Certificate) bool { return bytes.Equal(l.list.RawIssuer, ca.RawSubject) })
			if !known && !slices.Contains(issuers, issuer) {
				issuers = append(issuers, issuer)
			}
		}
	}
	return issuers
}

// Unlisted returns the CAs that may still issue certificates and have no list, in sets that have
// other lists. Nothing that such a CA issued can be revoked. A CA of a bundle counts once, however
// many certificates it has there, but each of these must be able to verify a list. CAs between a
// bundle and a certificate are not known before a certificate is shown.
func Unlisted(now time.Time, sets ...*Set) (cas []*x509.Certificate) {
	for _, s := range sets {
		if len(s.revoked.lists) == 0 {
			continue
		}
		for _, ca := range s.bundle {
			issues := ca.KeyUsage == 0 || ca.KeyUsage&x509.KeyUsageCertSign != 0
			if !issues || now.After(ca.NotAfter) || s.revoked.listOf(ca) {
				continue
			}
			named := slices.ContainsFunc(cas, func(c *x509.Certificate) bool {
				return bytes.Equal(c.RawSubject, ca.RawSubject) && bytes.Equal(c.RawSubjectPublicKeyInfo, ca.RawSubjectPublicKeyInfo)
			})
			if !named {
				cas = append(cas, ca)
			}
		}
	}
	return cas
}

// listOf reports whether there is a list that a CA has signed. A name alone says little: a new
// CA often has that of the one before.
func (r *revocations) listOf(ca *x509.Certificate) bool {
	return slices.ContainsFunc(r.lists, func(l *revocationList) bool {
		return bytes.Equal(l.list.RawIssuer, ca.RawSubject) && l.signedBy(ca)
	})
}

// signedBy reports whether a CA of the list's name has signed it. The answer is
// remembered, because a handshake asks once for each certificate of its chain.
func (l *revocationList) signedBy(ca *x509.Certificate) bool {
	key := sha256.Sum256(ca.Raw)
	l.mu.Lock()
	defer l.mu.Unlock()
	signed, known := l.signers[key]
	if !known {
		const maxSigners = 64 // a client chooses which CAs stand between its certificate and the bundle
		if len(l.signers) >= maxSigners {
			clear(l.signers)
		}
		signed = l.list.CheckSignatureFrom(ca) == nil
		l.signers[key] = signed
	}
	return signed
}

// in returns the first certificate of a chain, which ends with a CA of the bundle, that
// was revoked; nil if none was.
func (r *revocations) in(chain []*x509.Certificate) *x509.Certificate {
	for i := 0; i+1 < len(chain); i++ {
		for _, l := range r.lists {
			if l.serials[string(chain[i].SerialNumber.Bytes())] && bytes.Equal(l.list.RawIssuer, chain[i+1].RawSubject) && l.signedBy(chain[i+1]) {
				return chain[i]
			}
		}
	}
	return nil
}
