package clerkd

import (
	"errors"
	"strings"
	"time"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// kindRow is one kind of request. Everything that holds for all of its frames stands in
// its row.
type kindRow struct {
	// right is what the caller needs, on the range that the frame's body executes. A
	// frame that brings a caller of its own needs auth.Known of the connection, and what
	// its command needs of that caller.
	right auth.Right
	serve func(r *reader, h clerkwire.Header) bool
	// silent: there is no answer, so the frame takes no place among the requests. It
	// belongs to a watch that was let in.
	silent bool
}

// kinds is the one list of requests, by their kinds. It is set by init: serving a frame
// leads back to it.
var kinds [clerkwire.KindUnwatch + 1]kindRow

func init() {
	for kind, row := range map[clerkwire.Kind]kindRow{
		clerkwire.KindOpen:    {right: auth.Known, serve: withBody((*reader).open)},
		clerkwire.KindGet:     {right: auth.Read, serve: withBody((*reader).get)},
		clerkwire.KindPut:     {right: auth.Write, serve: ofWrite(kv.OpPut)},
		clerkwire.KindAppend:  {right: auth.Write, serve: ofWrite(kv.OpAppend)},
		clerkwire.KindDelete:  {right: auth.Delete, serve: ofWrite(kv.OpDelete)},
		clerkwire.KindList:    {right: auth.List, serve: withBody((*reader).list)},
		clerkwire.KindAuth:    {right: auth.Known, serve: withBody((*reader).auth)},
		clerkwire.KindForward: {right: auth.Known, serve: (*reader).forward},
		// What a body needs is decided on all that it would do.
		clerkwire.KindTxn:         {right: auth.Known, serve: ofMany(kv.OpTxn)},
		clerkwire.KindDeleteRange: {right: auth.Delete, serve: ofMany(kv.OpDeleteRange)},
		clerkwire.KindGrant:       {right: auth.Lease, serve: withBody((*reader).grant)},
		clerkwire.KindKeepAlive:   {right: auth.Lease, serve: withBody((*reader).keepAlive)},
		clerkwire.KindRevoke:      {right: auth.Lease, serve: withBody((*reader).revoke)},
		clerkwire.KindLeases:      {right: auth.Lease, serve: withBody((*reader).leases)},
		clerkwire.KindTouch:       {right: auth.Write, serve: withBody((*reader).touch)},
		clerkwire.KindAcquire:     {right: auth.Acquire, serve: withBody((*reader).acquire)},
		clerkwire.KindRelease:     {right: auth.Acquire, serve: withBody((*reader).release)},
		clerkwire.KindLeaveQueue:  {right: auth.Acquire, serve: withBody((*reader).leaveQueue)},
		clerkwire.KindPublish:     {right: auth.Acquire, serve: withBody((*reader).publish)},
		clerkwire.KindLocks:       {right: auth.Observe, serve: withBody((*reader).locks)},
		clerkwire.KindWatch:       {right: auth.Watch, serve: (*reader).watch},
		clerkwire.KindSync:        {right: auth.Known, serve: withBody((*reader).sync)},
		clerkwire.KindCredit:      {right: auth.Known, serve: withBody((*reader).credit), silent: true},
		clerkwire.KindUnwatch:     {right: auth.Known, serve: withBody((*reader).unwatch), silent: true},
	} {
		kinds[kind] = row
	}
}

// withBody makes a row's function of one that takes a body which fits in the
// connection's own buffer.
func withBody(serve func(r *reader, h clerkwire.Header, body []byte)) func(*reader, clerkwire.Header) bool {
	return func(r *reader, h clerkwire.Header) bool {
		body, err := r.frames.Body(h)
		if err != nil {
			return false
		}
		serve(r, h, body)
		return true
	}
}

func ofWrite(op kv.Op) func(*reader, clerkwire.Header) bool {
	return func(r *reader, h clerkwire.Header) bool { return r.write(h, op) }
}

// auth takes in another token for the connection.
func (r *reader) auth(h clerkwire.Header, body []byte) {
	var m clerkwire.Auth
	if err := m.Parse(body); err != nil {
		r.malformed(h.Number, err)
		return
	}
	who, err := r.server.Gate().AuthenticateToken(string(m.Token))
	if err == nil {
		who.Remote = r.conn.first.Remote
		err = r.server.Allow(&who, kinds[h.Kind].right, auth.Range{})
	}
	if err != nil {
		r.conn.holdBack(err, func() { r.refuse(h, "", err) })
		return
	}
	r.conn.who.Store(&who)
	answer(r.conn, clerkwire.KindAuthed, h.Number, clerkwire.Empty{})
}

// limited refuses a frame whose caller has used what it may. A frame that brings a caller
// of its own counts for that one, see forward.count: whoever caused the connection between
// two nodes has nothing to do with it.
func (r *reader) limited(h clerkwire.Header) error {
	if r.server.Gate().State() == auth.Off || h.Kind == clerkwire.KindForward {
		return nil
	}
	err := r.server.Gate().Enter(&r.conn.first, int64(h.Length))
	if err == nil {
		r.conn.count(1)
		return nil
	}
	if unknown := r.server.Allow(r.conn.who.Load(), auth.Known, auth.Range{}); unknown != nil {
		return unknown // and its limits are not told
	}
	return err
}

// tellsNothing takes out of a refusal of the caller what one that may not ask need not know.
func (d *Door) tellsNothing(m *clerkwire.Refused) {
	if m.Code == failure.KindOf(failure.Unauthenticated).Code || m.Code == failure.KindOf(failure.Denied).Code {
		m.Node, m.Leader, m.LeaderAddr, m.Term = "", "", "", 0
		m.RequestID = strings.TrimPrefix(m.RequestID, d.config.NodeID+"-") // a name that this node drew begins with its own
	}
}

// holdBack lets the refusal of a frame whose token opens nothing be answered, later where
// many such came from one address; the others on the connection are not held up.
func (c *conn) holdBack(err error, answer func()) {
	d, delay := c.door, time.Duration(0)
	if errors.Is(err, failure.Unauthenticated) {
		delay = d.server.Gate().Refused(c.first.Remote)
	}
	if delay == 0 {
		answer()
		return
	}
	d.work.Go(func() {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.lifetime.Done():
		case <-d.server.Machine().Lifetime().Done():
		}
		answer()
	})
}
