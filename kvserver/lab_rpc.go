package kvserver

import (
	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
)

// SubmitArgs and SubmitReply are what clerks of the labs send and hear.
type (
	SubmitArgs  = api.SubmitArgs
	SubmitReply = api.SubmitReply
)

// submitted returns what is to be proposed. A clerk makes one call at a time, so
// lane 0 is all it needs.
func submitted(a *SubmitArgs) kv.Command {
	c := kv.Command{
		Op: kv.Op(a.Op), Session: kv.SessionCall{ID: a.Session, Seq: a.Seq},
		Key: []byte(a.Key), Value: []byte(a.Value),
	}
	if a.Conditional {
		c.Condition = kv.Condition{Kind: kv.IfVersion, Number: a.IfVersion}
	}
	return c
}
