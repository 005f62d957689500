package httpd

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/txn"
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

// appendPrev adds what was there before to an answer that ends with a brace and the end
// of the line, if the request has asked for it.
func appendPrev(b []byte, r kv.Result) []byte {
	if r.Outcome == nil {
		return b
	}
	b = b[:len(b)-len("}\n")]
	if r.Outcome.Dropped {
		return append(b, `,"reads_dropped":true}`+"\n"...)
	}
	b = r.Outcome.Results[0].AppendPrev(append(b, `,"prev":`...), false)
	return append(b, "}\n"...)
}

// answerRoom returns an empty buffer for an answer that names a key.
func (x *exchange) answerRoom(key string) []byte { return make([]byte, 0, len(key)+96) }

// answerWritten answers a put or append with its result as JSON.
func (x *exchange) answerWritten(status int, r kv.Result, text []byte) {
	x.stampWritten(r)
	x.w.Header()["Content-Type"] = valueJSON
	x.answer(status, appendPrev(text, r))
}

// servePost serves the operations that are no HTTP methods: append and touch.
func (d *Door) servePost(x *exchange) error {
	op, given := x.query["op"]
	if !given {
		return failure.Of(failure.BadRequest, nil, "POST needs the parameter op, as in ?op=append; to set a value use PUT")
	}
	switch op {
	case "append":
	case "touch":
		return d.serveTouch(x)
	default:
		return failure.Of(failure.BadRequest, nil, "the operation %.40q is unknown; there are append and touch", op)
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
	if sent, err := d.redirectCommand(x, &command); sent || err != nil {
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
		if r.Outcome != nil {
			x.answerDeleted(deleted, r)
			return
		}
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
	if err == nil {
		c.Previous, err = x.flag("prev")
	}
	if err == nil {
		c.Tie, err = x.tie(op)
	}
	if err == nil {
		c.Guard, err = x.guard()
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
	if sent, err := d.redirectCommand(x, &command); sent || err != nil {
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
	return d.serveCommandWith(ctx, x, c, x.body.bytes, key, answer)
}

// serveCommandWith is serveCommand for a request whose body is not the command's value.
func (d *Door) serveCommandWith(ctx context.Context, x *exchange, c kv.Command, body []byte, key string, answer answerWrite) error {
	mayForward, err := x.mayForward()
	if err != nil {
		return err
	}
	result, elsewhere, err := d.server.Write(ctx, &x.who, c, &x.place, x.remoteWrite(mayForward, c, body))
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

// txnPath is where transactions are sent to.
const txnPath = "/v1/txn"

// answerDeleted answers the removal of keys with their number as JSON.
func (x *exchange) answerDeleted(deleted uint64, r kv.Result) {
	b := strconv.AppendUint([]byte(`{"deleted":`), deleted, 10)
	b = strconv.AppendUint(append(b, `,"revision":`...), r.Revision, 10)
	if r.Outcome.Results[0].More {
		b = append(b, `,"more":true`...)
	}
	b = append(b, "}\n"...)
	if r.Outcome.Results[0].HasPrev {
		b = appendPrev(b, r)
	}
	x.w.Header()["Content-Type"] = valueJSON
	x.answer(http.StatusOK, b)
}

// serveDeleteRange removes the keys of a range, all of them in one change.
func (d *Door) serveDeleteRange(x *exchange) error {
	span, err := x.deleteRange()
	if err != nil {
		return err
	}
	command := kv.DeleteRangeCommand(&span, api.MaxTxnResultBytes)
	if command.IdempotencyKey, err = x.idempotencyKey(); err != nil {
		return err
	}
	if command.Previous, err = x.flag("prev"); err != nil {
		return err
	}
	if command.Guard, err = x.guard(); err != nil {
		return err
	}
	x.repeatable = command.IdempotencyKey != ""
	if sent, err := d.redirectCommand(x, &command); sent || err != nil {
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
		x.stampNumber(api.HeaderDeleted, r.Outcome.Results[0].Deleted)
		x.answerDeleted(r.Outcome.Results[0].Deleted, r)
	})
}

// deleteRange reads what a DELETE of a range is about. The whole store, and everything
// from a key on, must be asked for by name.
func (x *exchange) deleteRange() (span txn.DeleteRange, err error) {
	prefix, ofPrefix := x.query["prefix"]
	from, begins := x.query["from"]
	to, ends := x.query["to"]
	all, err := x.flag("all")
	if err == nil {
		span.Partial, err = x.flag("partial")
	}
	if err != nil {
		return span, err
	}
	for _, text := range []string{prefix, from, to} {
		if err := kvserver.CheckKeyLength("prefix or bound", text); err != nil {
			return span, err
		}
	}
	if ofPrefix == (begins || ends) {
		return span, failure.Of(failure.BadRequest, nil, "say what to delete: prefix, or from and to")
	}
	span.From, span.To = from, to
	if ofPrefix {
		s := txn.Prefix(prefix)
		span.From, span.To = s.From, s.To
	}
	if open := prefix == "" && to == ""; open && !all {
		return span, failure.Of(failure.BadRequest, nil, "this would delete all keys from %.40q to the last; add all=true if that is meant", span.From)
	}
	if _, span.Guarded = x.query["at_most"]; span.Guarded {
		span.AtMost, err = x.number("at_most", 0, txn.MaxKeys, 0)
	}
	return span, err
}

// serveTxn serves a transaction: through the log, or like a read if it has no write.
func (d *Door) serveTxn(x *exchange) error {
	strict, err := x.flag("strict")
	if err != nil {
		return err
	}
	text, err := x.flag("text")
	if err != nil {
		return err
	}
	guard, err := x.guard()
	if err != nil {
		return err
	}
	key, err := x.idempotencyKey()
	if err != nil {
		return err
	}
	x.repeatable = key != ""
	// What it needs stands in the body. Where that counts, a caller without it is not told
	// where the leader is.
	decides := d.server.Gate().State() != auth.Off
	if !decides {
		if sent, err := d.redirect(x); sent || err != nil {
			return err
		}
	}
	t, release, err := x.readTxn(strict)
	defer release()
	if err != nil {
		return err
	}
	if d.server.Gate().Audit() != nil {
		x.needs = kvserver.NeedsOf(t)
	}
	if err := d.server.AllowTxn(&x.who, t); err != nil {
		return err
	}
	if decides {
		if sent, err := d.redirect(x); sent || err != nil {
			return err
		}
	}
	ctx, cancel := x.context()
	defer cancel()
	if !t.Writes() {
		outcome, revision, err := d.server.ReadTxn(ctx, &x.who, t, guard, api.MaxTxnResultBytes)
		if err != nil {
			return err
		}
		return x.answerTxn(outcome, revision, strict, text)
	}
	command := kv.TxnCommand(t, api.MaxTxnResultBytes)
	command.Guard, command.IdempotencyKey, command.MaxLength = guard, key, uint64(d.maxValueBytes)
	size := int64(len(x.body.bytes))
	if err := d.server.Wait(ctx, x.route.Class, size); err != nil {
		return err
	}
	defer d.server.Leave(x.route.Class, size)
	var refused error
	if err := d.serveCommand(ctx, x, command, "", func(x *exchange, _ string, r kv.Result) {
		refused = x.answerTxn(r.Outcome, r.Revision, strict, text)
	}); err != nil {
		return err
	}
	return refused
}

// readTxn reads the body of a transaction. release gives back the memory for it.
func (x *exchange) readTxn(strict bool) (t *txn.Txn, release func(), err error) {
	release = x.body.release
	x.body.budget = x.door.server.Bodies()
	if err := x.checkJSON(`{"if":[{"key":"a","revision":17}],"then":[{"op":"put","key":"a","text":"x"}]}`); err != nil {
		return nil, release, err
	}
	length, err := x.checkLength()
	if err != nil {
		return nil, release, err
	}
	if err := x.door.server.CheckQueue(x.route.Class); err != nil {
		return nil, release, err
	}
	if _, err := x.readBody(length); err != nil {
		return nil, release, err
	}
	t, err = txn.Parse(x.body.bytes)
	switch {
	case errors.Is(err, txn.ErrTooLarge):
		return nil, release, failure.Of(failure.TxnTooLarge, err, "%s", txn.Sentence(err))
	case err != nil:
		return nil, release, failure.Of(failure.BadRequest, err, "the transaction cannot be: %s", txn.Sentence(err))
	case strict && len(t.Else) > 0:
		return nil, release, failure.Of(failure.BadRequest, nil, "strict refuses a transaction whose compares do not hold, and this one has operations for that case (else); send one of the two")
	}
	return t, release, nil
}

// answerTxn answers with an outcome. If the request is strict, an outcome that has not
// succeeded is a refusal.
func (x *exchange) answerTxn(o *txn.Outcome, revision uint64, strict, text bool) error {
	if strict && !o.Succeeded {
		return failure.Of(failure.Precondition, nil, "compare %d does not hold, and nothing was done", o.Failed)
	}
	x.stampNumber(api.HeaderRevision, revision)
	x.w.Header()["Content-Type"] = valueJSON
	x.answer(http.StatusOK, append(o.AppendJSON(nil, revision, text), '\n'))
	return nil
}
