package host

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/metrics"
	"slices"
	"time"

	"raftkv/cmd/raftkv/internal/process"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/kvserver"
	"raftkv/kvserver/access"
	"raftkv/kvserver/api"
	"raftkv/kvserver/httpd"
	"raftkv/kvserver/kv"
	"raftkv/kvserver/port"
	"raftkv/raft"
	"raftkv/raft/core"
)

// startService makes the service on what consensus chooses and on the state that the
// log begins behind, and lets clients in. The state is nil if there is none.
func (n *Node) startService(chosen <-chan raft.Batch, state io.Reader) (err error) {
	n.service, err = n.openService(chosen, state)
	if err != nil {
		return err
	}
	n.loaded.Store(n.service.Server)
	server := n.service.server()
	server.ErrorLog = slog.NewLogLogger(n.logger.Handler(), slog.LevelDebug)
	n.clients = newClientPort(server, n.service.listener(port.FromProxies(n.config.HTTP, n.config.Proxies, n.logger)))
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
	n.admin = httpd.NewAdminServer(n.service.http.AdminHandler(n.config.LogLevel, n.config.Keys.Reload))
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
	if n.config.AdvertiseHTTP != "" {
		return n.config.AdvertiseHTTP
	}
	return ReachableAddress(n.config.HTTP.Addr(), n.config.Members[n.config.ID])
}

// describe adds to a status those facts about the node that the service does not know.
func (n *Node) describe(s *api.Status) {
	n.describeTransport(s)
	s.ListDiffers = n.listDiffers(n.driver.Configurations().Newest.Record)
	w := n.wal.Stats()
	s.Log.CommitP99Seconds = n.commits.p99().Seconds()
	s.Disk = api.Disk{FsyncP99Seconds: n.syncs.p99().Seconds(), LogBytes: w.Bytes, SnapshotBytes: w.SnapshotBytes, FreeBytes: -1}
	if free, err := process.FreeBytes(n.config.DataDir); err == nil {
		s.Disk.FreeBytes = int64(free)
	}
	memory := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(memory)
	s.Process = api.Process{
		UptimeSeconds: int64(time.Since(n.begun).Seconds()),
		MemoryBytes:   int64(memory[0].Value.Uint64() - memory[1].Value.Uint64()),
		Goroutines:    runtime.NumGoroutine(),
	}
}

// open returns what is open beyond this machine now: once identities are enforced, the client
// port asks for tokens.
func (n *Node) open() []string {
	server := n.loaded.Load()
	if server == nil {
		return n.config.Open
	}
	if enforces, known := server.Enforces(); known && !enforces {
		return n.config.Open
	}
	return slices.DeleteFunc(slices.Clone(n.config.Open), func(what string) bool { return what == secure.Auth })
}

// shut returns how this node decides before it knows what the log says of identities.
func (n *Node) shut() (kvserver.Shut, error) {
	mark, err := secure.ReadMark(n.config.FS, n.config.DataDir)
	switch {
	case err != nil:
		return kvserver.NotShut, err
	case n.Joins():
		// It may be killed between the record of members and what the log says of
		// identities. rememberIdentities takes the note back if it was wrong.
		return kvserver.ShutUntilCurrent, secure.Remember(n.config.FS, n.config.DataDir, true)
	case mark.Identities == secure.Enforces:
		return kvserver.ShutUntilCurrent, nil
	case mark.Identities == secure.Begins:
		return kvserver.ShutUntilSet, nil
	case n.enforcing:
		// The note is written up to directoryLook after the entry was applied, and an entry
		// is on the disk before that. The state at which the log begins has its own table.
		return kvserver.ShutUntilCurrent, nil
	}
	return kvserver.NotShut, nil
}

// asksToEnforce reports whether a log has an entry that lets identities be enforced. Whether
// that was committed, allowed and not taken back shows when the log is applied.
func asksToEnforce(state *core.State) bool {
	return slices.ContainsFunc(state.Entries, func(e core.Entry) bool {
		return e.Kind == core.KindCommand && kv.AsksToEnforce(e.Data)
	})
}

// rememberIdentities notes in the data directory whether identities are enforced. A failure
// is logged: the node is right until its next start.
func (n *Node) rememberIdentities() {
	enforces, known := n.service.Enforces()
	if !known {
		return
	}
	if err := secure.Remember(n.config.FS, n.config.DataDir, enforces); err != nil {
		n.logger.Error("that identities are enforced cannot be noted in the data directory; at its next start this node may serve old data to others before it has read its log", "error", err)
	}
}

// noteReload notes in the audit that the files of certificates of a port were taken, or why
// they were not.
func (n *Node) noteReload(port string, refused error) {
	audit := n.config.Access.Audit
	if !audit.ReserveAfter() {
		return // the log has it
	}
	line := access.Line{Time: time.Now(), Node: string(n.config.ID), Action: "reload " + port, Outcome: string(api.OutcomeApplied)}
	if refused != nil {
		line.Outcome, line.Code = string(api.OutcomeNotApplied), string(api.CodePreconditionFailed)
	}
	audit.Put(line)
}

// describeTransport adds to a status how the node's ports speak.
func (n *Node) describeTransport(s *api.Status) {
	client, peer := n.config.Keys.Modes()
	s.Transport = api.Transport{ClientTLS: string(client), PeerTLS: string(peer), Open: n.open(), SharedCertificate: n.config.Keys.Shared()}
}
