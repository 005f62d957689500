package kvserver_test

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
)

// The scenarios with a course of their own.

var (
	speed           = scenario{"ops complete fast enough", 3, false, -1, thousandAppends}
	speedSnapshots  = scenario{"ops complete fast enough, snapshots", 3, false, 1000, thousandAppends}
	oneKey          = scenario{"concurrent append to same key, unreliable", 3, true, -1, appendToOneKey}
	onePartition    = scenario{"progress in majority, none in minority, completion after heal", 5, false, -1, progressInMajority}
	lateCall        = scenario{"a call comes once more, late", 3, false, -1, lateCallChangesNothing}
	snapshotRPC     = scenario{"InstallSnapshot RPC", 3, false, 1000, laggardCatchesUp}
	snapshotSize    = scenario{"snapshot size is reasonable", 3, false, 1000, smallSnapshot}
	longestSnapshot = 500                        // bytes
	longestOp       = 100 * time.Millisecond / 3 // three operations per heartbeat
)

// thousandAppends makes a thousand appends one after the other: none may wait
// for a tick.
func thousandAppends(c *cluster) {
	const appends = 1000
	cl := c.newClient()
	cl.get("x") // there is a leader
	began := time.Now()
	for n := range appends {
		cl.append("x", appended("0", n))
	}
	each := time.Since(began) / appends
	checkAppends(c, 0, cl.get("x"), appends)
	c.Logf("%v each", each)
	if each > longestOp {
		c.Fatalf("an append took %v on average, more than %v", each, longestOp)
	}
}

func appendToOneKey(c *cluster) {
	const clients, appends = 5, 10
	c.newClient().clerk.Put("k", "")
	var working sync.WaitGroup
	for n := range clients {
		cl := c.newClient()
		working.Go(func() {
			for i := range appends {
				// Not noted: with nobody reading in between, there are too many
				// orders to search.
				cl.clerk.Append("k", appended(strconv.Itoa(n), i))
				cl.calls.Add(1)
			}
		})
	}
	working.Wait()
	value := c.newClient().clerk.Get("k")
	length := 0
	for n := range clients {
		checkAppends(c, n, value, appends)
		for i := range appends {
			length += len(appended(strconv.Itoa(n), i))
		}
	}
	if len(value) != length {
		c.Fatalf("the value has %d bytes, want %d: %q", len(value), length, value)
	}
}

// progressInMajority cuts a leader off with one other server: calls there must
// wait, and end once the network is whole again.
func progressInMajority(c *cluster) {
	all := c.newClient()
	all.put("1", "13")
	leader := c.leader()
	sides := make([]int, 5)
	sides[leader], sides[(leader+1)%5] = 1, 1
	var majority, minority []int
	for i, side := range sides {
		if side == 0 {
			majority = append(majority, i)
		} else {
			minority = append(minority, i)
		}
	}
	c.split(sides...)
	upper := c.newClient(majority...)
	upper.put("1", "14")
	upper.wantValue("1", "14")

	putDone, getDone := make(chan struct{}), make(chan struct{})
	lowerPut, lowerGet := c.newClient(minority...), c.newClient(minority...)
	go func() { defer close(putDone); lowerPut.put("1", "15") }()
	go func() { defer close(getDone); lowerGet.get("1") }()
	select {
	case <-putDone:
		c.Fatal("a put in the minority came to an end")
	case <-getDone:
		c.Fatal("a get in the minority came to an end")
	case <-time.After(settle):
	}
	upper.wantValue("1", "14")
	upper.put("1", "16")
	upper.wantValue("1", "16")

	c.split()
	lowerPut.reach()
	lowerGet.reach()
	upper.reach()
	time.Sleep(settle)
	limit := time.After(3 * time.Second)
	for _, done := range []chan struct{}{putDone, getDone} {
		select {
		case <-done:
		case <-limit:
			c.Fatal("a call that began in the minority did not end within 3 s once the network was whole")
		}
	}
	all.wantValue("1", "15")
}

// laggardCatchesUp writes more than the log may hold while one server is away:
// only a snapshot can bring it up to date.
func laggardCatchesUp(c *cluster) {
	cl := c.newClient()
	cl.put("a", "A")
	cl.wantValue("a", "A")
	c.split(0, 0, 1)
	upper := c.newClient(0, 1)
	for n := range 50 {
		upper.put(strconv.Itoa(n), strconv.Itoa(n))
	}
	time.Sleep(settle)
	upper.put("b", "B")
	c.checkSizes() // the majority threw its log away

	c.split(0, 1, 0)
	other := c.newClient(0, 2)
	other.put("c", "C")
	other.put("d", "D")
	for _, want := range []string{"aA", "bB", "11", "cC"} {
		other.wantValue(want[:1], want[1:])
	}
	other.wantValue("49", "49")

	c.split()
	cl.put("e", "E")
	for _, want := range []string{"cC", "eE", "11"} {
		cl.wantValue(want[:1], want[1:])
	}
}

// smallSnapshot writes a little often: what is stored must stay little.
func smallSnapshot(c *cluster) {
	const pairs, limit = 200, 20 * time.Second
	began := time.Now()
	cl := c.newClient()
	for range pairs {
		for _, value := range []string{"0", "1"} {
			cl.put("x", value)
			cl.wantValue("x", value)
		}
	}
	c.checkSizes()
	if n := c.snapshotBytes(); n == 0 || n > longestSnapshot {
		c.Fatalf("the largest snapshot has %d bytes, want 1 to %d", n, longestSnapshot)
	}
	if took := time.Since(began); took > limit {
		c.Fatalf("%d pairs of put and get took %v, more than %v", 2*pairs, took, limit)
	}
	if strings.TrimSpace(cl.get("x")) != "1" {
		c.Fatal("the last put is lost")
	}
}

// lateCallChangesNothing makes a call of a session once more when the next one was
// answered, as a network that held it back would: it must not happen again, and
// the next one stands.
func lateCallChangesNothing(c *cluster) {
	end := c.wires.MakeEnd("late")
	c.wires.Enable("late", true)
	submit := func(args kvserver.SubmitArgs) (reply kvserver.SubmitReply) {
		for range 100 {
			c.wires.Network.Connect("late", c.leader())
			reply = kvserver.SubmitReply{}
			if end.Call("KVServer.Submit", &args, &reply) && reply.Done {
				return reply
			}
			time.Sleep(100 * time.Millisecond)
		}
		c.Fatalf("%+v is not answered", args)
		return reply
	}
	session := submit(kvserver.SubmitArgs{Op: api.LabOpenSession}).Session
	first := kvserver.SubmitArgs{Op: api.LabAppend, Session: session, Seq: 1, Key: "k", Value: "a"}
	second := kvserver.SubmitArgs{Op: api.LabAppend, Session: session, Seq: 2, Key: "k", Value: "b"}
	for _, args := range []kvserver.SubmitArgs{first, second, first, second, first} {
		submit(args)
	}
	if got := submit(kvserver.SubmitArgs{Op: api.LabGet, Key: "k"}).Value; got != "ab" {
		c.Fatalf("the value is %q, not \"ab\"", got)
	}
}
