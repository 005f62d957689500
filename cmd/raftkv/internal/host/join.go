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
	"slices"
	"strings"
	"sync"
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
	text := n.driver.PeerJoin(ctx, from, body)
	line := access.Line{Time: begun, Node: string(n.config.ID), Remote: "peer " + string(from), Action: "join", Key: string(from), Outcome: string(api.OutcomeApplied)}
	switch err := json.Unmarshal(text, &answer); {
	case err == nil && answer.Joined == nil && answer.Code == "":
		line.Outcome, line.Code = string(api.OutcomeNotApplied), string(api.CodeNoLeader) // another node is named
	case err != nil || answer.Joined == nil:
		line.Outcome, line.Code = string(api.OutcomeNotApplied), string(answer.Code)
	}
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

// A node that has both a list and nodes to join begins a cluster if there is none, and joins
// the one that there is if that does not know it: so all pods of a StatefulSet may be started
// alike. It decides that by what the others say, and never by how long they say nothing.

// aroundTimeout bounds one round of asking addresses at which there may be nobody.
const aroundTimeout = 3 * time.Second

// beginning is how a node begins that has both.
type beginning int

const (
	waits   beginning = iota // too few have answered
	begins                   // as one of its list
	willAsk                  // by joining
)

// seenMembers are the members of the cluster as one of its nodes knows them.
type seenMembers struct {
	api.Members
	hidden bool // that node says it to nobody without a token
}

// settleBeginning decides how a node with an empty directory begins that has both a list and
// nodes to join. It waits until that can be known, or ctx has ended. With a directory that is
// not empty, the nodes to join are none of its business.
func (n *Node) settleBeginning(ctx context.Context) error {
	c := &n.config
	void := n.state.Term == 0 && n.state.Snapshot.Index == 0 && len(n.state.Entries) == 0
	switch {
	case len(c.Members) == 0 || len(c.Join.Addresses) == 0:
		return nil
	case n.hasRecord || !void:
		c.Join = Join{}
		return nil
	case n.directory.Joins():
		n.willJoin() // an earlier start has decided it
		return nil
	}
	probe, err := n.newProbe()
	if err != nil {
		return err
	}
	answering, stop := context.WithCancel(ctx)
	var answers sync.WaitGroup
	answers.Go(func() { probe.AnswerOnly(answering) })
	defer answers.Wait()
	defer stop()
	for report := time.Now().Add(time.Second); ; {
		shown, silent := n.askOthers(ctx, probe)
		more := n.askAround(ctx, probe)
		how, why := judgeBeginning(c.ID, c.Join.Replaces, c.Members, shown, more, n.askMembers(ctx, append(more, shown...)))
		switch how {
		case begins:
			n.logger.Info("this node begins as one of --cluster", "because", why)
			c.Join = Join{}
			return nil
		case willAsk:
			n.logger.Info("this node joins the cluster that runs", "because", why)
			n.willJoin()
			return nil
		}
		if now := time.Now(); now.After(report) {
			report = now.Add(rejoinReports)
			n.logger.Warn("this node does not know yet whether there is a cluster", "because", why, "unheard", core.JoinIDs(silent, ", "))
		}
		select {
		case <-time.After(rejoinLook):
		case <-ctx.Done():
			return fmt.Errorf("the node was ended before it knew how to begin (%s): %w", why, ctx.Err())
		}
	}
}

// judgeBeginning decides by what was heard: from the others of the list, from others that
// discovery found, and from those of them that said who the members are. The sentence says
// why.
func judgeBeginning(self, replaces core.ID, list Members, shown, more []wire.Shown, known []seenMembers) (beginning, string) {
	var uid string
	recorded, hidden := false, false
	var newest api.Members
	for _, s := range append(slices.Clone(shown), more...) {
		if s.UID == (core.UID{}) {
			continue
		}
		if is := s.UID.String(); uid != "" && uid != is {
			return waits, fmt.Sprintf("the nodes that answer belong to different clusters of this name (uids %s and %s): correct the addresses", uid, is)
		}
		uid, recorded = s.UID.String(), recorded || s.Generation > 0
	}
	for _, k := range known {
		hidden = hidden || k.hidden
		if k.hidden || k.UID == "" {
			continue
		}
		if uid != "" && uid != k.UID {
			return waits, fmt.Sprintf("the nodes that answer belong to different clusters (uids %s and %s): correct the addresses", uid, k.UID)
		}
		uid = k.UID
		if newest.UID == "" || newest.Generation < k.Generation || newest.Generation == k.Generation && newest.Version < k.Version {
			newest = k.Members
		}
	}
	member := slices.ContainsFunc(newest.Members, func(m api.Member) bool { return m.ID == string(self) })
	switch heard := len(shown) + 1; {
	case uid == "" && hidden:
		return willAsk, "a cluster runs, which says to nobody without a token who its members are"
	case uid == "" && heard < members.Majority(len(list)):
		return waits, fmt.Sprintf("%d of the %d nodes of --cluster answer, and %d are needed", heard, len(list), members.Majority(len(list)))
	case uid == "":
		return begins, fmt.Sprintf("%d of the %d nodes of --cluster answer, and none of them belongs to a cluster", heard, len(list))
	case newest.UID != "" && !member:
		return willAsk, "the cluster does not know it"
	case newest.UID != "" && replaces == self:
		return willAsk, "the cluster knows it, and it is to replace its own old directory"
	case newest.UID != "" || !recorded:
		return begins, "the cluster that runs knows it"
	case hidden:
		return willAsk, "a cluster runs, which says to nobody without a token who its members are"
	}
	return waits, "a cluster runs, and no node of it has said who its members are"
}

// askAround asks the addresses of discovery, and the peer ports to join at, who is there.
func (n *Node) askAround(ctx context.Context, probe *wire.Transport) (shown []wire.Shown) {
	ctx, cancel := context.WithTimeout(ctx, aroundTimeout)
	defer cancel()
	addresses, err := n.config.Discover.Addresses(ctx, net.DefaultResolver)
	if err != nil {
		n.logger.Debug("discovery: names could not be resolved", "error", err)
	}
	for _, address := range n.config.Join.Addresses {
		if peer, is := strings.CutPrefix(address, peerPrefix); is {
			addresses = append(addresses, peer)
		}
	}
	for _, s := range gatherAll(addresses, func(address string) (wire.Shown, error) { return probe.Ask(ctx, address) }) {
		if s.ID != n.config.ID {
			shown = append(shown, s)
		}
	}
	return shown
}

// askMembers asks who the members are: the nodes to join, and those that were met.
func (n *Node) askMembers(ctx context.Context, met []wire.Shown) []seenMembers {
	ctx, cancel := context.WithTimeout(ctx, aroundTimeout)
	defer cancel()
	addresses, fresh := slices.Clone(n.config.Join.Addresses), []string{n.clientAddress()}
	for i := range met {
		if met[i].UID != (core.UID{}) {
			addresses = append(addresses, clientURL(&met[i]))
		} else {
			fresh = append(fresh, clientURL(&met[i])) // belongs to no cluster, and serves nobody yet
		}
	}
	addresses = slices.DeleteFunc(addresses, func(a string) bool { return slices.Contains(fresh, a) || strings.HasPrefix(a, peerPrefix) })
	slices.Sort(addresses)
	return gatherAll(slices.Compact(addresses), func(address string) (seen seenMembers, err error) {
		if address == "" {
			return seen, errors.New("it has named no address for clients")
		}
		status, text, err := n.call(ctx, http.MethodGet, address, "/v1/members?consistency="+api.ConsistencyStale, nil)
		switch {
		case err != nil:
			return seen, err
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			return seenMembers{hidden: true}, nil
		case status != http.StatusOK:
			return seen, fmt.Errorf("it answers with status %d", status)
		}
		return seen, json.Unmarshal(text, &seen.Members)
	})
}

// gatherAll asks all addresses at once, and returns the answers of those that gave one.
func gatherAll[T any](addresses []string, ask func(address string) (T, error)) (all []T) {
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, address := range addresses {
		asking.Go(func() {
			answer, err := ask(address)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				all = append(all, answer)
			}
		})
	}
	asking.Wait()
	return all
}
