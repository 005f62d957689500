package clerkd

import (
	"time"

	"raftkv/kvserver"
	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// act is a request as the audit sees it.
type act struct {
	who      *kvserver.Caller
	id, key  string
	reserved bool // the audit has promised room for a line
}

var actions = map[clerkwire.Kind]string{
	clerkwire.KindOpen: "open session", clerkwire.KindGet: "get", clerkwire.KindList: "list", clerkwire.KindPut: "put",
	clerkwire.KindAppend: "append", clerkwire.KindDelete: "delete", clerkwire.KindForward: "forward", clerkwire.KindTxn: "txn", clerkwire.KindDeleteRange: "delete range", clerkwire.KindAuth: "auth",
	clerkwire.KindGrant: "grant", clerkwire.KindKeepAlive: "keep-alive", clerkwire.KindRevoke: "revoke", clerkwire.KindLeases: "leases", clerkwire.KindTouch: "touch",
	clerkwire.KindAcquire: "acquire", clerkwire.KindRelease: "release", clerkwire.KindLeaveQueue: "leave-queue", clerkwire.KindPublish: "publish", clerkwire.KindLocks: "locks",
	clerkwire.KindWatch: "watch",
}

// about is what a command is about, as the audit shows it: its key or lock, or the first of
// its keys; "" without an audit.
func (d *Door) about(c *kv.Command) string {
	if len(c.Key) > 0 || d.server.Gate().Audit() == nil {
		return string(c.Key)
	}
	return kvserver.Changed(c.EachChange)
}

// begin asks the audit for room for the line of an act.
func (d *Door) begin(who *kvserver.Caller, id, key string) (act, error) {
	audit := d.server.Gate().Audit()
	if audit == nil {
		return act{who: who}, nil
	}
	err := audit.Reserve()
	return act{who: who, id: id, key: key, reserved: err == nil}, err
}

// end notes how an act ended; refused is nil if it was done.
func (d *Door) end(a act, action string, begun time.Time, refused *clerkwire.Refused, revision uint64) {
	if !a.reserved {
		return
	}
	line := access.Line{
		Time: begun, Node: d.config.NodeID, RequestID: a.id, Identity: a.who.Name(), TokenID: a.who.Author().Token.String(), Remote: a.who.Remote,
		Action: action, Key: a.key, Outcome: string(api.OutcomeApplied), Revision: revision,
		TookMs: float64(time.Since(begun).Microseconds()) / 1000,
	}
	if refused != nil {
		line.Outcome, line.Code = string(refused.Outcome), string(refused.Code)
		if line.RequestID == "" {
			line.RequestID = refused.RequestID
		}
	}
	d.server.Gate().Audit().Put(line)
}

// beginRead is begin for a read of ranges; nil if the audit has no line for it. The ranges
// are made only where it has lines for some reads.
func (d *Door) beginRead(who *kvserver.Caller, key string, ranges func() []auth.Range) (*act, error) {
	audit := d.server.Gate().Audit()
	if !audit.ReadsToo() || !audit.Reads(ranges()...) {
		return nil, nil
	}
	a, err := d.begin(who, d.server.NextRequestID(), key)
	if err != nil {
		return nil, err
	}
	return &a, nil
}

// endRead notes how a read ended: in the line that it has, or else if its caller was not
// allowed to make it. refused is nil if it was served, from a store of that revision.
func (d *Door) endRead(noted *act, who *kvserver.Caller, kind clerkwire.Kind, key string, begun time.Time, refused *clerkwire.Refused, revision uint64) {
	switch {
	case noted != nil:
		d.end(*noted, actions[kind], begun, refused, revision)
	case refused != nil:
		d.noteRefusal(who, kind, key, refused)
	}
}

// noteRefusal notes a request that its caller was not allowed to make.
func (d *Door) noteRefusal(who *kvserver.Caller, kind clerkwire.Kind, key string, refused *clerkwire.Refused) {
	if refused.Code != failure.KindOf(failure.Unauthenticated).Code && refused.Code != failure.KindOf(failure.Denied).Code {
		return
	}
	a := act{who: who, id: refused.RequestID, key: key, reserved: d.server.Gate().Audit().ReserveAfter()}
	d.end(a, actions[kind], time.Now(), refused, 0)
}
