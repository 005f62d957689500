package raft_test

import (
	"flag"
	"os"
	"testing"

	"raftkv/tests/lab"
)

// scenario is one test of the courses, whatever its number. Its body says by
// which rules it fails; everything else is the cluster's.
type scenario struct {
	text    string // as the courses print it
	options lab.Options
	body    func(c *lab.Cluster)
}

// run runs a scenario under a number: "2A", "3A", or "" for the 2016 edition.
func run(t *testing.T, s scenario, number string) {
	t.Helper()
	lab.Wanted(t)
	lab.InTime(t, func(t *testing.T) {
		title := lab.Title{Numbering: number, Text: s.text, Unreliable: s.options.Unreliable}
		title.Print()
		c := lab.NewCluster(t, s.options)
		s.body(c)
		c.Passed(title)
	})
}

// TestMain lets every scenario run under one of its names at most.
func TestMain(m *testing.M) {
	flag.Parse()
	lab.OneNumbering(lab.Numberings{
		{Pattern: `2[ABCD]`},
		{Pattern: `3[ABCD]`},
		{Names: []string{
			"InitialElection", "ReElection", "BasicAgree", "FailAgree", "FailNoAgree", "ConcurrentStarts", "Rejoin", "Backup", "Count",
			"Persist1", "Persist2", "Persist3", "Figure8", "SlowService", "UnreliableAgree", "Figure8Unreliable", "ReliableChurn", "UnreliableChurn",
			"OneVoteATerm", "NewerTermsEndALead", "MajoritiesElect",
			"OneServerOneVote", "CandidatesFollowTheWinner", "ChatterHoldsOffNobody",
			"LateVotesDoNotCount", "HeartbeatsKeepTheLeader", "VotesGoToCompleteLogs",
			"OlderTermsAreNotCommittedByCounting", "MajoritiesCommit", "CommitGoesNoFurtherThanTheMatch",
			"LateEntriesTruncateNothing", "ConflictsAreTruncated", "AnswersAreReadWithTheirCall",
			"AnswersOfAnEarlierTermDoNotCount", "NobodyIsBelievedFromEarlier", "BackingUpTakesFewRPCs", "VoteSurvivesACrash",
			"EntriesSurviveACrash", "LateSnapshotIsNotInstalled", "TheNextEntryFollowsTheSnapshot", "InstalledSnapshotsSurviveACrash", "AgreeingSnapshotsKeepTheRest",
		}},
	})
	os.Exit(m.Run())
}
