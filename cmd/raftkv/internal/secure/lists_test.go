package secure

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"raftkv/raft/certs/issue"
)

// Goal: a list that revokes nothing, as that of another CA, is warned about for each port that
// names it, and one that does its work is not.
// Method: lists of the CA and of another one, for both ports.
func TestAListOfAnotherCAIsWarnedAbout(t *testing.T) {
	f := newFolder(t)
	another, err := issue.NewAuthority("another", time.Now(), 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		of       *issue.Authority
		warnings int
	}{{f.Authority, 0}, {another, 2}} {
		s := f.node("n1")
		s.crl = f.list(c.of)
		s.peerCRL = s.crl
		var log bytes.Buffer
		if _, err := f.openWith(s, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "not in the CA bundle"); n != c.warnings {
			t.Errorf("a list of %s: %d warnings, want %d:\n%s", c.of.Cert.Subject, n, c.warnings, log.String())
		}
	}
}
