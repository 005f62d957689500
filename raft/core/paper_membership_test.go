package core

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"raftkv/raft/members"
)

// §6 of the paper, sentence by sentence, with the thesis' 4.2.1 to 4.2.3. The stories
// among them are scripts: figure10, figure11, joint_leader_dies, config_truncated,
// config_in_snapshot, leader_removes_itself, learner_votes, learner_is_sole_quorum,
// readd_same_id, raft_dev_2015, sole_voter_swapped.

// memberCluster returns a cluster with a record: the first founders of n servers vote,
// 1 leads, and the others have not been heard of.
func memberCluster(t *testing.T, n, founders int, change func(*Config)) *cluster {
	t.Helper()
	c := newCluster(n, func(config *Config) {
		config.Noop, config.PreVote, config.CheckQuorum, config.BatchBytes = true, true, true, 1
		config.Peers = membersFrom(founders, config.ID)
		if change != nil {
			change(config)
		}
	})
	c.elect("1")
	c.mustChange(t, "1")
	c.settle()
	return c
}

// tryChange asks a leader for a change in the words of a script; for the first record
// if there is none.
func (c *cluster) tryChange(id ID, words ...string) (index uint64, err error) {
	now := c.core(id).Configurations().Newest
	wanted := members.First(clusterUID, 3, c.core(id).log.static.Voters())
	if now.Record != nil {
		wanted = now.Record.Clone()
		if err := edit(&wanted, words); err != nil {
			return 0, err
		}
	}
	c.input(c.server(id), func(r *Raft) { index, _, err = r.Reconfigure(wanted, now.Index) })
	return index, err
}

func (c *cluster) mustChange(t *testing.T, id ID, words ...string) uint64 {
	t.Helper()
	index, err := c.tryChange(id, words...)
	if err != nil {
		t.Fatalf("change %v: %v", words, err)
	}
	return index
}

func (c *cluster) wantMembers(t *testing.T, want string, ids ...ID) {
	t.Helper()
	if c.fault != nil {
		t.Fatal(c.fault)
	}
	for _, id := range ids {
		if got := memberText(c.core(id).configuration); got != want {
			t.Errorf("%s counts by %q, want %q", id, got, want)
		}
	}
}

// sentTo returns the servers to which requests of a kind are on their way.
func sentTo[R Request](c *cluster, from ID) []ID {
	var ids []ID
	for _, m := range c.flight {
		if _, is := m.call.Request.(R); is && m.reply == nil && m.from == from && !slices.Contains(ids, m.to) {
			ids = append(ids, m.to)
		}
	}
	slices.Sort(ids)
	return ids
}

// Goal: "Log entries are replicated to all servers in both configurations."
// Method: a change from 1 2 3 to 1 4 5; a command in the middle goes to all four.
func TestSection6_EntriesGoToBothConfigurations(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 5, 3, nil)
	c.mustChange(t, "1", "learner", "4", "learner", "5")
	c.settle()
	c.mustChange(t, "1", "voter", "4", "voter", "5", "remove", "2", "remove", "3")
	if got, want := sentTo[*AppendEntries](c, "1"), []ID{"2", "3", "4", "5"}; !slices.Equal(got, want) {
		t.Errorf("the joint configuration goes to %v, want %v", got, want)
	}
}

// Goal: "Any server from either configuration may serve as leader", and agreement
// takes "separate majorities from both".
// Method: joint from 1 2 3 to 1 4 5, on all disks; every server campaigns, with every
// set of others that hear it. It wins with majorities of both halves and not else.
func TestSection6_AnyServerOfEitherConfigurationMayLead(t *testing.T) {
	defer failOnPanic(t)
	has := func(group []ID, half ...ID) bool {
		n := 0
		for _, id := range half {
			if slices.Contains(group, id) {
				n++
			}
		}
		return 2*n > len(half)
	}
	won := map[ID]int{}
	for _, candidate := range names(5) {
		for subset := range 1 << 5 {
			c := jointCluster(t, 1)
			group := []ID{candidate}
			for i, id := range names(5) {
				if subset>>i&1 != 0 && id != candidate {
					group = append(group, id)
				} else if id != candidate {
					c.crash(c.server(id), false)
				}
			}
			c.input(c.server(candidate), (*Raft).startCampaign)
			c.settle()
			want := has(group, "1", "2", "3") && has(group, "1", "4", "5")
			if got := c.oracles.leaders[2] == candidate; got != want || c.fault != nil {
				t.Fatalf("%s with %v leads: %v, want %v (%v)", candidate, group, got, want, c.fault)
			}
			if want {
				won[candidate]++
				c.wantMembers(t, "1 4 5", candidate) // and it has ended the change
			}
		}
	}
	if len(won) != 5 {
		t.Errorf("elections were won by %v", won)
	}
}

// jointCluster returns five servers without a leader, all with a record and a joint
// configuration from 1 2 3 to 1 4 5 on their disks. That many of the two entries are
// known to be committed.
func jointCluster(t *testing.T, committed uint64) *cluster {
	c := newCluster(5, func(config *Config) { config.Noop, config.BatchBytes, config.CommitTicks = true, 1, 10 })
	first := members.First(clusterUID, 3, names(3))
	first.Put(members.Member{ID: "4", Role: members.Learner})
	first.Put(members.Member{ID: "5", Role: members.Learner})
	first.Stamp(1)
	wanted := first.Clone()
	if err := edit(&wanted, []string{"voter", "4", "voter", "5", "remove", "2", "remove", "3"}); err != nil {
		t.Fatal(err)
	}
	joint, err := members.Next(first.Configuration(), &first, wanted)
	if err != nil {
		t.Fatal(err)
	}
	joint.Stamp(2)
	for _, s := range c.servers {
		s.config.Peers = membersFrom(3, s.id)
		s.disk = State{Term: 1, Entries: []Entry{recordEntry(t, 1, 1, first), recordEntry(t, 2, 1, joint)}, Commit: committed}
		c.start(s)
	}
	fresh := choice{term: 1}
	for _, e := range c.servers[0].disk.Entries[:committed] {
		fresh.entry = e
		fresh.machine.apply(e)
		c.oracles.chosen = append(c.oracles.chosen, fresh)
	}
	return c
}

func recordEntry(t *testing.T, index, term uint64, record members.Record) Entry {
	t.Helper()
	data, err := record.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return NewEntry(index, term, KindConfiguration, data)
}

// Goal: "a server always uses the latest configuration in its log, regardless of
// whether the entry is committed", and an older one again when the entry is truncated.
// Method: a follower is sent a joint configuration, then another leader's entry in its
// place; what it counts by is asked at once, before its disk has either.
func TestSection6_TheLatestConfigurationInTheLogCounts(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 4, 3, nil)
	c.mustChange(t, "1", "learner", "4")
	c.settle()
	index := c.mustChange(t, "1", "voter", "4")
	c.wantMembers(t, "1 2 3 => 1 2 3 4", "1")
	var request *AppendEntries
	for _, m := range c.flight {
		if req, is := m.call.Request.(*AppendEntries); is && m.to == "2" {
			request = req
		}
	}
	two := c.core("2")
	two.Receive(100, "1", request)
	if got := memberText(two.configuration); got != "1 2 3 => 1 2 3 4" {
		t.Errorf("appended: it counts by %q", got)
	}
	two.Receive(101, "3", &AppendEntries{Term: 9, LeaderID: "3", PrevLogIndex: request.PrevLogIndex, PrevLogTerm: request.PrevLogTerm,
		Entries: []Entry{NewEntry(index, 9, KindNoop, nil)}})
	if got := memberText(two.configuration); got != "1 2 3 (4)" {
		t.Errorf("truncated: it counts by %q", got)
	}
}

// Goal: a joint configuration that stands in the log of a new leader is led to its end
// by that leader, when an entry of its own is committed; a final one never stands there
// without that.
// Method: jointCluster; 4 leads. Before its own entry is committed nothing follows the
// joint one, also where its commit index says that it is committed.
func TestSection6_ANewLeaderEndsTheChangeThatItFinds(t *testing.T) {
	defer failOnPanic(t)
	c := jointCluster(t, 2)
	four := c.server("4")
	c.input(four, (*Raft).startCampaign)
	for c.core("4").role != Leader && c.fault == nil {
		if !slices.ContainsFunc(c.servers, c.save) {
			c.deliver(c.flight[0])
		}
	}
	if got := c.core("4").log.lastIndex(); got != 3 || c.core("4").commitIndex != 2 {
		t.Errorf("the log of the new leader ends at %d, committed are %d: want 3, its own entry, and 2", got, c.core("4").commitIndex)
	}
	c.settle()
	c.wantMembers(t, "1 4 5", "1", "4", "5")
}

// Goal: the new servers "join the cluster as non-voting members": they are sent the log
// and count in nothing. How far they are is measured in rounds (thesis 4.2.1).
// Method: a learner that is cut off, then slow, then quick; ticks are counted.
func TestSection6_LearnersCatchUpInRounds(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 4, 3, nil)
	for range 5 {
		_, _ = c.propose("1", "x")
	}
	c.settle()
	c.cut[[2]ID{"1", "4"}] = true
	c.mustChange(t, "1", "learner", "4")
	c.settle()
	learner := func() PeerStatus {
		peers := c.core("1").Status().Peers
		return peers[slices.IndexFunc(peers, func(p PeerStatus) bool { return p.ID == "4" })]
	}
	pass := func(ticks int) {
		for range ticks {
			c.tick("1", 1)
			c.settle()
		}
	}
	pass(25)
	if l := learner(); l.Rounds != 0 || l.RoundAge != 25 || l.CaughtUp || l.Unheard < 25 || l.Votes != 0 {
		t.Errorf("cut off: %+v", l)
	}
	delete(c.cut, [2]ID{"1", "4"})
	pass(10)
	if l := learner(); l.Rounds == 0 || l.RoundTicks > 10 || !l.CaughtUp || l.MatchIndex != c.core("1").log.lastIndex() {
		t.Errorf("back: %+v", l)
	}
	c.server("4").held = true // its disk is slow: a round lasts as long
	rounds := learner().Rounds
	_, _ = c.propose("1", "y")
	pass(12)
	if l := learner(); l.CaughtUp || l.RoundAge < 10 {
		t.Errorf("a round of more than an election timeout: %+v", l)
	}
	c.server("4").held = false
	pass(2)
	if l := learner(); l.CaughtUp || l.RoundTicks < 10 || l.Rounds <= rounds {
		t.Errorf("just after a long round: %+v", l)
	}
	pass(4)
	if l := learner(); !l.CaughtUp {
		t.Errorf("quick again: %+v", l)
	}
	rounds = learner().Rounds
	for range 10 { // it always lacks what came since the tick before
		_, _ = c.propose("1", "z")
		pass(1)
	}
	if l := learner(); !l.CaughtUp || l.Rounds < rounds+9 {
		t.Errorf("while commands come: %+v, %d rounds before", l, rounds)
	}
	c.cut[[2]ID{"4", "1"}] = true
	pass(12)
	if l := learner(); l.CaughtUp || l.Unheard < 10 {
		t.Errorf("silent with the whole log: %+v", l)
	}
	if got := memberText(c.core("1").configuration); got != "1 2 3 (4)" || c.fault != nil {
		t.Errorf("%q (%v)", got, c.fault)
	}
}

// Goal: "the leader steps down … once it has committed the C_new log entry", and until
// then "does not count itself in majorities"; no command that it took is lost by that.
// Method: 1 removes itself while commands come; its successor has all of them.
func TestSection6_ALeaderThatRemovesItselfHandsOver(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 3, 3, nil)
	c.mustChange(t, "1", "remove", "1")
	for _, data := range []string{"a", "b"} {
		_, _ = c.propose("1", data)
	}
	c.settle("1", "2") // the joint one is committed by neither
	if got := c.core("1").role; got != Leader {
		t.Fatalf("1 is %v before the change has ended", got)
	}
	_, err := c.propose("1", "c")
	c.settle()
	if err != nil || c.core("1").role == Leader {
		t.Errorf("1 is %v (%v)", c.core("1").role, err)
	}
	c.wantMembers(t, "2 3", "1", "2", "3")
	var applied []string
	for _, e := range c.server("3").applied {
		if e.Kind == KindCommand {
			applied = append(applied, string(e.Data))
		}
	}
	if got := strings.Join(applied, " "); got != "a b c" {
		t.Errorf("applied is %q", got)
	}
	if r := c.core("1"); r.counts.LostQuorum != 0 || c.oracles.elections != 2 {
		t.Errorf("%d elections, %d steps down for want of a majority", c.oracles.elections, r.counts.LostQuorum)
	}
}

// Goal: "it is possible … that only a server from C_old could be elected leader" before
// the final configuration is committed: the leader that it leaves out does not go before.
// Method: 1 removes itself; the disks of 2 and 3 hang when they are to take the final
// configuration, and they answer heartbeats.
func TestSection6_ALeaderThatIsOutLeadsUntilTheCommit(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 3, 3, func(config *Config) { config.StallTicks = 1000 })
	c.mustChange(t, "1", "remove", "1")
	for c.core("1").log.newest().Joint && c.fault == nil {
		if !slices.ContainsFunc(c.servers, c.save) {
			c.deliver(c.flight[0])
		}
	}
	c.wantMembers(t, "2 3", "1")
	c.server("2").held, c.server("3").held = true, true
	for range 35 {
		c.tick("1", 1)
		c.settle()
	}
	if r := c.core("1"); r.role != Leader || r.Configurations().Committed.Index == r.log.newest().Index {
		t.Errorf("1 is %v, and its change is committed: %v", r.role, r.Configurations())
	}
	c.server("2").held, c.server("3").held = false, false
	c.settle()
	if r := c.core("1"); r.role == Leader || c.fault != nil {
		t.Errorf("1 is %v after the commit (%v)", r.role, c.fault)
	}
}

// Goal: a leader that is left out, and finds no server that would lead in its place, steps
// down all the same, after an election timeout.
// Method: 2 and 3 had both better not lead; 1 removes itself.
func TestSection6_ALeaderThatIsOutStepsDownInAnyCase(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 3, 3, nil)
	for _, id := range []ID{"2", "3"} {
		c.input(c.server(id), func(r *Raft) { r.RatherNot(true) })
	}
	c.tick("1", 2)
	c.settle()
	c.mustChange(t, "1", "remove", "1")
	c.settle()
	if got := c.core("1").role; got != Leader {
		t.Fatalf("1 is %v at once", got)
	}
	for range 10 {
		_, _ = c.propose("1", "x") // commits do not make it longer
		c.tick("1", 1)
		c.settle()
	}
	if got := c.core("1").role; got == Leader || c.fault != nil {
		t.Errorf("1 is %v (%v)", got, c.fault)
	}
}

// Goal: a server that an uncommitted configuration removes may have to lead (thesis
// 4.2.2): it stands until that is committed, and counts its own vote nowhere. A server
// that has no vote stands not.
// Method: 2 has the final configuration of 1 3, and knows or does not know that it is
// committed; its wait for a leader ends. Learners and strangers wait likewise.
func TestSection6_WhoMayStand(t *testing.T) {
	first := members.First(clusterUID, 3, names(3))
	first.Put(members.Member{ID: "4", Role: members.Learner})
	first.Stamp(1)
	wanted := first.Clone()
	wanted.Delete("2")
	joint, err := members.Next(first.Configuration(), &first, wanted)
	if err != nil {
		t.Fatal(err)
	}
	joint.Stamp(2)
	final := joint.Final()
	final.Stamp(3)
	entries := []Entry{recordEntry(t, 1, 1, first), recordEntry(t, 2, 1, joint), recordEntry(t, 3, 1, final)}
	for _, c := range []struct {
		name   string
		id     ID
		held   int    // of the three entries
		commit uint64 // known to be committed
		stands bool
	}{
		{"a voter", "1", 1, 0, true},
		{"a voter that the joint one removes", "2", 2, 1, true},
		{"… which is committed", "2", 2, 2, true},
		{"a voter that the final one removes", "2", 3, 2, true},
		{"… which is committed", "2", 3, 3, false},
		{"a voter of the final one", "3", 3, 3, true},
		{"a learner", "4", 1, 1, false},
		{"a learner that does not know so", "4", 1, 0, false},
		{"a server without a configuration", "5", 0, 0, false},
		{"a stranger", "6", 3, 3, false},
	} {
		s := newSubject(t, func(config *Config) { config.ID, config.Peers, config.CommitTicks = c.id, membersFrom(3, c.id), 10 },
			func(state *State) {
				state.Term, state.Commit, state.Entries = 1, c.commit, slices.Clone(entries[:c.held])
			})
		for range 40 {
			s.Tick()
		}
		if stood := s.counts.Campaigns > 0; stood != c.stands {
			t.Errorf("%s (%s, %d entries, %d committed) stands: %v, want %v", c.name, c.id, c.held, c.commit, stood, c.stands)
		}
	}
}

// Goal: a server that is being removed wins with a majority of the others, not with its
// own vote.
// Method: 2 has the final configuration of 1 3, uncommitted; 1 alone votes, then 3 too.
func TestSection6_AServerThatIsOutDoesNotVoteForItself(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 3, 3, nil)
	c.mustChange(t, "1", "remove", "2")
	c.settle("1", "2") // the old half is 1 2 3, the new one 1 3: 3 is needed
	c.deliver(c.flight[slices.IndexFunc(c.flight, func(m *message) bool { return m.to == "3" })])
	c.save(c.server("3"))
	c.deliver(c.flight[slices.IndexFunc(c.flight, func(m *message) bool { return m.from == "3" })])
	c.settle("1", "2")
	c.wantMembers(t, "1 3", "1", "2")
	c.wantMembers(t, "1 2 3 => 1 3", "3")
	c.flight = nil
	c.tick("3", 20)
	c.crash(c.server("1"), false)
	c.start(c.server("1"))
	c.flight = nil
	two := c.server("2")
	c.cut[[2]ID{"2", "3"}] = true
	c.input(two, func(r *Raft) { r.leader = None; r.becomeCandidate() })
	c.settle("1", "2")
	if got := two.core.role; got != Candidate {
		t.Fatalf("with the vote of 1 alone 2 is %v", got)
	}
	clear(c.cut)
	c.tick("2", 2)
	c.settle()
	if got := c.oracles.leaders[2]; got != "2" || c.fault != nil {
		t.Errorf("term 2 is led by %q (%v)", got, c.fault)
	}
	if got := two.core.role; got == Leader {
		t.Errorf("2 is %v although its own change has ended", got)
	}
}

// Goal: "servers disregard RequestVote RPCs when they believe a current leader exists",
// whoever asks, for pre-votes too, and learners like voters.
// Method: members, a removed server and a stranger ask a voter and a learner that hear
// the leader; then after they have not heard it for an election timeout.
func TestSection6_VotesAreWithheldWhileALeaderIsHeard(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 4, 3, nil)
	c.mustChange(t, "1", "learner", "4")
	c.settle()
	c.mustChange(t, "1", "remove", "3")
	c.settle()
	for _, voter := range []ID{"2", "4"} {
		for _, candidate := range []ID{"2", "3", "7"} {
			for _, pre := range []bool{true, false} {
				s := &subject{t: t, Raft: c.core(voter), answers: map[Tag]Reply{}}
				before := s.currentTerm
				reply := s.vote(RequestVote{Term: 50, CandidateID: candidate, LastLogIndex: 99, LastLogTerm: 49, Pre: pre})
				if reply.VoteGranted || s.currentTerm != before {
					t.Errorf("%s grants %s (pre %v) its vote: %v, and is in term %d", voter, candidate, pre, reply.VoteGranted, s.currentTerm)
				}
			}
		}
	}
	for _, voter := range []ID{"2", "4"} {
		c.tick(voter, 10)
		s := &subject{t: t, Raft: c.core(voter), answers: map[Tag]Reply{}}
		if reply := s.vote(RequestVote{Term: 50, CandidateID: "7", LastLogIndex: 99, LastLogTerm: 49, Pre: true}); !reply.VoteGranted {
			t.Errorf("%s grants no vote to a stranger with a later log, and hears no leader", voter)
		}
	}
}

// Goal: a server that leaves goes on getting entries until it knows that it is out, and
// for ten election timeouts at most.
// Method: 3 is removed, at once and while it is down.
func TestSection6_AServerThatLeavesIsTold(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 3, 3, nil)
	c.mustChange(t, "1", "remove", "3")
	c.settle()
	if n := len(c.core("1").leaving); n != 1 {
		t.Fatalf("%d servers leave", n)
	}
	c.tick("1", 2)
	c.settle()
	final := c.core("1").log.newest().Index
	if three := c.core("3"); three.commitIndex < final || three.log.newest().Index != final {
		t.Errorf("3 knows up to %d, and of the configuration of entry %d; want %d", three.commitIndex, three.log.newest().Index, final)
	}
	if n := len(c.core("1").leaving); n != 0 {
		t.Errorf("%d servers leave, and 3 knows all", n)
	}
	c.tick("1", 4)
	if slices.Contains(sentTo[*AppendEntries](c, "1"), "3") {
		t.Error("3 is still sent heartbeats")
	}

	c = memberCluster(t, 3, 3, nil)
	c.crash(c.server("3"), false)
	c.mustChange(t, "1", "remove", "3")
	c.settle()
	for range leavingTimeouts * 10 {
		if n := len(c.core("1").leaving); n != 1 {
			t.Fatalf("%d servers leave", n)
		}
		c.tick("1", 1)
		c.settle()
	}
	c.tick("1", 1)
	c.flight = nil
	c.tick("1", 4)
	if slices.Contains(sentTo[*AppendEntries](c, "1"), "3") || len(c.core("1").leaving) != 0 {
		t.Error("3 is sent heartbeats for ever")
	}
}

// Goal: a new leader tells those that its predecessor removed and did not reach.
// Method: 3 is cut off when it is removed; 2 leads from then on.
func TestSection6_ANewLeaderTellsThoseThatLeft(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 4, 4, nil)
	for _, id := range []ID{"1", "2", "4"} {
		c.cut[[2]ID{id, "3"}] = true
	}
	c.mustChange(t, "1", "remove", "3")
	c.settle()
	c.wantMembers(t, "1 2 4", "1", "2", "4")
	c.crash(c.server("1"), false)
	c.tick("4", 10)
	c.elect("2")
	clear(c.cut)
	for range 3 {
		c.tick("2", 2)
		c.settle()
	}
	c.wantMembers(t, "1 2 4", "3")
	if three := c.core("3"); three.mayStand() || three.commitIndex < three.log.newest().Index {
		t.Errorf("3 does not know that it is out: %v", three.log.newest())
	}
}

// Goal: one change at a time, on top of the newest configuration, by a leader that has
// committed in its term; a change that is refused appends nothing.
// Method: one reason after the other.
func TestReconfigure_IsRefusedWithNothingAppended(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 5, 3, nil)
	newest := func(id ID) members.Version { return c.core(id).Configurations().Newest }
	refused := func(what string, id ID, from uint64, want error, change func(*members.Record)) {
		t.Helper()
		wanted := newest(id).Record.Clone()
		change(&wanted)
		last := c.core(id).log.lastIndex()
		_, _, err := c.core(id).Reconfigure(wanted, from)
		if want != nil && !errors.Is(err, want) || err == nil || c.core(id).log.lastIndex() != last {
			t.Errorf("%s: %v; the log ends at %d and ended at %d", what, err, c.core(id).log.lastIndex(), last)
		}
	}
	nothing := func(*members.Record) {}
	now := newest("1").Index
	refused("a follower", "2", now, ErrNotLeader, nothing)
	refused("an old configuration", "1", now-1, ErrConfigurationChanged, nothing)
	refused("another cluster", "1", now, nil, func(r *members.Record) { r.UID[0]++ })
	refused("nobody", "1", now, nil, func(r *members.Record) { r.Members = nil })
	refused("a level that falls", "1", now, nil, func(r *members.Record) { r.Level-- })
	refused("too long", "1", now, nil, func(r *members.Record) {
		for i := range 31 {
			r.Put(members.Member{ID: ID(strings.Repeat("x", i+1)), Role: members.Learner, Peer: strings.Repeat("y", 255), HTTP: strings.Repeat("z", 255)})
		}
	})
	c.mustChange(t, "1", "learner", "4")
	refused("the one before is not committed", "1", newest("1").Index, ErrChangeInProgress, nothing)
	c.settle()
	c.mustChange(t, "1", "voter", "4")
	c.settle("2", "3") // nothing comes back to 1
	refused("joint", "1", newest("1").Index, ErrChangeInProgress, nothing)
	c.settle()
	c.input(c.server("1"), func(r *Raft) { _ = r.Transfer("2") })
	if c.core("1").transferee != None {
		refused("a transfer", "1", newest("1").Index, ErrTransferring, nothing)
	}
	for c.core("2").role != Leader && c.fault == nil {
		if !slices.ContainsFunc(c.servers, c.save) {
			c.deliver(c.flight[0])
		}
	}
	if c.core("2").commitIndex < newest("2").Index {
		t.Fatal("void: the newest configuration is not committed")
	}
	refused("nothing is committed in the leader's term", "2", newest("2").Index, ErrChangeInProgress, nothing)
	c.settle()
	if got := c.core("1").role; got == Leader || c.fault != nil {
		t.Fatalf("1 is %v (%v)", got, c.fault)
	}
}

// Goal: only voters of the new half are told to campaign, and a server that a
// configuration removed is given no read index.
// Method: TimeoutNow, Transfer and Suspect at a learner and at a voter; ReadIndex of
// a member, a server that is being removed and one that was.
func TestSection6_WhatIsForVotersAlone(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 4, 3, nil)
	c.mustChange(t, "1", "learner", "4")
	c.settle()
	for _, id := range []ID{"4", "2"} {
		var err error
		c.input(c.server("1"), func(r *Raft) { err = r.Transfer(id) })
		if voter := id == "2"; (err == nil) != voter {
			t.Errorf("a transfer to %s: %v", id, err)
		}
	}
	c.input(c.server("1"), (*Raft).abandonTransfer)
	c.flight = nil
	leads := func(id ID) bool { return c.core(id).role != Follower }
	four := &subject{t: t, Raft: c.core("4"), answers: map[Tag]Reply{}}
	four.receive("1", &TimeoutNow{Term: four.currentTerm, LeaderID: "1"})
	if leads("4") {
		t.Error("a learner that was told to campaigns")
	}
	before := c.core("4").electionTimeout
	c.input(c.server("4"), func(r *Raft) { r.Suspect("1") })
	if r := c.core("4"); r.electionTimeout != before || r.leader != None {
		t.Errorf("a learner that suspects its leader: waits %d, before %d; follows %q", r.electionTimeout, before, r.leader)
	}

	c = memberCluster(t, 4, 3, nil)
	asks := func(id ID) bool {
		before := len(c.core("1").reads)
		c.core("1").handleReadIndex(901, id, &ReadIndex{Term: c.core("1").currentTerm})
		admitted := len(c.core("1").reads) > before
		c.core("1").reads, c.core("1").answers = nil, nil
		return admitted
	}
	if !asks("3") || asks("9") {
		t.Errorf("a read of a member: %v, of a stranger: %v", asks("3"), asks("9"))
	}
	c.mustChange(t, "1", "remove", "3")
	if !asks("3") {
		t.Error("a server that is being removed is refused a read")
	}
	c.settle()
	if asks("3") {
		t.Error("a server that was removed reads")
	}
}

// Goal: turns after the leader's death are counted among the voters of the new half.
// Method: 3 and 4 notice that 1 is gone; 2 is a learner now.
func TestSection6_TurnsAreThoseOfVoters(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 4, 4, nil)
	c.mustChange(t, "1", "learner", "2")
	c.settle()
	for _, id := range []ID{"3", "4"} {
		c.input(c.server(id), func(r *Raft) { r.Suspect("1") })
	}
	three, four := c.core("3"), c.core("4")
	if a, b := three.electionTimeout-three.electionElapsed, four.electionTimeout-four.electionElapsed; a != 1 || b != 3 {
		t.Errorf("3 waits %d ticks and 4 waits %d; want 1 and 3", a, b)
	}
}

// Goal: the driver is told of every change of the newest and of the committed
// configuration, and of nothing else, and of those at the start.
// Method: each step of a change, with what Ready says.
func TestReady_TellsOfConfigurations(t *testing.T) {
	defer failOnPanic(t)
	c := memberCluster(t, 1, 1, nil)
	s := c.server("1")
	told := func(what string, newest, committed uint64) {
		t.Helper()
		ready := s.core.Ready()
		if ready.Write != nil {
			s.writing = ready.Write
		}
		if ready.Apply != nil {
			s.core.Applied(ready.Apply.Last())
		}
		switch now := ready.Configuration; {
		case newest == 0 && now != nil:
			t.Errorf("%s: told of %d and %d, and nothing has changed", what, now.Newest.Index, now.Committed.Index)
		case newest != 0 && (now == nil || now.Newest.Index != newest || now.Committed.Index != committed):
			t.Errorf("%s: told of %+v, want %d and %d", what, now, newest, committed)
		}
	}
	save := func() {
		seq := s.writing.Seq
		c.write(s)
		s.core.Saved(seq)
	}
	told("at rest", 0, 0)
	wanted := s.core.Configurations().Newest.Record.Clone()
	wanted.Put(members.Member{ID: "2", Role: members.Learner})
	if _, _, err := s.core.Reconfigure(wanted, 2); err != nil {
		t.Fatal(err)
	}
	told("appended", 3, 2)
	told("again", 0, 0)
	save()
	told("committed", 3, 3)
	if _, _, err := s.core.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	told("a command", 0, 0)
	save()
	told("committed", 0, 0)
	s.config.CommitTicks = 10
	c.crash(s, false)
	s.core = New(s.config, s.disk)
	told("after a restart, where no commit index was kept", 3, 0)
}
