package secure

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"
)

// What can be open beyond this machine, as --insecure names it.
const (
	Client = "client" // the client port speaks in clear
	Peer   = "peer"   // the peer port does
	Auth   = "auth"   // the client port asks nobody for a token
)

var exposures = []string{Client, Peer, Auth}

// parseInsecure reads a list of them.
func parseInsecure(text string) (all []string, err error) {
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		switch {
		case part == "":
		case !slices.Contains(exposures, part):
			return nil, fmt.Errorf("--insecure names %q; it may name %s", part, strings.Join(exposures, ", "))
		default:
			all = append(all, part)
		}
	}
	return all, nil
}

// Exposed returns what is open beyond this machine: ports on other addresses than loopback
// without TLS, or on which TLS may be left out, and a client port without auth.
func (p *Plan) Exposed(client, peer net.Addr, auth bool) (open []string) {
	if !isLoopback(client) {
		if p.Client != Require {
			open = append(open, Client)
		}
		if !auth {
			open = append(open, Auth)
		}
	}
	if !isLoopback(peer) && p.Peer != Require {
		open = append(open, Peer)
	}
	return open
}

// isLoopback reports whether only this machine reaches a listener.
func isLoopback(a net.Addr) bool {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// flags says for each exposure which settings end it.
var flags = map[string]string{
	Client: "the client port speaks in clear beyond this machine: give --tls-cert and --tls-key (--client-tls require)",
	Peer:   "the peer port speaks in clear beyond this machine: give --peer-tls-cert, --peer-tls-key and --peer-tls-ca (--peer-tls require)",
	Auth:   "the client port serves whoever reaches it, without a token: give --auth-file to a new cluster, whose identities are enforced from the beginning, or enforce them in one that runs (raftkv auth state enforce)",
}

// because says what is open and how to end it.
func (p *Plan) because(what string) string {
	switch {
	case what == Client && p.Client == Accept:
		return "the client port speaks in clear beyond this machine, too, with --client-tls accept: choose require when all clients have moved to TLS"
	case what == Peer && (p.Peer == Accept || p.Peer == Prefer):
		return fmt.Sprintf("the peer port speaks in clear beyond this machine, too, with --peer-tls %s: choose require when all nodes dial with TLS", p.Peer)
	}
	return flags[what]
}

// Allow refuses what is open and was not allowed by --insecure. A data directory of before
// this rule goes on as it was, since a rolling upgrade must not be what stops a cluster;
// what is open is warned about. It returns what is open.
func (p *Plan) Allow(open []string, older bool, logger *slog.Logger) ([]string, error) {
	var denied []string
	for _, what := range open {
		if !slices.Contains(p.Insecure, what) {
			denied = append(denied, what)
		}
	}
	if len(denied) == 0 {
		return open, nil
	}
	if older {
		logger.Warn("this node is open beyond this machine, and goes on because its data directory is from before that had to be said; say --insecure, or turn TLS on (docs/security.md)",
			"open", strings.Join(denied, ","))
		return open, nil
	}
	var because []string
	for _, what := range denied {
		because = append(because, p.because(what))
	}
	return nil, fmt.Errorf("%s; or say --insecure=%s if that is meant; or listen on a loopback address. See docs/security.md",
		strings.Join(because, "; "), strings.Join(open, ","))
}

// WarnDaily says at the start and once a day, until ctx ends, what is open beyond this
// machine at that time; nothing if that is nothing.
func WarnDaily(ctx context.Context, open func() []string, logger *slog.Logger) {
	day := time.NewTicker(24 * time.Hour)
	defer day.Stop()
	for {
		if now := open(); len(now) > 0 {
			logger.Warn("this node is open beyond its machine; docs/security.md says how to close it", "open", strings.Join(now, ","))
		}
		select {
		case <-day.C:
		case <-ctx.Done():
			return
		}
	}
}
