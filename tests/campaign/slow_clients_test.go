package campaign

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

var (
	slowConns = flag.Int("slowconns", 0, "how many slow connections TestCampaignOfSlowClients opens; 0 skips it")
	dripTo    = flag.String("dripto", "", "address to which the slow connections go, from a process that does nothing else")
	dripIn    = flag.Duration("dripin", 0, "the time within which that process opens the first of them")
)

// Goal: thousands of clients that send a byte a second do not disturb an honest
// one, whether each has a beat of its own or all have the same.
// Method: the p99 of a client that asks for a tenth of what the leader can do,
// alone and together with the slow ones, by turns, medians of five. It is measured when
// the slow ones have come to the time at which they are ended one by one, and come
// back. Those have a process of their own, since a Go program with thousands of
// things to do at the same moment looks late at what comes from the network, and
// the honest client would be measured by that. They share the machine all the
// same. How much of what is measured is theirs is seen when they go to a server
// that does nothing but read.
func TestCampaignOfSlowClients(t *testing.T) {
	if *slowConns == 0 {
		t.Skip("say -slowconns")
	}
	c := cluster.Start(t, 3)
	f := newFigures(t, c)
	f.measure(t, "warming up", 0, 64, 3*time.Second)
	const each = 20 * time.Second
	rate := float64(f.measure(t, "capacity, 256 connections", 0, 256, 6*time.Second).applied.Load()) / 6 / 10
	honest := func(name string) time.Duration {
		return f.measure(t, name, rate, 16, each).percentiles(99)[0]
	}
	beside := func(address string, within time.Duration, name string) (p99 time.Duration) {
		end := dripElsewhere(t, address, *slowConns, within)
		time.Sleep(32 * time.Second) // until the first are ended, and come back
		p99 = honest(fmt.Sprintf("%d slow ones %s", *slowConns, name))
		f.printf("%34s %9s connections were ended by the server\n", "", end())
		return p99
	}
	leader := c.Leader().HTTP
	var alone, elsewhere, here []time.Duration
	for range 5 {
		alone = append(alone, honest("honest, a tenth of the capacity"))
		elsewhere = append(elsewhere, beside(elsewhereOnly, time.Second, "elsewhere"))
		here = append(here, beside(leader, time.Second, "beside it"))
	}
	inStep := beside(leader, 0, "in step")
	p99, floor, with := middle(alone), middle(elsewhere), middle(here)
	f.printf("p99 of the honest, medians: %v alone, %v with slow clients elsewhere, %v (%.1f and %.1f times) with slow clients beside it; %v if all are in step\n",
		p99, floor, with, float64(with)/float64(p99), float64(with)/float64(floor), inStep)
	// Beyond 20 ms it does not matter what the machine has to do with it.
	if with > 2*p99 && (with > 2*floor || with > 20*time.Millisecond) {
		t.Errorf("slow clients raised the p99 of an honest one from %v to %v (%v if they are elsewhere)", p99, with, floor)
	}
	c.AwaitServing()
	cluster.AwaitEqual(t, c)
}

// middle returns the median of an odd number of times, in tens of microseconds.
func middle(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2].Round(10 * time.Microsecond)
}

// elsewhereOnly is the address of a server in the process with the slow clients.
const elsewhereOnly = "itself"

// dripElsewhere starts a process that drips until end is called, which returns
// how many connections were ended.
func dripElsewhere(t *testing.T, address string, conns int, within time.Duration) (end func() string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := exec.Command(self, "-dripto", address, "-slowconns", strconv.Itoa(conns), "-dripin", within.String())
	p.Stderr = os.Stderr
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
	end = sync.OnceValue(func() string {
		stdin.Close()
		ended, err := io.ReadAll(stdout)
		if err = errors.Join(err, p.Wait()); err != nil {
			t.Errorf("the process with the slow connections: %v", err)
		}
		return strings.TrimSpace(string(ended))
	})
	t.Cleanup(func() { end() })
	return end
}

// dripUntilTold is that process: it ends when its input does.
func dripUntilTold() {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	address := *dripTo
	if address == elsewhereOnly {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		address = l.Addr().String()
		go swallow(l)
	}
	fmt.Println(cluster.Drip(ctx, address, *slowConns, *dripIn))
}

// swallow accepts connections and reads from each for half a minute to a whole one, as
// ours does.
func swallow(l net.Listener) {
	for i := 0; ; i++ {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_ = conn.SetReadDeadline(time.Now().Add(30*time.Second + time.Duration(i%100)*300*time.Millisecond))
		go func() {
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}()
	}
}

// percentile99 returns the time that 99 of a hundred do not exceed.
func percentile99(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)*99/100]
}
