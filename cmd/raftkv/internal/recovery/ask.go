package recovery

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"raftkv/raft/members"
)

// askTime bounds the attempt to reach one address.
const askTime = 3 * time.Second

// Alive returns the other members at whose addresses something listens, sorted. dial connects
// to an address. Whether it is a node, and whether it is well, is not asked: a node that only
// hangs has lost nothing.
func (s *Survivor) Alive(ctx context.Context, dial func(ctx context.Context, address string) (net.Conn, error)) []members.ID {
	var mu sync.Mutex
	var alive []members.ID
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	for _, m := range s.newest.Record.Members {
		for _, address := range []string{m.Peer, m.HTTP} {
			if m.ID == s.id() || address == "" {
				continue
			}
			all.Go(func() {
				conn, err := dial(ctx, address)
				if err != nil {
					return
				}
				conn.Close()
				mu.Lock()
				defer mu.Unlock()
				alive = append(alive, m.ID)
			})
		}
	}
	all.Wait()
	slices.Sort(alive)
	return slices.Compact(alive)
}

// Needed says why there is no need to recover, while these others are alive: with this node
// they are a majority. nil: there is none.
func (s *Survivor) Needed(alive []members.ID) error {
	c := s.newest.Record.Configuration()
	present := append(slices.Clone(alive), s.id())
	for _, half := range [][]members.ID{c.Voters(), c.OldVoters()} {
		var here []string
		for _, id := range half {
			if slices.Contains(present, id) {
				here = append(here, string(id))
			}
		}
		if need := members.Majority(len(half)); len(half) > 0 && len(here) >= need {
			return fmt.Errorf("no majority is lost: %d of the voters %s are needed, and %s are here or answer: start node %s on this directory as it is, and replace what is lost (raftkv member replace, serve --rejoin); --offline recovers all the same, for addresses at which something else listens",
				need, joined(half), strings.Join(here, ", "), s.owner.NodeID)
		}
	}
	return nil
}

func joined(ids []members.ID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	return strings.Join(texts, ", ")
}
