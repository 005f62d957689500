package httpd

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/kv"
)

// serveDigest tells another node what the digest of this one's state was at an
// index of the log, and whether it holds the level: those that begin a cluster with
// identities enforced must hear it before anybody can have a token.
func (d *Door) serveDigest(x *exchange) error {
	index, err := x.number("at", 1, 1<<64-1, 0)
	if err != nil {
		return err
	}
	if index == 0 {
		return failure.Of(failure.BadRequest, nil, "the parameter at must name an index of the log")
	}
	digest, version, known, applied := d.server.DigestAt(index)
	answer := api.Digest{Node: d.nodeID, Cluster: d.clusterID, Index: index, Version: version, Applied: applied}
	if known {
		answer.Digest = digest.String()
	}
	if driver, err := d.server.Members(); err == nil {
		holds := driver.Level().Hold
		answer.HoldsLevel = &holds
	}
	return x.answerJSON(http.StatusOK, answer)
}

// askDigestTimeout bounds a question for a digest.
const askDigestTimeout = 2 * time.Second

// AskDigests asks all peers for the digest of their state at an index. Those that do
// not know it, or do not answer, are left out.
func (p *Peers) AskDigests(ctx context.Context, index uint64) map[string]kv.Digest {
	ctx, cancel := context.WithTimeout(ctx, askDigestTimeout)
	defer cancel()
	var mu sync.Mutex
	digests := map[string]kv.Digest{}
	var asked sync.WaitGroup
	others := p.config.Peers
	if p.config.Others != nil {
		others = p.config.Others()
	}
	for _, peer := range others {
		asked.Go(func() {
			digest, err := p.askDigest(ctx, peer, index)
			if err != nil {
				p.config.Logger.Debug("a peer's digest is not known", "peer", peer, "index", index, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			digests[peer] = digest
		})
	}
	asked.Wait()
	return digests
}

// askDigest asks one node.
func (p *Peers) askDigest(ctx context.Context, peer string, index uint64) (kv.Digest, error) {
	var answer api.Digest
	status, err := p.Ask(ctx, peer, http.MethodGet, "/v1/integrity?at="+strconv.FormatUint(index, 10), nil, &answer)
	if status != http.StatusOK || err != nil {
		return 0, cmp.Or(err, fmt.Errorf("it answered with status %d", status))
	}
	return p.judgeDigest(peer, index, answer)
}

// judgeDigest returns the digest in an answer, if it is the one that was asked
// for: an address may lead to another node by now, or to another cluster.
func (p *Peers) judgeDigest(peer string, index uint64, a api.Digest) (kv.Digest, error) {
	switch {
	case a.Node != peer || a.Cluster != p.config.ClusterID:
		return 0, fmt.Errorf("node %.64q of cluster %.64q answered", a.Node, a.Cluster)
	case a.Index != index || a.Digest == "":
		return 0, fmt.Errorf("it stands at index %d and does not know that of %d", a.Applied, index)
	case a.Version < 1 || a.Version > kv.DigestVersion:
		// Of the versions that are known the level at the index decides, so two nodes
		// with different ones there do differ.
		return 0, fmt.Errorf("its digest has version %d, and this node knows 1 to %d", a.Version, kv.DigestVersion)
	}
	digest, err := strconv.ParseUint(a.Digest, 16, 64)
	return kv.Digest(digest), err
}
