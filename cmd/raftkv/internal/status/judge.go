package status

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
)

// Verdict is what the answers of all endpoints say together.
type Verdict struct {
	Cluster          string // its name; "" if nobody answered or there are several
	clusters         int    // how many there are behind the endpoints
	Leader           string // of the latest term that anybody knows of; "" if there is none
	Term             uint64
	asked, answering int
	refusals         ask.Reasons // of nodes that do not tell their status to this caller
	members          int         // of the cluster, as far as it is known
	Code             int         // exit code
	faults           []string
	mayPass          bool // a fault may be a moment of a change of leadership
}

// Text is the verdict in a sentence, for an exit code that is not 0.
func (v Verdict) Text() string {
	if len(v.faults) > 0 {
		return strings.Join(v.faults, "; ")
	}
	return v.nobody()
}

// nobody says why nobody leads, as far as that can be seen.
func (v Verdict) nobody() string {
	majority := v.members/2 + 1
	switch {
	case v.answering == 0 && v.refusals.Unwrap() != nil:
		return fmt.Sprintf("no node tells its status, of %d asked; %v", v.asked, &v.refusals)
	case v.answering == 0:
		return fmt.Sprintf("no node answers, of %d asked: does a cluster run there?", v.asked)
	case v.answering < majority:
		return fmt.Sprintf("nobody leads: %d of %d nodes %s, a majority is %d", v.answering, v.members, answers(v.answering), majority)
	}
	// Without a leader no node says how many there are.
	return fmt.Sprintf("nobody leads, and %d of the %d nodes that were asked %s: are these all nodes of the cluster, and do they reach each other?", v.answering, v.asked, answers(v.answering))
}

func answers(n int) string {
	if n == 1 {
		return "answers"
	}
	return "answer"
}

// isRefusal reports whether an error says that a node runs and the caller is at fault: the node
// does not know it, it lacks a right, or it was not asked as it can be.
func isRefusal(err error) bool {
	var refused *ask.RefusedError
	var mistake *ask.Mistake
	return errors.As(err, &mistake) || errors.As(err, &refused) && (refused.Code == api.CodeUnauthenticated || refused.Code == api.CodeForbidden)
}

// Err returns the verdict as the error that ends a command; nil if nothing is wrong.
func (v Verdict) Err() error {
	switch {
	case v.Code == exit.Done:
		return nil
	case v.answering == 0 && len(v.faults) == 0 && v.refusals.Unwrap() != nil:
		return exit.With(v.Code, fmt.Errorf("no node tells its status, of %d asked; %w", v.asked, &v.refusals))
	}
	return exit.With(v.Code, errors.New(v.Text()))
}

// fault adds what is wrong.
func (v *Verdict) fault(code int, format string, args ...any) {
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
	if v.Code == exit.Done {
		v.Code = code
	}
}

// Judge looks for what no cluster in order shows: nodes of two clusters, two
// leaders, two processes of one name, a node ahead of its leader.
func Judge(all []Answer) Verdict {
	v := Verdict{asked: len(all), members: len(all)}
	leaders := map[string]Answer{}    // by name
	clusters := map[string][]string{} // endpoints by the cluster's name and uid
	known := map[string]Answer{}      // by name
	for _, n := range all {
		if n.Status == nil {
			if isRefusal(n.err) {
				v.refusals.Add(n.Endpoint, n.err)
			}
			continue
		}
		v.answering++
		v.members = max(v.members, len(n.Peers)+1)
		clusters[ClusterOf(n)] = append(clusters[ClusterOf(n)], n.Endpoint)
		v.Cluster = n.Cluster
		if n.Leader != "" && n.Term >= v.Term {
			v.Leader, v.Term = n.Leader, n.Term
		}
		if twin, has := known[n.Node]; has && twin.UID == n.UID && twin.Cluster == n.Cluster {
			v.members-- // it was counted twice
			if differ(twin, n) {
				v.fault(exit.Failed, "two processes answer as %s: at %s and at %s", n.Node, twin.Endpoint, n.Endpoint)
			}
			continue
		}
		known[n.Node] = n
		if n.Role == "leader" {
			leaders[ClusterOf(n)+"/"+n.Node] = n
		}
	}
	clusters = WithoutUnknown(clusters)
	if v.clusters = len(clusters); v.clusters > 1 {
		v.Cluster, v.Leader = "", ""
		v.fault(exit.Usage, "%s", TwoClusters(clusters))
		return v
	}
	if len(leaders) > 1 {
		v.mayPass = true
		var names []string
		for _, n := range leaders { // sorted below
			names = append(names, fmt.Sprintf("%s leads in term %d", n.Node, n.Term))
		}
		slices.Sort(names)
		v.fault(exit.Failed, "two nodes lead: %s", strings.Join(names, ", "))
	}
	v.judgeCommits(all)
	if v.Code == exit.Done && v.Leader == "" {
		v.Code = exit.Unavailable
	}
	return v
}

// judgeCommits looks for nodes whose commit index is beyond their leader's.
func (v *Verdict) judgeCommits(all []Answer) {
	for _, leader := range all {
		if leader.Status == nil || leader.Role != "leader" || leader.Node != v.Leader {
			continue
		}
		for _, n := range all {
			if n.Status != nil && n.Commit > leader.Commit {
				v.mayPass = true
				v.fault(exit.Failed, "%s has committed up to index %d and its leader %s only up to %d: they did not begin from the same state",
					n.Node, n.Commit, leader.Node, leader.Commit)
			}
		}
	}
}

// ClusterOf names a node's cluster: two clusters may have one name.
func ClusterOf(n Answer) string { return n.Cluster + "\x00" + n.UID }

// WithoutUnknown adds the nodes that do not say their cluster's uid, because they
// do not know it yet, to those of the same name that do.
func WithoutUnknown(clusters map[string][]string) map[string][]string {
	for key, endpoints := range clusters { // any order will do: a name has one such entry
		name, uid, _ := strings.Cut(key, "\x00")
		if uid != "" {
			continue
		}
		for other := range clusters { // any order will do
			if n, otherUID, _ := strings.Cut(other, "\x00"); n == name && otherUID != "" {
				clusters[other] = append(clusters[other], endpoints...)
				delete(clusters, key)
				break
			}
		}
	}
	return clusters
}

// TwoClusters is the sentence for endpoints that belong to several clusters.
func TwoClusters(clusters map[string][]string) string {
	return fmt.Sprintf("these endpoints belong to %d clusters: %s", len(clusters), describeClusters(clusters))
}

func describeClusters(clusters map[string][]string) string {
	var parts []string
	names := map[string]int{}
	for key := range clusters { // only counted
		name, _, _ := strings.Cut(key, "\x00")
		names[name]++
	}
	for key, endpoints := range clusters { // sorted below
		name, uid, _ := strings.Cut(key, "\x00")
		if names[name] > 1 {
			name += " (uid " + uid + ")"
		}
		slices.Sort(endpoints)
		parts = append(parts, name+" at "+strings.Join(endpoints, ", "))
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

// OneCluster returns an error, which ends a command with exit code 2, if these answers
// are of several clusters. Endpoints that did not answer are of none.
func OneCluster(all []Answer) error {
	clusters := map[string][]string{}
	for _, n := range all {
		if n.Status != nil {
			clusters[ClusterOf(n)] = append(clusters[ClusterOf(n)], n.Endpoint)
		}
	}
	if clusters = WithoutUnknown(clusters); len(clusters) > 1 {
		return exit.With(exit.Usage, errors.New(TwoClusters(clusters)))
	}
	return nil
}

// differ reports whether two answers under one name are of two processes.
func differ(a, b Answer) bool {
	const slack = 3 // seconds between the two answers, and rounding
	up := a.Process.UptimeSeconds - b.Process.UptimeSeconds
	return up > slack || up < -slack || a.Build != b.Build
}
