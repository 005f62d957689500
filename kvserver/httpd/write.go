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
	return d.serveWithBody(x, kv.OpPut, func(key string, r kv.Result) error {
		status := http.StatusOK
		if r.Created {
			status = http.StatusCreated
		}
		x.stampWritten(r)
		return x.answerJSON(status, written(key, r))
	})
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
	return d.serveWithBody(x, kv.OpAppend, func(key string, r kv.Result) error {
		x.stampWritten(r)
		return x.answerJSON(http.StatusOK, api.Appended{Written: written(key, r), Length: r.Length})
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
	return d.serveCommand(ctx, x, command, func(r kv.Result) error {
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
func (d *Door) serveWithBody(x *exchange, op kv.Op, answer func(key string, r kv.Result) error) error {
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
	return d.serveCommand(ctx, x, command, func(r kv.Result) error { return answer(string(command.Key), r) })
}

// serveCommand takes a command through the log, here or at the leader's, and
// answers with its result or with the leader's answer.
func (d *Door) serveCommand(ctx context.Context, x *exchange, c kv.Command, answer func(kv.Result) error) error {
	mayForward, err := x.mayForward()
	if err != nil {
		return err
	}
	result, elsewhere, err := d.server.Write(ctx, c, x.remoteWrite(mayForward, c))
	switch {
	case err != nil:
		return err
	case elsewhere:
		return x.answerElsewhere(c, answer)
	}
	x.stampReplay(c, result)
	if result.Status != kv.StatusOK {
		return x.refusedByStore(result)
	}
	return answer(result)
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
