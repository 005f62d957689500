package failure

import (
	"context"
	"errors"
)

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

// Unreachable says that nothing of a write has left this node, because the leader
// could not be reached.
func Unreachable(ctx context.Context, leader, address string, cause error) error {
	if errors.Is(context.Cause(ctx), Stopping) {
		return StoppedBefore(cause)
	}
	return Of(NoLeader, cause, "the leader, %s, could not be reached at %s", leader, address)
}

// AnswerLost says that a write may have reached the leader, whose answer is not known.
// Why it is not is said by ctx, if that has ended, or by a cause that is Stopping: this
// node may end its connections before the request hears of it.
func AnswerLost(ctx context.Context, leader string, cause error) error {
	switch {
	case errors.Is(context.Cause(ctx), Stopping), errors.Is(cause, Stopping):
		return Of(StoppingUnknown, cause, "this node stopped while the leader, %s, had the write; it may still happen", leader)
	case errors.Is(context.Cause(ctx), ErrReplaced):
		return Of(LeadershipLost, cause, "the leader, %s, had the write when it was replaced, and has not answered since; it may still happen", leader)
	case ctx.Err() != nil:
		return Of(Timeout, cause, "the leader, %s, did not answer in time; the write may still happen", leader)
	}
	return Of(LeadershipLost, cause, "the leader, %s, had the write when its answer was lost; it may still happen", leader)
}

// TurnedDown says that the node that was the leader did not serve a write, for a
// reason of its own, "" if it gave none.
func TurnedDown(leader, reason string) error {
	if reason == "" {
		return Of(NoLeader, nil, "node %s does not lead any more", leader)
	}
	return Of(NoLeader, nil, "node %s, which was the leader, refused the write: %.200s", leader, reason)
}

// Unnamed returns what a caller that is told nothing of the cluster reads in place of the
// details of a kind of error that may name a node, an address or a term; "" for other kinds.
func Unnamed(kind error) string {
	switch kind {
	case NoLeader:
		return "no leader could be reached; retry, an election takes about half a second"
	case LeadershipLost:
		return "leadership was lost while the request was under way; it may still happen"
	case Timeout:
		return "the request was under way when its time ended; it may still happen"
	case StoppingUnknown:
		return "this node stopped while the request was under way; it may still happen"
	case Diverged:
		return "this node serves nothing, because its state was found to be wrong; ask another one"
	}
	return ""
}
