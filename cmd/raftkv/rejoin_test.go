package main

import (
	"strings"
	"testing"

	"raftkv/cmd/raftkv/internal/exit"
)

// Goal: --rejoin is refused where it cannot succeed. Method: the settings of a node in
// a cluster of two.
func TestRejoinIsRefusedWhereItIsOfNoUse(t *testing.T) {
	s := serveSettings{}
	s.table()
	s.id, s.dataDir, s.cluster, s.rejoin = "n1", t.TempDir(), "n1=127.0.0.1:1,n2=127.0.0.1:2", true
	if _, _, err := s.nodeConfig(t.Output()); ExitCodeOf(err) != exit.Usage || !strings.Contains(err.Error(), "at least 3 nodes") {
		t.Errorf("two nodes: %v", err)
	}
}
