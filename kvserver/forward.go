package kvserver

import (
	"context"
	"errors"
	"time"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// Forwarder carries commands to the leader on another node, and its answers back. It
// does so without a second request of HTTP, and is safe for concurrent use.
type Forwarder interface {
	// Forward sends a command once; id names the request. An error of kind
	// failure.NoLeader says that the command had no effect and may be tried again,
	// ErrOtherRoad that it was not sent and belongs on a Remote; others are final.
	// token is that of the caller, which is judged there again.
	Forward(ctx context.Context, leader, id string, token auth.Secret, c kv.Command) (Forwarded, error)
}

// ErrOtherRoad is what a Forwarder says of a command that it cannot carry: the leader's
// node does not take it so, or is not reached, or the command is too long. No client
// sees it.
var ErrOtherRoad = errors.New("kvserver: the command must be passed on over HTTP")

// Forwarded is the leader's answer to a command.
type Forwarded struct {
	Node   string // the node that answers
	Leader string // the leader as far as that node knows
	Term   uint64
	// Result is the log's, if Refusal is nil or the log itself refused the command.
	Result  kv.Result
	Logged  bool
	Refusal *Refusal // nil: the command was done
}

// RefusedThere describes a refusal by the store of another node, which said why.
func RefusedThere(f Forwarded, detail string) *Refusal {
	return &Refusal{Kind: failure.KindOf(refusedWith(f.Result.Status, detail)), Detail: detail, Node: f.Node, Leader: f.Leader, Term: f.Term}
}

// CheckForwarded refuses what a node of another cluster has forwarded: a stale address
// must not lead a write there.
func (s *Server) CheckForwarded(cluster string) error {
	if cluster == s.config.ClusterID {
		return nil
	}
	return failure.Of(failure.NoLeader, nil, "the request was forwarded from cluster %.40q and node %s belongs to cluster %q", cluster, s.config.NodeID, s.config.ClusterID)
}

// CheckUID refuses a request that was meant for another cluster of this one's name, as its
// uid says; "" names none. writes says that the request may change something: it is refused
// as well while this node does not know its own cluster's uid, which a leader learns with
// the first entry of its term.
func (s *Server) CheckUID(uid string, writes bool) error {
	own := s.UID()
	switch {
	case uid == "" || uid == own.String():
		return nil
	case own != UID{}:
		return failure.Of(failure.NoLeader, nil, "the request is for the cluster %q with the uid %.40q, and node %s belongs to another cluster of that name", s.config.ClusterID, uid, s.config.NodeID)
	case writes:
		return failure.Of(failure.NoLeader, nil, "the request is for the cluster with the uid %.40q, and node %s does not know the uid of its own yet; retry", uid, s.config.NodeID)
	}
	return nil
}

// LinkProof returns what proves to the node to that a connection comes from this one, for
// api.HeaderLink; "" while there is nothing to prove it by.
func (s *Server) LinkProof(to string) string {
	return s.machine.Auth().LinkProof(s.config.ClusterID, s.config.NodeID, to)
}

// IsLink reports whether the node from has proved that a connection is its own. Nodes whose
// tables differ for a moment do not understand each other so long.
func (s *Server) IsLink(from, proof string) bool {
	return from != s.config.NodeID && s.machine.Auth().IsLinkProof(proof, s.config.ClusterID, from, s.config.NodeID)
}

// leadsNot refuses a forwarded write where the leader is not: it goes no further.
func (s *Server) leadsNot() error {
	return failure.Of(failure.NoLeader, nil, "node %s does not lead, and the request had been forwarded to it", s.config.NodeID)
}

// MayProposeForwarded refuses a forwarded write where the leader is not, and returns
// the leader's term elsewhere.
func (s *Server) MayProposeForwarded() (term uint64, err error) {
	leader, term, err := s.whereToPropose()
	if err == nil && leader != s.config.NodeID {
		err = s.leadsNot()
	}
	return term, err
}

// CheckCommand refuses a forwarded command that no client of this node could ask for.
func (s *Server) CheckCommand(who *Caller, c *kv.Command) error {
	if err := c.CheckAsked(); err != nil {
		return failure.Of(failure.BadRequest, err, "%s", err.Error())
	}
	if err := s.CheckValue(int64(len(c.Value))); err != nil {
		return err
	}
	if c.Op != kv.OpGrant && c.Op != kv.OpRevoke && c.Op != kv.OpKeepAlive { // which have none
		if err := CheckKey(c.Key, "has"); err != nil {
			return err
		}
	}
	return s.MayAsk(who, c)
}

// MayAsk decides whether a caller may ask for a command.
func (s *Server) MayAsk(who *Caller, c *kv.Command) error {
	if s.gate.State() == auth.Off {
		return nil
	}
	judged := *c
	return s.allowCommand(who, &judged)
}

// ProposeForwarded puts a command that another node has forwarded into the log here
// and returns at once. What the leader decides of a command is decided here. The
// request has been admitted; its bytes are not kept. After an error, which says that
// this node does not lead, onEnd is not called; else it must call Settled. For the rest
// see machine.ProposePatiently.
func (s *Server) ProposeForwarded(who *Caller, c kv.Command, deadline time.Time, onEnd func(Ending)) error {
	term, err := s.MayProposeForwarded()
	if err != nil {
		return err
	}
	if c.Op == kv.OpPut || c.Op == kv.OpAppend {
		c.MaxLength = uint64(s.config.MaxValueBytes)
	}
	c.Caller = who.Author()
	s.machine.ProposePatiently(c, term, deadline, onEnd)
	return nil
}
