package httpd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"raftkv/kvserver"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/membership"
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

// atLeader serves a request where the leader is: here writes the answer, and another
// node's is passed on. Since the caller's rights were decided, the body was read and a leader
// was waited for. So the leader decides once more, by the newest table of identities.
func (x *exchange) atLeader(body []byte, here func(context.Context, *membership.Driver) error) error {
	ctx, cancel := x.context()
	defer cancel()
	return x.atLeaderIn(ctx, body, here)
}

// atLeaderIn is atLeader in a context of its own.
func (x *exchange) atLeaderIn(ctx context.Context, body []byte, here func(context.Context, *membership.Driver) error) error {
	driver, err := x.door.server.Members()
	if err != nil {
		return err
	}
	mayForward, err := x.mayForward()
	if err != nil {
		return err
	}
	elsewhere, err := x.door.server.AtLeader(ctx, func(ctx context.Context) error {
		if x.route.Right != auth.Open { // a server that joins has a token of another kind
			if err := x.door.server.Confirm(ctx, &x.who, x.route.Right); err != nil {
				return err
			}
		}
		return here(ctx, driver)
	}, x.remote(mayForward, body))
	if err == nil && elsewhere {
		x.relay()
	}
	return err
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

// relay passes the leader's answer over HTTP on. The leader has told this node, which it knows,
// more than a caller may hear that is told nothing of the cluster.
func (x *exchange) relay() {
	a, h := x.relayed, x.w.Header()
	copyEndToEnd(h, a.header)
	if isRefusedToCaller(a.status, a.header) {
		x.keepSilent()
	}
	body := a.body
	if x.silent {
		unstampNode(h)
		h[api.HeaderRequestID] = x.idHeader()
		if body = hideInProblem(a, x.id); h["Content-Length"] != nil {
			h.Set("Content-Length", strconv.Itoa(len(body)))
		}
	}
	if x.conn.MustEnd() {
		h["Connection"] = valueClose
	}
	x.conn.Serving()
	x.door.port.AllowWriting(x.w, len(body))
	x.answering(a.status, len(body))
	x.w.WriteHeader(a.status)
	x.write(body)
}

// hideInProblem returns the body of an answer without the node, the leader and the term, which
// stand in it if it is a problem.
func hideInProblem(a *relayedAnswer, requestID string) []byte {
	var p api.Problem
	if a.status < http.StatusBadRequest || json.Unmarshal(a.body, &p) != nil {
		return a.body
	}
	p.Node, p.Leader, p.Term, p.RequestID = "", "", 0, requestID
	p.Detail = cmp.Or(failure.Unnamed(failure.OfAnswer(p.Code, p.Outcome).Err), p.Detail)
	return encodeProblem(p)
}

// isOfNode reports whether an answer is one of a node. While the tables of two nodes differ for
// a moment, the leader takes the request for that of a stranger, to whom it names no node.
func isOfNode(status int, h http.Header) bool {
	return h.Get(api.HeaderNode) != "" || h.Get(api.HeaderRequestID) != "" || isRefusedToCaller(status, h)
}

// isRefusedToCaller reports whether a node has answered that it does not know the caller, or
// that the caller may not do this. Such an answer names no node; what gives it has done nothing.
func isRefusedToCaller(status int, h http.Header) bool {
	said := h.Get(api.HeaderError)
	return status == http.StatusUnauthorized && said == failure.KindOf(failure.Unauthenticated).Header() ||
		status == http.StatusForbidden && said == failure.KindOf(failure.Denied).Header()
}

// mayForward reports whether the request may be passed on: one that was passed
// on may not, and is from another cluster if it does not name ours.
func (x *exchange) mayForward() (bool, error) {
	if x.r.Header.Get(api.HeaderForwarded) == "" {
		return true, nil
	}
	return false, x.door.server.CheckForwarded(x.r.Header.Get(api.HeaderCluster))
}
