package failure

// Sentences that more than one part of the service says. Each is one decision
// about the outcome, made here.

// NodeStopping refuses a request because this node is about to end. Nothing of the
// request has had an effect.
func NodeStopping(cause error) error {
	return Of(Stopping, cause, "this node is stopping; ask another one")
}

// StoppedBefore says that the node ended before a write left it.
func StoppedBefore(cause error) error {
	return Of(Stopping, cause, "this node stopped before the write was on its way")
}

// StoppedDuring says that the node ended while a write was in the log or on its
// way there.
func StoppedDuring(cause error) error {
	return Of(StoppingUnknown, cause, "this node stopped while the write was under way; it may still happen")
}

// Unheard says that the time of a request ended before the result of its write was
// known.
func Unheard() error {
	return Of(Timeout, nil, "the write was under way when its time ended; it may still happen")
}

// TermOver says that a write was placed in the log in a term whose leader was
// replaced before the result was known.
func TermOver(term uint64) error {
	return Of(LeadershipLost, nil, "the leader of term %d was replaced while the write was under way; it may still happen", term)
}

// Deposed says that this node led when the write was placed, and does not lead
// any more.
func Deposed() error {
	return Of(LeadershipLost, nil, "this node ceased to lead while the write was under way; it may still happen")
}

// LeaderUnknown refuses a request for which a leader is needed.
func LeaderUnknown() error {
	return Of(NoLeader, nil, "no leader is known; retry, an election takes about half a second")
}
