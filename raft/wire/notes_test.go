package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"

	"raftkv/raft/core"
)

// heardNotes keeps what a transport notes.
type heardNotes struct {
	mu  sync.Mutex
	all []Note
}

func (h *heardNotes) hear(n Note) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, n)
}

// has reports whether a note of a kind and a reason was made, and returns it.
func (h *heardNotes) has(kind NoteKind, why Why) (Note, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.all, func(n Note) bool { return n.Kind == kind && n.Why == why })
	if i < 0 {
		return Note{}, false
	}
	return h.all[i], true
}

// Goal: a server notes that a connection stands, in either direction and with which boot
// of the peer, why it ended, and why the next cannot be had. A connection that is turned
// down is noted with the reason.
// Method: two servers; a stranger with a hello for another server; the second server
// ends.
func TestNotesSayWhyConnectionsEnd(t *testing.T) {
	noLeak(t)
	h := &heardNotes{}
	l1, l2 := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	n1 := start(t, "n1", l1, map[core.ID]string{"n2": l2.Addr().String()}, func(c *Config) { c.Noted = h.hear }, nil)
	n2 := start(t, "n2", l2, map[core.ID]string{"n1": l1.Addr().String()}, nil, nil)
	connected(t, n1, 1)
	connected(t, n2, 1)
	stranger := dialRaw(t, l1.Addr().String())
	stranger.write(t, stranger.encoder.hello(nil, kindHello, validHello("n2", "n9")))
	noted := func(kind NoteKind, why Why) Note {
		t.Helper()
		var n Note
		eventually(t, fmt.Sprintf("a note of kind %d for reason %d", kind, why), func() (known bool) {
			n, known = h.has(kind, why)
			return known
		})
		return n
	}
	for _, kind := range []NoteKind{NoteConnected, NoteAccepted} {
		if n := noted(kind, WhyNone); n.Peer != "n2" || n.Boot == 0 {
			t.Errorf("a connection is noted as %+v", n)
		}
	}
	if n := noted(NoteRejected, WhyOtherCluster); n.Peer != core.None {
		t.Errorf("a stranger is noted as %+v", n)
	}
	if err := n2.Close(); err != nil {
		t.Fatal(err)
	}
	if n := noted(NoteEnded, WhyClosedByPeer); n.Peer != "n2" {
		t.Errorf("the end of a connection is noted as %+v", n)
	}
	if n := noted(NoteUnreachable, WhyRefused); n.Peer != "n2" {
		t.Errorf("a peer that does not listen is noted as %+v", n)
	}
	stranger.Close()
	if err := n1.Close(); err != nil {
		t.Fatal(err)
	}
}

// Goal: each error has the reason that says what to look at.
func TestReasonsOfErrors(t *testing.T) {
	at := func(err error) error { return &net.OpError{Op: "read", Err: os.NewSyscallError("read", err)} }
	for _, c := range []struct {
		ended bool
		err   error
		want  Why
	}{
		{true, at(syscall.ECONNRESET), WhyReset},
		{true, at(syscall.ETIMEDOUT), WhyHostSilent},
		{true, errCallTimeout, WhyCallTimeout},
		{true, errReplaced, WhyReplaced},
		{true, errTransportClosed, WhyByUs},
		{true, fmt.Errorf("%w: revoked", errUntrusted), WhyIdentity},
		{true, fmt.Errorf("reading: %w", os.ErrDeadlineExceeded), WhyStalled},
		{true, malformed("x"), WhyMalformed},
		{true, errors.New("x"), WhyOther},
		{false, at(syscall.ECONNREFUSED), WhyRefused},
		{false, context.DeadlineExceeded, WhyNoAnswer},
		{false, os.ErrDeadlineExceeded, WhyNoHello},
		{false, at(syscall.EHOSTUNREACH), WhyNoRoute},
		{false, &net.DNSError{}, WhyNoRoute},
		{false, &refusedError{}, WhyTurnedDown},
		{false, &rejection{}, WhyWeTurnDown},
	} {
		got := whyUnreachable(c.err)
		if c.ended {
			got = whyEnded(c.err)
		}
		if got != c.want {
			t.Errorf("%v (of a connection that stood: %v) has reason %d, want %d", c.err, c.ended, got, c.want)
		}
	}
}
