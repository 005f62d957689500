package node

// RatherNot says for a reason that this server had better not lead, or that the
// reason is gone. While there is any reason, the server campaigns only if nobody
// else does for several election timeouts, does not take over when a leader asks it
// to, and tells leaders, which hand over to others. RatherNot never blocks and may be
// called by any goroutine.
func (n *Node) RatherNot(reason string, ratherNot bool) {
	n.post(func() { n.noteRatherNot(reason, ratherNot) }, nil)
}

// noteRatherNot keeps the reasons and tells the core if there is any.
func (n *Node) noteRatherNot(reason string, ratherNot bool) {
	if ratherNot {
		n.reasons[reason] = true
	} else {
		delete(n.reasons, reason)
	}
	n.replica.RatherNot(len(n.reasons) > 0)
}

// Hold keeps the loop from running until release is closed or the node ends, as if the
// process had been stopped: it answers nobody and counts no tick. Whoever shows or tries
// what follows from that calls it, and nobody else. It never blocks.
func (n *Node) Hold(release <-chan struct{}) {
	n.post(func() {
		select {
		case <-release:
		case <-n.stop:
		}
	}, nil)
}
