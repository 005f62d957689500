package campaign

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/tests/cluster"
)

var (
	tlsStrangers = flag.Int("tlsstrangers", 0, "how many connections without a ClientHello TestCampaignOfTLSStrangers holds; 0 skips it")
	strangersTo  = flag.String("strangersto", "", "address to which they go, from a process that does nothing else")
	honestTo     = flag.String("honestto", "", "addresses to which an honest Clerk puts, from a process that does nothing else")
	honestCA     = flag.String("honestca", "", "file with the CA by which it verifies them")
	honestFor    = flag.Duration("honestfor", 0, "for how long it puts")
)

// Goal (S12): thousands of connections to the leader's client port with TLS on which no
// ClientHello comes cost no election, and an honest client's p99 is at most twice that without
// them. Method: a Clerk with TLS that puts at a moderate pace, alone, beside strangers to a
// server that only reads, and beside strangers to the leader, by turns; strangers that were
// turned away come again. The Clerk has a process of its own, and the strangers one of the
// lowest priority, so that what is measured is the node: ten thousand goroutines that dial
// would be the Clerk's own delay. What the machine has to do with it is seen where the
// strangers go elsewhere.
func TestCampaignOfTLSStrangers(t *testing.T) {
	if *tlsStrangers == 0 {
		t.Skip("say -tlsstrangers")
	}
	p := newPKI(t, 3)
	c := cluster.New(t, 3)
	for _, s := range c.Nodes {
		s.Arguments, s.TLS = p.flags(s.ID, "require", "require"), p.trust()
	}
	c.Start()
	leader := c.Leader()
	term := cluster.MustStatus(t, leader).Term
	const each = 10 * time.Second
	honest := func() time.Duration {
		out, err := elsewhere(t, false, "-honestto", strings.Join(cluster.Addresses(c.Nodes), ","), "-honestca", filepath.Join(p.dir, "ca.pem"), "-honestfor", each.String()).Output()
		if err != nil {
			t.Fatalf("the honest client: %v", err)
		}
		p99, err := time.ParseDuration(strings.TrimSpace(string(out)))
		if err != nil {
			t.Fatal(err)
		}
		return p99
	}
	came := 0
	beside := func(address string) time.Duration {
		end := strangersElsewhere(t, address)
		p99 := honest()
		came += end()
		return p99
	}
	honest() // warms up
	var alone, aside, with []time.Duration
	for range 3 {
		alone, aside, with = append(alone, honest()), append(aside, beside(elsewhereOnly)), append(with, beside(leader.HTTP))
	}
	now := cluster.MustStatus(t, leader).Term
	a, floor, w := middle(alone), middle(aside), middle(with)
	t.Logf("%d strangers, %d connections: p99 %v alone, %v with strangers elsewhere, %v beside them (%.2f times; %v, %v and %v), %d elections",
		*tlsStrangers, came, a, floor, w, float64(w)/float64(a), alone, aside, with, now-term)
	if now != term {
		t.Errorf("term %d became %d", term, now)
	}
	if w > 2*a && w > 20*time.Millisecond {
		t.Errorf("the p99 rose from %v to %v (%v with strangers elsewhere)", a, w, floor)
	}
}

// elsewhere prepares a process of this test's program with these flags; the lowest gives it
// the lowest priority.
func elsewhere(t *testing.T, lowest bool, flags ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	line := append([]string{self}, flags...)
	if lowest {
		line = append([]string{"nice", "-n", "19"}, line...)
	}
	p := exec.Command(line[0], line[1:]...)
	p.Stderr = os.Stderr
	return p
}

// strangersElsewhere starts a process of strangers and returns when each of them has been at
// the address once. end ends it and returns how many connections there were.
func strangersElsewhere(t *testing.T, address string) (end func() int) {
	t.Helper()
	p := elsewhere(t, true, "-strangersto", address, "-tlsstrangers", strconv.Itoa(*tlsStrangers))
	stdin, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(stdout)
	end = sync.OnceValue(func() int {
		stdin.Close()
		text, err := io.ReadAll(said)
		n, convErr := strconv.Atoi(strings.TrimSpace(string(text)))
		if err = errors.Join(err, p.Wait(), convErr); err != nil {
			t.Errorf("the process of the strangers: %v", err)
		}
		return n
	})
	t.Cleanup(func() { end() })
	if _, err := said.ReadString('\n'); err != nil {
		t.Fatalf("the strangers do not arrive: %v", err)
	}
	return end
}

// beStrangers is that process: it says when each stranger has been there once, and ends when
// its input does, with the number of connections.
func beStrangers() {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	address := *strangersTo
	if address == elsewhereOnly {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		address = l.Addr().String()
		go swallow(l)
	}
	var came atomic.Int64
	var there, strangers sync.WaitGroup
	there.Add(*tlsStrangers)
	for range *tlsStrangers {
		strangers.Go(func() {
			once := sync.OnceFunc(there.Done)
			defer once()
			for ctx.Err() == nil {
				knock(ctx, address, func() { came.Add(1); once() })
				cluster.Sleep(ctx, time.Second)
			}
		})
	}
	there.Wait()
	fmt.Println("there")
	strangers.Wait()
	fmt.Println(came.Load())
}

// knock holds one connection on which nothing is said, until it is turned away or ctx ends.
func knock(ctx context.Context, address string, in func()) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return
	}
	defer conn.Close()
	in()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_, _ = conn.Read(make([]byte, 64))
}

// beHonest is the process of the honest client: it puts for a while, and says the p99.
func beHonest() {
	p99, err := putHonestly()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(p99)
}

func putHonestly() (p99 time.Duration, err error) {
	pem, err := os.ReadFile(*honestCA)
	if err != nil {
		return 0, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return 0, fmt.Errorf("%s holds no certificate", *honestCA)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *honestFor+2*cluster.Patience)
	defer cancel()
	clerk, err := client.Dial(ctx, client.Config{Endpoints: strings.Split(*honestTo, ","), TLS: &tls.Config{RootCAs: pool}})
	if err != nil {
		return 0, err
	}
	defer clerk.Close()
	var took []time.Duration
	const warmth = 20 // puts that are not counted: connections are made, and the leader is found
	for end := time.Now().Add(*honestFor); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		begun := time.Now()
		attempt, cancel := context.WithTimeout(ctx, cluster.Patience)
		_, err := clerk.Put(attempt, "k", []byte("v"))
		cancel()
		if err != nil {
			return 0, fmt.Errorf("a put failed: %w", err)
		}
		took = append(took, time.Since(begun))
	}
	if len(took) <= warmth {
		return 0, fmt.Errorf("only %d puts in %v", len(took), *honestFor)
	}
	return percentile99(took[warmth:]), nil
}
