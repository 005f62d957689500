package kvserver

import (
	"context"
	"net/http"
	"strconv"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

func (s *Server) servePut(x *exchange) error {
	return s.serveWithBody(x, kv.OpPut, func(key string, r kv.Result) error {
		status := http.StatusOK
		if r.Created {
			status = http.StatusCreated
		}
		x.stampWritten(r)
		return x.answerJSON(status, written(key, r))
	})
}

// servePost serves the operations that are no HTTP methods: append.
func (s *Server) servePost(x *exchange) error {
	op, given := x.query["op"]
	if !given {
		return failure.Of(failure.BadRequest, nil, "POST needs the parameter op, as in ?op=append; to set a value use PUT")
	}
	if op != "append" {
		return failure.Of(failure.BadRequest, nil, "the operation %.40q is unknown; there is append", op)
	}
	return s.serveWithBody(x, kv.OpAppend, func(key string, r kv.Result) error {
		x.stampWritten(r)
		return x.answerJSON(http.StatusOK, api.Appended{Written: written(key, r), Length: r.Length})
	})
}

func (s *Server) serveDelete(x *exchange) error {
	command, err := x.command(kv.OpDelete)
	if err != nil {
		return err
	}
	if sent, err := s.redirect(x); sent || err != nil {
		return err
	}
	ctx, cancel := s.requestContext(x.r.Context())
	defer cancel()
	// Deletes have room of their own: they are what helps a store that is full.
	if !s.deletes.wait(ctx, 0) {
		return s.refusedEntry(ctx, &s.deletes, "deletes")
	}
	defer s.deletes.leave(0)
	return s.serveCommand(ctx, x, command, func(r kv.Result) error {
		h := x.w.Header()
		h.Set(api.HeaderRevision, strconv.FormatUint(r.Revision, 10))
		h.Set(api.HeaderDeleted, "0")
		if r.Deleted {
			h.Set(api.HeaderDeleted, "1")
		}
		x.answer(http.StatusNoContent, nil)
		return nil
	})
}

// command makes a command of what the request says beside its body.
func (x *exchange) command(op kv.Op) (c kv.Command, err error) {
	key, err := x.key()
	if err == nil {
		c.Condition, err = x.condition()
	}
	if err == nil {
		c.IdempotencyKey, err = x.idempotencyKey()
	}
	c.Op, c.Key = op, []byte(key)
	x.repeatable = c.IdempotencyKey != ""
	return c, err
}

// serveWithBody serves a write whose body is its value. Everything that can be
// refused by the header is refused before the body is read, and the body is
// read whole before anything happens: a client that sends slowly takes no room
// from others.
func (s *Server) serveWithBody(x *exchange, op kv.Op, answer func(key string, r kv.Result) error) error {
	command, err := x.command(op)
	if err != nil {
		return err
	}
	length, err := x.checkLength()
	if err != nil {
		return err
	}
	if sent, err := s.redirect(x); sent || err != nil {
		return err
	}
	if s.writes.full() {
		return s.queueFull(&s.writes, "writes")
	}
	value, err := x.readBody(length)
	defer value.release()
	if err != nil {
		return err
	}
	ctx, cancel := s.requestContext(x.r.Context())
	defer cancel()
	size := int64(len(value.bytes))
	if err := s.admitWrite(ctx, size); err != nil {
		return err
	}
	defer s.writes.leave(size)
	command.Value, command.MaxLength = value.bytes, uint64(s.config.MaxValueBytes)
	return s.serveCommand(ctx, x, command, func(r kv.Result) error { return answer(string(command.Key), r) })
}

// mostApplyLag is how many committed entries the store may be behind the log
// before writes are refused: what is admitted then would only wait.
const mostApplyLag = 1 << 14

// admitWrite lets a put or append in, or says why not.
func (s *Server) admitWrite(ctx context.Context, bytes int64) error {
	if lag := s.machine.ApplyLag(); lag > mostApplyLag {
		return s.lagsBehind(lag)
	}
	if !s.writes.wait(ctx, bytes) {
		return s.refusedEntry(ctx, &s.writes, "writes")
	}
	return nil
}

// refusedEntry says why a request was not admitted.
func (s *Server) refusedEntry(ctx context.Context, a *admission, what string) error {
	if s.machine.Stopping() {
		return failure.NodeStopping(context.Cause(ctx))
	}
	return s.tooMany(a, what)
}

// serveCommand takes a command through the log, here or at the leader's, and
// answers with its result or with the leader's answer.
func (s *Server) serveCommand(ctx context.Context, x *exchange, c kv.Command, answer func(kv.Result) error) error {
	mayForward, err := x.mayForward()
	if err != nil {
		return err
	}
	var relayed *relayedAnswer
	var elsewhere remote
	if mayForward {
		elsewhere = func(ctx context.Context, leader string) (err error) {
			relayed, err = s.forwarder.forward(ctx, leader, x, c.Value)
			return err
		}
	}
	result, forwarded, err := s.write(ctx, c, elsewhere)
	switch {
	case err != nil:
		return err
	case forwarded:
		x.relay(relayed)
		return nil
	}
	x.stampReplay(c, result)
	if result.Status != kv.StatusOK {
		return x.refused(result)
	}
	return answer(result)
}

// mayForward reports whether the request may be passed on: one that was passed
// on may not, and is from another cluster if it does not name ours.
func (x *exchange) mayForward() (bool, error) {
	if x.r.Header.Get(api.HeaderForwarded) == "" {
		return true, nil
	}
	c := x.server.config
	if cluster := x.r.Header.Get(api.HeaderCluster); cluster != c.ClusterID {
		return false, failure.Of(failure.NoLeader, nil, "the request was forwarded from cluster %.40q and node %s belongs to cluster %q", cluster, c.NodeID, c.ClusterID)
	}
	return false, nil
}

// refused translates a result that is a refusal by the store.
func (x *exchange) refused(r kv.Result) error {
	switch r.Status {
	case kv.StatusConditionFailed:
		if r.Revision == 0 {
			return failure.Of(failure.Precondition, nil, "the condition does not hold: there is no such key")
		}
		x.stampItem(r.Revision, r.Version)
		return failure.Of(failure.Precondition, nil, "the condition does not hold: the key has revision %d", r.Revision)
	case kv.StatusTooLong:
		return x.server.growsTooLarge()
	case kv.StatusQuota:
		return x.server.storeFull()
	case kv.StatusIdempotencyMismatch:
		return failure.Of(failure.IdempotencyMismatch, nil, "another request was made with this %s", api.HeaderIdempotencyKey)
	case kv.StatusIdempotencyFull:
		return failure.Of(failure.IdempotencyFull, nil, "the table of idempotency keys is full (limit %d), and none of them is older than %d s; retry later, or write without an %s",
			kv.MaxIdempotencyRecords, idempotencySeconds, api.HeaderIdempotencyKey)
	}
	// Whatever else the store refuses was checked before it was proposed.
	return failure.Of(failure.Internal, nil, "the store refused the command: %s", r.Status)
}

// idempotencySeconds is how long an answer is remembered.
const idempotencySeconds = kv.IdempotencyWindow / 1000

// stampReplay says what is remembered of a request with an idempotency key.
func (x *exchange) stampReplay(c kv.Command, r kv.Result) {
	if c.IdempotencyKey == "" {
		return
	}
	h := x.w.Header()
	h.Set(api.HeaderIdempotencyRetention, strconv.Itoa(idempotencySeconds))
	if r.Replayed {
		h.Set(api.HeaderIdempotencyReplayed, "true")
	}
}

func written(key string, r kv.Result) api.Written {
	return api.Written{KeyName: api.NameKey(key), Revision: r.Revision, Version: r.Version}
}

// stampWritten sets the headers that describe what a write has made of a key:
// the change is the store's latest at that moment.
func (x *exchange) stampWritten(r kv.Result) {
	x.stampItem(r.Revision, r.Version)
	x.w.Header().Set(api.HeaderRevision, strconv.FormatUint(r.Revision, 10))
}

// stampItem sets the headers that describe a key's present value.
func (x *exchange) stampItem(revision, version uint64) {
	h := x.w.Header()
	h.Set("ETag", `"`+strconv.FormatUint(revision, 10)+`"`)
	h.Set(api.HeaderVersion, strconv.FormatUint(version, 10))
}
