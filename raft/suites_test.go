package raft_test

import "testing"

// The scenarios under the names of every numbering; see numbering for which of
// them a run takes.

// Lab 2 of 2017 to 2023, in parts 2A to 2D.

func TestInitialElection2A(t *testing.T) { run(t, initialElection, "2A") }
func TestReElection2A(t *testing.T)      { run(t, reElection, "2A") }
func TestManyElections2A(t *testing.T)   { run(t, manyElections, "2A") }

func TestBasicAgree2B(t *testing.T)       { run(t, basicAgree, "2B") }
func TestRPCBytes2B(t *testing.T)         { run(t, rpcBytes, "2B") }
func TestFollowerFailure2B(t *testing.T)  { run(t, followerFailure, "2B") }
func TestLeaderFailure2B(t *testing.T)    { run(t, leaderFailure, "2B") }
func TestFailAgree2B(t *testing.T)        { run(t, failAgree, "2B") }
func TestFailNoAgree2B(t *testing.T)      { run(t, failNoAgree, "2B") }
func TestConcurrentStarts2B(t *testing.T) { run(t, concurrentStarts, "2B") }
func TestRejoin2B(t *testing.T)           { run(t, rejoin, "2B") }
func TestBackup2B(t *testing.T)           { run(t, backup, "2B") }
func TestSlowService2B(t *testing.T)      { run(t, slowService, "2B") }
func TestCount2B(t *testing.T)            { run(t, count, "2B") }

func TestPersist12C(t *testing.T)          { run(t, persist1, "2C") }
func TestPersist22C(t *testing.T)          { run(t, persist2, "2C") }
func TestPersist32C(t *testing.T)          { run(t, persist3, "2C") }
func TestFigure82C(t *testing.T)           { run(t, figure8, "2C") }
func TestUnreliableAgree2C(t *testing.T)   { run(t, unreliableAgree, "2C") }
func TestFigure8Unreliable2C(t *testing.T) { run(t, figure8Unreliable, "2C") }
func TestReliableChurn2C(t *testing.T)     { run(t, reliableChurn, "2C") }
func TestUnreliableChurn2C(t *testing.T)   { run(t, unreliableChurn, "2C") }

func TestSnapshotBasic2D(t *testing.T)             { run(t, snapshotBasic, "2D") }
func TestSnapshotInstall2D(t *testing.T)           { run(t, snapshotInstall, "2D") }
func TestSnapshotInstallUnreliable2D(t *testing.T) { run(t, snapshotInstallUnreliable, "2D") }
func TestSnapshotInstallCrash2D(t *testing.T)      { run(t, snapshotInstallCrash, "2D") }
func TestSnapshotInstallUnCrash2D(t *testing.T)    { run(t, snapshotInstallUnCrash, "2D") }
func TestSnapshotAllCrash2D(t *testing.T)          { run(t, snapshotAllCrash, "2D") }
func TestSnapshotInit2D(t *testing.T)              { run(t, snapshotInit, "2D") }

// Lab 3 since 2024, in parts 3A to 3D.

func TestInitialElection3A(t *testing.T) { run(t, initialElection, "3A") }
func TestReElection3A(t *testing.T)      { run(t, reElection, "3A") }
func TestManyElections3A(t *testing.T)   { run(t, manyElections, "3A") }

func TestBasicAgree3B(t *testing.T)       { run(t, basicAgree, "3B") }
func TestRPCBytes3B(t *testing.T)         { run(t, rpcBytes, "3B") }
func TestFollowerFailure3B(t *testing.T)  { run(t, followerFailure, "3B") }
func TestLeaderFailure3B(t *testing.T)    { run(t, leaderFailure, "3B") }
func TestFailAgree3B(t *testing.T)        { run(t, failAgree, "3B") }
func TestFailNoAgree3B(t *testing.T)      { run(t, failNoAgree, "3B") }
func TestConcurrentStarts3B(t *testing.T) { run(t, concurrentStarts, "3B") }
func TestRejoin3B(t *testing.T)           { run(t, rejoin, "3B") }
func TestBackup3B(t *testing.T)           { run(t, backup, "3B") }
func TestSlowService3B(t *testing.T)      { run(t, slowService, "3B") }
func TestCount3B(t *testing.T)            { run(t, count, "3B") }

func TestPersist13C(t *testing.T)          { run(t, persist1, "3C") }
func TestPersist23C(t *testing.T)          { run(t, persist2, "3C") }
func TestPersist33C(t *testing.T)          { run(t, persist3, "3C") }
func TestFigure83C(t *testing.T)           { run(t, figure8, "3C") }
func TestUnreliableAgree3C(t *testing.T)   { run(t, unreliableAgree, "3C") }
func TestFigure8Unreliable3C(t *testing.T) { run(t, figure8Unreliable, "3C") }
func TestReliableChurn3C(t *testing.T)     { run(t, reliableChurn, "3C") }
func TestUnreliableChurn3C(t *testing.T)   { run(t, unreliableChurn, "3C") }

func TestSnapshotBasic3D(t *testing.T)             { run(t, snapshotBasic, "3D") }
func TestSnapshotInstall3D(t *testing.T)           { run(t, snapshotInstall, "3D") }
func TestSnapshotInstallUnreliable3D(t *testing.T) { run(t, snapshotInstallUnreliable, "3D") }
func TestSnapshotInstallCrash3D(t *testing.T)      { run(t, snapshotInstallCrash, "3D") }
func TestSnapshotInstallUnCrash3D(t *testing.T)    { run(t, snapshotInstallUnCrash, "3D") }
func TestSnapshotAllCrash3D(t *testing.T)          { run(t, snapshotAllCrash, "3D") }
func TestSnapshotInit3D(t *testing.T)              { run(t, snapshotInit, "3D") }

// The 2016 edition, without parts.

func TestInitialElection(t *testing.T)   { run(t, initialElection, "") }
func TestReElection(t *testing.T)        { run(t, reElection, "") }
func TestBasicAgree(t *testing.T)        { run(t, basicAgree, "") }
func TestFailAgree(t *testing.T)         { run(t, failAgree, "") }
func TestFailNoAgree(t *testing.T)       { run(t, failNoAgree, "") }
func TestConcurrentStarts(t *testing.T)  { run(t, concurrentStarts, "") }
func TestRejoin(t *testing.T)            { run(t, rejoin, "") }
func TestBackup(t *testing.T)            { run(t, backup, "") }
func TestSlowService(t *testing.T)       { run(t, slowService, "") }
func TestCount(t *testing.T)             { run(t, count, "") }
func TestPersist1(t *testing.T)          { run(t, persist1, "") }
func TestPersist2(t *testing.T)          { run(t, persist2, "") }
func TestPersist3(t *testing.T)          { run(t, persist3, "") }
func TestFigure8(t *testing.T)           { run(t, figure8, "") }
func TestUnreliableAgree(t *testing.T)   { run(t, unreliableAgree, "") }
func TestFigure8Unreliable(t *testing.T) { run(t, figure8Unreliable, "") }
func TestReliableChurn(t *testing.T)     { run(t, reliableChurn, "") }
func TestUnreliableChurn(t *testing.T)   { run(t, unreliableChurn, "") }
