package httpd

import (
	"context"
	"errors"
	"strconv"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/kv"
)

// remote carries the request, whose body has been read, to the leader over HTTP; nil
// if it may not travel. The answer is kept for relay.
func (x *exchange) remote(mayForward bool, body []byte) kvserver.Remote {
	if !mayForward {
		return nil
	}
	return func(ctx context.Context, leader string) (err error) {
		x.passed = leader
		x.relayed, err = x.door.peers.forward(ctx, leader, x, body)
		return err
	}
}

// remoteWrite carries a write, whose request has this body, to the leader: as a command
// where that is possible, and over HTTP where not. The answer is kept in the exchange.
func (x *exchange) remoteWrite(mayForward bool, c kv.Command, body []byte) kvserver.Remote {
	overHTTP, forwarder := x.remote(mayForward, body), x.door.config.Forwarder
	if overHTTP == nil || forwarder == nil {
		return overHTTP
	}
	return func(ctx context.Context, leader string) error {
		x.passed = leader
		answer, err := forwarder.Forward(ctx, leader, x.id, x.who.Token(), c)
		if errors.Is(err, kvserver.ErrOtherRoad) {
			return overHTTP(ctx, leader)
		}
		if err == nil {
			x.forwarded = &answer
		}
		return err
	}
}

// answerElsewhere answers with what the leader said of a write. The client sees the
// same on either road.
func (x *exchange) answerElsewhere(c kv.Command, key string, answer answerWrite) error {
	f := x.forwarded
	if f == nil {
		x.relay()
		return nil
	}
	if f.Logged {
		x.stampReplay(c, f.Result)
	}
	if f.Refusal == nil {
		answer(x, key, f.Result)
		return nil
	}
	x.stampFailedCondition(f.Result)
	x.answerRefusal(*f.Refusal, nil)
	return nil
}

// stampFailedCondition says what the key has that a condition did not hold for.
func (x *exchange) stampFailedCondition(r kv.Result) {
	if r.Status == kv.StatusConditionFailed && r.Revision != 0 {
		x.stampItem(r.Revision, r.Version)
	}
}

// stampAnswerer says which node answers, if that is not this one.
func (x *exchange) stampAnswerer() {
	f := x.forwarded
	if f == nil {
		return
	}
	h := x.w.Header()
	h.Set(api.HeaderNode, f.Node)
	h.Set(api.HeaderLeader, f.Leader)
	h.Set(api.HeaderTerm, strconv.FormatUint(f.Term, 10))
}

// relay passes the leader's answer over HTTP on as it is.
func (x *exchange) relay() {
	a := x.relayed
	copyEndToEnd(x.w.Header(), a.header)
	x.conn.Serving()
	x.door.port.AllowWriting(x.w, len(a.body))
	x.answering(a.status, len(a.body))
	x.w.WriteHeader(a.status)
	_, _ = x.w.Write(a.body) // an error means that the client is gone
}

// mayForward reports whether the request may be passed on: one that was passed
// on may not, and is from another cluster if it does not name ours.
func (x *exchange) mayForward() (bool, error) {
	if x.r.Header.Get(api.HeaderForwarded) == "" {
		return true, nil
	}
	return false, x.door.server.CheckForwarded(x.r.Header.Get(api.HeaderCluster))
}
