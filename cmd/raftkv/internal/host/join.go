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
	"raftkv/kvserver/api"
	"raftkv/kvserver/membership"
	"raftkv/raft/core"
	"raftkv/raft/levels"
	"raftkv/raft/wire"
)

// Join says how a node becomes a member of a cluster that runs.
type Join struct {
	Addresses []string // of the client ports of nodes of the cluster, https://host:port for TLS; any will do
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
	for ctx.Err() == nil {
		for _, address := range n.config.Join.Addresses {
			joined, err := n.askToJoin(ctx, address)
			if err == nil {
				return n.joined(joined)
			}
			if final := (*refusedForGood)(nil); errors.As(err, &final) {
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

// refusedForGood is a refusal that asking again does not change.
type refusedForGood struct{ error }

// askToJoin asks one node.
func (n *Node) askToJoin(ctx context.Context, address string) (joined api.Joined, err error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	known, _ := levels.Of(n.config.LevelMax) // checked by New
	incarnation := n.directory.Life().Incarnation
	body, err := json.Marshal(api.Join{
		Token: n.config.Join.Token, ID: string(n.config.ID), Incarnation: hex.EncodeToString(incarnation[:]), Peer: n.peerAddress(), HTTP: n.clientAddress(),
		LevelMin: known.Min, LevelMax: known.Max, Role: n.config.Join.Role, Replaces: string(n.config.Join.Replaces),
	})
	if err != nil {
		return joined, err
	}
	host, secret := strings.CutPrefix(address, "https://")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+host+"/v1/join", bytes.NewReader(body))
	if err != nil {
		return joined, &refusedForGood{err}
	}
	request.Header.Set("Content-Type", api.MediaJSON)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return n.config.Keys.Dial(ctx, secure.Called{Address: address, Secret: secret})
	}}}
	response, err := client.Do(request)
	if err != nil {
		return joined, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxJoinBody))
	if err != nil {
		return joined, err
	}
	if response.StatusCode == http.StatusOK {
		return joined, json.Unmarshal(text, &joined)
	}
	var problem api.Problem
	if err := json.Unmarshal(text, &problem); err != nil {
		return joined, fmt.Errorf("%s answers with status %d", address, response.StatusCode)
	}
	err = fmt.Errorf("%s (%s)", problem.Detail, problem.Code)
	switch problem.Code {
	case api.CodeJoinRefused, api.CodeIDTaken, api.CodeAddressTaken, api.CodeLevelTooLow, api.CodeBadRequest:
		return joined, &refusedForGood{err}
	}
	return joined, err
}
