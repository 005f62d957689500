package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"raftkv/cmd/raftkv/internal/process"
)

// addressPatience is how long a start waits for its own address: the name of a
// pod gets its record when the pod runs, and an interface its address when the
// network is up.
const (
	addressPatience = 30 * time.Second
	addressPause    = time.Second
)

// listen opens a port. what and flag are for the sentence if it cannot. The error
// is a *failure if the address is in order.
func listen(what, flag, address string) (net.Listener, error) {
	normal, err := listenAddress(address)
	if err != nil {
		return nil, fmt.Errorf("%s is %q, which is not an address of the form host:port: %w", flag, address, err)
	}
	l, err := net.Listen("tcp", normal)
	if err != nil {
		return nil, &failure{fmt.Errorf("cannot listen for %s on %s (%s): %w%s", what, normal, flag, explainListen(err), adviceOnAddress(err, flag, normal))}
	}
	return l, nil
}

// listenPatiently is listen for an address that may not be there yet: it waits
// for it until ctx ends or addressPatience is over.
func listenPatiently(ctx context.Context, what, flag, address string, logger *slog.Logger) (net.Listener, error) {
	for begun := time.Now(); ; {
		l, err := listen(what, flag, address)
		if err == nil {
			return process.NewPatientListener(l, what, logger), nil
		}
		if !mayComeYet(err) || ctx.Err() != nil || time.Since(begun) >= addressPatience {
			return nil, err
		}
		logger.Warn("this node waits up to "+addressPatience.String()+" for an address of its own", "error", err)
		select {
		case <-time.After(addressPause):
		case <-ctx.Done():
		}
	}
}

// mayComeYet reports whether an address that cannot be listened on may be there
// a moment later.
func mayComeYet(err error) bool {
	var lookup *net.DNSError
	return errors.As(err, &lookup) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// adviceOnAddress says what to do about an address that is not there; empty if
// that is not what is wrong.
func adviceOnAddress(err error, flag, address string) string {
	if !mayComeYet(err) {
		return ""
	}
	_, port, _ := net.SplitHostPort(address)
	return fmt.Sprintf("; %s 0.0.0.0:%s listens on all addresses of this machine and needs no name", flag, port)
}

// explainListen adds what to do to the commonest reason.
func explainListen(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return errors.New("the port is in use; stop what listens there or choose another port")
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
