package host

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/membership"
	"raftkv/raft/core"
	"raftkv/raft/levels"
	"raftkv/raft/members"
	"raftkv/raft/wire"
)

// Join says how a node becomes a member of a cluster that runs.
type Join struct {
	// Addresses are those of nodes of the cluster; any will do. They are of client ports,
	// https://host:port for TLS, or of peer ports, peer:host:port, where a certificate lets
	// the node in.
	Addresses []string
	Token     string
	Role      string  // "": a learner, which is promoted
	Replaces  core.ID // the voter whose place it takes; None: nobody's
}

// A question to join takes joinTimeout at most; after an answer that may change the node
// asks again after joinPause, more or less.
const (
	joinTimeout = 15 * time.Second
	joinPause   = time.Second
	maxJoinBody = 64 << 10
)

// A server that is to take the place of a voter asks for it for holderPatience, or
// holderTimeouts election timeouts if that is longer, while the voter is said to be alive. By
// then a leader has seen the silence of one that is lost. One that is not must not lose its
// place to a server that was left running, when it is silent for a while much later.
// The time begins anew behind holderGap without that answer: then there may be a new leader,
// which has not seen any silence yet.
const (
	holderPatience = 30 * time.Second
	holderTimeouts = 30
	holderGap      = 5 * time.Second
)

// askedInVain remembers since when a server has been told that the voter whose place it is to
// take is alive, and when it was told that last.
type askedInVain struct{ since, last time.Time }

// tooLong takes an answer in, and reports whether the voter has been alive for as long as the
// server may ask.
func (a *askedInVain) tooLong(answer error, now time.Time, electionTimeout time.Duration) bool {
	if alive := (*holderAlive)(nil); !errors.As(answer, &alive) {
		return false
	}
	if now.Sub(a.last) > holderGap {
		a.since = now
	}
	a.last = now
	return now.Sub(a.since) >= max(holderPatience, holderTimeouts*electionTimeout)
}

// holderAlive is a refusal because the voter whose place the server is to take is alive.
type holderAlive struct{ error }

// Joins reports whether the node has to join a cluster that runs before it can serve: it is
// made to, and its log knows of no members. It belongs between New and Start, like
// SetJoinToken.
func (n *Node) Joins() bool { return len(n.config.Join.Addresses) > 0 && !n.hasRecord }

// SetJoinToken gives the node the token with which it joins.
func (n *Node) SetJoinToken(token string) { n.config.Join.Token = token }

// Driver returns what changes the members, where this node leads.
func (n *Node) Driver() *membership.Driver { return n.driver }

// startJoining lets a node that is in no configuration yet join, while it listens already:
// the leader dials it back before it adds it.
func (n *Node) startJoining() {
	if !n.Joins() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-n.raft.Stopping():
		case <-ctx.Done():
		}
		cancel()
	}()
	go func() {
		defer cancel()
		if err := n.join(ctx); err != nil && ctx.Err() == nil {
			n.raft.Fail(err)
		}
	}()
}

// join asks the nodes, one after the other and again and again, until one of them has let
// this node in. The error says that asking again is no use.
func (n *Node) join(ctx context.Context) error {
	var vain askedInVain
	for ctx.Err() == nil {
		for _, address := range n.config.Join.Addresses {
			if n.isMember() {
				return nil
			}
			joined, err := n.askToJoin(ctx, address)
			switch {
			case n.isMember():
				return nil // the answer is about a question that is settled
			case err == nil:
				return n.joined(joined)
			}
			if final := (*refusedForGood)(nil); errors.As(err, &final) || vain.tooLong(err, time.Now(), n.config.ElectionTimeout) {
				return fmt.Errorf("node %s may not join cluster %s: %w", n.config.ID, n.config.ClusterID, err)
			}
			if ctx.Err() == nil {
				n.logger.Warn("this node could not join yet; it asks again", "asked", address, "error", err)
			}
		}
		select {
		case <-time.After(joinPause/2 + rand.N(joinPause)):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// isMember reports whether the record in this node's log names its directory as a member's.
// After a restart the leader may have sent that record before a node answers the question to
// join.
func (n *Node) isMember() bool {
	r := n.driver.Configurations().Newest.Record
	if r == nil {
		return false
	}
	m := r.Member(n.config.ID)
	return m != nil && m.Incarnation == members.Incarnation(n.directory.Life().Incarnation)
}

// joined takes in what a member has said: from now on the node belongs to that cluster,
// and takes what its leader sends.
func (n *Node) joined(j api.Joined) error {
	raw, err := hex.DecodeString(j.UID)
	var uid core.UID
	if err != nil || len(raw) != len(uid) || j.Generation == 0 {
		return fmt.Errorf("the answer to joining names the cluster %q of generation %d, which cannot be", j.UID, j.Generation)
	}
	copy(uid[:], raw)
	n.transport.SetMembers(wire.Members{Generation: j.Generation, Level: j.Level})
	if err := n.learn(uid); err != nil {
		return err
	}
	n.logger.Info("this node is a member now, and fetches the state", "version", j.Version, "uid", j.UID)
	return nil
}

// peerJoin answers a server that asks to join by the peer port, where it has shown the
// certificate of from, and notes that in the audit.
func (n *Node) peerJoin(ctx context.Context, from members.ID, body []byte) []byte {
	audit, begun := n.config.Access.Audit, time.Now()
	var answer api.PeerJoined
	if err := audit.Reserve(); err != nil {
		answer.Refused, answer.Code = err.Error(), api.CodeAuditUnavailable
		text, err := json.Marshal(answer)
		if err != nil {
			return nil // strings can be encoded
		}
		return text
	}
	text, outcome, code := n.driver.PeerJoin(ctx, from, body)
	line := access.Line{Time: begun, Node: string(n.config.ID), Remote: "peer " + string(from), Action: "join", Key: string(from), Outcome: string(outcome), Code: string(code)}
	line.TookMs = float64(time.Since(begun).Microseconds()) / 1000
	audit.Put(line)
	return text
}

// refusedForGood is a refusal that asking again does not change.
type refusedForGood struct{ error }

// askToJoin asks one node.
func (n *Node) askToJoin(ctx context.Context, address string) (joined api.Joined, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	known, _ := levels.Of(n.config.LevelMax) // checked by New
	incarnation := n.directory.Life().Incarnation
	peer, byPeerPort := strings.CutPrefix(address, peerPrefix)
	body, err := json.Marshal(api.Join{
		Token: n.config.Join.Token, ID: string(n.config.ID), Incarnation: hex.EncodeToString(incarnation[:]), Peer: n.peerAddress(), HTTP: n.clientAddress(),
		LevelMin: known.Min, LevelMax: known.Max, Role: n.config.Join.Role, Replaces: string(n.config.Join.Replaces),
	})
	if err != nil {
		return joined, err
	}
	if byPeerPort {
		return n.askPeerToJoin(ctx, peer, body, true)
	}
	status, text, err := n.call(ctx, http.MethodPost, address, "/v1/join", body)
	if err != nil {
		return joined, err
	}
	if status == http.StatusOK {
		return joined, json.Unmarshal(text, &joined)
	}
	var problem api.Problem
	if err := json.Unmarshal(text, &problem); err != nil {
		return joined, fmt.Errorf("%s answers with status %d", address, status)
	}
	return joined, refused(problem.Detail, problem.Code)
}

// refused makes an error of a refusal.
func refused(detail string, code api.Code) error {
	err := fmt.Errorf("%s (%s)", detail, code)
	switch code {
	case api.CodeJoinRefused, api.CodeIDTaken, api.CodeAddressTaken, api.CodeLevelTooLow, api.CodeBadRequest:
		return &refusedForGood{err}
	case api.CodePreconditionFailed:
		return &holderAlive{err}
	}
	return err
}

// peerPrefix begins an address of Join that is one of a peer port.
const peerPrefix = "peer:"

// askPeerToJoin asks a node at its peer port, and then the leader that it names.
func (n *Node) askPeerToJoin(ctx context.Context, address string, body []byte, follow bool) (joined api.Joined, err error) {
	text, err := n.transport.AskToJoin(ctx, address, body)
	if err != nil {
		return joined, err
	}
	var answer api.PeerJoined
	switch err := json.Unmarshal(text, &answer); {
	case err != nil:
		return joined, fmt.Errorf("%s gives an answer that is not understood: %w", address, err)
	case answer.Joined != nil:
		return *answer.Joined, nil
	case answer.Leader != "" && follow:
		return n.askPeerToJoin(ctx, answer.Leader, body, false)
	case answer.Leader != "":
		return joined, fmt.Errorf("%s does not lead any more, and names %s", address, answer.Leader)
	}
	return joined, refused(answer.Refused, answer.Code)
}

// call sends a request to the client port of a node. The address begins with https:// where
// that speaks TLS. One that cannot be one is refused for good.
func (n *Node) call(ctx context.Context, method, address, path string, body []byte) (status int, text []byte, err error) {
	host, secret := strings.CutPrefix(address, "https://")
	request, err := http.NewRequestWithContext(ctx, method, "http://"+host+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, &refusedForGood{err}
	}
	if body != nil {
		request.Header.Set("Content-Type", api.MediaJSON)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return n.dialClients(ctx, secure.Called{Address: address, Secret: secret})
	}}}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	text, err = io.ReadAll(io.LimitReader(response.Body, maxJoinBody))
	return response.StatusCode, text, err
}

// clientURL returns where a node that was met takes clients, in the form of Join.Addresses;
// "" if it has not said it.
func clientURL(s *wire.Shown) string {
	address := s.Address(wire.AddressHTTP)
	if address != "" && s.ClientTLS {
		return "https://" + address
	}
	return address
}
