package explain

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"raftkv/kvserver/recorder"
)

// toldOf returns the stories of a script behind among, as text of a line each.
func toldOf(t *testing.T, script string) string {
	t.Helper()
	return text(Stories(rings(t, among+script), wholeScript))
}

// only returns the rings of some nodes.
func only(all []recorder.Ring, nodes ...string) []recorder.Ring {
	return slices.DeleteFunc(all, func(r recorder.Ring) bool { return !slices.Contains(nodes, r.Node) })
}

// wantTold checks what must and what must not be in a text.
func wantTold(t *testing.T, told string, want, never []string) {
	t.Helper()
	for _, words := range want {
		if !strings.Contains(told, words) {
			t.Errorf("%q is missing in\n%s", words, told)
		}
	}
	for _, words := range never {
		if strings.Contains(told, words) {
			t.Errorf("%q is in\n%s", words, told)
		}
	}
}

// Goal (I1): the node that turns hellos down is not taken for the one that is wrong.
// Method: n3 does not take the others, and they do not take it: the odd one is likely. Two that
// do not take each other: nobody is named. One that ended itself for that: it is certain.
func TestWhoTurnsDownIsNotTheOneThatIsWrong(t *testing.T) {
	wantTold(t, toldOf(t, `
n1 10s unreachable turned_down peer=n3
n2 10s unreachable turned_down peer=n3
n3 10s unreachable turned_down peer=n1
`), []string{"directory_refused (likely, [n3])"}, []string{"certain", "[n1]", "[n2]"})
	wantTold(t, toldOf(t, `
n1 10s unreachable we_turn_down peer=n2
n2 10s unreachable turned_down peer=n1
`), []string{"directory_refused (unknown, []): n1 and n2 do not take each other", "Of which one is not known"}, nil)
	wantTold(t, toldOf(t, `
n1 10s unreachable we_turn_down peer=n3
n3 10.1s unreachable turned_down peer=n1
n3 10.2s failed fenced
`), []string{"directory_refused (certain, [n3]): n3 was turned down by others and ended itself"}, []string{"do not take"})
}

// Goal (I1): turns that were late before the leader was lost do not make the others those
// that were gone, nor the leader one that was stopped.
// Method: a leader that is cut off on a busy machine; a leader that is killed just behind a
// late turn.
func TestATurnThatWasLateBeforeExplainsNothing(t *testing.T) {
	wantTold(t, toldOf(t, `
n2 9.9s loop_late a=260ms
n3 9.95s loop_late a=300ms
n2 10.45s timeout peer=n1 term=1 a=450ms
n2 10.45s campaign term=2
n3 10.451s vote_granted peer=n2 term=2
n2 10.452s elected term=2 a=2 b=3
n2 10.453s first_commit term=2 index=51 a=453ms
n1 10.6s stepped_down lost_majority term=1 a=600ms
`), []string{"leader_cut_off (likely, [n1])"}, []string{"majority_gone", "certain"})
	late := "\nn1 9.9s loop_late a=260ms\n"
	wantTold(t, toldOf(t, late+deadLeader+"n2 10.03s unreachable nobody_listens peer=n1\n"),
		[]string{"leader_ended (certain, [n1]): n1's process ended"}, []string{"leader_stopped"})
}

// Goal (I1): a firewall that resets connections and attempts is not certainly the end of a
// process, unless its own recording ends, or another process follows.
// Method: a leader whose connections are reset, with and without its recording, and with a
// later boot.
func TestResetsAreNotCertainlyAnEnd(t *testing.T) {
	script := strings.ReplaceAll(deadLeader, "closed_by_peer", "reset") + "n2 10.03s unreachable nobody_listens peer=n1\n"
	all := rings(t, among+script)
	wantTold(t, text(Stories(all, wholeScript)), []string{"leader_ended (certain, [n1])"}, nil)
	wantTold(t, text(Stories(only(all, "n2", "n3"), wholeScript)), []string{"leader_ended (likely, [n1])"}, []string{"certain"})
	all = rings(t, among+script+"n2 14s connected peer=n1 a=2\n")
	wantTold(t, text(Stories(only(all, "n2", "n3"), wholeScript)), []string{"leader_ended (certain, [n1])"}, nil)
}

// Goal: what one node of a minority recorded is not told as a time in which nobody could
// write.
// Method: the recording of a follower that is cut off, alone, and with those of the others,
// that went on.
func TestAMinorityDoesNotSpeakForAll(t *testing.T) {
	all := rings(t, among+`
n3 10.4s timeout peer=n1 term=1 a=400ms
n3 17s unreachable no_answer peer=n1
n3 17s unreachable no_answer peer=n2
n3 30s pre_vote term=2
`)
	one := text(Stories(only(slices.Clone(all), "n3"), wholeScript))
	wantTold(t, one, []string{"n3 has known no leader for 20 s", "the events of n1 and n2 are missing", "What clients noticed is not known"},
		[]string{"majority_gone", "Nobody could write", "did not wait", "did not change"})
	wantTold(t, text(Stories(all, wholeScript)), []string{"node_cut_off (likely, [n3])", "writes did not wait for it"}, []string{"no leader"})
}

// Goal (I16): that all nodes ended at one time and began again is told, with the time for
// which nobody could write, and not as a leader that was not heard.
// Method: three nodes whose power fails for an hour; a cluster of one; one whose nodes were
// told to stop.
func TestAPowerCutOfAllNodesIsTold(t *testing.T) {
	again := `
n1 20s minute term=1 index=40
n2 20s minute_followed peer=n1 term=1 index=40
n3 20.5s minute_followed peer=n1 term=1 index=40
n1 3620s started
n2 3620.1s started
n3 3621s started
n1 3621.1s connected peer=n2 a=2
n2 3621.3s campaign term=2 index=50 a=1
n1 3621.301s vote_granted peer=n2 term=2
n2 3621.302s elected term=2 a=2 b=3
n1 3621.303s followed peer=n2 term=2
n2 3621.304s first_commit term=2 index=51 a=1.2s
`
	span := Span{From: wholeScript.From, To: wholeScript.To + 3_600_000}
	told := text(Stories(rings(t, among+again), span))
	wantTold(t, told, []string{"majority_gone (certain, [n1 n2 n3]): The processes of n1, n2 and n3 ended without order", "There was no write for up to 60 min"}, []string{"not known", "leader_unheard"})
	if n := strings.Count(told, "\n"); n != 1 {
		t.Errorf("%d stories are told:\n%s", n, told)
	}
	wantTold(t, text(Stories(rings(t, among+strings.ReplaceAll(again, "started", "started a=1")), span)), []string{"ended in order"}, []string{"without order"})
	wantTold(t, text(Stories(rings(t, `
n1 0s started
n1 1s elected term=1 a=1 b=1
n1 1s first_commit term=1 index=1
n1 9s snapshot_made
n1 30s started
n1 30.5s campaign term=2
n1 30.5s elected term=2 a=1 b=1
n1 30.6s first_commit term=2 index=2 a=600ms
`), span)), []string{"leader_ended (certain, [n1]): n1's process ended without order", "There was no write for up to 22 s"}, []string{"not known"})
}

// Goal (I16): a leader that began again knows nothing of the time before, so the time
// without a write is not only that since then.
func TestANewProcessDoesNotKnowTheTimeBefore(t *testing.T) {
	wantTold(t, toldOf(t, `
n2 10s ended closed_by_peer peer=n1
n3 10s ended reset peer=n1
n2 10s suspected peer=n1 term=1
n2 10.03s unreachable nobody_listens peer=n1
n2 10.1s ended closed_by_peer peer=n3
n2 10.2s unreachable nobody_listens peer=n3
n1 40s started
n1 40.8s campaign term=2
n2 40.801s vote_granted peer=n1 term=2
n1 40.802s elected term=2 a=2 b=3
n1 40.803s first_commit term=2 index=51 a=803ms
`), []string{"There was no write for 31 s"}, []string{"for 803 ms"})
}

// Goal (I1): a node whose machine is away is not taken for one that a second node alone does
// not see.
// Method: the third had lost it before, and its own attempts fail now and then; the third
// has noticed nothing, and the node itself says nothing.
func TestANodeThatIsAwayIsNoPairThatIsCut(t *testing.T) {
	wantTold(t, toldOf(t, `
n1 15s ended call_timeout peer=n3
n1 17s unreachable no_answer peer=n3
n2 18.4s unreachable no_answer peer=n3
n1 19.8s unreachable no_answer peer=n3
`), nil, []string{"pair_cut", "sees both"})
	wantTold(t, toldOf(t, `
n1 8s ended call_timeout peer=n3
n2 15s ended call_timeout peer=n3
n2 18.4s unreachable no_answer peer=n3
n1 19s slow_commit a=21ms
`), nil, []string{"pair_cut", "sees both"})
	wantTold(t, toldOf(t, `
n2 15s ended call_timeout peer=n3
n2 18.4s unreachable no_answer peer=n3
n1 19s slow_commit a=21ms
`), []string{"pair_cut (likely, [n2 n3])"}, []string{"certain"})
}

// Goal: that a follower ended while the leader was cut off is told.
func TestAnEndBesideACutIsTold(t *testing.T) {
	wantTold(t, toldOf(t, `
n2 10.4s ended reset peer=n3
n2 10.41s unreachable nobody_listens peer=n3
n4 10.4s ended closed_by_peer peer=n3
n5 10.4s ended closed_by_peer peer=n3
n2 10.45s timeout peer=n1 term=1 a=450ms
n2 10.5s campaign term=2
n4 10.5s vote_granted peer=n2 term=2
n5 10.5s vote_granted peer=n2 term=2
n2 10.502s elected term=2 a=3 b=5
n2 10.503s first_commit term=2 index=51 a=503ms
n1 10.6s stepped_down lost_majority term=1 a=600ms
`), []string{"leader_cut_off", "node_ended (certain, [n3])"}, []string{"majority_gone"})
}

// Goal: names of nodes that were removed are no voters, so a majority that is gone is one.
// Method: three voters; two others have been there before.
func TestRemovedNodesAreNoVoters(t *testing.T) {
	wantTold(t, toldOf(t, `
n1 5s ended by_us peer=n4
n1 5s ended by_us peer=n5
n1 10s ended closed_by_peer peer=n2
n1 10s ended closed_by_peer peer=n3
n1 10.1s unreachable nobody_listens peer=n2
n1 10.1s unreachable nobody_listens peer=n3
n1 10.3s stepped_down lost_majority term=1 a=300ms
n2 40s started
n1 40.1s connected peer=n2 a=2
n1 40.8s campaign term=2
n2 40.801s vote_granted peer=n1 term=2
n1 40.802s elected term=2 a=2 b=3
n1 40.803s first_commit term=2 index=51 a=30.8s
`), []string{"majority_gone (certain, [n2 n3])"}, []string{"leader_cut_off"})
}

// Goal (I1): why an earlier process handed over is not why the present one does.
// Method: n1 is told to stop, comes back, leads again, and is asked to hand over.
func TestAReasonOfAnEarlierProcessIsNone(t *testing.T) {
	wantTold(t, toldOf(t, `
n1 10s end_asked
n1 10.001s transfer peer=n3 term=1
n3 10.002s transfer_taken peer=n1 term=1
n3 10.002s campaign term=2
n2 10.003s vote_granted peer=n3 term=2
n1 10.004s stepped_down handed_over peer=n3 term=1 a=2
n3 10.005s elected term=2 a=2 b=3
n3 10.006s first_commit term=2 index=51 a=9ms
n1 10.2s ended_in_order
n1 12s started a=1
n1 13s followed peer=n3 term=2
n3 14s transfer_asked
n3 14s transfer peer=n1 term=2
n1 14.001s transfer_taken peer=n3 term=2
n1 14.002s campaign term=3
n2 14.003s vote_granted peer=n1 term=3
n3 14.004s stepped_down handed_over peer=n1 term=2 a=3
n1 14.005s elected term=3 a=2 b=3
n1 14.006s first_commit term=3 index=52 a=5ms
n1 18s transfer_asked
n1 18s transfer peer=n2 term=3
n2 18.001s transfer_taken peer=n1 term=3
n2 18.002s campaign term=4
n3 18.003s vote_granted peer=n2 term=4
n1 18.004s stepped_down handed_over peer=n2 term=3 a=4
n2 18.005s elected term=4 a=2 b=3
n2 18.006s first_commit term=4 index=53 a=5ms
`), []string{
		"n1 was told to stop and handed leadership to n3", "Somebody asked for it: n3 handed leadership to n1", "Somebody asked for it: n1 handed leadership to n2",
	}, []string{"n1 was told to stop and handed leadership to n2"})
}

// Goal (I4): two snapshots at one index, from two leaders, are not taken for one.
func TestSnapshotsOfTwoLeadersAreNoContradiction(t *testing.T) {
	all := rings(t, among+`
n3 10s snapshot_sent peer=n2 index=900
n2 12s installed peer=n3 index=900
n3 13s snapshot_taken peer=n2 index=900
n2 100s started b=1
n1 110s snapshot_sent peer=n2 index=900
n1 110.1s connected peer=n2 a=1
n2 112s installed peer=n1 index=900
n2 112s followed peer=n1 term=1
n1 113s snapshot_taken peer=n2 index=900
`)
	wantTold(t, text(Stories(all, wholeScript)), []string{"snapshot_sent"}, []string{"disorder", "clock"})
}

// Goal: a few refusals are no overload, and those behind a leader that is gone or a disk that
// hangs are told so, without a culprit.
// Method: nine refusals; many while there was no leader; many behind a disk that hangs; many
// without any of that.
func TestRefusalsAreNotAlwaysOverload(t *testing.T) {
	wantTold(t, toldOf(t, "n1 10s refused a=9 b=100\n"), []string{"quiet"}, []string{"overload"})
	wantTold(t, toldOf(t, "n1 10s refused a=900 b=100\n"), []string{"overload (certain, [n1])"}, nil)
	wantTold(t, toldOf(t, deadLeader+`
n2 10.03s unreachable nobody_listens peer=n1
n2 11s refused a=900 b=100
`), []string{"overload (unknown, [])", "They piled up while there was no leader"}, []string{"more than"})
	wantTold(t, toldOf(t, `
n1 9.5s disk_hangs index=50 a=1s
n1 11s refused a=900 b=100
`), []string{"overload (unknown, [])", "They piled up while n1's disk hung"}, []string{"more than"})
}

// Goal (I4, E21): what is told of the last minutes does not hang on one clock.
// Method: the node that serves has a wall clock that jumped by an hour just now, and the
// asker's is ninety seconds behind or an hour ahead. What happened ten seconds ago is told.
func TestTheSpanDoesNotHangOnOneClock(t *testing.T) {
	all := rings(t, among+deadLeader+"n2 10.03s unreachable nobody_listens peer=n1\nn3 19s slow_commit a=30ms\n")
	for i := range all {
		all[i].NowMono = int64(21e9) // scripts begin a second after the process
	}
	for _, off := range []int64{0, -90_000, 3_600_000} {
		told := Tell(all, 15_000, base/1_000_000+20_000+off)
		if s := text(told.Stories); !strings.Contains(s, "leader_ended") || told.Span.To != base/1_000_000+20_000 {
			t.Errorf("by a clock that is off by %d ms, the span ends at %d, and told is\n%s", off, told.Span.To-base/1_000_000, s)
		}
	}
	for i := range all {
		all[i].NowMono = 0
	}
	if told := Tell(all, 15_000, base/1_000_000+30_000); told.Span.To != base/1_000_000+30_000 {
		t.Errorf("where no node says what the time is, the span ends at %d", told.Span.To)
	}
}

// Goal (E23): that nothing happened is certain only if the events of a majority are known for
// all of the time.
// Method: one ring of three; three rings of which two begin within the span.
func TestNothingHappenedNeedsAMajority(t *testing.T) {
	all := rings(t, among+"n1 60s minute term=1 index=70\nn2 60s minute_followed peer=n1 term=1\nn3 60s minute_followed peer=n1 term=1\n")
	wantTold(t, text(Stories(all, wholeScript)), []string{"quiet (certain"}, nil)
	wantTold(t, text(Stories(only(slices.Clone(all), "n2"), wholeScript)), []string{"quiet (unknown", "too little to say that nothing happened: of 5 voters, the events of n2"}, []string{"Nothing happened"})
	for i := range all {
		if all[i].Node != "n1" {
			all[i].Events = all[i].Events[len(all[i].Events)-1:]
		}
	}
	span := wholeScript
	span.From = base/1_000_000 - 600_000
	wantTold(t, text(Stories(all, span)), []string{"quiet (unknown", "the events of n1"}, []string{"Nothing happened"})
}

// Goal (I6): a story names a bounded number of events, and still one for each culprit.
func TestEvidenceIsBounded(t *testing.T) {
	script := among
	for range 300 {
		script += "n1 10s slow_save a=301ms b=200us\nn2 10s slow_save a=305ms b=250us\n"
	}
	all := rings(t, script)
	for _, s := range Stories(all, wholeScript) {
		if len(s.Evidence) > maxEvidence+len(s.Culprits) || checkEvidence(all, s) != "" {
			t.Errorf("%s names %d events: %s", s.Kind, len(s.Evidence), checkEvidence(all, s))
		}
	}
}

// Goal: no number that a recording can hold ends the process that reads it.
func TestTheSmallestNumberIsWritten(t *testing.T) {
	if got := duration(math.MinInt64); !strings.HasPrefix(got, "-") {
		t.Errorf("the smallest time is written as %q", got)
	}
	toldOf(t, "n1 10s clock_jumped a=-9223372036854775808\nn1 11s loop_late a=-9223372036854775808\n")
}

// Goal: the way of a request is told from the events of its time, whatever its node's clock
// says.
// Method: a request to a node whose clock is three hours ahead, while its disk was slow.
func TestARequestIsFoundByItsNodesClock(t *testing.T) {
	all := rings(t, "clock n1 3h\n"+among+"n1 11.3s slow_save a=1.3s b=200us\n")
	r := Request{Node: "n1", Method: "PUT", At: base/1_000_000 + 10_000 + 3*3_600_000, Ended: 1_300_000_000, Index: 50, Term: 1, Status: 201}
	sentences, _ := OfRequest(all, &r)
	wantTold(t, strings.Join(sentences, " "), []string{"Writes to n1's disk took up to 1.3 s meanwhile"}, nil)
}

// Goal (I1): a node that won in spite of a refusal is not one that could not win, and one of which
// only a single refusal is known is not so for certain.
// Method: n3 wins with the vote of n2 while n1 refuses; refusals by one and by two of three.
func TestWhoWonIsNotOneThatCouldNotWin(t *testing.T) {
	wantTold(t, toldOf(t, `
n3 10s campaign term=2 index=812 a=1
n1 10.001s vote_refused log_behind peer=n3 term=2 index=812 a=990 b=1
n2 10.001s vote_granted peer=n3 term=2
n3 10.002s elected term=2 a=2 b=3
n3 10.003s first_commit term=2 index=813 a=10ms
`), nil, []string{"log_behind", "could not win"})
	refusals := `
n1 10.001s vote_refused log_behind peer=n3 term=2 index=812 a=990 b=1
n2 10.001s vote_refused log_behind peer=n3 term=2 index=812 a=990 b=1
`
	unheard := only(rings(t, among+refusals), "n1", "n2")
	wantTold(t, text(Stories(unheard, wholeScript)), []string{"log_behind (certain, [n3])"}, nil)
	wantTold(t, text(Stories(only(unheard, "n2"), wholeScript)), []string{"log_behind (likely, [n3])"}, nil)
}

// Goal (I1): a member that does not vote counts in no majority, and what becomes of members is told.
// Method: five nodes of which n4 and n5 learn; the leader loses its majority because n2 and n3 end,
// and n4 and n5 are there.
func TestLearnersCountInNoMajority(t *testing.T) {
	places := func(node, at string) (s string) {
		for _, peer := range []string{"n1", "n2", "n3"} {
			s += node + " " + at + " placed peer=" + peer + " index=5 a=1\n"
		}
		return s
	}
	told := toldOf(t, places("n1", "1s")+`
n1 2s placed peer=n4 index=7 a=2
n1 2.1s placed peer=n5 index=8 a=2
n4 3s started
n5 3s started
n4 3.1s followed peer=n1 term=1
n5 3.1s followed peer=n1 term=1
n2 10s end_asked
n3 10s end_asked
n2 10.1s ended_in_order
n3 10.1s ended_in_order
n1 10.1s ended closed_by_peer peer=n2
n1 10.1s ended closed_by_peer peer=n3
n1 10.5s stepped_down lost_majority term=1 a=400ms
n4 20s minute_followed term=1
n5 20s minute_followed term=1
n2 30s started a=1
n3 30s started a=1
n2 30.5s campaign term=2
n3 30.6s vote_granted peer=n2 term=2
n2 30.7s elected term=2 a=2 b=3
n1 30.8s placed peer=n4 index=20 a=1
n2 30.8s placed peer=n4 index=20 a=1
n1 30.9s placed peer=n3 index=21 a=4
n1 31s placed peer=n3 index=22 a=0
`)
	wantTold(t, told, []string{
		"majority_gone (certain, [n2 n3])", "n4 was added by configuration 7", "n5 was added by configuration 8", "n4 votes from configuration 20 on", "n3 was removed from the cluster by configuration 22",
	}, []string{"configuration 5", "configuration 21", "n1 was added", "n1 votes"})
	if n := strings.Count(told, "n4 votes"); n != 1 {
		t.Errorf("it is told %d times that n4 votes", n)
	}
}

// Goal (I1): that writes did not wait for a slow disk is said only if the events of a majority say
// so. Method: the slow disk of a follower, with all events and with its own alone.
func TestWritesThatDidNotWaitAreKnownOfAMajority(t *testing.T) {
	const quick = "Writes did not wait for it"
	for _, slow := range []string{"n1", "n2"} {
		script := among
		for i := range 5 {
			script += fmt.Sprintf("%s %d.1s slow_save a=300ms b=1ms\n", slow, 10+i)
		}
		script += "n1 60s minute term=1 index=9\nn3 60s minute_followed term=1\nn2 60s minute_followed term=1\n"
		told := "slow_disks (certain, [" + slow + "])"
		wantTold(t, text(Stories(rings(t, script), wholeScript)), []string{told, quick}, nil)
		wantTold(t, text(Stories(only(rings(t, script), slow), wholeScript)), []string{told}, []string{quick})
	}
}

// Goal (I1): connections that break do not make the healthy ends culprits.
// Method: all connections of n3 break again and again; those of n1 and n2 alone; n3 is started
// again and again, which ends its connections.
func TestTheEndThatIsCommonFlaps(t *testing.T) {
	breaks := func(node, peer string, anew bool) (s string) {
		for i, boot := 0, 1; i < 6; i++ {
			if anew {
				boot++
			}
			s += fmt.Sprintf("%s %d.1s ended reset peer=%s\n%[1]s %[2]d.5s connected peer=%[3]s a=%d\n", node, 10+i, peer, boot)
		}
		return s
	}
	wantTold(t, toldOf(t, breaks("n1", "n3", false)+breaks("n2", "n3", false)), []string{"flapping (likely, [n3]): The connection n1–n3", "flapping (likely, [n3]): The connection n2–n3"}, []string{"certain, [n1 n3]"})
	wantTold(t, toldOf(t, breaks("n1", "n2", false)), []string{"flapping (certain, [n1 n2])"}, nil)
	wantTold(t, toldOf(t, breaks("n1", "n3", true)+breaks("n2", "n3", true)), nil, []string{"flapping"})
}

// Goal (I1): a follower that is cut off soon after it came back is told of twice.
// Method: n3 is killed and comes back; ten seconds later it and the others lose each other.
func TestACutBehindAReturnIsTold(t *testing.T) {
	wantTold(t, toldOf(t, `
n1 10s ended closed_by_peer peer=n3
n2 10s ended closed_by_peer peer=n3
n1 10.1s unreachable nobody_listens peer=n3
n3 12s started
n3 12.1s connected peer=n1 a=1
n1 12.1s connected peer=n3 a=2
n2 12.1s connected peer=n3 a=2
n1 22s unreachable no_answer peer=n3
n2 22s unreachable no_answer peer=n3
n3 22s unreachable no_answer peer=n1
n3 22.1s unreachable no_answer peer=n2
`), []string{"node_ended (certain, [n3])", "node_cut_off (likely, [n3])"}, nil)
}
