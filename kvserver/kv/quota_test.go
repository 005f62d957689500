package kv

import "testing"

// Goal: under a quota nothing makes the store grow beyond it by a byte, and what
// does not make it grow always works, so that it clears by itself. Method: one
// store of ten bytes, step by step, and the same command with another quota.
func TestTheQuotaStopsGrowthAndNothingElse(t *testing.T) {
	s := New()
	put(s, "a", "12345") // 6 bytes
	put(s, "b", "678")   // 10
	for i, step := range []struct {
		c    Command
		want Status
	}{
		{Command{Op: OpPut, Key: []byte("c"), Quota: 10}, StatusQuota}, // the key counts
		{Command{Op: OpPut, Key: []byte("c"), Quota: 11}, StatusOK},
		{Command{Op: OpDelete, Key: []byte("c")}, StatusOK},
		{Command{Op: OpAppend, Key: []byte("b"), Value: []byte("9"), Quota: 10}, StatusQuota},
		{Command{Op: OpAppend, Key: []byte("b"), Quota: 10}, StatusOK},                        // nothing more
		{Command{Op: OpPut, Key: []byte("b"), Value: []byte("xyz"), Quota: 1}, StatusOK},      // as long as before
		{Command{Op: OpPut, Key: []byte("b"), Value: []byte("wxyz"), Quota: 10}, StatusQuota}, // one byte more
		{Command{Op: OpPut, Key: []byte("a"), Value: []byte("1"), Quota: 1}, StatusOK},        // shorter, still over
		{Command{Op: OpPut, Key: []byte("b"), Value: []byte("4567890"), Quota: 10}, StatusOK}, // there is room now
		{Command{Op: OpPut, Key: []byte("b"), Value: []byte("45678901")}, StatusOK},           // no quota
		{Command{Op: OpAppend, Key: []byte("d"), Value: []byte("1"), Quota: 12}, StatusQuota}, // 11 and 2
		{Command{Op: OpDelete, Key: []byte("a")}, StatusOK},
		{Command{Op: OpAppend, Key: []byte("d"), Value: []byte("12"), Quota: 12}, StatusOK},
	} {
		before := s.Revision()
		r := apply(s, step.c)
		if r.Status != step.want {
			t.Errorf("step %d: %v, want %v at %d bytes", i, r.Status, step.want, s.Bytes())
		}
		if step.want == StatusQuota && (s.Revision() != before || r.Revision != before) {
			t.Errorf("step %d: refused at revision %d, now %d, told %d", i, before, s.Revision(), r.Revision)
		}
	}
	for _, op := range []Op{OpDelete, OpGet, OpOpenSession} {
		if r := apply(s, Command{Op: op, Quota: 1}); r.Status != StatusUnknownCommand {
			t.Errorf("a quota for a %v: %v", op, r.Status)
		}
	}
}
