package kvserver

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/clerkwire"
	"raftkv/kvserver/failure"
)

// clerks are the connections of Clerks to this server.
type clerks struct {
	// work is what requests of Clerks do outside of the connections' goroutines.
	work sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	conns   map[*clerkConn]bool
	most    int
	leaving bool          // no more connections, and no more requests on those there are
	gone    chan struct{} // closed when leaving and no connection is left
}

const (
	// clerkConnsShare is which part of the connections of clients may be Clerks'.
	// They stay open while nobody uses them, and must not keep HTTP out.
	clerkConnsShare = 0.75
	// clerkFlushLimit bounds the time for the last answers when the server ends.
	clerkFlushLimit = time.Second
)

func (cs *clerks) init(config Config) {
	cs.most = max(1, int(clerkConnsShare*float64(config.MaxConnections)))
	cs.conns = map[*clerkConn]bool{}
	cs.gone = make(chan struct{})
}

// enter takes in a connection, or says why not.
func (cs *clerks) enter(c *clerkConn) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch {
	case cs.leaving:
		return failure.NodeStopping(nil)
	case len(cs.conns) >= cs.most:
		return failure.Of(failure.Overloaded, nil, "too many connections of Clerks (limit %d, three quarters of --max-connections); close some, or connect to another node", cs.most)
	}
	cs.conns[c] = true
	return nil
}

func (cs *clerks) leave(c *clerkConn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.conns, c)
	if cs.leaving && len(cs.conns) == 0 {
		close(cs.gone)
	}
}

// sendAway ends all connections as soon as their requests are answered, and
// takes no more.
func (cs *clerks) sendAway() {
	for _, c := range cs.list(true) {
		c.sendAway()
	}
}

// list returns the connections, and with leaving lets no more come.
func (cs *clerks) list(leaving bool) (all []*clerkConn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if leaving && !cs.leaving {
		cs.leaving = true
		if len(cs.conns) == 0 {
			close(cs.gone)
		}
	}
	for c := range cs.conns { // any order will do
		all = append(all, c)
	}
	return all
}

// DrainClerks tells the Clerks that are connected to go elsewhere and waits
// until their requests are answered and their connections closed, or ctx has
// ended; then false. http.Server.Shutdown does not wait for them, because their
// connections are not HTTP any more.
func (s *Server) DrainClerks(ctx context.Context) bool {
	s.clerks.sendAway()
	select {
	case <-s.clerks.gone:
		return true
	case <-ctx.Done():
		return false
	}
}

// closeClerks ends the connections of Clerks when the applier has ended: what
// waits is answered as unknown, and what does not leave soon stays behind.
func (s *Server) closeClerks() {
	s.clerks.sendAway()
	s.machine.EndAsync()
	timer := time.NewTimer(clerkFlushLimit)
	defer timer.Stop()
	select {
	case <-s.clerks.gone:
	case <-timer.C:
	}
	for _, c := range s.clerks.list(true) {
		c.kill()
	}
	<-s.clerks.gone
	s.machine.EndAsync() // what came while the end began
	s.clerks.work.Wait()
}

// serveClerk turns the connection of a request into one of a Clerk, and serves
// that until its end. Who asks for no upgrade, or for another one, hears which
// there is.
func (s *Server) serveClerk(x *exchange) error {
	if !strings.EqualFold(x.r.Header.Get("Upgrade"), clerkwire.Protocol) {
		return x.answerText(clerkwire.Protocol + "\n")
	}
	uid := s.clusterUID()
	c := newClerkConn(s, uid, s.clerkGreeting(uid))
	if err := s.clerks.enter(c); err != nil {
		return err
	}
	defer s.clerks.leave(c)
	conn, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return failure.Of(failure.InternalRead, err, "this connection cannot be upgraded")
	}
	x.answered = true
	if err := conn.SetDeadline(time.Time{}); err != nil { // those of HTTP
		conn.Close()
		return nil
	}
	c.serve(conn, clerkwire.NewFrameReader(conn, buffered.Reader, clerkwire.Requests))
	return nil
}

// clerkGreeting is the end of HTTP on the connection.
func (s *Server) clerkGreeting(uid string) string {
	leader := string(s.config.Consensus.Status().Leader)
	var b strings.Builder
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + clerkwire.Protocol + "\r\n")
	for _, h := range [][2]string{
		{api.HeaderNode, s.config.NodeID}, {api.HeaderCluster, s.config.ClusterID}, {api.HeaderClusterUID, uid},
		{api.HeaderLeader, leader}, {api.HeaderLeaderAddr, s.leaderAddr(leader)},
	} {
		if h[1] != "" {
			b.WriteString(h[0] + ": " + h[1] + "\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.String()
}

// clusterUID returns the cluster's uid as text, "" while it is not known.
func (s *Server) clusterUID() string { return s.config.Consensus.Status().UID.String() }

// leaderAddr is where the leader takes clients, "" if there is none but this
// node or its address is not known.
func (s *Server) leaderAddr(leader string) string {
	if leader == "" || leader == s.config.NodeID {
		return ""
	}
	return s.config.ClientAddr(leader)
}
