package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"raftkv/cmd/raftkv/internal/address"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/host"
	"raftkv/raft/core"
)

// joinersPeers is for how many peers a node that joins keeps descriptors, since it does
// not know yet how many there are.
const joinersPeers = 8

// maxTokenFileBytes bounds the file with a token.
const maxTokenFileBytes = 4 << 10

// membership says of which list the node is a member, or how it joins a cluster that runs.
// It settles at which address the node listens for peers.
func (s *serveSettings) membership() (host.Members, host.Join, error) {
	id := core.ID(s.id)
	switch {
	case s.cluster == "" && s.join == "":
		return nil, host.Join{}, errors.New("--cluster is missing: give it as a flag, as RAFTKV_CLUSTER or as cluster in the --config file; or --join, to join a cluster that runs")
	case s.cluster != "" && s.join != "":
		return nil, host.Join{}, errors.New("--cluster is for the nodes with which a cluster begins, and --join for those that join it later: give one of them")
	case s.join == "" && (s.replaces != "" || s.joinTokenFile != "" || s.role != ""):
		return nil, host.Join{}, errors.New("--replace, --role and --join-token-file are for a node that joins: give --join, too")
	case s.join != "" && s.rejoin:
		return nil, host.Join{}, fmt.Errorf("--rejoin is for a node in --cluster; a node that joins comes back after its disk was lost with --join and --replace %s", s.id)
	case s.cluster != "":
		m, err := address.ParseMembers(s.cluster)
		if err != nil {
			return nil, host.Join{}, err
		}
		own, isMember := m[id]
		if !isMember {
			return nil, host.Join{}, fmt.Errorf("--cluster names %s and not this node, %s: add %s=host:port to it, or correct --id", core.JoinIDs(m.IDs(), ", "), id, id)
		}
		if s.peer == "" {
			s.peer = own
		}
		return m, host.Join{}, nil
	}
	if s.peer == "" {
		return nil, host.Join{}, errors.New("--peer is missing: a node that joins says at which address it listens for peers")
	}
	if s.role != "" && s.role != "learner" && s.role != "replica" {
		return nil, host.Join{}, fmt.Errorf("--role is %q; choose learner or replica", s.role)
	}
	join := host.Join{Addresses: listOf(s.join), Role: s.role, Replaces: core.ID(s.replaces)}
	if s.joinTokenFile != "" {
		text, err := os.ReadFile(s.joinTokenFile)
		if err == nil && len(text) > maxTokenFileBytes {
			err = fmt.Errorf("%s has %d bytes; a token has fewer than %d", s.joinTokenFile, len(text), maxTokenFileBytes)
		}
		if err != nil {
			return nil, host.Join{}, exit.Fail(fmt.Errorf("reading the token: %w", err))
		}
		join.Token = strings.TrimSpace(string(text))
	}
	return nil, join, nil
}
