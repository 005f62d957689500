package core

// Some servers could lead but had better not: those whose state is wrong or not
// loaded yet, those that are installing a snapshot, and those that are about to
// stop. Nothing here touches safety. Such a server votes and confirms as ever. It
// lets several waits for a leader pass before it stands, does not stand when a
// leader asks it to, and says so to every leader, which hands over to others.

// ratherWaits is how many waits for a leader pass before a server stands that
// would rather not lead: then nobody else can.
const ratherWaits = 5

// RatherNot says whether this server would rather not lead. A leader that would
// rather not is not deposed: its driver calls Transfer. A server that is alone
// leads in any case.
func (r *Raft) RatherNot(ratherNot bool) { r.ratherNot = ratherNot }

// timeOut ends a wait for a leader.
func (r *Raft) timeOut() {
	if r.ratherNot && !r.isAlone() && r.waited < ratherWaits {
		r.waited++
		if r.role != Follower {
			r.becomeFollower(r.currentTerm, None)
		}
		r.leader = None
		r.resetElectionTimer()
		return
	}
	r.startCampaign()
}
