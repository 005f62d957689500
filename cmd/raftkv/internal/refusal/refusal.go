// Package refusal says to a person why servers did not do what a command asked of them, where
// that is the caller's to mend: the token, the certificates, the port that was asked.
package refusal

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
)

// Caller is what a command shows to servers, and by what it knows them.
type Caller struct {
	CA, Cert string // files of --tls-ca and --tls-cert; "": not given
	Clear    bool   // an endpoint was written with http://
	Token    string // where the token comes from, for people; "": none is sent
	Hint     string // what else there is to say to a caller without one; "": nothing
}

// atPeerPort is the end of a sentence about a server that was asked at its peer port.
const atPeerPort = "cannot be asked there: it is a peer port, and clients ask at the address of serve --http"

// Mistake returns the end of a sentence that begins with servers and says what is wrong, if an
// error of a connection shows that it is the caller's to mend; "" if it does not.
func (c Caller) Mistake(err error) string {
	var unknown x509.UnknownAuthorityError
	var other x509.HostnameError
	var invalid x509.CertificateInvalidError
	var inClear tls.RecordHeaderError
	var remote *net.OpError
	switch {
	case err == nil:
	case errors.Is(err, ask.ErrTLSOnly) && c.Clear:
		return "can be asked by TLS alone: write https:// in place of http://, and name the CA with --tls-ca or RAFTKV_TLS_CA"
	case errors.Is(err, ask.ErrTLSOnly):
		return "can be asked by TLS alone: name the CA with --tls-ca or RAFTKV_TLS_CA"
	case errors.As(err, &unknown) && c.CA != "":
		return fmt.Sprintf("cannot be verified: --tls-ca (%s) does not hold the CA of these servers", c.CA)
	case errors.As(err, &unknown):
		return "cannot be verified: this system does not know the CA; name it with --tls-ca or RAFTKV_TLS_CA"
	case errors.As(err, &other):
		return fmt.Sprintf("cannot be verified by this address: %v; ask at one that the certificate holds, or make one that holds this (raftkv cert node --hosts)", other)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("cannot be verified: %v; look at this machine's clock, and at the certificate (raftkv cert inspect)", invalid)
	case errors.As(err, &inClear) && c.CA != "":
		return "cannot be asked by TLS: the port speaks in clear; leave --tls-ca and RAFTKV_TLS_CA out, or write http:// where the profile names the CA, if that is meant"
	case errors.As(err, &inClear):
		return "cannot be asked by TLS: the port speaks in clear; write http:// in place of https://, if that is meant"
	case errors.As(err, &remote) && remote.Op == "remote error":
		return c.ofAlert(remote.Err.Error())
	}
	return ""
}

// ofAlert is Mistake for an alert of TLS by which a server ended the handshake.
func (c Caller) ofAlert(alert string) string {
	switch {
	case strings.Contains(alert, "no application protocol"), strings.Contains(alert, "handshake failure"):
		return atPeerPort // which speaks another protocol above TLS, or no TLS
	case !strings.Contains(alert, "certificate"):
		return ""
	case c.Cert == "":
		return "cannot be asked without a certificate: show one with --tls-cert and --tls-key, or RAFTKV_TLS_CERT and RAFTKV_TLS_KEY (raftkv cert client makes one)"
	}
	return fmt.Sprintf("would not take the certificate in %s (%s): it must be of a CA in serve's --tls-client-ca, in time and not revoked", c.Cert, alert)
}

// Judge gives an error of a command exit.Denied, and says what to do, if a server refused the
// caller: it does not know the token, or the identity lacks a right. An error that says more
// keeps its code: that the outcome is unknown, or that a guard refused a change.
func (c Caller) Judge(err error) error {
	var silent *exit.Silent
	var failed *exit.Failure
	var ending *exit.Ending
	code := deniedBy(err)
	switch {
	case code == "" || errors.As(err, &silent):
		return err
	case errors.As(err, &failed) || !errors.As(err, &ending):
	case ending.Code == exit.LockLost: // its command has ended for it, whatever the cause
		return exit.With(ending.Code, errors.New(err.Error()+c.advice(code, err.Error())))
	case ending.Code != exit.Failed && ending.Code != exit.Unavailable && ending.Code != exit.Denied:
		return err
	}
	return exit.With(exit.Denied, errors.New(err.Error()+c.advice(code, err.Error())))
}

// advice is what a refused caller can do about what was said.
func (c Caller) advice(code api.Code, said string) string {
	switch {
	case code == api.CodeForbidden && !strings.Contains(said, "right"):
		return "" // it is not for want of a right: a host that is not served
	case c.Token == "":
		return ". No token was sent: name a file with one by --token-file or RAFTKV_TOKEN_FILE" + c.Hint
	case code == api.CodeUnauthenticated:
		return fmt.Sprintf(". The token of %s is unknown there, has expired or was revoked, or its identity is disabled", c.Token)
	}
	return fmt.Sprintf(". The token was that of %s", c.Token)
}

// deniedBy returns the code by which a server refused the caller; "" if none did. Of the
// reasons of several nodes any will do, since none of them did what it was asked.
func deniedBy(err error) api.Code {
	code := api.Code("")
	switch e := err.(type) {
	case *client.Error:
		code = e.Code
	case *ask.RefusedError:
		code = e.Code
	}
	if code == api.CodeUnauthenticated || code == api.CodeForbidden {
		return code
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return deniedBy(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if code := deniedBy(one); code != "" {
				return code
			}
		}
	}
	return ""
}

// Worded is an error in a command's own words.
type Worded struct {
	Text string
	Err  error // what it is about, for Judge and errors.Is
}

func (w *Worded) Error() string { return w.Text }

func (w *Worded) Unwrap() error { return w.Err }

// Because returns an error that says what happened and that a server's refusal is the cause,
// which Judge and errors.Is find in it.
func Because(what string, refused *client.Error) error {
	return &Worded{Text: what + ": " + strings.TrimPrefix(refused.Error(), "raftkv: "), Err: refused}
}
