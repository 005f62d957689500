package kvserver_test

import "testing"

// The scenarios under the names of both numberings; a run takes one of them.

// Lab 3 of 2018 to 2023.

func TestLateCall3A(t *testing.T)                               { run(t, lateCall, "3A") }
func TestBasic3A(t *testing.T)                                  { run(t, basic, "3A") }
func TestSpeed3A(t *testing.T)                                  { run(t, speed, "3A") }
func TestConcurrent3A(t *testing.T)                             { run(t, concurrent, "3A") }
func TestUnreliable3A(t *testing.T)                             { run(t, unreliable, "3A") }
func TestUnreliableOneKey3A(t *testing.T)                       { run(t, oneKey, "3A") }
func TestOnePartition3A(t *testing.T)                           { run(t, onePartition, "3A") }
func TestManyPartitionsOneClient3A(t *testing.T)                { run(t, manyPartsOne, "3A") }
func TestManyPartitionsManyClients3A(t *testing.T)              { run(t, manyParts, "3A") }
func TestPersistOneClient3A(t *testing.T)                       { run(t, persistOne, "3A") }
func TestPersistConcurrent3A(t *testing.T)                      { run(t, persistConcurrent, "3A") }
func TestPersistConcurrentUnreliable3A(t *testing.T)            { run(t, persistUnreliable, "3A") }
func TestPersistPartition3A(t *testing.T)                       { run(t, persistParts, "3A") }
func TestPersistPartitionUnreliable3A(t *testing.T)             { run(t, persistPartsUnreliable, "3A") }
func TestPersistPartitionUnreliableLinearizable3A(t *testing.T) { run(t, persistLinearizable, "3A") }

func TestSnapshotRPC3B(t *testing.T)                                  { run(t, snapshotRPC, "3B") }
func TestSnapshotSize3B(t *testing.T)                                 { run(t, snapshotSize, "3B") }
func TestSpeed3B(t *testing.T)                                        { run(t, speedSnapshots, "3B") }
func TestSnapshotRecover3B(t *testing.T)                              { run(t, snapshotRecover, "3B") }
func TestSnapshotRecoverManyClients3B(t *testing.T)                   { run(t, snapshotRecoverMany, "3B") }
func TestSnapshotUnreliable3B(t *testing.T)                           { run(t, snapshotUnreliable, "3B") }
func TestSnapshotUnreliableRecover3B(t *testing.T)                    { run(t, snapshotUnreliableRecover, "3B") }
func TestSnapshotUnreliableRecoverConcurrentPartition3B(t *testing.T) { run(t, snapshotParts, "3B") }
func TestSnapshotUnreliableRecoverConcurrentPartitionLinearizable3B(t *testing.T) {
	run(t, snapshotLinearizable, "3B")
}

// Lab 4 of 2024.

func TestLateCall4A(t *testing.T)                               { run(t, lateCall, "4A") }
func TestBasic4A(t *testing.T)                                  { run(t, basic, "4A") }
func TestSpeed4A(t *testing.T)                                  { run(t, speed, "4A") }
func TestConcurrent4A(t *testing.T)                             { run(t, concurrent, "4A") }
func TestUnreliable4A(t *testing.T)                             { run(t, unreliable, "4A") }
func TestUnreliableOneKey4A(t *testing.T)                       { run(t, oneKey, "4A") }
func TestOnePartition4A(t *testing.T)                           { run(t, onePartition, "4A") }
func TestManyPartitionsOneClient4A(t *testing.T)                { run(t, manyPartsOne, "4A") }
func TestManyPartitionsManyClients4A(t *testing.T)              { run(t, manyParts, "4A") }
func TestPersistOneClient4A(t *testing.T)                       { run(t, persistOne, "4A") }
func TestPersistConcurrent4A(t *testing.T)                      { run(t, persistConcurrent, "4A") }
func TestPersistConcurrentUnreliable4A(t *testing.T)            { run(t, persistUnreliable, "4A") }
func TestPersistPartition4A(t *testing.T)                       { run(t, persistParts, "4A") }
func TestPersistPartitionUnreliable4A(t *testing.T)             { run(t, persistPartsUnreliable, "4A") }
func TestPersistPartitionUnreliableLinearizable4A(t *testing.T) { run(t, persistLinearizable, "4A") }

func TestSnapshotRPC4B(t *testing.T)                                  { run(t, snapshotRPC, "4B") }
func TestSnapshotSize4B(t *testing.T)                                 { run(t, snapshotSize, "4B") }
func TestSpeed4B(t *testing.T)                                        { run(t, speedSnapshots, "4B") }
func TestSnapshotRecover4B(t *testing.T)                              { run(t, snapshotRecover, "4B") }
func TestSnapshotRecoverManyClients4B(t *testing.T)                   { run(t, snapshotRecoverMany, "4B") }
func TestSnapshotUnreliable4B(t *testing.T)                           { run(t, snapshotUnreliable, "4B") }
func TestSnapshotUnreliableRecover4B(t *testing.T)                    { run(t, snapshotUnreliableRecover, "4B") }
func TestSnapshotUnreliableRecoverConcurrentPartition4B(t *testing.T) { run(t, snapshotParts, "4B") }
func TestSnapshotUnreliableRecoverConcurrentPartitionLinearizable4B(t *testing.T) {
	run(t, snapshotLinearizable, "4B")
}
