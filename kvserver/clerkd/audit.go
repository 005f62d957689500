package clerkd

import (
	"cmp"
	"strconv"
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
	who *kvserver.Caller
	id  string
	subject
	reserved bool // the audit has promised room for a line
}

// subject is what a request is about, as the audit shows it, and why it was refused.
type subject struct {
	key   string       // or lock, or the number of a lease
	needs access.Needs // of a request about several keys or a range; nil: it is about key
	lack  *access.Lack // nil: it was not refused, or for something else
}

var actions = map[clerkwire.Kind]string{
	clerkwire.KindOpen: "open session", clerkwire.KindGet: "get", clerkwire.KindList: "list", clerkwire.KindPut: "put",
	clerkwire.KindAppend: "append", clerkwire.KindDelete: "delete", clerkwire.KindForward: "forward", clerkwire.KindTxn: "txn", clerkwire.KindDeleteRange: "delete range", clerkwire.KindAuth: "auth",
	clerkwire.KindGrant: "grant", clerkwire.KindKeepAlive: "keep-alive", clerkwire.KindRevoke: "revoke", clerkwire.KindLeases: "leases", clerkwire.KindTouch: "touch",
	clerkwire.KindAcquire: "acquire", clerkwire.KindRelease: "release", clerkwire.KindLeaveQueue: "leave-queue", clerkwire.KindPublish: "publish", clerkwire.KindLocks: "locks",
	clerkwire.KindWatch: "watch",
}

// about is what a command is about: its key or lock, or the lease or the keys in its body. Of
// the bytes of the command nothing is kept.
func (d *Door) about(c *kv.Command) subject {
	if len(c.Key) > 0 || d.server.Gate().Audit() == nil {
		return subject{key: string(c.Key)}
	}
	if id, named := c.LeaseNamed(); named {
		return subject{key: leaseName(id)}
	}
	many := *c
	if _, err := many.Results(); err != nil {
		return subject{} // it is no command on several keys, or none can be read
	}
	many.Value = nil
	return subject{needs: func(fn func(auth.Right, auth.Range) bool) { many.EachNeed(fn) }}
}

// leaseName names a lease as the paths of HTTP do.
func leaseName(id int64) string { return strconv.FormatInt(id, 10) }

// aboutLease is the act about the lease that it has made, if it is a grant that was done. Which
// lease that is may be known only then.
func (a act) aboutLease(granted bool, r kv.Result) act {
	if granted && a.reserved {
		a.key = leaseName(r.Lease())
	}
	return a
}

// over is what a read of a range is about, which begins with key. Nothing is made of it where
// nothing is noted.
func (d *Door) over(key string, right auth.Right, r auth.Range) subject {
	if d.server.Gate().Audit() == nil {
		return subject{}
	}
	return subject{key: key, needs: access.Over(right, r)}
}

// aboutList is what a list is about.
func (d *Door) aboutList(q *kvserver.Query) subject {
	return d.over(cmp.Or(q.Prefix, q.From), auth.List, q.Range())
}

// refusedBy is the subject with what the caller lacks, if an error says that.
func (s subject) refusedBy(err error) subject {
	s.lack = access.LackOf(err)
	return s
}

// begin asks the audit for room for the line of an act.
func (d *Door) begin(who *kvserver.Caller, id string, about subject) (act, error) {
	audit := d.server.Gate().Audit()
	if audit == nil {
		return act{who: who}, nil
	}
	err := audit.Reserve()
	return act{who: who, id: id, subject: about, reserved: err == nil}, err
}

// end notes how an act ended; refused is nil if it was done.
func (d *Door) end(a act, action string, begun time.Time, refused *clerkwire.Refused, revision uint64) {
	if !a.reserved {
		return
	}
	line := access.Line{
		Time: begun, Node: d.config.NodeID, RequestID: a.id, Identity: a.who.Name(), TokenID: a.who.Author().Token.String(), Remote: a.who.Remote,
		Action: action, Key: a.key, Needs: a.needs, Lack: a.lack, Outcome: string(api.OutcomeApplied), Revision: revision,
		TookMs: float64(time.Since(begun).Microseconds()) / 1000,
	}
	if refused != nil {
		if a.lack == nil && a.needs != nil && ofCaller(refused) { // the log has refused it
			line.Lack = d.server.Gate().Lacks(a.who, a.needs)
		}
		line.Outcome, line.Code = string(refused.Outcome), string(refused.Code)
		if line.RequestID == "" {
			line.RequestID = refused.RequestID
		}
	}
	d.server.Gate().Audit().Put(line)
}

// beginRead is begin for a read of ranges; nil if the audit has no line for it. The ranges
// are made only where it has lines for some reads.
func (d *Door) beginRead(who *kvserver.Caller, about subject, ranges func() []auth.Range) (*act, error) {
	audit := d.server.Gate().Audit()
	if !audit.ReadsToo() || !audit.Reads(ranges()...) {
		return nil, nil
	}
	a, err := d.begin(who, d.server.NextRequestID(), about)
	if err != nil {
		return nil, err
	}
	return &a, nil
}

// endRead notes how a read ended: in the line that it has, or else if its caller was not
// allowed to make it. refused is nil if it was served, from a store of that revision.
func (d *Door) endRead(noted *act, who *kvserver.Caller, kind clerkwire.Kind, about subject, begun time.Time, refused *clerkwire.Refused, revision uint64) {
	switch {
	case noted != nil:
		a := *noted
		a.lack = about.lack
		d.end(a, actions[kind], begun, refused, revision)
	case refused != nil:
		d.noteRefusal(who, kind, about, refused)
	}
}

// ofCaller reports whether a request was refused because its caller may not make it.
func ofCaller(refused *clerkwire.Refused) bool {
	return refused.Code == failure.KindOf(failure.Unauthenticated).Code || refused.Code == failure.KindOf(failure.Denied).Code
}

// noteRefusal notes a request that its caller was not allowed to make.
func (d *Door) noteRefusal(who *kvserver.Caller, kind clerkwire.Kind, about subject, refused *clerkwire.Refused) {
	if !ofCaller(refused) {
		return
	}
	a := act{who: who, id: refused.RequestID, subject: about, reserved: d.server.Gate().Audit().ReserveAfter()}
	d.end(a, actions[kind], time.Now(), refused, 0)
}
