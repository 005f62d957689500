package wire

import "raftkv/raft/core"

// A server that comes back after it lost its disk (core.Rejoining) may promise
// something only when every other server has been told that it has a goal. Each of
// them then refuses the directory that was lost, and refuses the newcomer if that
// directory has come back meanwhile. Without this the two could promise different
// things in one term.

// Hush stops all messages in both directions until Announce has returned true. It
// may be called before Start.
func (t *Transport) Hush() {
	t.mu.Lock()
	if t.announcing {
		t.mu.Unlock()
		return
	}
	t.announcing, t.awareness, t.unaware = true, make(chan struct{}), make(map[core.ID]bool)
	var outs []*outbound
	for id, p := range t.peers {
		t.unaware[id] = true
		if out := p.out.Load(); out != nil {
			outs = append(outs, out)
		}
	}
	t.mute()
	t.mu.Unlock()
	for _, out := range outs {
		out.fail(errAnnouncing) // the next connection begins with the announcement
	}
}

// Announce tells every peer, by new connections, how far this server has come. It
// returns true when all of them have heard it, and false when the transport is closed
// first. Until it returns true, no message passes.
func (t *Transport) Announce() bool {
	t.Hush()
	for {
		t.mu.Lock()
		done := len(t.unaware) == 0
		if done {
			t.announcing = false
			t.mute()
		}
		changed := t.awareness
		t.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-t.ctx.Done():
			return false
		}
	}
}

// announced notes that a peer has taken a hello of ours that holds the announcement.
func (t *Transport) announced(p *peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.announcing || !t.unaware[p.id] {
		return
	}
	delete(t.unaware, p.id)
	close(t.awareness)
	t.awareness = make(chan struct{})
}
