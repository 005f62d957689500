package client

import "raftkv/kvserver/api"

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
