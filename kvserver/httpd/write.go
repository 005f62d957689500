package httpd

import (
	"context"
	"net/http"
	"strconv"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

func (d *Door) servePut(x *exchange) error {
	return d.serveWithBody(x, kv.OpPut, answerPut)
}

func answerPut(x *exchange, key string, r kv.Result) {
	status := http.StatusOK
	if r.Created {
		status = http.StatusCreated
	}
	x.answerWritten(status, r, appendWritten(x.answerRoom(key), key, r))
}

// answerRoom returns an empty buffer for an answer that names a key.
func (x *exchange) answerRoom(key string) []byte { return make([]byte, 0, len(key)+96) }

// answerWritten answers a put or append with its result as JSON.
func (x *exchange) answerWritten(status int, r kv.Result, text []byte) {
	x.stampWritten(r)
	x.w.Header()["Content-Type"] = valueJSON
	x.answer(status, text)
}

// servePost serves the operations that are no HTTP methods: append.
func (d *Door) servePost(x *exchange) error {
	op, given := x.query["op"]
	if !given {
		return failure.Of(failure.BadRequest, nil, "POST needs the parameter op, as in ?op=append; to set a value use PUT")
	}
	if op != "append" {
		return failure.Of(failure.BadRequest, nil, "the operation %.40q is unknown; there is append", op)
	}
	return d.serveWithBody(x, kv.OpAppend, func(x *exchange, key string, r kv.Result) {
		x.answerWritten(http.StatusOK, r, appendAppended(x.answerRoom(key), key, r))
	})
}

func (d *Door) serveDelete(x *exchange) error {
	command, err := x.command(kv.OpDelete)
	if err != nil {
		return err
	}
	if sent, err := d.redirect(x); sent || err != nil {
		return err
	}
	ctx, cancel := x.context()
	defer cancel()
	if err := d.server.Wait(ctx, x.route.Class, 0); err != nil {
		return err
	}
	defer d.server.Leave(x.route.Class, 0)
	return d.serveCommand(ctx, x, command, "", func(x *exchange, _ string, r kv.Result) {
		x.stampNumber(api.HeaderRevision, r.Revision)
		deleted := uint64(0)
		if r.Deleted {
			deleted = 1
		}
		x.stampNumber(api.HeaderDeleted, deleted)
		x.answer(http.StatusNoContent, nil)
	})
}

// command makes a command of what the request says outside of its body.
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
func (d *Door) serveWithBody(x *exchange, op kv.Op, answer answerWrite) error {
	command, err := x.command(op)
	if err != nil {
		return err
	}
	length, err := x.checkLength()
	if err != nil {
		return err
	}
	if sent, err := d.redirect(x); sent || err != nil {
		return err
	}
	if err := d.server.CheckQueue(x.route.Class); err != nil {
		return err
	}
	value, err := x.readBody(length)
	defer value.release()
	if err != nil {
		return err
	}
	ctx, cancel := x.context()
	defer cancel()
	size := int64(len(value.bytes))
	if err := d.server.Wait(ctx, x.route.Class, size); err != nil {
		return err
	}
	defer d.server.Leave(x.route.Class, size)
	command.Value, command.MaxLength = value.bytes, uint64(d.maxValueBytes)
	return d.serveCommand(ctx, x, command, string(command.Key), answer)
}

// answerWrite answers a write of a key that the store has taken.
type answerWrite func(x *exchange, key string, r kv.Result)

// serveCommand takes a command through the log, here or at the leader's, and
// answers with its result or with the leader's answer.
func (d *Door) serveCommand(ctx context.Context, x *exchange, c kv.Command, key string, answer answerWrite) error {
	mayForward, err := x.mayForward()
	if err != nil {
		return err
	}
	result, elsewhere, err := d.server.Write(ctx, &x.who, c, x.remoteWrite(mayForward, c))
	switch {
	case err != nil:
		return err
	case elsewhere:
		return x.answerElsewhere(c, key, answer)
	}
	x.stampReplay(c, result)
	if result.Status != kv.StatusOK {
		return x.refusedByStore(result)
	}
	answer(x, key, result)
	return nil
}

// refusedByStore translates a result that is a refusal by the store.
func (x *exchange) refusedByStore(r kv.Result) error {
	x.stampFailedCondition(r)
	return x.door.server.RefusedByStore(r)
}

// stampReplay says what is remembered of a request with an idempotency key.
func (x *exchange) stampReplay(c kv.Command, r kv.Result) {
	if c.IdempotencyKey == "" {
		return
	}
	h := x.w.Header()
	h.Set(api.HeaderIdempotencyRetention, strconv.Itoa(kvserver.IdempotencySeconds))
	if r.Replayed {
		h.Set(api.HeaderIdempotencyReplayed, "true")
	}
}

// stampWritten sets the headers that describe what a write has made of a key:
// the change is the store's latest at that moment.
func (x *exchange) stampWritten(r kv.Result) {
	x.stampItem(r.Revision, r.Version)
	x.stampNumber(api.HeaderRevision, r.Revision)
}

// stampItem sets the headers that describe a key's present value.
func (x *exchange) stampItem(revision, version uint64) {
	x.stampETag(revision)
	x.stampNumber(api.HeaderVersion, version)
}
