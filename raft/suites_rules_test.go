package raft_test

import (
	"testing"

	"raftkv/tests/lab"
)

// The rules of Figure 2 as parts of every numbering; a run takes one of them. No
// edition's suite has them: they are what the courses' scenarios seldom reach.

// rule runs one of them.
func rule(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	lab.Wanted(t)
	body(t)
}

func TestOneVoteATerm2A(t *testing.T)              { rule(t, oneVoteATerm) }
func TestNewerTermsEndALead2A(t *testing.T)        { rule(t, newerTermsEndALead) }
func TestMajoritiesElect2A(t *testing.T)           { rule(t, majoritiesElect) }
func TestOneServerOneVote2A(t *testing.T)          { rule(t, oneServerOneVote) }
func TestCandidatesFollowTheWinner2A(t *testing.T) { rule(t, candidatesFollowTheWinner) }
func TestChatterHoldsOffNobody2A(t *testing.T)     { rule(t, chatterHoldsOffNobody) }
func TestLateVotesDoNotCount2A(t *testing.T)       { rule(t, lateVotesDoNotCount) }
func TestHeartbeatsKeepTheLeader2A(t *testing.T)   { rule(t, heartbeatsKeepTheLeader) }
func TestVotesGoToCompleteLogs2B(t *testing.T)     { rule(t, votesGoToCompleteLogs) }
func TestOlderTermsAreNotCommittedByCounting2B(t *testing.T) {
	rule(t, olderTermsAreNotCommittedByCounting)
}
func TestMajoritiesCommit2B(t *testing.T)                 { rule(t, majoritiesCommit) }
func TestCommitGoesNoFurtherThanTheMatch2B(t *testing.T)  { rule(t, commitGoesNoFurtherThanTheMatch) }
func TestLateEntriesTruncateNothing2B(t *testing.T)       { rule(t, lateEntriesTruncateNothing) }
func TestConflictsAreTruncated2B(t *testing.T)            { rule(t, conflictsAreTruncated) }
func TestAnswersAreReadWithTheirCall2B(t *testing.T)      { rule(t, answersAreReadWithTheirCall) }
func TestAnswersOfAnEarlierTermDoNotCount2B(t *testing.T) { rule(t, answersOfAnEarlierTermDoNotCount) }
func TestNobodyIsBelievedFromEarlier2B(t *testing.T)      { rule(t, nobodyIsBelievedFromEarlier) }
func TestBackingUpTakesFewRPCs2B(t *testing.T)            { rule(t, backingUpTakesFewRPCs) }
func TestVoteSurvivesACrash2C(t *testing.T)               { rule(t, voteSurvivesACrash) }
func TestEntriesSurviveACrash2C(t *testing.T)             { rule(t, entriesSurviveACrash) }
func TestLateSnapshotIsNotInstalled2D(t *testing.T)       { rule(t, lateSnapshotIsNotInstalled) }
func TestTheNextEntryFollowsTheSnapshot2D(t *testing.T)   { rule(t, theNextEntryFollowsTheSnapshot) }
func TestInstalledSnapshotsSurviveACrash2D(t *testing.T)  { rule(t, installedSnapshotsSurviveACrash) }
func TestAgreeingSnapshotsKeepTheRest2D(t *testing.T)     { rule(t, agreeingSnapshotsKeepTheRest) }

func TestOneVoteATerm3A(t *testing.T)              { rule(t, oneVoteATerm) }
func TestNewerTermsEndALead3A(t *testing.T)        { rule(t, newerTermsEndALead) }
func TestMajoritiesElect3A(t *testing.T)           { rule(t, majoritiesElect) }
func TestOneServerOneVote3A(t *testing.T)          { rule(t, oneServerOneVote) }
func TestCandidatesFollowTheWinner3A(t *testing.T) { rule(t, candidatesFollowTheWinner) }
func TestChatterHoldsOffNobody3A(t *testing.T)     { rule(t, chatterHoldsOffNobody) }
func TestLateVotesDoNotCount3A(t *testing.T)       { rule(t, lateVotesDoNotCount) }
func TestHeartbeatsKeepTheLeader3A(t *testing.T)   { rule(t, heartbeatsKeepTheLeader) }
func TestVotesGoToCompleteLogs3B(t *testing.T)     { rule(t, votesGoToCompleteLogs) }
func TestOlderTermsAreNotCommittedByCounting3B(t *testing.T) {
	rule(t, olderTermsAreNotCommittedByCounting)
}
func TestMajoritiesCommit3B(t *testing.T)                 { rule(t, majoritiesCommit) }
func TestCommitGoesNoFurtherThanTheMatch3B(t *testing.T)  { rule(t, commitGoesNoFurtherThanTheMatch) }
func TestLateEntriesTruncateNothing3B(t *testing.T)       { rule(t, lateEntriesTruncateNothing) }
func TestConflictsAreTruncated3B(t *testing.T)            { rule(t, conflictsAreTruncated) }
func TestAnswersAreReadWithTheirCall3B(t *testing.T)      { rule(t, answersAreReadWithTheirCall) }
func TestAnswersOfAnEarlierTermDoNotCount3B(t *testing.T) { rule(t, answersOfAnEarlierTermDoNotCount) }
func TestNobodyIsBelievedFromEarlier3B(t *testing.T)      { rule(t, nobodyIsBelievedFromEarlier) }
func TestBackingUpTakesFewRPCs3B(t *testing.T)            { rule(t, backingUpTakesFewRPCs) }
func TestVoteSurvivesACrash3C(t *testing.T)               { rule(t, voteSurvivesACrash) }
func TestEntriesSurviveACrash3C(t *testing.T)             { rule(t, entriesSurviveACrash) }
func TestLateSnapshotIsNotInstalled3D(t *testing.T)       { rule(t, lateSnapshotIsNotInstalled) }
func TestTheNextEntryFollowsTheSnapshot3D(t *testing.T)   { rule(t, theNextEntryFollowsTheSnapshot) }
func TestInstalledSnapshotsSurviveACrash3D(t *testing.T)  { rule(t, installedSnapshotsSurviveACrash) }
func TestAgreeingSnapshotsKeepTheRest3D(t *testing.T)     { rule(t, agreeingSnapshotsKeepTheRest) }

func TestOneVoteATerm(t *testing.T)              { rule(t, oneVoteATerm) }
func TestNewerTermsEndALead(t *testing.T)        { rule(t, newerTermsEndALead) }
func TestMajoritiesElect(t *testing.T)           { rule(t, majoritiesElect) }
func TestOneServerOneVote(t *testing.T)          { rule(t, oneServerOneVote) }
func TestCandidatesFollowTheWinner(t *testing.T) { rule(t, candidatesFollowTheWinner) }
func TestChatterHoldsOffNobody(t *testing.T)     { rule(t, chatterHoldsOffNobody) }
func TestLateVotesDoNotCount(t *testing.T)       { rule(t, lateVotesDoNotCount) }
func TestHeartbeatsKeepTheLeader(t *testing.T)   { rule(t, heartbeatsKeepTheLeader) }
func TestVotesGoToCompleteLogs(t *testing.T)     { rule(t, votesGoToCompleteLogs) }
func TestOlderTermsAreNotCommittedByCounting(t *testing.T) {
	rule(t, olderTermsAreNotCommittedByCounting)
}
func TestMajoritiesCommit(t *testing.T)                 { rule(t, majoritiesCommit) }
func TestCommitGoesNoFurtherThanTheMatch(t *testing.T)  { rule(t, commitGoesNoFurtherThanTheMatch) }
func TestLateEntriesTruncateNothing(t *testing.T)       { rule(t, lateEntriesTruncateNothing) }
func TestConflictsAreTruncated(t *testing.T)            { rule(t, conflictsAreTruncated) }
func TestAnswersAreReadWithTheirCall(t *testing.T)      { rule(t, answersAreReadWithTheirCall) }
func TestAnswersOfAnEarlierTermDoNotCount(t *testing.T) { rule(t, answersOfAnEarlierTermDoNotCount) }
func TestNobodyIsBelievedFromEarlier(t *testing.T)      { rule(t, nobodyIsBelievedFromEarlier) }
func TestBackingUpTakesFewRPCs(t *testing.T)            { rule(t, backingUpTakesFewRPCs) }
func TestVoteSurvivesACrash(t *testing.T)               { rule(t, voteSurvivesACrash) }
func TestEntriesSurviveACrash(t *testing.T)             { rule(t, entriesSurviveACrash) }
func TestLateSnapshotIsNotInstalled(t *testing.T)       { rule(t, lateSnapshotIsNotInstalled) }
func TestTheNextEntryFollowsTheSnapshot(t *testing.T)   { rule(t, theNextEntryFollowsTheSnapshot) }
func TestInstalledSnapshotsSurviveACrash(t *testing.T)  { rule(t, installedSnapshotsSurviveACrash) }
func TestAgreeingSnapshotsKeepTheRest(t *testing.T)     { rule(t, agreeingSnapshotsKeepTheRest) }
