package kvserver

import (
	"net/http"
	"strings"

	"raftkv/kvserver/failure"
)

// redirect sends a client to the leader that asks for that with ?redirect, in
// place of being served through this node. It returns false if the request is
// to be served here.
func (s *Server) redirect(x *exchange) (sent bool, err error) {
	asked, err := x.flag("redirect")
	if !asked || err != nil {
		return false, err
	}
	ctx, cancel := s.requestContext(x.r.Context())
	defer cancel()
	patience := newPatience(s.config.LeaderWait)
	for {
		leader := string(s.config.Consensus.Status().Leader)
		if leader == s.config.NodeID {
			return false, nil
		}
		if address := s.addressOf(leader); address != "" {
			u := *x.r.URL
			u.Scheme, u.Host, u.User = "http", address, nil
			u.Path, u.RawPath = x.r.URL.Path, keepDots(x.r.URL.EscapedPath())
			x.w.Header().Set("Location", u.String())
			x.answer(http.StatusTemporaryRedirect, nil)
			return true, nil
		}
		if !patience.wait(ctx) {
			if s.machine.Stopping() {
				return false, failure.NodeStopping(nil)
			}
			return false, failure.Of(failure.NoLeader, nil, "no leader is known to send the request to")
		}
	}
}

// addressOf returns where a node takes clients, "" if that is not known.
func (s *Server) addressOf(id string) string {
	if id == "" {
		return ""
	}
	return s.config.ClientAddr(id)
}

// keepDots percent-encodes the dots of a path's segments that are nothing but
// dots: in a key they are bytes like others, and a client that follows a link
// would take them for directions.
func keepDots(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if segment == "." || segment == ".." {
			segments[i] = strings.ReplaceAll(segment, ".", "%2E")
		}
	}
	return strings.Join(segments, "/")
}
