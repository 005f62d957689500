package campaign

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/raft/certs/issue"
	"raftkv/tests/cluster"
)

var securing = flag.Bool("securing", false, "move a cluster from clear to TLS and tokens under load, and back")

// pki is a CA with a certificate for each node, in a directory.
type pki struct {
	*issue.Authority
	dir string
}

func newPKI(t *testing.T, nodes int) *pki {
	t.Helper()
	a, err := issue.NewAuthority("campaign CA", time.Now(), 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p := &pki{a, t.TempDir()}
	files := map[string][]byte{"ca.pem": a.CertPEM}
	for i := range nodes {
		id := fmt.Sprintf("n%d", i+1)
		cert, key, err := a.IssueFor(issue.Request{Name: id, URIs: []string{"raftkv://raftkv/node/" + id}, Hosts: []string{"127.0.0.1"}, Server: true, Client: true}, time.Now(), 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		files[id+".pem"], files[id+"-key.pem"] = cert, key
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(p.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *pki) flags(id, clientMode, peerMode string) []string {
	at := func(name string) string { return filepath.Join(p.dir, name) }
	return []string{
		"--tls-cert", at(id + ".pem"), "--tls-key", at(id + "-key.pem"), "--client-tls", clientMode, "--tls-ca", at("ca.pem"),
		"--peer-tls-cert", at(id + ".pem"), "--peer-tls-key", at(id + "-key.pem"), "--peer-tls-ca", at("ca.pem"), "--peer-tls", peerMode,
	}
}

func (p *pki) trust() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(p.Cert)
	return &tls.Config{RootCAs: pool}
}

// appending is a group of Clerks that append, one after the other, to keys of their own. What
// was acknowledged must be there in the end, once.
type appending struct {
	t      *testing.T
	name   string
	clerk  *client.Clerk
	end    context.CancelFunc
	work   sync.WaitGroup
	acked  [8]atomic.Int64
	failed atomic.Int64
}

func startAppending(t *testing.T, name string, config client.Config) *appending {
	t.Helper()
	clerk, err := client.Dial(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	a := &appending{t: t, name: name, clerk: clerk, end: cancel}
	for i := range a.acked {
		a.work.Go(func() {
			for ctx.Err() == nil {
				attempt, end := context.WithTimeout(t.Context(), cluster.Patience)
				if _, err := clerk.Append(attempt, fmt.Sprint(name, "/", i), []byte("x")); err != nil {
					a.failed.Add(1)
					t.Errorf("%s: an append failed: %v", name, err)
					cancel()
				} else {
					a.acked[i].Add(1)
				}
				end()
			}
		})
	}
	return a
}

// stop ends the Clerks and returns how many appends were acknowledged.
func (a *appending) stop() (acked int64) {
	a.end()
	a.work.Wait()
	a.clerk.Close()
	for i := range a.acked {
		acked += a.acked[i].Load()
	}
	return acked
}

// check compares what is there with what was acknowledged, and returns the difference.
func (a *appending) check(clerk *client.Clerk) (lost int64) {
	for i := range a.acked {
		item, err := clerk.Get(a.t.Context(), fmt.Sprint(a.name, "/", i))
		if err != nil {
			a.t.Fatal(err)
		}
		lost += a.acked[i].Load() - int64(len(item.Value))
	}
	if lost != 0 {
		a.t.Errorf("%s: of what was acknowledged %d are missing or twice there", a.name, lost)
	}
	return lost
}

// Goal: a running cluster moves from clear to TLS on both ports and to identities that are
// enforced, and back, node by node, and no call of a Clerk fails, nothing that was
// acknowledged is lost, and nobody but the Clerks' identity is served while it is enforced.
// Method: seven rolling restarts and five changes of the state under eight appending Clerks,
// which are replaced by others with TLS and with tokens on the way; then all bytes are counted.
func TestCampaignOfSecuring(t *testing.T) {
	if !*securing {
		t.Skip("say -securing")
	}
	p := newPKI(t, 3)
	c := cluster.Start(t, 3)
	addresses := cluster.Addresses(c.Nodes)
	began := time.Now()
	roll := func(clientMode, peerMode string) {
		for _, s := range c.Nodes {
			s.Signal(syscall.SIGTERM)
			<-s.Ended
			s.Arguments, s.TLS = nil, nil
			if clientMode != "off" {
				s.Arguments = p.flags(s.ID, clientMode, peerMode)
			}
			if clientMode == "require" {
				s.TLS = p.trust()
			}
			s.Start()
			s.AwaitServing()
		}
		t.Logf("%5.1f s: client TLS %s, peer TLS %s", time.Since(began).Seconds(), clientMode, peerMode)
	}
	var all []*appending
	start := func(name string, config client.Config) *appending {
		config.Endpoints = addresses
		a := startAppending(t, name, config)
		all = append(all, a)
		return a
	}
	raftkv := func(token string, arguments ...string) string {
		t.Helper()
		run := exec.Command(cluster.Program, append(arguments, "--endpoints", strings.Join(addresses, ","), "--tls-ca", filepath.Join(p.dir, "ca.pem"))...)
		run.Env = append(cluster.CleanEnvironment(), "RAFTKV_AUTH_TOKEN="+token)
		text, err := run.CombinedOutput()
		if err != nil {
			t.Fatalf("raftkv %v: %v: %s", arguments, err, text)
		}
		return strings.TrimSpace(string(text))
	}
	var acked int64
	clear := start("clear", client.Config{})
	roll("accept", "accept")
	secret := start("tls", client.Config{TLS: p.trust()})
	acked += clear.stop()
	roll("accept", "prefer")
	roll("require", "require")
	// isPerson needs the leader's own machine, which they all share.
	root := raftkv("", "auth", "init", "root")
	raftkv(root, "auth", "identity", "put", "svc", "--rule", `{"prefix":"","rights":["read","write"]}`)
	token := raftkv(root, "auth", "token", "create", "svc")
	withToken := client.Config{TLS: p.trust(), Token: func(context.Context) (string, error) { return token, nil }}
	named := start("token", withToken)
	acked += secret.stop()
	for _, state := range []string{"observe", "enforce"} {
		raftkv(root, "auth", "state", state)
		t.Logf("%5.1f s: identities: %s", time.Since(began).Seconds(), state)
		time.Sleep(time.Second)
	}
	if status, _, body, err := c.Nodes[1].Ask("GET", "/v1/kv/token%2F0", ""); err != nil || status != 401 {
		t.Errorf("without a token: %d %s %v", status, body, err)
	}
	roll("require", "require") // a restart while they are enforced
	raftkv(root, "auth", "state", "observe")
	raftkv(root, "auth", "state", "off")
	t.Logf("%5.1f s: identities: off", time.Since(began).Seconds())
	back := start("back", client.Config{TLS: p.trust()})
	acked += named.stop()
	roll("accept", "prefer")
	roll("accept", "accept")
	last := start("last", client.Config{})
	acked += back.stop()
	roll("off", "off")
	acked += last.stop()
	reader, err := client.Dial(t.Context(), client.Config{Endpoints: addresses})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var lost, failed int64
	for _, a := range all {
		lost += a.check(reader)
		failed += a.failed.Load()
	}
	t.Logf("%.1f s, 7 rolling restarts: %d appends acknowledged, %d errors, %d lost", time.Since(began).Seconds(), acked, failed, lost)
	cluster.AwaitEqual(t, c)
}
