package kvserver_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"raftkv/tests/lab"
)

// The scenarios in which clients work through three rounds of five seconds
// while this or that happens to the servers.

// trouble says what happens in each round.
type trouble struct {
	clients    int
	crashes    bool // all servers crash and come back when the round ends
	partitions bool // the servers are split again and again
	randomKeys bool // clients share keys; else each has its own
}

const (
	rounds    = 3
	roundTime = 5 * time.Second
	settle    = time.Second // an election, and then some
)

// troubled returns the scenario's body.
func troubled(w trouble) func(c *cluster) {
	return func(c *cluster) {
		reader := c.newClient()
		for range rounds {
			round(c, w, reader)
			c.checkSizes()
		}
	}
}

func round(c *cluster, w trouble, reader *client) {
	var done atomic.Bool
	var working sync.WaitGroup
	appends := make([]int, w.clients)
	for n := range w.clients {
		cl := c.newClient()
		working.Go(func() {
			if w.randomKeys {
				workOnAnyKey(cl, w.clients, &done)
			} else {
				appends[n] = workOnOwnKey(cl, strconv.Itoa(n), w.clients, &done)
			}
		})
	}
	splitting := make(chan struct{})
	go func() {
		defer close(splitting)
		if !w.partitions {
			return
		}
		time.Sleep(settle) // the clients get to work first
		for !done.Load() {
			c.partition()
			time.Sleep(settle + time.Duration(c.rand.IntN(200))*time.Millisecond)
		}
	}()
	time.Sleep(roundTime)
	done.Store(true)
	<-splitting
	if w.partitions {
		c.split()
		time.Sleep(settle)
	}
	if w.crashes {
		for i := range c.servers {
			c.crash(i)
		}
		time.Sleep(settle)
		for i := range c.servers {
			c.restart(i)
		}
	}
	finished := make(chan struct{})
	go func() {
		working.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-time.After(testLimit):
		c.Fatalf("a call has no answer %v after all servers were there again", testLimit)
	}
	if c.Failed() {
		c.FailNow()
	}
	for n := range appends {
		if !w.randomKeys {
			checkAppends(c, n, reader.get(strconv.Itoa(n)), appends[n])
		}
	}
}

// workOnOwnKey appends and reads, and expects to read what it appended. It
// returns how often it appended.
func workOnOwnKey(cl *client, key string, clients int, done *atomic.Bool) (appends int) {
	cl.put(key, "")
	want := ""
	for !done.Load() {
		if cl.rand.IntN(2) == 0 {
			part := appended(key, appends)
			cl.append(key, part)
			want += part
			appends++
		} else if got := cl.get(key); got != want {
			cl.Errorf("client %s read %q, but has written %q", key, got, want)
			return appends
		}
		cl.pause(clients)
	}
	return appends
}

// workOnAnyKey appends to, puts and reads keys that others use, too; there are
// as many keys as clients.
func workOnAnyKey(cl *client, clients int, done *atomic.Bool) {
	for n := 0; !done.Load(); n++ {
		key := strconv.Itoa(cl.rand.IntN(clients))
		value := fmt.Sprintf("x %d %d y", cl.number, n)
		switch dice := cl.rand.IntN(100); {
		case dice < 50:
			cl.append(key, value)
		case dice < 55:
			cl.put(key, value)
		default:
			cl.get(key)
		}
		cl.pause(clients)
	}
}

// pause lets virtual time pass. Nothing else would while the network is in
// order, and a client would never see its five seconds end. All clients
// together make about a hundred calls a second.
func (cl *client) pause(clients int) {
	if !lab.Realtime() {
		most := max(clients, 3) * 20
		time.Sleep(time.Duration(1+cl.rand.IntN(most)) * time.Millisecond)
	}
}

func appended(client string, n int) string { return fmt.Sprintf("x %s %d y", client, n) }

// checkAppends wants each of a client's appends in a value once, in their order.
func checkAppends(c *cluster, client int, value string, count int) {
	c.Helper()
	last := -1
	for n := range count {
		part := appended(strconv.Itoa(client), n)
		at := strings.Index(value, part)
		switch {
		case at < 0:
			c.Fatalf("client %d: %q is missing in %q", client, part, value)
		case strings.LastIndex(value, part) != at:
			c.Fatalf("client %d: %q is doubled in %q", client, part, value)
		case at <= last:
			c.Fatalf("client %d: %q is in the wrong place in %q", client, part, value)
		}
		last = at
	}
}

// manyClients is how many clients and servers the scenarios have in which
// everything happens at once.
const manyClients, manyServers = 15, 7

var (
	basic        = scenario{"one client", 5, false, -1, troubled(trouble{clients: 1})}
	concurrent   = scenario{"many clients", 5, false, -1, troubled(trouble{clients: 5})}
	unreliable   = scenario{"unreliable net, many clients", 5, true, -1, troubled(trouble{clients: 5})}
	manyPartsOne = scenario{"partitions, one client", 5, false, -1, troubled(trouble{clients: 1, partitions: true})}
	manyParts    = scenario{"partitions, many clients", 5, false, -1, troubled(trouble{clients: 5, partitions: true})}

	persistOne             = scenario{"restarts, one client", 5, false, -1, troubled(trouble{clients: 1, crashes: true})}
	persistConcurrent      = scenario{"restarts, many clients", 5, false, -1, troubled(trouble{clients: 5, crashes: true})}
	persistUnreliable      = scenario{"unreliable net, restarts, many clients", 5, true, -1, troubled(trouble{clients: 5, crashes: true})}
	persistParts           = scenario{"restarts, partitions, many clients", 5, false, -1, troubled(trouble{clients: 5, crashes: true, partitions: true})}
	persistPartsUnreliable = scenario{"unreliable net, restarts, partitions, many clients", 5, true, -1, troubled(trouble{clients: 5, crashes: true, partitions: true})}
	persistLinearizable    = scenario{"unreliable net, restarts, partitions, random keys, many clients", manyServers, true, -1,
		troubled(trouble{clients: manyClients, crashes: true, partitions: true, randomKeys: true})}

	snapshotRecover           = scenario{"restarts, snapshots, one client", 5, false, 1000, troubled(trouble{clients: 1, crashes: true})}
	snapshotRecoverMany       = scenario{"restarts, snapshots, many clients", 5, false, 1000, troubled(trouble{clients: 20, crashes: true})}
	snapshotUnreliable        = scenario{"unreliable net, snapshots, many clients", 5, true, 1000, troubled(trouble{clients: 5})}
	snapshotUnreliableRecover = scenario{"unreliable net, restarts, snapshots, many clients", 5, true, 1000, troubled(trouble{clients: 5, crashes: true})}
	snapshotParts             = scenario{"unreliable net, restarts, partitions, snapshots, many clients", 5, true, 1000,
		troubled(trouble{clients: 5, crashes: true, partitions: true})}
	snapshotLinearizable = scenario{"unreliable net, restarts, partitions, snapshots, random keys, many clients", manyServers, true, 1000,
		troubled(trouble{clients: manyClients, crashes: true, partitions: true, randomKeys: true})}
)
