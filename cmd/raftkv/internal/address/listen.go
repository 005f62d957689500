package address

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/process"
)

// patience is how long a start waits for its own address: the name of a
// pod gets its record when the pod runs, and an interface its address when the
// network is up.
const (
	patience = 30 * time.Second
	pause    = time.Second
)

// Listen opens a port. what and flag are for the sentence if it cannot. The error
// is an exit.Failure if the address is in order.
func Listen(what, flag, address string) (net.Listener, error) {
	at, err := normal(address)
	if err != nil {
		return nil, fmt.Errorf("%s is %q, which is not an address of the form host:port: %w", flag, address, err)
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, exit.Fail(fmt.Errorf("cannot listen for %s on %s (%s): %w%s", what, at, flag, explainListen(err), adviceOnAddress(err, flag, at)))
	}
	return l, nil
}

// ListenPatiently is Listen for an address that may not be there yet: it waits
// for it until ctx ends or patience is over.
func ListenPatiently(ctx context.Context, what, flag, address string, logger *slog.Logger) (net.Listener, error) {
	for begun := time.Now(); ; {
		l, err := Listen(what, flag, address)
		if err == nil {
			return process.NewPatientListener(l, what, logger), nil
		}
		if !mayComeYet(err) || ctx.Err() != nil || time.Since(begun) >= patience {
			return nil, err
		}
		logger.Warn("this node waits up to "+patience.String()+" for an address of its own", "error", err)
		select {
		case <-time.After(pause):
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
