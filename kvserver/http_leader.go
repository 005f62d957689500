package kvserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/raft"
)

// mostTransferBytes bounds the body of a request to transfer leadership.
const mostTransferBytes = 4 << 10

// serveTransfer hands leadership to another node. Like a write it may come to
// any node and is passed on to the leader.
func (s *Server) serveTransfer(x *exchange) error {
	body := []byte("{}") // of a request without one
	if x.r.ContentLength != 0 {
		var err error
		if body, err = x.jsonBody(mostTransferBytes); err != nil {
			return err
		}
	} else {
		x.r.Header.Set("Content-Type", api.MediaJSON) // for the leader
	}
	to, err := parseTransfer(body)
	if err != nil {
		return err
	}
	mayForward, err := x.mayForward()
	if err != nil {
		return err
	}
	ctx, cancel := s.requestContext(x.r.Context())
	defer cancel()
	patience := newPatience(s.config.LeaderWait)
	for {
		leader := string(s.config.Consensus.Status().Leader)
		switch {
		case leader == s.config.NodeID:
			err = s.transfer(ctx, to)
		case leader == "" || !mayForward:
			err = failure.Of(failure.NoLeader, nil, "node %s does not lead and knows no leader to ask", s.config.NodeID)
		default:
			var relayed *relayedAnswer
			if relayed, err = s.forwarder.forward(ctx, leader, x, body); err == nil {
				x.relay(relayed)
				return nil
			}
		}
		if err == nil {
			status := s.config.Consensus.Status()
			return x.answerJSON(http.StatusOK, api.Leader{Leader: string(status.Leader), Term: status.Term})
		}
		if !errors.Is(err, failure.NoLeader) || !mayForward || !patience.wait(ctx) {
			return err
		}
	}
}

// jsonBody reads a small body that must say that it is JSON: a form that some
// page made a browser send does not.
func (x *exchange) jsonBody(most int64) ([]byte, error) {
	media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || media != api.MediaJSON {
		return nil, failure.Of(failure.UnsupportedMedia, err, `the body must be JSON, with Content-Type: %s, as in {"to":"n2"} or {}; without a body the node that is most fit takes over`, api.MediaJSON)
	}
	if x.r.ContentLength > most {
		return nil, failure.Of(failure.ValueTooLarge, nil, "the body has %d bytes; the limit is %d", x.r.ContentLength, most)
	}
	x.allowReading(0)
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, most))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, failure.Of(failure.ValueTooLarge, err, "the body has more than %d bytes, the limit", most)
	}
	if err != nil {
		return nil, failure.Of(failure.BadRequest, err, "the body ended after %d bytes, before it was complete", len(body))
	}
	connOf(x.r).serving()
	return body, nil
}

// parseTransfer reads an api.Transfer: one object, no field that is unknown or
// there twice, and nothing behind it.
func parseTransfer(body []byte) (to raft.ID, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	token, err := d.Token()
	for given := false; err == nil && d.More(); given = true {
		var name json.Token
		var value string
		if name, err = d.Token(); err == nil && (given || name != "to") {
			err = errors.New(`the only field is "to"`)
		}
		if err == nil {
			err = d.Decode(&value)
		}
		to = raft.ID(value)
	}
	if err == nil {
		_, err = d.Token()
	}
	if _, trailing := d.Token(); err != nil || token != json.Delim('{') || trailing != io.EOF {
		return "", failure.Of(failure.BadRequest, err, `the body must be an object such as {"to":"n2"}, or {} for whoever is most fit`)
	}
	return to, nil
}

// transfer hands leadership from this node to another and waits a moment until
// it is known that the other leads.
func (s *Server) transfer(ctx context.Context, to raft.ID) error {
	if string(to) == s.config.NodeID {
		return nil // it leads
	}
	var others []raft.ID
	for _, peer := range s.config.Consensus.Status().Peers {
		others = append(others, peer.ID)
	}
	switch {
	case len(others) == 0:
		return failure.Of(failure.BadRequest, nil, "there is no other node to lead")
	case to != "" && !slices.Contains(others, to):
		return failure.Of(failure.BadRequest, nil, "%.40q is not a node of this cluster; beside the leader, %s, there are %v", to, s.config.NodeID, others)
	}
	err := s.config.Consensus.Transfer(ctx, to)
	switch {
	case err == nil:
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrTransferring):
		return failure.Of(failure.NoLeader, err, "leadership is just changing")
	case errors.Is(err, raft.ErrNobodyElse):
		return failure.Of(failure.BadRequest, err, "no other node can lead now; leadership stays with %s", s.config.NodeID)
	case errors.Is(err, raft.ErrTransferFailed):
		return failure.Of(failure.Timeout, err, "leadership was not taken over in time; node %s leads on for now", s.config.NodeID)
	case errors.Is(err, raft.ErrStopped), s.machine.Stopping():
		return failure.Of(failure.StoppingUnknown, err, "this node stopped meanwhile; leadership may have been handed over")
	case ctx.Err() != nil:
		return failure.Of(failure.Timeout, err, "leadership was not taken over in time; it may still be")
	default:
		return failure.Of(failure.BadRequest, err, "%.40q cannot lead", to)
	}
	patience := newPatience(s.config.LeaderWait)
	for {
		leader := string(s.config.Consensus.Status().Leader)
		if leader != "" && leader != s.config.NodeID || !patience.wait(ctx) {
			return nil
		}
	}
}
