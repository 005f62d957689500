package httpd

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// lockRoutes are the routes about locks.
func lockRoutes() []route {
	reads := []string{"text", "consistency", "min_revision", "redirect"}
	keyed := []string{api.HeaderIdempotencyKey}
	return []route{
		{Route{"POST", lockPath, kvserver.Writes, auth.Acquire, []string{"wait", "redirect"}, append([]string{"Content-Type"}, keyed...),
			[]int{200, 307, 400, 404, 409, 413, 415, 422, 429, 500, 501, 503, 504, 507}}, ofLock, (*Door).serveAcquire},
		{Route{"PUT", lockPath, kvserver.Writes, auth.Acquire, []string{"token", "redirect"}, keyed,
			[]int{200, 307, 400, 411, 412, 413, 422, 429, 500, 501, 503, 504}}, ofLock, (*Door).servePublish},
		{Route{"GET", lockPath, kvserver.Reads, auth.Observe, append([]string{"token"}, reads...), nil,
			[]int{200, 307, 400, 404, 412, 429, 500, 501, 503, 504}}, ofLock, (*Door).serveLock},
		{Route{"GET", "/v1/locks", kvserver.Reads, auth.Observe, append([]string{"prefix", "after", "limit"}, reads...), nil,
			[]int{200, 307, 400, 429, 500, 501, 503, 504}}, ofLocks, (*Door).serveLocks},
		{Route{"DELETE", lockPath, kvserver.Deletes, auth.Acquire, []string{"token", "lease", "redirect"}, keyed,
			[]int{204, 307, 400, 404, 409, 412, 422, 429, 500, 501, 503, 504}}, ofLock, (*Door).serveRelease},
	}
}

// ofLock is the range of requests about the lock in the path.
func ofLock(x *exchange) ([]auth.Range, error) {
	name, err := x.lockName()
	return []auth.Range{auth.OneLock(name)}, err
}

// ofLocks is the range of a list of locks.
func ofLocks(x *exchange) ([]auth.Range, error) {
	return []auth.Range{auth.LocksWith(x.query["prefix"])}, nil
}

// lockName returns the name of the lock in the path: 1 to 256 arbitrary bytes, of which a
// slash must be percent-encoded.
func (x *exchange) lockName() (string, error) {
	name, err := url.PathUnescape(x.rawKey)
	if err != nil {
		return "", failure.Of(failure.BadRequest, err, "the name of the lock is not percent-encoded properly")
	}
	return name, kvserver.CheckLockName(name)
}

const (
	// lockPath is where a lock is.
	lockPath       = "/v1/locks/{name}"
	acquireExample = `{"ttl":"15s","text":"worker 7"}`
	// maxAcquireBytes bounds the body of a request for a lock.
	maxAcquireBytes = 16 << 10
)

// serveAcquire acquires a lock, and waits for it if it is asked to.
func (d *Door) serveAcquire(x *exchange) error {
	var a kvserver.Acquire
	var err error
	if a.Lock, err = x.lockName(); err != nil {
		return err
	}
	if a.IdempotencyKey, err = x.idempotencyKey(); err != nil {
		return err
	}
	if a.Wait, a.Queue, err = x.lockWait(); err != nil {
		return err
	}
	if sent, err := d.redirect(x); sent || err != nil {
		return err
	}
	body, err := x.jsonBody(maxAcquireBytes, acquireExample)
	if err == nil {
		err = readAcquire(&a, body)
	}
	if err != nil {
		return err
	}
	mayForward, err := x.mayForward()
	if err != nil {
		return err
	}
	a.KeepAlive = true
	// A second copy of it has the place of the first.
	x.lock, x.repeatable = a.Lock, a.Lease != 0 || a.IdempotencyKey != ""
	x.conn.LeaveGate()
	if a.Queue {
		x.unhurried()
	}
	road := &lockRoad{x: x, mayForward: mayForward, body: body, wait: a.Wait}
	r, elsewhere, err := d.server.Acquire(x.r.Context(), &x.who, a, road)
	answer := func(x *exchange, _ string, r kv.Result) {
		x.stampNumber(api.HeaderRevision, r.Revision)
		_ = x.answerJSON(http.StatusOK, api.Acquired{LockName: api.NameLock(a.Lock), Token: r.Token(), Lease: r.Lease()})
	}
	c := kv.Command{IdempotencyKey: a.IdempotencyKey}
	switch {
	case errors.Is(err, context.Canceled):
		return nil // the client is gone
	case elsewhere && err == nil:
		return x.answerElsewhere(c, "", answer)
	}
	x.forwarded = nil // what was asked elsewhere was only a part of it
	if err != nil {
		return err
	}
	x.stampReplay(c, r)
	if r.Status != kv.StatusOK {
		return d.server.RefusedByStore(r)
	}
	answer(x, "", r)
	return nil
}

// lockWait reads for how long a request for a lock waits.
func (x *exchange) lockWait() (wait time.Duration, waits bool, err error) {
	text, waits := x.query["wait"]
	if !waits {
		return 0, false, nil
	}
	wait, err = time.ParseDuration(text)
	if err != nil || wait <= 0 || wait > kvserver.MaxLockWait {
		return 0, true, failure.Of(failure.BadRequest, err, "the parameter wait is %.40q; it must be a duration of at most %v, such as 30s", text, kvserver.MaxLockWait)
	}
	return wait, true, nil
}

// readAcquire reads the body of a request for a lock.
func readAcquire(a *kvserver.Acquire, body []byte) error {
	var asked api.Acquire
	if err := strictJSON(body, &asked, acquireExample); err != nil {
		return err
	}
	a.Lease, a.Limit, a.Value = asked.Lease, max(asked.Limit, 1), asked.Value
	if asked.Text != nil {
		a.Value = []byte(*asked.Text)
	}
	var err error
	switch {
	case (asked.Lease != 0) == (asked.TTL != ""):
		return failure.Of(failure.BadRequest, nil, `the body must have one of "lease", which holds the lock, and "ttl", of a lease that is made for it`)
	case asked.Limit < 0 || asked.Limit > api.MaxLockLimit:
		return failure.Of(failure.BadRequest, nil, `the field "limit" is %d; a lock has 1 to %d holders`, asked.Limit, api.MaxLockLimit)
	case asked.Value != nil && asked.Text != nil:
		return failure.Of(failure.BadRequest, nil, `there are both "value" and "text"; choose one`)
	case len(a.Value) > api.MaxLockValueBytes:
		return failure.Of(failure.BadRequest, nil, "the value has %d bytes; that of a lock has at most %d", len(a.Value), api.MaxLockValueBytes)
	case asked.TTL != "":
		if a.TTL, err = parseTTL(`field "ttl"`, asked.TTL); err != nil {
			return err
		}
	}
	if asked.Delay != "" {
		delay, err := time.ParseDuration(asked.Delay)
		if err != nil || delay < 0 || delay > kvserver.MaxLockDelay {
			return failure.Of(failure.BadRequest, err, `the field "delay" is %.40q; it must be a duration from 0s to %v`, asked.Delay, kvserver.MaxLockDelay)
		}
		a.Delay = uint64((delay + time.Millisecond - 1) / time.Millisecond)
	}
	return nil
}

// lockRoad carries the commands of a request for a lock to the leader. What waits does so
// on this node, unless commands cannot travel alone: then the leader gets the request.
type lockRoad struct {
	x          *exchange
	mayForward bool
	body       []byte
	wait       time.Duration
}

// Carry implements kvserver.Road.
func (r *lockRoad) Carry(c kv.Command) kvserver.Remote {
	x := r.x
	forwarder := x.door.config.Forwarder
	switch {
	case !r.mayForward:
		return nil
	case forwarder == nil && c.Op == kv.OpAcquire:
		return r.whole
	case forwarder == nil:
		return nil
	}
	return func(ctx context.Context, leader string) error {
		answer, err := forwarder.Forward(ctx, leader, x.id, x.who.Token(), c)
		switch {
		case errors.Is(err, kvserver.ErrOtherRoad) && c.Op == kv.OpAcquire && r.wait == 0:
			return r.whole(ctx, leader)
		case errors.Is(err, kvserver.ErrOtherRoad):
			return failure.Of(failure.NoLeader, err, "the leader, %s, is not reached", leader)
		case err == nil && c.Op != kv.OpKeepAlive: // whose answer nobody looks at
			x.forwarded = &answer
		}
		return err
	}
}

// whole carries the request as it is.
func (r *lockRoad) whole(ctx context.Context, leader string) error {
	if r.wait > 0 { // the leader waits, for longer than requests otherwise may
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(r.x.r.Context(), r.wait+r.x.door.server.Config().RequestTimeout)
		defer cancel()
	}
	return r.x.remote(true, r.body)(ctx, leader)
}

// Queued implements kvserver.Road.
func (r *lockRoad) Queued() (lease int64, yes bool) {
	result, known := r.Result()
	return result.Lease(), known && result.Status == kv.StatusQueued
}

// Result implements kvserver.Road.
func (r *lockRoad) Result() (kv.Result, bool) {
	f := r.x.forwarded
	if f == nil || !f.Logged {
		return kv.Result{}, false
	}
	return f.Result, true
}

// serveRelease releases a lock, or leaves its queue.
func (d *Door) serveRelease(x *exchange) error {
	name, err := x.lockName()
	if err != nil {
		return err
	}
	token, held := x.query["token"]
	id, waits := x.query["lease"]
	var c kv.Command
	switch {
	case held == waits:
		return failure.Of(failure.BadRequest, nil, "name one of token, which holds the lock and releases it, and lease, which leaves the queue")
	case held:
		number, err := lockToken("parameter token", token)
		if err != nil {
			return err
		}
		c = kv.Release(name, number)
	default:
		number, err := parseLease("parameter lease", id)
		if err != nil {
			return err
		}
		c = kv.LeaveQueue(name, number, false)
	}
	if c.IdempotencyKey, err = x.idempotencyKey(); err != nil {
		return err
	}
	x.lock, x.repeatable = name, c.IdempotencyKey != ""
	if sent, err := d.redirect(x); sent || err != nil {
		return err
	}
	return x.serveOnLease(c, nil, func(x *exchange, _ string, r kv.Result) {
		x.stampNumber(api.HeaderRevision, r.Revision)
		x.answer(http.StatusNoContent, nil)
	})
}

// servePublish changes the value of a holder.
func (d *Door) servePublish(x *exchange) error {
	name, err := x.lockName()
	if err != nil {
		return err
	}
	token, err := lockToken("parameter token", x.query["token"])
	if err != nil {
		return err
	}
	key, err := x.idempotencyKey()
	if err != nil {
		return err
	}
	x.repeatable = key != ""
	length, err := x.checkLength()
	if err != nil {
		return err
	}
	if sent, err := d.redirect(x); sent || err != nil {
		return err
	}
	value, err := x.readBody(length)
	defer value.release()
	if err != nil {
		return err
	}
	c := kv.Publish(name, token, value.bytes)
	c.IdempotencyKey = key
	return x.serveOnLease(c, value.bytes, func(x *exchange, _ string, r kv.Result) {
		x.stampNumber(api.HeaderRevision, r.Revision)
		_ = x.answerJSON(http.StatusOK, api.Published{LockName: api.NameLock(name), Token: token, Revision: r.Revision})
	})
}

// serveLock shows one lock.
func (d *Door) serveLock(x *exchange) error {
	name, err := x.lockName()
	if err != nil {
		return err
	}
	token := uint64(0)
	if text, given := x.query["token"]; given {
		if token, err = lockToken("parameter token", text); err != nil {
			return err
		}
	}
	text, err := x.flag("text")
	if err != nil {
		return err
	}
	f, sent, err := x.freshness()
	if sent || err != nil {
		return err
	}
	ctx, cancel := x.context()
	defer cancel()
	l, err := d.server.Lock(ctx, &x.who, name, token, f)
	if err != nil {
		return err
	}
	x.stampConsistency(f)
	return x.answerJSON(http.StatusOK, showLock(&l, text))
}

func showLock(l *kvserver.Lock, text bool) api.Lock {
	shown := api.Lock{LockName: api.NameLock(l.Name), Limit: l.Limit, Holders: []api.LockHolder{}, Waiting: len(l.Queue)}
	for i := range l.Holders {
		h := &l.Holders[i]
		holder := api.LockHolder{Token: h.Token, Lease: h.Lease, Note: l.Notes[i]}
		if text && utf8.Valid(h.Value) {
			value := string(h.Value)
			holder.Text = &value
		} else {
			holder.Value = h.Value
		}
		shown.Holders = append(shown.Holders, holder)
	}
	return shown
}

// holders are those of the lock that the request asks for, if its caller may see them.
func (x *exchange) holders() []api.LockHolder {
	l, may := x.door.server.Holders(&x.who, x.lock)
	if !may {
		return nil
	}
	return showLock(&l, false).Holders
}

// serveLocks lists locks in the order of their names.
func (d *Door) serveLocks(x *exchange) error {
	prefix, after := x.query["prefix"], x.query["after"]
	for _, text := range []string{prefix, after} {
		if len(text) > api.MaxLockNameBytes {
			return failure.Of(failure.BadRequest, nil, "a prefix, or the name to go on behind, has %d bytes; the longest name may have %d", len(text), api.MaxLockNameBytes)
		}
	}
	limit, err := x.number("limit", 1, kvserver.MaxLockPage, 100)
	if err != nil {
		return err
	}
	text, err := x.flag("text")
	if err != nil {
		return err
	}
	f, sent, err := x.freshness()
	if sent || err != nil {
		return err
	}
	ctx, cancel := x.context()
	defer cancel()
	page, more, err := d.server.Locks(ctx, &x.who, prefix, after, int(limit), f)
	if err != nil {
		return err
	}
	x.stampConsistency(f)
	shown := api.LockPage{Locks: []api.Lock{}}
	for i := range page {
		shown.Locks = append(shown.Locks, showLock(&page[i], text))
	}
	if more {
		query := url.Values{}
		for name, value := range x.query {
			query.Set(name, value)
		}
		query.Set("after", page[len(page)-1].Name)
		shown.Next = "/v1/locks?" + query.Encode()
	}
	return x.answerJSON(http.StatusOK, shown)
}
