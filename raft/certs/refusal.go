package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// Result is how a handshake ended, for counters.
type Result string

// The results.
const (
	ResultOK          Result = "ok"
	ResultCertificate Result = "certificate" // the other side's certificate was refused, or there was none
	ResultIdentity    Result = "identity"    // its certificate names another node, or none, or several
	ResultProtocol    Result = "protocol"    // another version of TLS, or another protocol above it
	ResultClear       Result = "clear"       // the other side does not speak TLS
	ResultRefused     Result = "refused"     // the other side refused our certificate, or our terms
	ResultSilent      Result = "silent"      // it left, or did not end the handshake in time
)

// Results lists them all.
var Results = []Result{ResultOK, ResultCertificate, ResultIdentity, ResultProtocol, ResultClear, ResultRefused, ResultSilent}

// Refusal is the error for a handshake, or a connection that stands, which this side
// refuses.
type Refusal struct {
	Result Result
	text   string
}

func (r *Refusal) Error() string { return r.text }

func refuse(result Result, format string, args ...any) *Refusal {
	return &Refusal{Result: result, text: fmt.Sprintf(format, args...)}
}

// ErrClear means that the other side does not speak TLS.
var ErrClear error = &Refusal{Result: ResultClear, text: "the other side does not speak TLS on this port"}

// Explain returns the result of a handshake that ended with err, and an error that says
// what was wrong in words of this package where Go's are not clear.
func Explain(err error) (Result, error) {
	if err == nil {
		return ResultOK, nil
	}
	var refusal *Refusal
	var header tls.RecordHeaderError
	var alert tls.AlertError
	var remote *net.OpError
	switch {
	case errors.As(err, &refusal):
		return refusal.Result, err
	case errors.As(err, &header):
		return ResultClear, ErrClear
	case errors.As(err, &remote) && remote.Op == "remote error" && strings.HasSuffix(remote.Error(), "handshake failure"):
		return ResultRefused, fmt.Errorf("the other side speaks no TLS on this port, or agrees to none of our terms (%w)", err)
	case errors.As(err, &alert), errors.As(err, &remote) && remote.Op == "remote error":
		return ResultRefused, fmt.Errorf("the other side refuses the handshake, probably for our certificate (%w); its log or its counters say why", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
		return ResultSilent, fmt.Errorf("the handshake of TLS did not end: %w", err)
	}
	return ResultProtocol, fmt.Errorf("TLS could not be agreed on: %w", err)
}

// RecordHandshake is the first byte of a connection of TLS, and of no other protocol here.
const RecordHandshake = 0x16

// RecordAlert is the first byte of an alert of TLS.
const RecordAlert = 0x15

// ClearAlert is what a server answers to a peer that speaks TLS where it does not, or does
// not where it does: the alert handshake_failure, in clear, which says nothing else.
var ClearAlert = []byte{RecordAlert, 3, 3, 0, 2, 2, 40}
