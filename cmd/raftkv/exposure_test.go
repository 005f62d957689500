package main

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"raftkv/cmd/raftkv/internal/host"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// listensAt is a listener of which only the address is asked for.
type listensAt struct {
	net.Listener
	ip string
}

func (l listensAt) Addr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(l.ip), Port: 8701} }

// Goal (S15): a node that joins by TLS beyond this machine needs no more than that, because it
// serves nobody before it has heard that identities are enforced, not even if it is killed
// meanwhile; one that begins a cluster without identities, or joins in clear, is refused; and
// one that has heard that nobody is asked for a token is refused at its next start.
// Method: the decision before a node starts, with addresses that nobody listens at.
func TestAJoinerBeyondThisMachineNeedsTLSAndNoMore(t *testing.T) {
	disk := vfs.NewCrashable()
	start := func(fresh bool, m host.Members, mode secure.Mode, insecure ...string) error {
		c := host.Config{FS: disk, DataDir: "/data", HTTP: listensAt{ip: "10.0.0.9"}, Peer: listensAt{ip: "10.0.0.9"}, Members: m, Logger: slog.New(slog.DiscardHandler)}
		if m == nil {
			c.Join = host.Join{Addresses: []string{"https://10.0.0.1:8701"}}
		}
		s := serveSettings{fresh: fresh, dataDir: "/data", plan: secure.Plan{Client: mode, Peer: mode, Insecure: insecure}}
		return s.settleExposure(&c)
	}
	refused := func(err error, says string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want a refusal with %q", err, says)
		}
	}
	refused(start(true, host.Members{core.ID("n1"): "10.0.0.9:9701"}, secure.Require), "without a token")
	refused(start(true, nil, secure.Off), "speaks in clear")
	refused(start(true, nil, secure.Accept, "peer"), "too, with --client-tls accept: choose require")
	for _, fresh := range []bool{true, false} { // and again, killed before it has heard anything
		if err := start(fresh, nil, secure.Require); err != nil {
			t.Errorf("a joiner by TLS: %v", err)
		}
		if mark, err := secure.ReadMark(disk, "/data"); err != nil || mark.Identities != secure.Enforces || !mark.Holds() {
			t.Errorf("its mark is %+v, %v", mark, err)
		}
	}
	Must(t, secure.Remember(disk, "/data", false))
	refused(start(false, nil, secure.Require), "without a token")
	if err := start(false, nil, secure.Require, "auth"); err != nil {
		t.Errorf("with --insecure auth: %v", err)
	}
}
