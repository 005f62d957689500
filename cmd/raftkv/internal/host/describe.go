package host

import (
	"runtime"
	"runtime/metrics"
	"time"

	"raftkv/cmd/raftkv/internal/process"
	"raftkv/kvserver/api"
)

// describe adds to a status those facts about the node that the service does not know.
func (n *Node) describe(s *api.Status) {
	n.describeTransport(s)
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

// describeTransport adds to a status how the node's ports speak.
func (n *Node) describeTransport(s *api.Status) {
	client, peer := n.config.Keys.Modes()
	s.Transport = api.Transport{ClientTLS: string(client), PeerTLS: string(peer), Open: n.config.Open, SharedCertificate: n.config.Keys.Shared()}
}
