package kvserver

import (
	"fmt"
	"time"

	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// Clerk is a client of the labs' servers. It makes one call at a time and is not
// safe for concurrent use. Calls go on until a leader has answered.
type Clerk struct {
	servers caller
	session uint64 // 0: not opened yet
	seq     uint64 // of the last put or append
}

// MakeClerk returns a clerk of these servers, in whatever order. It makes no
// call yet.
func MakeClerk[P raft.Peer](servers []P) *Clerk { return &Clerk{servers: newCaller(servers)} }

// Get returns the value under key, "" if there is none. A get changes nothing
// and is right each time it is run, so it needs no session.
func (ck *Clerk) Get(key string) string {
	reply, _ := ck.servers.submit(&SubmitArgs{Op: kv.OpGet, Key: key})
	if reply.Status != kv.StatusNotFound {
		mustBe(kv.StatusOK, reply.Status, "get", key)
	}
	return reply.Value
}

// Put sets the value under key. It panics if the key is empty or longer than
// kv.MaxKeyBytes, or the value longer than kv.MaxValueBytes.
func (ck *Clerk) Put(key string, value string) { ck.write(kv.OpPut, key, value) }

// Append adds value at the end of the value under key, which counts as empty if
// there is none. It panics for the same reasons as Put.
func (ck *Clerk) Append(key string, value string) { ck.write(kv.OpAppend, key, value) }

// write makes one call of the session.
func (ck *Clerk) write(op kv.Op, key, value string) {
	for {
		if ck.session == 0 {
			reply, _ := ck.servers.submit(&SubmitArgs{Op: kv.OpOpenSession})
			mustBe(kv.StatusOK, reply.Status, "opening a session", "")
			ck.session, ck.seq = reply.Session, 0
		}
		ck.seq++
		reply, again := ck.servers.submit(&SubmitArgs{
			Op: op, Session: ck.session, Seq: ck.seq, Key: key, Value: value,
		})
		if reply.Status == kv.StatusSessionExpired && !again {
			// So many others came that the session is forgotten. This was the first
			// attempt that could do anything, and it did nothing: it may be made in
			// a new session.
			ck.session = 0
			continue
		}
		mustBe(kv.StatusOK, reply.Status, op.String(), key)
		return
	}
}

// mustBe panics on an answer that the labs' calls cannot tell their callers.
func mustBe(want, got kv.Status, what, key string) {
	if got != want {
		panic(fmt.Sprintf("kvserver: %s %q was answered with %q, which a call without results cannot report", what, key, got))
	}
}

// roundPause is how long a caller rests after it has asked every server.
const roundPause = 20 * time.Millisecond

// caller finds the leader and remembers it.
type caller struct {
	servers []raft.Peer
	leader  int
}

func newCaller[P raft.Peer](servers []P) caller {
	peers := make([]raft.Peer, len(servers))
	for i, s := range servers {
		peers[i] = s
	}
	return caller{servers: peers}
}

// submit asks one server after the other until one has the result, and returns
// it. again says that an earlier attempt may have happened, too.
func (c *caller) submit(args *SubmitArgs) (reply SubmitReply, again bool) {
	for asked := 1; ; asked++ {
		reply = SubmitReply{}
		answered := c.servers[c.leader].Call("KVServer.Submit", args, &reply)
		if answered && reply.Done {
			return reply, again
		}
		again = again || !answered || !reply.Refused
		c.leader = (c.leader + 1) % len(c.servers)
		if asked%len(c.servers) == 0 {
			time.Sleep(roundPause)
		}
	}
}
