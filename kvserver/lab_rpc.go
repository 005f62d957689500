package kvserver

import "raftkv/kvserver/kv"

// SubmitArgs is a command as clerks send it. All fields are exported because
// labgob asks for it.
type SubmitArgs struct {
	Op      kv.Op
	Session uint64 // 0: none
	Seq     uint64 // number of the call in its session
	Key     string
	Value   string
	// Conditional lets a put happen only on this version.
	Conditional bool
	IfVersion   uint64
}

// SubmitReply answers SubmitArgs. Without Done and Refused nothing is known.
// The other fields come with Done.
type SubmitReply struct {
	Done    bool
	Refused bool // the command did not happen and never will by this attempt
	Status  kv.Status
	Session uint64 // the ID of the session that was opened
	Value   string // what a get found
	Version uint64 // of the key, after a put or append, of a get, or when a condition failed
}

// command returns what is to be proposed. A clerk makes one call at a time, so
// lane 0 is all it needs.
func (a *SubmitArgs) command() kv.Command {
	c := kv.Command{
		Op: a.Op, Session: kv.SessionCall{ID: a.Session, Seq: a.Seq},
		Key: []byte(a.Key), Value: []byte(a.Value),
	}
	if a.Conditional {
		c.Condition = kv.Condition{Kind: kv.IfVersion, Number: a.IfVersion}
	}
	return c
}
