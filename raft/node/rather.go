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
