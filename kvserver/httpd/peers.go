package httpd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
	"raftkv/kvserver/httpd/live"
	"raftkv/kvserver/port"
	"raftkv/kvserver/recorder"
)

// PeersConfig is what Peers are made of. NodeID, ClientAddr and Logger must be set.
type PeersConfig struct {
	NodeID    string
	ClusterID string // requests carried to another cluster are refused there
	// UID, if not nil, gives the cluster's uid, "" while it is not known. Every request
	// names it, and another cluster of the same name refuses that. It must not block.
	UID   func() string
	Peers []string
	// Others, if not nil, names the nodes that are asked for digests at the moment, in
	// place of Peers.
	Others func() []string
	// ClientAddr gives the host:port where a node takes client requests, "" if that
	// is not known. It must not block.
	ClientAddr func(id string) string
	// Dial connects to an address, by TLS where the node there speaks that. What it
	// returns carries HTTP. nil: by TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Prove returns what proves to a node that a connection is this one's, see
	// kvserver.Server.LinkProof. It must not block. nil: nothing does.
	Prove func(to string) string
	// MaxConnections bounds the connections on which this node passes writes on to
	// one leader. 0: DefaultPeerConnections.
	MaxConnections int
	// Patience is how long the others have to tell what they recorded. 0: 1.5 s.
	Patience time.Duration
	// Shortage, if not nil, is called when no connection can be made for want of a
	// file descriptor.
	Shortage func(error)
	Logger   *slog.Logger
}

// Peers are the client ports of the other nodes: they carry writes to the leader and
// bring its answers back, and ask for the digests of states. All methods are safe for
// concurrent use.
type Peers struct {
	config      PeersConfig
	transport   *http.Transport
	misdirected *port.ThrottledLog // of the warning about the leader's address
	// cluster is what was gathered in the name of identities that all nodes know, and own in the
	// name of those of this node's own file. Whether the others answer these is for them to
	// decide: nobody gets what another kind was told, nor a refusal that was meant for it.
	cluster, own gathered
}

// gathered is what viewers of the whole cluster are told.
type gathered struct {
	overviews shared[api.Overview]
	stories   shared[api.Explained]
	feed      *live.Feed // what viewers of the page are told
	news      live.News  // of the nodes' events
}

// gathered returns what is gathered for viewers like a request's caller.
func (p *Peers) gathered(x *exchange) *gathered {
	if x.who.Author().Identity == auth.Vouched {
		return &p.own
	}
	return &p.cluster
}

const (
	// dialTimeout bounds the time for a connection to the leader. After it the
	// write is known not to have left, and another leader may be known.
	dialTimeout = time.Second
	// DefaultPeerConnections is the default of PeersConfig.MaxConnections. Each
	// connection carries one write at a time, and more writes wait for one: many
	// clients that opened and closed connections for themselves would cost both nodes
	// more than their writes.
	DefaultPeerConnections = 512
	// maxRelayedBytes bounds an answer that is passed on. Writes have answers of
	// some hundred bytes; those that show what was there before, and transactions, have
	// up to maxShownBytes.
	maxRelayedBytes = 64 << 10
	maxShownBytes   = 16 << 20
)

// NewPeers returns peers to whom there is no connection yet.
func NewPeers(config PeersConfig) *Peers {
	if config.MaxConnections == 0 {
		config.MaxConnections = DefaultPeerConnections
	}
	if config.Shortage == nil {
		config.Shortage = func(error) {}
	}
	config.Patience = cmp.Or(config.Patience, askRingTimeout)
	if config.UID == nil {
		config.UID = func() string { return "" }
	}
	if config.Prove == nil {
		config.Prove = func(string) string { return "" }
	}
	if config.Dial == nil {
		config.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	begun := time.Now().UnixNano()
	return &Peers{
		config:      config,
		cluster:     gathered{feed: live.NewFeed(strconv.FormatInt(begun, 36))},
		own:         gathered{feed: live.NewFeed(strconv.FormatInt(begun+1, 36))},
		misdirected: port.NewThrottledLog(config.Logger),
		transport: &http.Transport{
			// No proxy: the leader is asked or nobody.
			Proxy: nil,
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, dialTimeout)
				defer cancel()
				conn, err := config.Dial(ctx, address)
				if err != nil {
					return nil, err
				}
				return &leaderConn{Conn: conn}, nil
			},
			DisableCompression:     true,
			MaxConnsPerHost:        config.MaxConnections,
			MaxIdleConnsPerHost:    config.MaxConnections,
			MaxIdleConns:           config.MaxConnections,
			IdleConnTimeout:        port.IdleTimeout / 2, // we close first, not the leader while we write
			MaxResponseHeaderBytes: 32 << 10,
		},
	}
}

// Close closes the connections that nobody uses.
func (p *Peers) Close() { p.transport.CloseIdleConnections() }

// Ask asks another node something of its own: a path with its query, and JSON if there is a
// body. An answer with status 200 is decoded into answer. The error says that there was
// none, or not as a node answers.
func (p *Peers) Ask(ctx context.Context, peer, method, path string, body []byte, answer any) (status int, err error) {
	address := p.config.ClientAddr(peer)
	if address == "" {
		return 0, errors.New("its client address is not known")
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	if body != nil {
		request.Header.Set("Content-Type", api.MediaJSON)
	}
	p.name(request.Header)
	response, err := p.transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if node := response.Header.Get(api.HeaderNode); node != "" && node != peer {
		return 0, fmt.Errorf("node %.64q answered at %s", node, address)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxRelayedBytes))
	if err == nil && response.StatusCode == http.StatusOK {
		err = json.Unmarshal(text, answer)
	}
	return response.StatusCode, err
}

// name says in a request for which cluster it is.
func (p *Peers) name(h http.Header) {
	if uid := p.config.UID(); uid != "" {
		h.Set(api.HeaderClusterUID, uid)
	}
}

// relayedAnswer is the leader's answer, read whole.
type relayedAnswer struct {
	status int
	header http.Header
	body   []byte
}

// forward sends the request of x, whose body has been read, to the leader. Its
// error says whether the write may have left: failure.NoLeader, it has not; otherwise
// its outcome is unknown.
//
// net/http must never send a request again by itself, or a write would happen
// twice; see outgoing. The trail holds for every connection that it tries.
func (p *Peers) forward(ctx context.Context, leader string, x *exchange, body []byte) (*relayedAnswer, error) {
	address := p.config.ClientAddr(leader)
	if address == "" {
		return nil, failure.Of(failure.NoLeader, nil, "the client address of the leader, %s, is not known", leader)
	}
	var trail trail
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { trail.add(info.Conn.(*leaderConn)) },
	})
	response, err := p.transport.RoundTrip(p.outgoing(ctx, leader, address, x, body))
	if err != nil {
		if trail.seal() {
			return nil, p.notSent(ctx, leader, err)
		}
		return nil, p.lostSight(ctx, leader, err)
	}
	defer response.Body.Close()
	limit := maxRelayedBytes
	if _, prev := x.query["prev"]; prev || x.route != nil && x.route.Path == txnPath {
		limit = maxShownBytes
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, int64(limit)+1))
	if err != nil {
		return nil, p.lostSight(ctx, leader, err)
	}
	if len(answer) > limit || !isOfNode(response.StatusCode, response.Header) {
		return nil, p.lostSight(ctx, leader, errors.New("what listens at its client address does not answer like a node"))
	}
	relayed := &relayedAnswer{status: response.StatusCode, header: response.Header, body: answer}
	if relayed.triedAgain() {
		return nil, p.turnedDown(leader, address, relayed)
	}
	return relayed, nil
}

// triedAgain reports whether an answer says that the write is for whichever node
// leads now.
func (a *relayedAnswer) triedAgain() bool {
	return failure.TriedElsewhere(a.header.Get(api.HeaderError))
}

// turnedDown says why the node at the leader's address did not serve a write.
func (p *Peers) turnedDown(leader, address string, a *relayedAnswer) error {
	if node := a.header.Get(api.HeaderNode); node != "" && node != leader {
		if node == p.config.NodeID {
			node = "this node, " + node
		}
		p.misdirected.Warn("the client address of the leader leads to another node; start the leader with an --http address that the other nodes reach",
			"leader", leader, "address", address, "leads_to", a.header.Get(api.HeaderNode))
		return failure.Of(failure.NoLeader, nil, "the client address of the leader, %s, is %s, which leads to %.80s; start %s with an --http address that the other nodes reach", leader, address, node, leader)
	}
	var problem api.Problem
	if err := json.Unmarshal(a.body, &problem); err != nil {
		problem.Detail = ""
	}
	return failure.TurnedDown(leader, problem.Detail)
}

// firstHopHeaders say something to the first node that a request comes to, and
// were judged there.
var firstHopHeaders = []string{
	"Expect",            // the body was read, so there is nothing to wait for
	"X-Idempotency-Key", // it would make net/http send a write twice
	"Origin", "Referer", "Cookie", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User",
}

// decidingHeaders decide what a request does. They travel even if the client's
// Connection names them: without one, the leader would do what was not asked for, or
// would do it for somebody else.
var decidingHeaders = []string{"If-Match", "If-None-Match", api.HeaderIfLock, api.HeaderIdempotencyKey, "Content-Type", "Authorization"}

// outgoing makes the request for the leader: the client's, with the body read
// whole, and marked so that it travels no further.
//
// net/http repeats a request whose connection died if it can get the body again.
// To it, http.NoBody is such a body, and the headers Idempotency-Key and
// X-Idempotency-Key allow the repetition of any method. So an empty body is a
// reader of our own, too, and a client's X-Idempotency-Key, which means nothing
// here, stays behind.
func (p *Peers) outgoing(ctx context.Context, leader, address string, x *exchange, body []byte) *http.Request {
	header := make(http.Header, len(x.r.Header)+4)
	copyEndToEnd(header, x.r.Header)
	for _, name := range firstHopHeaders {
		header.Del(name)
	}
	for _, name := range decidingHeaders {
		if values := x.r.Header.Values(name); len(values) > 0 {
			header[name] = slices.Clone(values)
		}
	}
	p.sign(header, leader)
	header.Set(api.HeaderRequestID, x.id)
	p.name(header)
	request := &http.Request{
		Method: x.r.Method,
		// The path as it came: in a key every byte counts.
		URL:    &url.URL{Scheme: "http", Host: address, Path: x.r.URL.Path, RawPath: x.r.URL.RawPath, RawQuery: x.r.URL.RawQuery},
		Header: header,
		Body:   io.NopCloser(bytes.NewReader(body)),
		// Where this is 0, net/http takes the length for unknown and sends chunks.
		ContentLength: int64(len(body)),
	}
	if x.r.Method == http.MethodDelete {
		request.TransferEncoding = []string{"identity"} // nothing, not a chunk of nothing
	}
	return request.WithContext(ctx)
}

// sign marks a request to another node as this one's, with the proof that its connection is.
func (p *Peers) sign(header http.Header, to string) {
	header.Set(api.HeaderForwarded, p.config.NodeID)
	header.Set(api.HeaderCluster, p.config.ClusterID)
	header.Del(api.HeaderLink) // a client's proves nothing
	if proof := p.config.Prove(to); proof != "" {
		header.Set(api.HeaderLink, proof)
	}
}

// notSent says that nothing of the write has left this node.
func (p *Peers) notSent(ctx context.Context, leader string, err error) error {
	p.config.Logger.Debug("the leader could not be reached", "leader", leader, "error", err)
	if port.IsShortage(err) && !errors.Is(context.Cause(ctx), failure.Stopping) {
		p.config.Shortage(err)
		return failure.Of(failure.NoLeader, err, "this node has no file descriptor left for a connection to the leader, %s; retry, or raise the limit (ulimit -n)", leader)
	}
	return failure.Unreachable(ctx, leader, p.config.ClientAddr(leader), err)
}

// lostSight says that the write may have reached the leader.
func (p *Peers) lostSight(ctx context.Context, leader string, err error) error {
	p.config.Logger.Debug("the leader's answer was lost", "leader", leader, "error", err)
	return failure.AnswerLost(ctx, leader, err)
}

// copyEndToEnd copies a header without what concerns one connection only.
func copyEndToEnd(to, from http.Header) {
	local := map[string]bool{
		"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true,
		"Transfer-Encoding": true, "Upgrade": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	}
	for _, line := range from.Values("Connection") {
		for name := range strings.SplitSeq(line, ",") {
			local[http.CanonicalHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	for name, values := range from {
		if !local[name] {
			to[name] = append([]string(nil), values...)
		}
	}
}

// gathering is whom a node asks for what it gathers, and in whose name.
type gathering struct {
	peers []string
	// token is the caller's. The others decide for themselves whether they answer it.
	token auth.Secret
}

// askStatuses asks all peers for their status.
func (p *Peers) askStatuses(g gathering) []api.OverviewNode {
	ctx, cancel := context.WithTimeout(context.Background(), askStatusTimeout)
	defer cancel()
	all := make([]api.OverviewNode, len(g.peers))
	var asked sync.WaitGroup
	for i, peer := range g.peers {
		asked.Go(func() {
			all[i] = api.OverviewNode{Node: peer, Address: p.config.ClientAddr(peer)}
			status := new(api.Status)
			err := p.askPeer(ctx, g.token, peer, "/v1/status", "", func(body io.Reader) error {
				if err := json.NewDecoder(io.LimitReader(body, maxStatusBytes)).Decode(status); err != nil {
					return errors.New("its answer is no status")
				}
				return nil
			})
			switch {
			case err != nil:
				all[i].Error = err.Error()
			case status.Node != peer || status.Cluster != p.config.ClusterID:
				all[i].Error = fmt.Sprintf("node %.64q of cluster %.64q answers at its address", status.Node, status.Cluster)
			case status.UID != "" && p.config.UID() != "" && status.UID != p.config.UID():
				all[i].Error = fmt.Sprintf("another cluster of this name answers at its address, with the uid %.40q", status.UID)
			default:
				all[i].Status = status
			}
		})
	}
	asked.Wait()
	return all
}

// askPeer asks another node and reads its answer. The error is for people, without the
// words of the operating system.
func (p *Peers) askPeer(ctx context.Context, token auth.Secret, peer, path, query string, read func(io.Reader) error) error {
	address := p.config.ClientAddr(peer)
	if address == "" {
		return errors.New("it was not heard of yet")
	}
	request := &http.Request{
		Method: http.MethodGet, URL: &url.URL{Scheme: "http", Host: address, Path: path, RawQuery: query}, Header: http.Header{},
	}
	if !token.IsZero() {
		request.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	p.sign(request.Header, peer)
	p.name(request.Header)
	response, err := p.transport.RoundTrip(request.WithContext(ctx))
	switch {
	case ctx.Err() != nil:
		return errors.New("no answer in time")
	case err != nil:
		return errors.New("no connection")
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return read(response.Body)
	case http.StatusUnauthorized:
		return errors.New("it does not know the token")
	case http.StatusForbidden:
		return errors.New("it does not grant the token the right status")
	}
	return fmt.Errorf("it answers with status %d", response.StatusCode)
}

// askRings asks all peers for what they recorded in the last seconds. The nodes that do
// not answer are named.
func (p *Peers) askRings(g gathering, seconds int64) (rings []recorder.Ring, missing []api.OverviewNode) {
	ctx, cancel := context.WithTimeout(context.Background(), p.config.Patience)
	defer cancel()
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, peer := range g.peers {
		asked.Go(func() {
			of, err := p.askRing(ctx, g, peer, seconds)
			mu.Lock()
			defer mu.Unlock()
			rings = append(rings, of...)
			if err != nil {
				missing = append(missing, api.OverviewNode{Node: peer, Address: p.config.ClientAddr(peer), Error: err.Error()})
			}
		})
	}
	asked.Wait()
	slices.SortFunc(missing, func(a, b api.OverviewNode) int { return strings.Compare(a.Node, b.Node) })
	return rings, missing
}

// askRing asks a peer for what it recorded in the last seconds, page by page: the pages
// begin with the oldest events. With an error comes what it gave before.
func (p *Peers) askRing(ctx context.Context, g gathering, peer string, seconds int64) (rings []recorder.Ring, err error) {
	for after, all := uint64(0), 0; all < recorder.Capacity; {
		var page []recorder.Ring
		query := fmt.Sprintf("seconds=%d&limit=%d&after=%d", seconds, maxEvents, after)
		err := p.askPeer(ctx, g.token, peer, recorderPath, query, func(body io.Reader) (err error) {
			page, err = recorder.ReadLines(io.LimitReader(body, maxRingBytes))
			return err
		})
		if err != nil {
			return rings, err
		}
		count := 0
		for _, r := range page {
			if r.Node != peer {
				return rings, fmt.Errorf("node %.64q answers at its address", r.Node)
			}
			for i := range r.Events {
				if r.Events[i].Seq <= after {
					return rings, errors.New("its events are not in order")
				}
				after = r.Events[i].Seq
			}
			count += len(r.Events)
		}
		rings, all = append(rings, page...), all+count
		if count < maxEvents {
			break
		}
	}
	return rings, nil
}

// PeerConnections returns how many connections to one leader a node may have that
// takes this number of connections from clients.
func PeerConnections(clients int) int { return max(1, min(DefaultPeerConnections, clients)) }
