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

// Refusal is why one server did not do what a call asked of it.
type Refusal struct {
	// Address is where the server was asked.
	Address string
	// Node is the server's name, "" if it has not answered.
	Node string
	// Code is the server's word for it; "" if it has not answered.
	Code api.Code
	// Reason goes on where a sentence began with the server: "refuses connections".
	Reason string
}

// noted is how the last attempt at one server ended.
type noted struct {
	address string
	err     *Error
}

// trail is how the attempts of one call ended, by server. A call that fails is
// explained by all of them, and above all by the one that tells most: one node
// that knows of no leader says more than two that refuse connections.
type trail struct{ all []noted }

// note adds how an attempt ended. An attempt that was cut short by the caller
// says less than what the same server had answered before.
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

// best returns the attempt that tells most; nil if there was none.
func (t *trail) best() *Error {
	var best *Error
	for _, n := range t.all {
		if best == nil || n.err.telling() >= best.telling() {
			best = n.err
		}
	}
	return best
}

// refusals returns the attempts, those that tell most first.
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
	r := Refusal{Address: n.address, Node: n.err.Node, Code: n.err.Code, Reason: n.err.reason()}
	if e := n.err; e.Node != "" && e.Code == api.CodeNoLeader && e.LeaderAddr != "" {
		r.Reason += " at " + e.LeaderAddr
		if e.LeaderAddr == n.address {
			r.Reason += ", where " + e.Node + " itself answers"
		}
	}
	if r.Node == "" && r.Code == api.CodeNoLeader {
		r.Code = "" // nobody said so
	}
	return r
}

// telling ranks how much an error says about why a call failed.
func (e *Error) telling() int {
	switch {
	case e.final && e.Node != "":
		return 9
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

// reason is the error as the end of a sentence that began with the server.
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
)

var plurals = map[string]string{
	refusesConnections: "refuse connections", doesNotAnswer: "do not answer", isUnknownName: "are no known host names",
	closesConnections: "close connections without an answer (are they peer ports?)",
}

// reachReason says why a server could not be reached.
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

// isUnknownHost reports whether the names of hosts do not hold a server's.
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

// Explain says in one sentence what the servers said, in the order given.
// Servers of which the same is to be said share a clause; a host that was just
// named is left out.
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

// shareHost leaves the host out of all addresses but the first where it is the
// same in all.
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
