package kvserver

import (
	"context"
	"net/http"
	"strconv"

	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
)

func (s *Server) servePut(x *exchange) error {
	return s.serveWithBody(x, kv.OpPut, func(key string, r kv.Result) error {
		status := http.StatusOK
		if r.Created {
			status = http.StatusCreated
		}
		x.stampItem(r.Revision, r.Version)
		return x.answerJSON(status, written(key, r))
	})
}

// servePost serves the operations that are no HTTP methods: append.
func (s *Server) servePost(x *exchange) error {
	op, given := x.query["op"]
	if !given {
		return fail(errBadRequest, nil, "POST needs the parameter op, as in ?op=append; to set a value use PUT")
	}
	if op != "append" {
		return fail(errBadRequest, nil, "the operation %.40q is unknown; there is append", op)
	}
	return s.serveWithBody(x, kv.OpAppend, func(key string, r kv.Result) error {
		x.stampItem(r.Revision, r.Version)
		return x.answerJSON(http.StatusOK, api.Appended{Written: written(key, r), Length: r.Length})
	})
}

func (s *Server) serveDelete(x *exchange) error {
	key, err := x.key()
	if err == nil {
		err = x.checkHeader()
	}
	if err == nil {
		err = x.refuseBody()
	}
	if err != nil {
		return err
	}
	if !s.writes.enter(0) {
		return tooManyWrites()
	}
	defer s.writes.leave(0)
	return s.serveCommand(x, kv.Command{Op: kv.OpDelete, Key: []byte(key)}, func(r kv.Result) error {
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

// serveWithBody serves a write whose body is its value. Everything that can be
// refused by the header is refused before the body is read, and the body is
// read whole before anything happens.
func (s *Server) serveWithBody(x *exchange, op kv.Op, answer func(key string, r kv.Result) error) error {
	key, err := x.key()
	if err == nil {
		err = x.checkHeader()
	}
	if err != nil {
		return err
	}
	length, err := x.checkLength()
	if err != nil {
		return err
	}
	if !s.writes.enter(length) {
		return tooManyWrites()
	}
	defer s.writes.leave(length)
	value, err := x.readBody(length)
	if err != nil {
		return err
	}
	command := kv.Command{Op: op, Key: []byte(key), Value: value, MaxLength: uint64(s.config.MaxValueBytes)}
	return s.serveCommand(x, command, func(r kv.Result) error { return answer(key, r) })
}

// serveCommand takes a command through the log, here or at the leader's, and
// answers with its result or with the leader's answer.
func (s *Server) serveCommand(x *exchange, c kv.Command, answer func(kv.Result) error) error {
	ctx, cancel := s.requestContext(x.r.Context())
	defer cancel()
	var relayed *relayedAnswer
	var elsewhere remote
	if x.r.Header.Get(api.HeaderForwarded) == "" {
		elsewhere = func(ctx context.Context, leader string) (err error) {
			relayed, err = s.forwarder.forward(ctx, leader, x, c)
			return err
		}
	} else if cluster := x.r.Header.Get(api.HeaderCluster); cluster != s.config.ClusterID {
		return fail(errNoLeader, nil, "the request was forwarded from cluster %.40q and node %s belongs to cluster %q", cluster, s.config.NodeID, s.config.ClusterID)
	}
	result, forwarded, err := s.write(ctx, c, elsewhere)
	switch {
	case err != nil:
		return err
	case forwarded:
		x.relay(relayed)
		return nil
	case result.Status != kv.StatusOK:
		return refused(result, s.config.MaxValueBytes)
	}
	return answer(result)
}

// refused translates a result that is a refusal by the store.
func refused(r kv.Result, limit int64) error {
	if r.Status == kv.StatusTooLong {
		return fail(errValueTooLarge, nil, "the value would have more than %d bytes", limit)
	}
	// Whatever else the store refuses was checked before it was proposed.
	return fail(errInternal, nil, "the store refused the command: %s", r.Status)
}

func tooManyWrites() error {
	return fail(errOverloaded, nil, "this node is serving as many writes as it may")
}

func written(key string, r kv.Result) api.Written {
	return api.Written{KeyName: api.NameKey(key), Revision: r.Revision, Version: r.Version}
}

// stampItem sets the headers that describe a key's present value after a write.
func (x *exchange) stampItem(revision, version uint64) {
	h := x.w.Header()
	text := strconv.FormatUint(revision, 10)
	h.Set("ETag", `"`+text+`"`)
	h.Set(api.HeaderRevision, text)
	h.Set(api.HeaderVersion, strconv.FormatUint(version, 10))
}
