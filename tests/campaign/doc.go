// Package campaign holds what is started by hand against the program that is
// shipped: campaigns that run for minutes or hours, that need root, or that measure.
// make campaign NAME=… starts one; docs/testing.md has the table.
//
// A campaign whose flag is not given is skipped. TestExactlyOnce, TestRestart,
// TestANodeRejoinsUnderLoad, TestUpgrade, TestCampaignOfMembers, TestNemesesOfProcesses and
// TestAFailedSyncEndsTheLeader run in make test as well, at their smallest size, so that none of them rots.
//
// Files that begin with fault make real faults of networks and disks, for root on
// Linux, and measure their cost. powercut cuts the power of real file systems.
// nemesis makes all kinds of faults in turn and has the histories of its clients
// checked.
//
// A result is void, and fails, if the fault that it is about did not happen.
package campaign
