package members

import (
	"encoding/hex"
	"strings"
	"testing"
)

// full returns a record that uses every field: a joint one, with a learner that is to
// take the place of a voter.
func full() Record {
	hash := [32]byte{31: 9}
	return Record{
		UID: UID{1, 2, 3}, Generation: 2, Level: 3,
		Settings: Settings{
			Wanted: 5, Hold: true, Promotion: true, PromoteAfter: 10_000, Autopilot: true,
			ReplaceAfter: 600_000, DeadAfter: 86_400_000, PeerTLS: true, JoinBy: JoinByCertificate,
		},
		Members: []Member{
			{ID: "n1", Role: Voter, WasVoter: true, Incarnation: Incarnation{1}, Added: 2, Peer: "h1:4001", HTTP: "h1:4000"},
			{ID: "n2", Role: Leaving, WasVoter: true, Added: 2},
			{ID: "n3", Role: Voter, WasVoter: false, Added: 300, Others: []Address{{"admin", "h3:1"}, {"raw", "h3:2"}}},
			{ID: "n4", Role: Learner, Added: 301, Promote: true, Replaces: "n2"},
			{ID: "n5", Role: Replica, Added: 302},
		},
		Removed: []Removed{{ID: "n4", Incarnation: Incarnation{4}, Added: 7, Index: 250}},
		Changes: []Change{{ID: "grow", Index: 200}, {ID: "replace", Index: 303}},
		Tokens:  []JoinToken{{ID: "t1", Hash: hash, Role: Learner, For: "n6", Uses: 2, Expiry: 1_900_000_000_000}},
	}
}

// golden is the encoding of full. These bytes stand in logs and snapshots of level 3:
// they never change.
const golden = "01 01020300000000000000000000000000 02 03 05 0f 904e c0cf24 80b89929 01" +
	"05" +
	"026e31 01 01 01000000000000000000000000000000 02 0768313a34303031 0768313a34303030 00 00" +
	"026e32 00 01 00000000000000000000000000000000 02 00 00 00 00" +
	"026e33 01 00 00000000000000000000000000000000 ac02 00 00 02 0561646d696e 0468333a31 03726177 0468333a32 00" +
	"026e34 02 02 00000000000000000000000000000000 ad02 00 00 00 026e32" +
	"026e35 03 00 00000000000000000000000000000000 ae02 00 00 00 00" +
	"01 026e34 04000000000000000000000000000000 07 fa01" +
	"02 0467726f77 c801 077265706c616365 af02" +
	"01 027431 0000000000000000000000000000000000000000000000000000000000000009 02 026e36 02 80f0cc86a637"

func goldenBytes(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(golden, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// three returns the first record of a cluster of three, as it stands at index 2.
func three() *Record {
	r := First(UID{7}, 3, []ID{"n2", "n1", "n3"})
	r.Stamp(2)
	return &r
}

// wantError checks that an error has these words.
func wantError(t *testing.T, what string, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%s: %v; want an error with %q", what, err, words)
	}
}
