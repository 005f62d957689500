package host

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/kvserver/clerkwire"
	"raftkv/raft/certs"
	"raftkv/raft/certs/issue"
	"raftkv/raft/core"
	"raftkv/raft/vfs"
)

// listened is a listener that notes all bytes of its connections, both ways.
type listened struct {
	net.Listener
	mu   sync.Mutex
	seen bytes.Buffer
}

func (l *listened) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &listenedConn{conn, l}, nil
}

func (l *listened) note(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen.Write(b)
}

func (l *listened) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.seen.Bytes(), []byte(text))
}

type listenedConn struct {
	net.Conn
	on *listened
}

func (c *listenedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.on.note(b[:n])
	return n, err
}

func (c *listenedConn) Write(b []byte) (int, error) {
	c.on.note(b)
	return c.Conn.Write(b)
}

// withTLS gives nodes keys by a CA of their own and returns how clients verify them.
func withTLS(t *testing.T, configs []Config) *tls.Config {
	t.Helper()
	a, err := issue.NewAuthority("test", time.Now(), 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	ca := write("ca.pem", a.CertPEM)
	for i := range configs {
		c := &configs[i]
		cert, key, err := a.IssueFor(issue.Request{
			URIs: []string{"raftkv://test/node/" + string(c.ID)}, Hosts: []string{"127.0.0.1"}, Server: true, Client: true,
		}, time.Now(), 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		settings := secure.ForDev(write(string(c.ID)+".pem", cert), write(string(c.ID)+"-key.pem", key), ca)
		plan, err := settings.Plan("test", string(c.ID), len(configs) == 1)
		if err != nil {
			t.Fatal(err)
		}
		if c.Keys, err = secure.Open(plan, c.Logger); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return &tls.Config{RootCAs: pool}
}

// Goal (S2): with TLS required, no byte of a key, a value or a token is on the wire in clear, on
// either port, by any road: HTTP and Clerks, at the leader and through a follower, as a
// frame and as a second request, reads, lists, a transaction, a lock, a watch, a backup, and what
// a node gathers from the others. Answers by TLS, and no others, say with --hsts that it is to be
// TLS from now on.
// Method: three nodes whose listeners note all bytes, and keys and values that hold a word, and
// tokens that hold another. The same without TLS shows that each listener would see them.
func TestNothingIsInClearOnTheWire(t *testing.T) {
	for _, secret := range []bool{true, false} {
		t.Run(fmt.Sprint("TLS ", secret), func(t *testing.T) {
			const word, token = "whisper", "murmur"
			configs := testConfigs(t, vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable())
			var ports, peers []*listened
			for i := range configs {
				c := &configs[i]
				http, peer := &listened{Listener: c.HTTP}, &listened{Listener: c.Peer}
				c.MaxValueBytes, c.Strict = 4*clerkwire.MaxForwardBody, time.Hour
				c.HTTP, c.Peer, ports, peers = http, peer, append(ports, http), append(peers, peer)
			}
			scheme, trust := "http://", (*tls.Config)(nil)
			if secret {
				scheme, trust = "https://", withTLS(t, configs)
			}
			nodes := startNodes(t, configs)
			defer func() {
				for _, n := range nodes {
					n.Close()
				}
			}()
			transport := &http.Transport{TLSClientConfig: trust}
			defer transport.CloseIdleConnections()
			ask := func(n *Node, method, path, body string) string {
				t.Helper()
				request, err := http.NewRequestWithContext(t.Context(), method, scheme+n.Address()+path, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("Authorization", "Bearer "+token) // nobody asks for one: that of a stranger
				if strings.HasPrefix(body, "{") {
					request.Header.Set("Content-Type", "application/json")
				}
				response, err := (&http.Client{Transport: transport}).Do(request)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				from := io.Reader(response.Body)
				if strings.HasPrefix(path, "/v1/watch") { // which has no end
					from = io.LimitReader(from, 100)
				}
				got, err := io.ReadAll(from)
				if err != nil || response.StatusCode >= 300 {
					t.Errorf("%s %s: %d, %v: %s", method, path, response.StatusCode, err, got)
				}
				if strict := response.Header.Get("Strict-Transport-Security"); (strict == "max-age=3600") != secret || !secret && strict != "" {
					t.Errorf("%s %s: HSTS says %q", method, path, strict)
				}
				return string(got)
			}
			var endpoints []string
			for i, n := range nodes {
				endpoints = append(endpoints, n.Address())
				ask(n, "PUT", fmt.Sprintf("/v1/kv/%s-%d", word, i), word)
				// A long write is passed on as a second request, others as a frame.
				ask(n, "PUT", fmt.Sprintf("/v1/kv/%s-long-%d", word, i), strings.Repeat(word, clerkwire.MaxForwardBody/len(word)))
				ask(n, "GET", fmt.Sprintf("/v1/kv/%s-%d", word, i), "")
				ask(n, "GET", "/v1/kv?prefix="+word, "")
				ask(n, "GET", "/v1/snapshot", "")
				ask(n, "POST", "/v1/txn", fmt.Sprintf(`{"then":[{"op":"put","key":"%s-txn-%d","text":"%s"}]}`, word, i, word))
				ask(n, "POST", fmt.Sprintf("/v1/locks/%s-%d", word, i), `{"ttl":"1m","text":"`+word+`"}`)
				ask(n, "GET", "/v1/watch?mirror&prefix="+word, "")
				ask(n, "GET", "/v1/explain", "")
			}
			clerk, err := client.Dial(t.Context(), client.Config{Endpoints: endpoints, TLS: trust})
			if err != nil {
				t.Fatal(err)
			}
			defer clerk.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := clerk.Put(ctx, word+"-clerk", []byte(word)); err != nil {
				t.Fatal(err)
			}
			if _, err := clerk.Get(ctx, word+"-clerk"); err != nil {
				t.Fatal(err)
			}
			for i := range nodes {
				for _, text := range []string{word, token} {
					if seen := ports[i].contains(text); seen == secret {
						t.Errorf("at the client port of node %d the word %s was seen: %v", i+1, text, seen)
					}
				}
				if peers[i].contains(token) {
					t.Errorf("at the peer port of node %d a token was seen", i+1)
				}
				if secret && peers[i].contains(word) {
					t.Errorf("at the peer port of node %d the word was seen", i+1)
				}
			}
			if seen := peers[0].contains(word) || peers[1].contains(word) || peers[2].contains(word); seen == secret {
				t.Errorf("between the nodes the word was seen: %v", seen)
			}
		})
	}
}

// Goal (S3): what knocks at the peer port without being the peer changes no term, no log
// and no vote, and is counted.
// Method: a node of three with TLS, and strangers that begin a hello: in clear, without a
// certificate, and with that of another node. What they could ask for behind a whole hello is
// said in raft/wire, TestThePeerPortIsForPeersAlone.
func TestStrangersChangeNothing(t *testing.T) {
	configs := testConfigs(t, vfs.NewCrashable(), vfs.NewCrashable(), vfs.NewCrashable())
	withTLS(t, configs)
	for i := range configs {
		configs[i].HoldLevel = true // the cluster itself adds nothing to the log meanwhile
	}
	nodes := startNodes(t, configs)
	defer func() {
		for _, n := range nodes {
			n.Close()
		}
	}()
	eventually(t, "the log rests", func() bool {
		s := nodes[0].raft.Status()
		return s.LastIndex > 0 && s.LastApplied == s.LastIndex
	})
	before := nodes[0].raft.Status()
	held := func() (n uint64) {
		for _, count := range nodes[0].transport.Stats().Rejected {
			n += count
		}
		return n
	}
	strangers := uint64(0)
	bare := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{certs.PeerProtocol}}
	third := configs[2].Keys.Wire()
	for _, terms := range []*tls.Config{nil, bare, certs.PeerDialer(third.Store, third.Identity, "n1")} {
		conn, err := net.Dial("tcp", configs[0].Peer.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		stream := net.Conn(conn)
		if terms != nil {
			stream = tls.Client(conn, terms)
		}
		_, _ = stream.Write([]byte("\x01\x00\x00\x00\x10\x93\xabraftkv-peer\x03"))
		_, _ = io.Copy(io.Discard, stream)
		conn.Close()
		strangers++
		for deadline := time.Now().Add(20 * time.Second); held() < strangers; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d strangers were counted of %d", held(), strangers)
			}
		}
	}
	after := nodes[0].raft.Status()
	if after.Term != before.Term || after.Leader != before.Leader || after.LastIndex != before.LastIndex || before.Leader == core.None {
		t.Errorf("%+v became %+v", before, after)
	}
}

// Goal: where the cluster's settings say so, a node joins by the peer port with its
// certificate, and needs no token. Method: a cluster of one with TLS, and a node that is
// given the address of its peer port alone.
func TestANodeJoinsWithItsCertificate(t *testing.T) {
	configs := atNewestLevel(testConfigs(t, vfs.NewCrashable(), vfs.NewCrashable()))
	configs[0].Members = Members{"n1": configs[0].Members["n1"]}
	trusting := withTLS(t, configs)
	configs[1].Members, configs[1].AdvertisePeer = nil, configs[1].Peer.Addr().String()
	configs[1].Join = Join{Addresses: []string{peerPrefix + configs[0].Peer.Addr().String()}}
	first := runs(t, configs[0])
	defer first.Close()
	clients := &http.Client{Transport: &http.Transport{TLSClientConfig: trusting}}
	defer clients.CloseIdleConnections()
	set := func(body string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://"+first.Address()+"/v1/cluster/settings", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := clients.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.StatusCode
	}
	eventually(t, "the settings say that a certificate is enough", func() bool { return set(`{"join":"certificate"}`) == 200 })
	second := runs(t, configs[1])
	defer second.Close()
	eventually(t, "n2 is a member", func() bool { r := first.driver.Configurations().Committed.Record; return r.Member("n2") != nil })
	eventually(t, "it has what the others have", func() bool { return second.driver.Configurations().Committed.Record != nil })
}

// Goal (S7): a node whose cluster has agreed that nodes speak TLS alone to each other does not
// start where it would take peers in clear: its log says so, and no flag weakens it. With TLS it
// starts again. Method: a node that sets it, and its directory with both sets of flags.
func TestANodeIsNotStartedInClearWhereTLSWasAgreed(t *testing.T) {
	disk := vfs.NewCrashable()
	configs := atNewestLevel(testConfigs(t, disk))
	trust := withTLS(t, configs)
	n := startNodes(t, configs)[0]
	clients := &http.Client{Transport: &http.Transport{TLSClientConfig: trust}}
	eventually(t, "the setting is agreed", func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://"+n.Address()+"/v1/cluster/settings", strings.NewReader(`{"peer_tls_required":true}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := clients.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.StatusCode == 200
	})
	clients.CloseIdleConnections()
	n.Close()
	clear := atNewestLevel(testConfigs(t, disk))
	if n, err := New(clear[0]); err == nil || !strings.Contains(err.Error(), "peer_tls_required") {
		t.Errorf("in clear: %v", err)
		if n != nil {
			n.Close()
		}
	}
	for _, l := range []net.Listener{clear[0].HTTP, clear[0].Peer} {
		l.Close()
	}
	again := atNewestLevel(testConfigs(t, disk))
	withTLS(t, again)
	startNodes(t, again)[0].Close()
}
