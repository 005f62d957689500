package lab

import (
	"bytes"
	"encoding/gob"
	"fmt"

	"raftkv/raft"
)

// snapshotEvery is how many entries lie between the snapshots of a cluster that
// takes them: after the 9th, the 19th and so on.
const snapshotEvery = 10

// applier is the service of one life of a server: it reads the applyCh and
// compares what it reads with what the others read.
type applier struct {
	cluster *Cluster
	server  int
	rf      *raft.Raft
}

// run reads until the channel is closed. It goes on reading after something
// was found wrong, so that nobody waits for it.
func (a *applier) run(applyCh <-chan raft.ApplyMsg) {
	for msg := range applyCh {
		if held := a.cluster.heldBy(a.server); held != nil {
			<-held
		}
		var err error
		switch {
		case msg.CommandValid && msg.SnapshotValid:
			err = fmt.Errorf("a message is both a command and a snapshot")
		case msg.CommandValid:
			err = a.command(msg)
		case msg.SnapshotValid:
			err = a.snapshot(msg)
		}
		if err != nil {
			a.cluster.Fail("server %d: %v", a.server, err)
		}
	}
}

func (a *applier) command(msg raft.ApplyMsg) error {
	snapshot, err := a.record(msg)
	if err == nil && snapshot != nil {
		a.cluster.trace.Note(a.server, fmt.Sprintf("snapshot <=%d", msg.CommandIndex))
		a.rf.Snapshot(msg.CommandIndex, snapshot)
	}
	return err
}

// record notes a command and returns a snapshot if one is due.
func (a *applier) record(msg raft.ApplyMsg) (snapshot []byte, err error) {
	c := a.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.servers[a.server]
	if s.rf != a.rf {
		// Crashed: its persister's copy may not hold what made this committed.
		return nil, nil
	}
	if msg.CommandIndex != len(s.applied)+1 {
		return nil, fmt.Errorf("delivered index %d after %d", msg.CommandIndex, len(s.applied))
	}
	s.applied = append(s.applied, msg.Command)
	if err := c.agree(msg.CommandIndex, msg.Command); err != nil {
		return nil, err
	}
	if c.options.Snapshots && (msg.CommandIndex+1)%snapshotEvery == 0 {
		return encodeApplied(s.applied)
	}
	return nil, nil
}

// agree compares a command with what was delivered at its index before; the
// caller holds the cluster's mutex.
func (c *Cluster) agree(index int, command interface{}) error {
	switch {
	case index <= len(c.chosen):
		if was := c.chosen[index-1]; was != command {
			return fmt.Errorf("delivered %v (%T) at index %d, where another delivered %v (%T)", command, command, index, was, was)
		}
	case index == len(c.chosen)+1:
		c.chosen = append(c.chosen, command)
	}
	return nil
}

// snapshot takes over a snapshot that was delivered in place of commands.
func (a *applier) snapshot(msg raft.ApplyMsg) error {
	applied, err := restored(msg.Snapshot)
	if err != nil {
		return fmt.Errorf("snapshot at index %d: %w", msg.SnapshotIndex, err)
	}
	c := a.cluster
	c.trace.Note(a.server, fmt.Sprintf("delivers snap %d", msg.SnapshotIndex))
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.servers[a.server]
	if s.rf != a.rf {
		return nil
	}
	if len(applied) != msg.SnapshotIndex {
		return fmt.Errorf("the snapshot at index %d holds %d commands", msg.SnapshotIndex, len(applied))
	}
	if msg.SnapshotIndex <= len(s.applied) {
		return fmt.Errorf("snapshot at index %d delivered after index %d", msg.SnapshotIndex, len(s.applied))
	}
	s.applied = applied
	for i, command := range applied {
		if err := c.agree(i+1, command); err != nil {
			return err
		}
	}
	return nil
}

// encodeApplied makes a snapshot: all commands so far.
func encodeApplied(applied []interface{}) ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(applied); err != nil {
		return nil, fmt.Errorf("encoding a snapshot: %w", err)
	}
	return b.Bytes(), nil
}

// restored returns the commands in a snapshot; none if there is no snapshot.
func restored(snapshot []byte) ([]interface{}, error) {
	if len(snapshot) == 0 {
		return nil, nil
	}
	var applied []interface{}
	if err := gob.NewDecoder(bytes.NewReader(snapshot)).Decode(&applied); err != nil {
		return nil, fmt.Errorf("the snapshot cannot be read: %w", err)
	}
	return applied, nil
}
