// Package issue makes what package certs judges: CAs, certificates of nodes, servers and
// clients, and revocation lists. It is for `raftkv cert`, for dev clusters and for tests.
// A running server never holds the key of a CA.
//
// All keys are ECDSA P-256. The package opens no file and has no goroutine; chance is that
// of crypto/rand, and the time is the caller's.
package issue

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"time"
)

// clockLead is how long before now a certificate becomes valid, for machines whose clocks
// are late.
const clockLead = 5 * time.Minute

// Authority is a CA with its key.
type Authority struct {
	Cert    *x509.Certificate
	key     crypto.Signer
	CertPEM []byte
	KeyPEM  []byte // secret
}

// NewAuthority makes a CA that is valid from now for so long.
func NewAuthority(name string, now time.Time, valid time.Duration) (*Authority, error) {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: now.Add(-clockLead), NotAfter: now.Add(valid),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a := &Authority{}
	var err error
	if a.CertPEM, a.KeyPEM, err = newCertificate(template, nil, nil); err != nil {
		return nil, err
	}
	return LoadAuthority(a.CertPEM, a.KeyPEM)
}

// LoadAuthority reads a CA and its key.
func LoadAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("the file of the CA holds no certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the certificate of the CA cannot be read: %w", err)
	}
	if !cert.IsCA {
		return nil, errors.New("the certificate is not that of a CA")
	}
	if block, _ = pem.Decode(keyPEM); block == nil {
		return nil, errors.New("the file of the CA's key holds no key in PEM")
	}
	key, err := parseKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the key of the CA cannot be read: %w", err)
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(cert.PublicKey) {
		return nil, errors.New("the certificate of the CA and the key do not fit")
	}
	return &Authority{Cert: cert, key: key, CertPEM: certPEM, KeyPEM: keyPEM}, nil
}

// parseKey reads a private key in PKCS #8, or an ECDSA key in its older form.
func parseKey(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if ec, ecErr := x509.ParseECPrivateKey(der); ecErr == nil {
			return ec, nil
		}
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T signs nothing", key)
	}
	return signer, nil
}

// Request says what a certificate is to be for.
type Request struct {
	Name           string   // the subject's common name, for people
	Hosts          []string // host names and IP addresses
	URIs           []string
	Server, Client bool // what it may be used for
	From, To       time.Time
}

// Issue makes a key and a certificate for it. The certificate is not valid for longer than
// the CA's own.
func (a *Authority) Issue(r Request) (certPEM, keyPEM []byte, err error) {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: r.Name},
		NotBefore: r.From, NotAfter: r.To,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if template.NotAfter.After(a.Cert.NotAfter) {
		template.NotAfter = a.Cert.NotAfter
	}
	for _, host := range r.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	for _, text := range r.URIs {
		uri, err := url.Parse(text)
		if err != nil {
			return nil, nil, err
		}
		template.URIs = append(template.URIs, uri)
	}
	if r.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if r.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	return newCertificate(template, a.Cert, a.key)
}

// IssueFor is Issue from now on for so long.
func (a *Authority) IssueFor(r Request, now time.Time, valid time.Duration) (certPEM, keyPEM []byte, err error) {
	r.From, r.To = now.Add(-clockLead), now.Add(valid)
	return a.Issue(r)
}

// Revoke makes a revocation list. It says that the next one is due after so long, which
// nothing here depends on.
func (a *Authority) Revoke(revoked []*x509.Certificate, now time.Time, next time.Duration) ([]byte, error) {
	var serials []*big.Int
	for _, c := range revoked {
		serials = append(serials, c.SerialNumber)
	}
	return a.Extend(nil, serials, now, next)
}

// Extend is Revoke for a list that takes the place of an older one: it holds all that the older
// one does, and what is new by serial numbers, each once. With nil it is the first one.
func (a *Authority) Extend(old *x509.RevocationList, serials []*big.Int, now time.Time, next time.Duration) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(now.UnixNano()), ThisUpdate: now.Add(-clockLead), NextUpdate: now.Add(next)}
	if old != nil {
		if err := old.CheckSignatureFrom(a.Cert); err != nil {
			return nil, fmt.Errorf("the list that is there is not of this CA: %w", err)
		}
		list.RevokedCertificateEntries = slices.Clone(old.RevokedCertificateEntries)
		if old.Number != nil && list.Number.Cmp(old.Number) <= 0 { // the clock was ahead then
			list.Number.Add(old.Number, big.NewInt(1))
		}
	}
	for _, serial := range serials {
		has := func(e x509.RevocationListEntry) bool { return e.SerialNumber.Cmp(serial) == 0 }
		if !slices.ContainsFunc(list.RevokedCertificateEntries, has) {
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: now})
		}
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.Cert, a.key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), nil
}

// ExtendAmong is Extend for the lists of a file, which may be of several CAs: those of this one
// become one list, and the others stay as they are.
func (a *Authority) ExtendAmong(lists []*x509.RevocationList, serials []*big.Int, now time.Time, next time.Duration) ([]byte, error) {
	var old *x509.RevocationList
	var others []byte
	all := slices.Clone(serials)
	for _, list := range lists {
		if list.CheckSignatureFrom(a.Cert) != nil {
			others = append(others, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list.Raw})...)
			continue
		}
		if old != nil && old.Number.Cmp(list.Number) > 0 {
			old, list = list, old
		}
		if old != nil {
			for _, e := range old.RevokedCertificateEntries {
				all = append(all, e.SerialNumber)
			}
		}
		old = list
	}
	if old == nil && others != nil {
		return nil, fmt.Errorf("of the %d lists that are there, none is of this CA", len(lists))
	}
	own, err := a.Extend(old, all, now, next)
	return append(others, own...), err
}

// newCertificate makes a key and the certificate that a CA gives it; without a CA it is its own.
func newCertificate(template, ca *x509.Certificate, caKey crypto.Signer) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126)); err != nil {
		return nil, nil, err
	}
	template.SerialNumber.Add(template.SerialNumber, big.NewInt(1))
	if ca == nil {
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}
