package host

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"raftkv/kvserver"
	"raftkv/raft"
	"raftkv/raft/core"
)

// startService makes the service on what consensus chooses and on the state that the
// log begins behind, and lets clients in. The state is nil if there is none.
func (n *Node) startService(chosen <-chan raft.ApplyMsg, state io.Reader) (err error) {
	c := n.config
	n.service, err = kvserver.New(kvserver.Config{
		NodeID: string(c.ID), ClusterID: c.ClusterID, Build: c.Build,
		Consensus: n.raft, ApplyCh: chosen, Snapshot: state,
		Peers:         names(c.Members.Others(c.ID).IDs()),
		ClientAddr:    func(id string) string { return n.transport.ClientAddr(core.ID(id)) },
		MaxValueBytes: c.MaxValueBytes, MaxStoreBytes: c.MaxStoreBytes, SnapshotBytes: c.SnapshotBytes, RequestTimeout: c.RequestTimeout,
		AllowedHosts:   append([]string{n.clientAddress()}, c.AllowedHosts...),
		MaxInFlight:    c.MaxInFlight,
		MaxConnections: c.MaxConnections, MaxConnectionsPerIP: c.MaxConnectionsPerIP, MaxForwardConnections: c.MaxForwards,
		Describe: n.describe,
		Metrics:  n.measures(),
		Logger:   n.logger,
	})
	if err != nil {
		return err
	}
	n.loaded.Store(n.service)
	server := kvserver.NewHTTPServer(n.service.Handler())
	server.ErrorLog = slog.NewLogLogger(n.logger.Handler(), slog.LevelDebug)
	n.clients = newClientPort(server, n.service.Listener(c.HTTP))
	go n.serveHTTP()
	return nil
}

func (n *Node) serveHTTP() {
	if err := n.clients.serve(); err != nil {
		n.failures <- fmt.Errorf("taking client connections on %s: %w", n.config.HTTP.Addr(), err)
	}
}

// startAdmin serves the admin port, if there is one. The node does without it
// if it fails.
func (n *Node) startAdmin() {
	if n.config.Admin == nil {
		return
	}
	n.admin = kvserver.NewAdminServer(n.service.AdminHandler(n.config.LogLevel))
	n.admin.ErrorLog = slog.NewLogLogger(n.logger.Handler(), slog.LevelDebug)
	go func() {
		if err := n.admin.Serve(n.config.Admin); err != nil && !errors.Is(err, http.ErrServerClosed) {
			n.logger.Error("the admin port failed", "address", n.config.Admin.Addr().String(), "error", err)
		}
	}()
	n.logger.Info("serving the operator", "admin", n.config.Admin.Addr().String())
}

// clientAddress is where the other nodes send clients' requests for this one.
func (n *Node) clientAddress() string {
	return ReachableAddress(n.config.HTTP.Addr(), n.config.Members[n.config.ID])
}
