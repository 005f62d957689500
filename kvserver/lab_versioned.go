package kvserver

import (
	"raftkv/kvserver/kv"
	"raftkv/raft"
)

// Tversion counts the puts of a key since it was created; 0 is a key that does
// not exist.
type Tversion = uint64

// Err is how a call of a VersionedClerk ended.
type Err string

// The ends. All but ErrMaybe are certain, as long as nobody deletes the key.
const (
	OK         Err = "OK"
	ErrNoKey   Err = "ErrNoKey"   // no such key, and none was to be created
	ErrVersion Err = "ErrVersion" // the key has another version: the put did not happen
	// ErrMaybe says that the key has another version and that an earlier attempt
	// at this put, whose answer was lost, may be the reason.
	ErrMaybe Err = "ErrMaybe"
)

// VersionedClerk is a client of the same servers and the same store as Clerk,
// with the calls of the 2025 edition. It needs no session: a put that names a
// version can happen only once. It makes one call at a time and is not safe for
// concurrent use.
type VersionedClerk struct{ servers caller }

// MakeVersionedClerk returns a clerk of these servers, in whatever order. It
// makes no call yet.
func MakeVersionedClerk[P raft.Peer](servers []P) *VersionedClerk {
	return &VersionedClerk{servers: newCaller(servers)}
}

// Get returns the value and version of a key, or ErrNoKey.
func (ck *VersionedClerk) Get(key string) (string, Tversion, Err) {
	reply, _ := ck.servers.submit(&SubmitArgs{Op: kv.OpGet, Key: key})
	if reply.Status == kv.StatusNotFound {
		return "", 0, ErrNoKey
	}
	mustBe(kv.StatusOK, reply.Status, "get", key)
	return reply.Value, reply.Version, OK
}

// Put sets the value of a key if it has this version, which it thereby leaves
// for the next; 0 creates the key. It panics if the key or the value is too
// long, like Clerk.Put.
func (ck *VersionedClerk) Put(key, value string, version Tversion) Err {
	reply, again := ck.servers.submit(&SubmitArgs{
		Op: kv.OpPut, Key: key, Value: value, Conditional: true, IfVersion: version,
	})
	switch {
	case reply.Status == kv.StatusConditionFailed && reply.Version == 0:
		return ErrNoKey
	case reply.Status == kv.StatusConditionFailed && again:
		return ErrMaybe
	case reply.Status == kv.StatusConditionFailed:
		return ErrVersion
	}
	mustBe(kv.StatusOK, reply.Status, "put", key)
	return OK
}
