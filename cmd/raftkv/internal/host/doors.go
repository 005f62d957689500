package host

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"

	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/kvserver"
	"raftkv/kvserver/clerkd"
	"raftkv/kvserver/httpd"
	"raftkv/kvserver/port"
	"raftkv/raft"
)

// service is what clients of a node meet: the server and its doors, wired to each
// other.
type service struct {
	*kvserver.Server
	port   *port.Port
	peers  *httpd.Peers
	clerks *clerkd.Door
	http   *httpd.Door
	// forwarder carries clients' writes to other nodes that speak its protocol.
	forwarder *clerkd.Forwarder
}

// openService makes the node's service from a state, which chosen carries on.
func (n *Node) openService(chosen <-chan raft.Batch, state io.Reader) (*service, error) {
	c, s := n.config, &service{}
	shut, err := n.shut()
	if err != nil {
		return nil, err
	}
	clientAddr := n.clientAddr
	others := names(c.Members.Others(c.ID).IDs())
	s.port = port.New(port.Config{
		MaxConnections: c.MaxConnections, MaxPerIP: c.MaxConnectionsPerIP, Logger: n.logger,
		TLS: c.Keys.Port(),
		Strict: func() bool { // the server is there before any connection
			enforces, known := s.Server.Enforces()
			return enforces || !known
		},
		Problem: func(err error) []byte { return s.http.Problem(err) }, // the door is there before any connection
	})
	uid := n.clusterUID()
	prove := func(to string) string { return s.Server.LinkProof(to) } // the server is there before any request
	s.peers = httpd.NewPeers(httpd.PeersConfig{
		NodeID: string(c.ID), ClusterID: c.ClusterID, UID: uid, Peers: others, Others: n.otherVoters, ClientAddr: clientAddr,
		MaxConnections: cmp.Or(c.MaxForwards, httpd.PeerConnections(s.port.MaxConnections())),
		Shortage:       s.port.MakeRoom, Logger: n.logger, Dial: n.dialNode, Prove: prove,
	})
	s.forwarder = clerkd.NewForwarder(clerkd.ForwarderConfig{
		NodeID: string(c.ID), ClusterID: c.ClusterID, UID: uid, ClientAddr: clientAddr, Logger: n.logger, Dial: n.dialNode, Prove: prove,
	})
	config := kvserver.Config{
		NodeID: string(c.ID), ClusterID: c.ClusterID, Build: c.Build,
		Consensus: askedTransfers{n.raft, n}, ApplyCh: chosen, Snapshot: state,
		Peers: others, AskDigests: s.peers.AskDigests, ClientAddr: clientAddr,
		MaxValueBytes: c.MaxValueBytes, MaxTxnBytes: c.MaxTxnBytes, HistoryBytes: c.HistoryBytes, MaxStoreBytes: c.MaxStoreBytes, SnapshotBytes: c.SnapshotBytes, RequestTimeout: c.RequestTimeout,
		MaxInFlight: c.MaxInFlight, MaxConnections: c.MaxConnections,
		Access: c.Access, Shut: shut, Level: c.Level, StaleLimit: c.StaleLimit, Logger: n.logger, Membership: n.driver, Voters: n.voters,
	}
	door := httpd.Config{AllowedHosts: append([]string{n.clientAddress()}, c.AllowedHosts...), Page: c.Page, Strict: c.Strict, Describe: n.describe, Recorder: n.recording.Recorder()}
	measures := n.measures()
	if measures != nil {
		config.Access.Observer = measures
		config.Observer, door.Observer, door.Metrics = n.recording.Refusals(measures), measures, measures.Handler()
	}
	if s.Server, err = kvserver.New(config); err != nil {
		return nil, err
	}
	if measures == nil {
		s.clerks = clerkd.New(s.Server, nil)
	} else {
		s.clerks = clerkd.New(s.Server, measures)
		measures.Show(s.Server, func() int { open, _, _ := s.port.Counts(); return open })
	}
	door.Clerks, door.Forwarder = s.clerks, s.forwarder
	s.http = httpd.New(s.Server, s.port, s.peers, door)
	return s, nil
}

// server returns the http.Server of the client port.
func (s *service) server() *http.Server { return s.http.Server() }

// listener makes the client port out of a listener.
func (s *service) listener(l net.Listener) net.Listener { return s.port.Listener(l) }

// drainClerks sends the Clerks away; see clerkd.Door.Drain.
func (s *service) drainClerks(ctx context.Context) bool { return s.clerks.Drain(ctx) }

// Close ends the service. Requests that still wait are answered.
func (s *service) Close() {
	s.Server.Close()
	s.clerks.Close()
	s.forwarder.Close()
	s.peers.Close()
}

// dialNode connects to the client port of another node, by TLS where that speaks it. The
// address is one that a peer has named in its hello.
func (n *Node) dialNode(ctx context.Context, address string) (net.Conn, error) {
	id, secret := n.transport.ClientAt(address)
	return n.dialClients(ctx, secure.Called{Node: string(id), Address: address, Secret: secret})
}

// dialClients connects to a client port.
func (n *Node) dialClients(ctx context.Context, to secure.Called) (net.Conn, error) {
	if n.config.Dial != nil && !to.Secret {
		return n.config.Dial(ctx, to.Address)
	}
	return n.config.Keys.Dial(ctx, to)
}

// speaksTLS reports whether this node's client port does, which its peers are told.
func (c *Config) speaksTLS() bool {
	client, _ := c.Keys.Modes()
	return client != secure.Off
}
