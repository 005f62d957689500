package client

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"raftkv/kvserver/api"
)

// Refusal is the reason why one server did not do what a call asked of it.
type Refusal struct {
	// Address is the address at which the server was asked.
	Address string
	// Node is the server's name, "" if it has not answered.
	Node string
	// Code is the error code that the server gave; "" if it has not answered.
	Code api.Code
	// Reason continues a sentence that began with the server: "refuses
	// connections".
	Reason string
	// Err is the reason why the server could not be asked; nil if it answered. errors.As
	// finds in it what crypto/tls and crypto/x509 say.
	Err error
}

// noted is the last attempt at one server, with its error.
type noted struct {
	address string
	err     *Error
}

// trail holds the ends of the attempts of one call, by server. All of them
// explain a call that fails, the most informative one above all: one node that
// knows of no leader says more than two that refuse connections.
type trail struct{ all []noted }

// note adds the end of an attempt. An attempt that the caller cut short says less
// than an earlier answer of the same server.
func (t *trail) note(address string, err *Error) {
	i := slices.IndexFunc(t.all, func(n noted) bool { return n.address == address })
	switch {
	case i < 0:
		t.all = append(t.all, noted{address, err})
	case err.cutShort && t.all[i].err.Node != "":
	default:
		t.all[i].err = err
	}
}

// best returns the error of the most informative attempt; nil if there was none.
func (t *trail) best() *Error {
	var best *Error
	for _, n := range t.all {
		if best == nil || n.err.telling() >= best.telling() {
			best = n.err
		}
	}
	return best
}

// refusals returns the attempts, the most informative ones first.
func (t *trail) refusals() []Refusal {
	sorted := slices.Clone(t.all)
	slices.SortStableFunc(sorted, func(a, b noted) int { return cmp.Compare(b.err.telling(), a.err.telling()) })
	var all []Refusal
	for _, n := range sorted {
		all = append(all, n.refusal())
	}
	return all
}

func (n noted) refusal() Refusal {
	r := Refusal{Address: n.address, Node: n.err.Node, Code: n.err.Code, Reason: n.err.reason(), Err: n.err.cause}
	if e := n.err; e.Node != "" && e.Code == api.CodeNoLeader && e.LeaderAddr != "" {
		if !strings.HasSuffix(r.Reason, " at "+e.LeaderAddr) {
			r.Reason += " at " + e.LeaderAddr
		}
		if e.LeaderAddr == n.address {
			r.Reason += ", where " + e.Node + " itself answers"
		}
	}
	if r.Node == "" && r.Code == api.CodeNoLeader {
		r.Code = "" // no server said so
	}
	return r
}

// telling ranks an error by how much it says about why a call failed.
func (e *Error) telling() int {
	switch {
	case e.final && e.Node != "":
		return 9
	case e.short == wantsToken:
		return 8
	case e.Node != "" && e.Code == api.CodeStopping:
		return 4
	case e.Node != "" && e.Code == api.CodeNoLeader:
		return 5
	case e.Node != "" && e.Code == api.CodeBehind:
		return 7
	case e.Node != "" || e.Code == api.CodeOverloaded: // a node that is full may not say its name
		return 6
	case e.stranger:
		return 3
	case e.Outcome == api.OutcomeUnknown:
		return 2
	}
	return 1
}

// reason returns the error as the end of a sentence that began with the server.
func (e *Error) reason() string {
	if e.Node != "" {
		return "says: " + cmp.Or(e.Detail, string(e.Code))
	}
	if e.Outcome == api.OutcomeUnknown || e.stranger || e.cause == nil {
		if e.cause != nil && !e.cutShort {
			return e.short + ": " + innermost(e.cause).Error()
		}
		return cmp.Or(e.short, e.Detail)
	}
	return reachReason(e.cause)
}

// The reasons that can be said of several servers at once.
const (
	refusesConnections = "refuses connections"
	doesNotAnswer      = "does not answer"
	isUnknownName      = "is no known host name"
	closesConnections  = "closes connections without an answer (is it a peer port?)"
	wantsToken         = "serves nobody without a good token"
)

var plurals = map[string]string{
	refusesConnections: "refuse connections", doesNotAnswer: "do not answer", isUnknownName: "are no known host names",
	closesConnections: "close connections without an answer (are they peer ports?)", wantsToken: "serve nobody without a good token",
}

// reachReason returns the reason why a server could not be reached.
func reachReason(cause error) string {
	var timeout net.Error
	switch {
	case errors.Is(cause, syscall.ECONNREFUSED):
		return refusesConnections
	case isUnknownHost(cause):
		return isUnknownName
	case errors.Is(cause, io.EOF), errors.Is(cause, io.ErrUnexpectedEOF), errors.Is(cause, syscall.ECONNRESET), errors.Is(cause, syscall.EPIPE):
		return closesConnections
	case errors.Is(cause, errSilent), errors.Is(cause, context.DeadlineExceeded), errors.As(cause, &timeout) && timeout.Timeout():
		return doesNotAnswer
	}
	return "cannot be reached: " + innermost(cause).Error()
}

// isUnknownHost reports whether the server's host name could not be resolved.
func isUnknownHost(cause error) bool {
	var dns *net.DNSError
	return errors.As(cause, &dns) && dns.IsNotFound && !dns.IsTemporary && !dns.IsTimeout
}

// innermost returns the error at the end of a chain; the rest repeats addresses.
func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// Explain sums up refusals in one sentence, in the order given. Servers with the
// same reason share a clause; a host that was just named is left out.
func Explain(refusals []Refusal) string {
	var reasons []string
	by := map[string][]string{}
	for _, r := range refusals {
		name := r.Address
		if r.Node != "" {
			name = r.Node + " at " + r.Address
		}
		if by[r.Reason] == nil {
			reasons = append(reasons, r.Reason)
		}
		by[r.Reason] = append(by[r.Reason], name)
	}
	var clauses []string
	for _, reason := range reasons {
		names := by[reason]
		if len(names) > 1 {
			if plural, has := plurals[reason]; has {
				reason = plural
			}
		}
		clauses = append(clauses, strings.Join(shareHost(names), ", ")+" "+reason)
	}
	return strings.Join(clauses, "; ")
}

// shareHost leaves the host out of all addresses but the first, if it is the same
// in all.
func shareHost(names []string) []string {
	first, _, err := net.SplitHostPort(names[0])
	if err != nil {
		return names
	}
	short := []string{names[0]}
	for _, name := range names[1:] {
		host, port, err := net.SplitHostPort(name)
		if err != nil || host != first {
			return names
		}
		short = append(short, ":"+port)
	}
	return short
}
