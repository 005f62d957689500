package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"raftkv/kvserver/api"
	"raftkv/raft/core"
	"raftkv/raft/members"
	"raftkv/raft/wire"
)

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

// settleBeginning decides how a node with an empty directory begins that has a list. If it has
// nodes to join as well, it waits until that can be known, or ctx has ended. With a directory
// that is not empty, the nodes to join are none of its business.
func (n *Node) settleBeginning(ctx context.Context) error {
	c := &n.config
	void := n.state.Term == 0 && n.state.Snapshot.Index == 0 && len(n.state.Entries) == 0
	switch {
	case len(c.Members) == 0:
		return nil
	case len(c.Join.Addresses) == 0 && (!n.directory.IsNew() || c.Rejoin || len(c.Discover) == 0):
		return nil
	case len(c.Join.Addresses) == 0:
		return n.askBeforeList(ctx)
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
	defer answer(ctx, probe)()
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

// answer lets a probe answer the question which server is there, until what it returns is called.
func answer(ctx context.Context, probe *wire.Transport) (end func()) {
	answering, stop := context.WithCancel(ctx)
	var answers sync.WaitGroup
	answers.Go(func() { probe.AnswerOnly(answering) })
	return func() { stop(); answers.Wait() }
}

// askBeforeList asks those whom discovery finds, before a node with an empty directory begins as
// one of its list. A cluster that has grown has members that an old list lacks: one of them may
// answer where nobody of the list does, and in addition to it the node must begin no second cluster. The
// error says how to start the node instead.
func (n *Node) askBeforeList(ctx context.Context) error {
	probe, err := n.newProbe()
	if err != nil {
		return err
	}
	defer answer(ctx, probe)()
	met := n.askAround(ctx, probe)
	return judgeList(n.config.ID, n.config.Members, met, n.askMembers(ctx, met))
}

// judgeList returns an error if a node with an empty directory must not begin as one of its
// list, by what was heard of those that discovery found: of themselves, and of the members.
func judgeList(self core.ID, list Members, met []wire.Shown, known []seenMembers) error {
	at := slices.IndexFunc(met, func(s wire.Shown) bool { return s.Generation > 0 })
	if at < 0 {
		return nil // no cluster with a record was found
	}
	runs := fmt.Sprintf("cluster %s runs already (uid %s), as node %s says", met[at].ClusterID, met[at].UID, met[at].ID)
	newest := newestMembers(known)
	own := slices.IndexFunc(newest.Members, func(m api.Member) bool { return m.ID == string(self) })
	switch {
	case newest.UID == "" && len(list) > 1:
		return nil // the others of the list know this node, and tell it
	case newest.UID == "":
		return fmt.Errorf("%s, and this node would begin a second one by --cluster, which names it alone: let it join (--join host:port with a token; with --replace %s if it is a member whose disk was lost)", runs, self)
	case own < 0:
		return fmt.Errorf("%s, and its record does not name node %s: --cluster is older than that; let the node join (--join host:port with a token)", runs, self)
	case newest.Members[own].Incarnation != "":
		return fmt.Errorf("%s, and knows node %s by another data directory (%s) than this one, which is empty: start the node on that, or if it is lost, with --rejoin", runs, self, newest.Members[own].Incarnation)
	case len(list) == 1:
		return fmt.Errorf("%s, and its record names node %s among others: name them in --cluster, too", runs, self)
	}
	return nil
}

// newestMembers returns the members that the newest record names of those that were seen; its
// UID is "" if none was.
func newestMembers(known []seenMembers) (newest api.Members) {
	for _, k := range known {
		if !k.hidden && k.UID != "" && (newest.UID == "" || newest.Generation < k.Generation || newest.Generation == k.Generation && newest.Version < k.Version) {
			newest = k.Members
		}
	}
	return newest
}

// judgeBeginning decides by what was heard: from the others of the list, from others that
// discovery found, and from those of them that named the members. The sentence says
// why.
func judgeBeginning(self, replaces core.ID, list Members, shown, more []wire.Shown, known []seenMembers) (beginning, string) {
	var uid string
	recorded, hidden := false, false
	newest := newestMembers(known)
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

// askAround asks the addresses of discovery, and the peer ports to join at, which server is there.
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

// askMembers asks the nodes to join, and those that were met, for the members.
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
