package kvserver_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/labrpc"
	"raftkv/tests/lab"
)

// versioned is a clerk of the 2025 calls, whose calls are noted.
type versioned struct {
	*client
	clerk *kvserver.VersionedClerk
}

func (c *cluster) newVersioned() versioned {
	cl := c.newClient()
	ends := make([]clientEnd, len(c.servers))
	for i := range ends {
		name := cl.end(i) + " versioned"
		ends[i] = clientEnd{c.wires.MakeEnd(name), &c.over}
		c.wires.Network.Connect(name, i)
		c.wires.Enable(name, true)
	}
	return versioned{cl, kvserver.MakeVersionedClerk(ends)}
}

func (v versioned) get(key string) (string, kvserver.Tversion, kvserver.Err) {
	end := v.history.Begin(v.number, lab.Call{Key: key, Kind: lab.Get})
	value, version, err := v.clerk.Get(key)
	v.calls.Add(1)
	end(lab.Answer{Value: value, Version: version})
	return value, version, err
}

func (v versioned) put(key, value string, version kvserver.Tversion) kvserver.Err {
	end := v.history.Begin(v.number, lab.Call{Key: key, Kind: lab.PutIf, Value: value, Version: version})
	err := v.clerk.Put(key, value, version)
	v.calls.Add(1)
	end(lab.Answer{Refused: err == kvserver.ErrVersion || err == kvserver.ErrNoKey, Maybe: err == kvserver.ErrMaybe})
	return err
}

// Goal: the versioned calls answer as the 2025 edition says. Method: one call
// after the other on a network that loses nothing.
func TestVersionedPutsAndGets(t *testing.T) {
	run(t, scenario{"versioned puts", 3, false, 1000, func(c *cluster) {
		v := c.newVersioned()
		if _, _, err := v.get("k"); err != kvserver.ErrNoKey {
			c.Errorf("get of a key that does not exist: %v", err)
		}
		for _, step := range []struct {
			version kvserver.Tversion
			want    kvserver.Err
		}{{1, kvserver.ErrNoKey}, {0, kvserver.OK}, {0, kvserver.ErrVersion}, {1, kvserver.OK}, {1, kvserver.ErrVersion}, {3, kvserver.ErrVersion}} {
			if err := v.put("k", fmt.Sprint(step.version), step.version); err != step.want {
				c.Errorf("put on version %d: %v, want %v", step.version, err, step.want)
			}
		}
		if value, version, err := v.get("k"); value != "1" || version != 2 || err != kvserver.OK {
			c.Errorf("get gave %q, version %d, %v", value, version, err)
		}
		// The same store, by the other face.
		v.client.clerk.Append("k", "+")
		if value, version, _ := v.clerk.Get("k"); value != "1+" || version != 3 {
			c.Errorf("after an append get gave %q, version %d", value, version)
		}
	}}, "versioned")
}

// Goal: versioned calls stay linearizable, whatever happens. Method: clients
// race for one key while servers crash and are split and the network loses
// calls; the version at the end is held against the answers.
func TestVersionedPutsAreLinearizable(t *testing.T) {
	run(t, scenario{"versioned puts, unreliable net, restarts, partitions, snapshots", 5, true, 1000, func(c *cluster) {
		var ok, maybe atomic.Int64
		for range rounds {
			var done atomic.Bool
			var working sync.WaitGroup
			for range 5 {
				v := c.newVersioned()
				working.Go(func() {
					for n := 0; !done.Load(); n++ {
						_, version, _ := v.get("k")
						switch v.put("k", fmt.Sprint(v.number, ".", n), version) {
						case kvserver.OK:
							ok.Add(1)
						case kvserver.ErrMaybe:
							maybe.Add(1)
						}
					}
				})
			}
			for range 3 {
				time.Sleep(settle)
				c.partition()
			}
			done.Store(true)
			c.split()
			for i := range c.servers {
				c.crash(i)
			}
			time.Sleep(settle)
			for i := range c.servers {
				c.restart(i)
			}
			working.Wait()
		}
		_, version, _ := c.newVersioned().get("k")
		if n := int64(version); n < ok.Load() || n > ok.Load()+maybe.Load() || n == 0 {
			c.Errorf("version %d after %d puts and %d that may have happened", n, ok.Load(), maybe.Load())
		}
	}}, "versioned")
}

// Goal: a put whose first answer was lost does not claim that it did not
// happen. Method: an end that loses the answer to the first call.
func TestLostAnswerMakesAPutMaybe(t *testing.T) {
	run(t, scenario{"versioned put, answer lost", 1, false, -1, func(c *cluster) {
		c.leader()
		name := "forgetful"
		end := &forgetful{ClientEnd: c.wires.MakeEnd(name), lose: 1}
		c.wires.Network.Connect(name, 0)
		c.wires.Enable(name, true)
		ck := kvserver.MakeVersionedClerk([]*forgetful{end})
		if err := ck.Put("k", "a", 0); err != kvserver.ErrMaybe {
			c.Errorf("a put that was sent twice and happened the first time: %v", err)
		}
		if err := ck.Put("k", "b", 0); err != kvserver.ErrVersion {
			c.Errorf("a put that was sent once: %v", err)
		}
	}}, "versioned")
}

// forgetful is an end that loses its first answers.
type forgetful struct {
	*labrpc.ClientEnd
	lose int
}

// Call makes a call.
func (e *forgetful) Call(method string, args, reply interface{}) bool {
	if e.lose > 0 {
		e.lose--
		e.ClientEnd.Call(method, args, &kvserver.SubmitReply{})
		return false
	}
	return e.ClientEnd.Call(method, args, reply)
}

// Goal: a put that a leader takes in the first moment of its term is waited for like
// any other: nobody has replaced that leader. Method: as soon as a server leads, it
// is cut off, given a put, and connected again after the server has looked at its
// term; twenty terms.
func TestVersionedPutInTheFirstTickOfATerm(t *testing.T) {
	run(t, scenario{"a put in the first tick of a term", 3, false, 1000, func(c *cluster) {
		last, leader := 0, -1
		for round := range 20 {
			for leader = -1; leader < 0; time.Sleep(time.Millisecond) {
				for i, s := range c.servers {
					if term, leads := s.kv.Raft().GetState(); leads && term > last {
						last, leader = term, i
						break
					}
				}
				if leader >= 0 {
					break
				}
			}
			for i := range c.servers {
				c.wires.SetConnected(i, i != leader)
			}
			replies := make(chan kvserver.SubmitReply, 1)
			go func() {
				var reply kvserver.SubmitReply
				c.servers[leader].kv.Submit(&kvserver.SubmitArgs{Op: api.LabPut, Key: fmt.Sprint(round), Value: "v", Conditional: true}, &reply)
				replies <- reply
			}()
			time.Sleep(25 * time.Millisecond)
			c.wires.SetConnected(leader, true)
			if reply := <-replies; !reply.Done {
				c.Errorf("round %d: a put in the first tick of term %d is not known to be done: %+v", round, last, reply)
			}
			c.wires.SetConnected(leader, false) // until another leads
		}
	}}, "versioned")
}
