package client

import (
	"context"
	"fmt"
	"time"

	"raftkv/kvserver/api"
)

// Peer is the part of a labrpc.ClientEnd that a LabClerk needs. Any package's
// will do.
type Peer interface {
	Call(method string, args interface{}, reply interface{}) bool
}

// LabClerk is a client of the labs' servers. It makes one call at a time and is
// not safe for concurrent use. Calls go on until a leader has answered.
type LabClerk struct {
	servers caller
	session uint64 // 0: not opened yet
	seq     uint64 // of the last put or append
}

// MakeClerk returns a clerk of these servers, in any order. It makes no call yet.
func MakeClerk[P Peer](servers []P) *LabClerk { return &LabClerk{servers: newCaller(servers)} }

// Get returns the value under key, "" if there is none. A get changes nothing and
// is correct each time it is run, so it needs no session.
func (ck *LabClerk) Get(key string) string {
	reply, _ := ck.servers.submit(&api.SubmitArgs{Op: api.LabGet, Key: key})
	if reply.Status != api.LabNotFound {
		mustBeOK(reply.Status, "get", key)
	}
	return reply.Value
}

// Put sets the value under key. It panics if the key or the value is longer than
// the servers take, or the key is empty.
func (ck *LabClerk) Put(key string, value string) { ck.write(api.LabPut, "put", key, value) }

// Append adds value at the end of the value under key, which counts as empty if
// there is none. It panics for the same reasons as Put.
func (ck *LabClerk) Append(key string, value string) {
	ck.write(api.LabAppend, "append", key, value)
}

// write makes one call of the session.
func (ck *LabClerk) write(op api.LabOp, name, key, value string) {
	for {
		if ck.session == 0 {
			reply, _ := ck.servers.submit(&api.SubmitArgs{Op: api.LabOpenSession})
			mustBeOK(reply.Status, "opening a session", "")
			ck.session, ck.seq = reply.Session, 0
		}
		ck.seq++
		reply, doubt := ck.servers.submit(&api.SubmitArgs{
			Op: op, Session: ck.session, Seq: ck.seq, Key: key, Value: value,
		})
		if reply.Status == api.LabSessionExpired && !doubt {
			// Other sessions have displaced this one. This was the first attempt that
			// could have an effect, and it had none: it may be made again in a new
			// session.
			ck.session = 0
			continue
		}
		mustBeOK(reply.Status, name, key)
		return
	}
}

// mustBeOK panics on an answer that the labs' calls cannot report to their
// callers.
func mustBeOK(got api.LabStatus, what, key string) {
	if got != api.LabOK {
		panic(fmt.Sprintf("client: %s %q was answered with status %d; this call has no result to report it", what, key, got))
	}
}

// roundPause is the time that a caller pauses after it has asked every server.
const roundPause = 20 * time.Millisecond

// caller makes attempts by RPC.
type caller struct {
	peers []Peer
	route route
}

func newCaller[P Peer](servers []P) caller {
	peers := make([]Peer, len(servers))
	for i, s := range servers {
		peers[i] = s
	}
	return caller{peers: peers}
}

// submit asks servers until one has the result, and returns it. doubt says that
// an earlier attempt may have happened as well.
func (c *caller) submit(args *api.SubmitArgs) (reply api.SubmitReply, doubt bool) {
	if c.route.lifetime == nil {
		c.route.lifetime = context.Background()
		c.route.servers = func() int { return len(c.peers) }
		c.route.pause = func(int) time.Duration { return roundPause }
	}
	_, doubt = c.route.retry(context.Background(), func(_ context.Context, server int) verdict {
		reply = api.SubmitReply{}
		answered := c.peers[server].Call("KVServer.Submit", args, &reply)
		switch {
		case answered && reply.Done:
			return verdict{outcome: done}
		case answered && reply.Refused:
			return verdict{outcome: notApplied, leader: -1}
		}
		return verdict{outcome: unknown, leader: -1}
	})
	return reply, doubt
}
