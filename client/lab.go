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

// LabVersion counts the puts of a key since it was created; 0 is a key that does
// not exist.
type LabVersion = uint64

// LabErr is the end of a call of a VersionedClerk.
type LabErr string

// The ends. All but LabErrMaybe are certain, as long as the key is not deleted.
const (
	LabOK         LabErr = "OK"
	LabErrNoKey   LabErr = "ErrNoKey"   // no such key, and none was to be created
	LabErrVersion LabErr = "ErrVersion" // the key has another version: the put did not happen
	// LabErrMaybe says that the key has another version and that an earlier attempt
	// at this put, whose answer was lost, may be the reason.
	LabErrMaybe LabErr = "ErrMaybe"
)

// VersionedClerk is a client of the same servers and the same store as LabClerk,
// with the calls of the 2025 edition. It needs no session: a put that names a
// version can happen only once. It makes one call at a time and is not safe for
// concurrent use.
type VersionedClerk struct{ servers caller }

// MakeVersionedClerk returns a clerk of these servers, in any order. It makes no
// call yet.
func MakeVersionedClerk[P Peer](servers []P) *VersionedClerk {
	return &VersionedClerk{servers: newCaller(servers)}
}

// Get returns the value and version of a key, or LabErrNoKey.
func (ck *VersionedClerk) Get(key string) (string, LabVersion, LabErr) {
	reply, _ := ck.servers.submit(&api.SubmitArgs{Op: api.LabGet, Key: key})
	if reply.Status == api.LabNotFound {
		return "", 0, LabErrNoKey
	}
	mustBeOK(reply.Status, "get", key)
	return reply.Value, reply.Version, LabOK
}

// Put sets the value of a key if it has this version, and raises the version by
// one; 0 creates the key. It panics if the key or the value is too long, like
// LabClerk.Put.
func (ck *VersionedClerk) Put(key, value string, version LabVersion) LabErr {
	reply, doubt := ck.servers.submit(&api.SubmitArgs{
		Op: api.LabPut, Key: key, Value: value, Conditional: true, IfVersion: version,
	})
	switch {
	case reply.Status == api.LabConditionFailed && reply.Version == 0:
		return LabErrNoKey
	case reply.Status == api.LabConditionFailed && doubt:
		return LabErrMaybe
	case reply.Status == api.LabConditionFailed:
		return LabErrVersion
	}
	mustBeOK(reply.Status, "put", key)
	return LabOK
}
