package secure

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"raftkv/raft/certs"
)

// ClientFiles are what a command of a client knows of TLS.
type ClientFiles struct{ CA, Cert, Key string }

// Given reports whether a user named any of them.
func (f ClientFiles) Given() bool { return f != ClientFiles{} }

// Config returns how a command verifies nodes, and what it shows to those that ask for a
// certificate. Without a CA the system's are trusted.
func (f ClientFiles) Config() (*tls.Config, error) {
	if (f.Cert == "") != (f.Key == "") {
		return nil, fmt.Errorf("--tls-cert and --tls-key go together; one of them is missing")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	ca, err := read(f.CA)
	if err != nil {
		return nil, err
	}
	if f.CA != "" {
		bundle, err := certs.ParseCertificates(ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		for _, c := range bundle {
			config.RootCAs.AddCert(c)
		}
	}
	if f.Cert == "" {
		return config, nil
	}
	cert, err := read(f.Cert)
	if err != nil {
		return nil, err
	}
	key, err := readKey(f.Key)
	if err != nil {
		return nil, err
	}
	if _, err := certs.Parse(certs.Files{Cert: cert, Key: key}, time.Now()); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert.PEM, key.PEM)
	if err != nil {
		return nil, err
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}
