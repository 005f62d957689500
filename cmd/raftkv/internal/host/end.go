package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"raftkv/raft"
	"raftkv/raft/core"
)

// These bound the steps of an orderly end.
const (
	handOverLimit = time.Second
	drainLimit    = 5 * time.Second
	answerLimit   = time.Second // for the answers that the end itself gives
	stopLimit     = 5 * time.Second
)

// StopListening takes no new client connections. The present ones go on.
func (n *Node) StopListening() { n.clients.stopListening() }

// HandOver makes another node the leader if this one leads. It waits until the others
// know that, because they forward requests to the node that they take for the leader.
func (n *Node) HandOver() {
	n.raft.RatherNot("it is about to stop", true)
	if n.raft.Status().Role != core.Leader || len(n.members()) == 1 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverLimit)
	defer cancel()
	if err := n.raft.Transfer(ctx, core.None); err != nil && !errors.Is(err, raft.ErrNotLeader) {
		n.logger.Warn("leadership could not be handed over; the others will elect a leader", "error", err)
		return
	}
	tick := time.NewTicker(n.config.ElectionTimeout / electionTicks)
	defer tick.Stop()
	for ctx.Err() == nil {
		if s := n.raft.Status(); s.Leader != core.None && s.Leader != n.config.ID {
			n.logger.Info("leadership was handed over", "to", string(s.Leader), "term", s.Term)
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	// The new leader has told all others at the same time as this node. One heartbeat
	// later it has told them again.
	select {
	case <-time.After(heartbeatTicks * n.config.ElectionTimeout / electionTicks):
	case <-ctx.Done():
	}
}

// Drain lets the pending requests finish: those of HTTP, and those of Clerks, whose
// connections the HTTP server has given away.
func (n *Node) Drain() {
	if n.service == nil {
		return // it was not started
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainLimit)
	defer cancel()
	begun := time.Now()
	n.StopListening()
	n.service.EndWatches() // they would never finish by themselves
	clerks := make(chan bool, 1)
	go func() { clerks <- n.service.drainClerks(ctx) }()
	if http := n.clients.drain(drainLimit); !<-clerks || !http {
		n.logger.Warn("some requests did not finish in time; they are ended", "waited", time.Since(begun).Round(time.Millisecond))
	}
}

// Close ends everything that Start began, in the order in which the parts need
// each other. Requests that still wait are answered. The error is the disk's. It may be called
// again, also meanwhile: it returns when everything has ended.
func (n *Node) Close() error {
	n.closing.Do(func() { n.closed = n.close() })
	return n.closed
}

func (n *Node) close() error {
	if n.watching != nil {
		n.watching()
	}
	if n.clients != nil {
		n.StopListening()
	}
	if n.service != nil {
		n.service.Close()
	}
	if n.clients != nil {
		n.clients.drain(answerLimit)
		n.clients.close()
	}
	stopped := make(chan error, 1)
	if n.raft == nil {
		stopped <- n.wal.Close()
	} else {
		n.raft.Stop()
		go func() { stopped <- n.raft.Wait() }()
	}
	err := n.transport.Close()
	n.config.HTTP.Close()
	if n.admin != nil {
		n.admin.Close()
	}
	defer n.recording.Close()
	select {
	case walErr := <-stopped:
		return errors.Join(err, walErr)
	case <-time.After(stopLimit):
		return errors.Join(err, fmt.Errorf("the disk under %s has not finished its last write within %v", n.config.DataDir, stopLimit))
	}
}
