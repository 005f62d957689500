package clerkwire

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/tests/compat/golden"
)

// Goal: frames that an earlier release sent are read by this one, and mean the
// same. Method: see golden.Check. The table has every kind.
func TestWhatEarlierReleasesSentIsRead(t *testing.T) {
	golden.Check(t, []golden.Format{
		{Release: "v0.1.0", Name: "clerk-frames", Write: writeReleasedFrames, Read: readReleasedFrames},
		{Release: "v0.2.0", Name: "forward-frames", Write: writeForwardFrames, Read: readForwardFrames},
		{Release: "v0.2.0", Name: "auth-frames", Write: writeAuthFrames, Read: readAuthFrames},
		{Release: "v0.2.0", Name: "lease-frames", Write: writeLeaseFrames, Read: readLeaseFrames},
		{Release: "v0.2.0", Name: "lock-frames", Write: writeLockFrames, Read: readLockFrames},
		{Release: "v0.2.0", Name: "txn-frames", Write: writeTxnFrames, Read: readTxnFrames},
		{Release: "v0.2.0", Name: "read-frames", Write: writeReadFrames, Read: readReadFrames},
		{Release: "v0.2.0", Name: "member-frames", Write: writeMemberFrames, Read: readMemberFrames},
		{Release: "v0.2.0", Name: "watch-frames", Write: writeWatchFrames, Read: readWatchFrames},
	})
}

// releasedFrame is a frame as a release sent it.
type releasedFrame struct {
	kind   Kind
	number uint32
	means  Message
}

func releasedFrames() map[string]releasedFrame {
	write := Write{Session: 1 << 40, Lane: 1023, Seq: 1 << 33, Key: []byte("key"), Value: []byte("value")}
	if1, if2, if3 := write, write, write
	if1.Condition, if1.Number = IfRevision, 300
	if2.Condition, if3.Condition, if3.Value = IfPresent, IfAbsent, []byte{}
	written := Written{Revision: 300, Version: 4, Length: 65_536, Created: true, Deleted: true, Replayed: true}
	return map[string]releasedFrame{
		"goodbye":           {KindGoodbye, 0, Empty{}},
		"open":              {KindOpen, 1, Empty{}},
		"opened":            {KindOpened, 1, Opened{Session: 1 << 40}},
		"get":               {KindGet, 2, Get{Consistency: Stale, MinRevision: 300, Key: []byte("k\x00\xff")}},
		"get-linearizable":  {KindGet, 1 << 31, Get{Key: []byte("k")}},
		"got":               {KindGot, 2, Got{Found: true, Revision: 1 << 40, Version: 3, Store: 70_000, Value: bytes.Repeat([]byte{0xc1}, 300)}},
		"got-nothing":       {KindGot, 1 << 31, Got{Store: 70_000, Value: []byte{}}},
		"put":               {KindPut, 3, write},
		"put-if-revision":   {KindPut, 4, if1},
		"append-if-present": {KindAppend, 5, if2},
		"delete-if-absent":  {KindDelete, 6, if3},
		"put-written":       {KindPut.Answer(), 3, written},
		"append-written":    {KindAppend.Answer(), 5, written},
		"delete-written":    {KindDelete.Answer(), 6, Written{Revision: 5, Deleted: true}},
		"list":              {KindList, 7, List{Consistency: Stale, MinRevision: 1, Limit: 200, KeysOnly: true, Prefix: []byte("a/"), After: []byte("a/b")}},
		"listed": {KindListed, 7, Listed{Store: 8, More: true, Items: []Item{
			{Key: []byte("a"), Value: []byte{}, Revision: 1, Version: 2}, {Key: []byte("b"), Value: []byte("x"), Revision: 300, Version: 4},
		}}},
		"refused": {KindRefused, 8, Refused{
			Code: api.CodePreconditionFailed, Outcome: api.OutcomeNotApplied, Retryable: true, Decided: true,
			RetryAfter: 1500 * time.Millisecond, Node: "n1", Leader: "n2", LeaderAddr: "10.0.0.2:8701", Term: 7,
			Revision: 17, Version: 3, RequestID: "n1-x-1", Detail: "the key has another revision",
		}},
		"refused-unknown": {KindRefused, 9, Refused{Code: api.CodeTimeout, Outcome: api.OutcomeUnknown}},
	}
}

// forwardFrames are those between nodes, in a protocol of their own.
func forwardFrames() map[string]releasedFrame {
	// A put of "value" under "key" if that has revision 300, with the idempotency key "once".
	command := []byte("\x01\x02\xc0\x01\x04once\x02\xac\x02\x03key\x05value")
	return map[string]releasedFrame{
		"forward":       {KindForward, 1, Forward{RequestID: "n2-x-1", Left: 9_999 * time.Millisecond, Token: []byte{}, Command: command, Sum: SumOf(command)}},
		"forward-empty": {KindForward, 1 << 31, Forward{Token: []byte{}, Command: []byte{}}},
		"forwarded":     {KindForwarded, 1, Forwarded{Node: "n1", Leader: "n1", Term: 7, Revision: 1 << 40, Version: 3, Length: 65_536, Created: true, Deleted: true, Replayed: true}},
		"forwarded-condition": {KindForwarded, 1 << 31, Forwarded{
			Node: "n1", Leader: "n1", Term: 7, Status: 8, Revision: 17, Version: 3, Detail: "the key has another revision",
		}},
	}
}

// authFrames are those that a cluster with identities adds.
func authFrames() map[string]releasedFrame {
	token := []byte("rkt1_abcd1234")
	return map[string]releasedFrame{
		"auth":           {KindAuth, 1, Auth{Token: token}},
		"auth-empty":     {KindAuth, 1 << 31, Auth{Token: []byte{}}},
		"authed":         {KindAuthed, 1, Empty{}},
		"refused-nobody": {KindRefused, 2, Refused{Code: api.CodeUnauthenticated, Outcome: api.OutcomeNotApplied, Detail: "no"}},
	}
}

// watchFrames are those of protocol 2.
func watchFrames() map[string]releasedFrame {
	content := AppendNote(nil, &Note{Kind: NoteProgress, Revision: 300})
	return map[string]releasedFrame{
		"watch": {KindWatch, 1, Watch{
			Cluster: "0f8f", Resume: true, After: 300, Mirror: true, Prev: true, KeysOnly: true, ProgressMs: 500,
			Keys: [][]byte{[]byte("k")}, Prefixes: [][]byte{{}}, Ranges: []KeyRange{{[]byte("a"), []byte("b")}},
		}},
		"watch-from-now": {KindWatch, 2, Watch{Keys: [][]byte{}, Prefixes: [][]byte{[]byte("a/")}, Ranges: []KeyRange{}}},
		"watching":       {KindWatching, 1, Watching{StateFirst: true, After: 1, Revision: 300, Oldest: 2}},
		"changes":        {KindChanges, 1, Changes{Content: content}},
		"changes-more":   {KindChanges, 1, Changes{More: true, Content: content[:1]}},
		"alive":          {KindChanges, 0, Changes{Content: []byte{}}},
		"credit":         {KindCredit, 1, Credit{Bytes: 65_536}},
		"sync":           {KindSync, 3, Sync{Watch: 1}},
		"synced":         {KindSynced, 3, Synced{Revision: 300}},
		"unwatch":        {KindUnwatch, 1, Empty{}},
		"ended":          {KindEnded, 1, Ended{}},
		"ended-gone":     {KindEnded, 1, Ended{Oldest: 7, Why: Refused{Code: api.CodeRevisionGone, Node: "n1", Term: 7, Revision: 300, RequestID: "n1-x-1", Detail: "it is gone"}}},
	}
}

// txnFrames are those of transactions and removals of ranges.
func txnFrames() map[string]releasedFrame {
	body := []byte{1, 0, 0, 0, 0} // a transaction without anything
	return map[string]releasedFrame{
		"txn":           {KindTxn, 1, Txn{Session: 1 << 40, Lane: 1023, Seq: 1 << 33, Body: body}},
		"txn-of-reads":  {KindTxn, 2, Txn{Body: body}},
		"txn-done":      {KindTxn.Answer(), 1, TxnDone{Revision: 300, Replayed: true, Outcome: []byte{1, 1, 0, 0}}},
		"delete-range":  {KindDeleteRange, 3, Txn{Session: 1, Seq: 2, Previous: true, Body: []byte{1, 0, 0, 1, 'a', 1, 'b'}}},
		"deleted-range": {KindDeleteRange.Answer(), 3, TxnDone{Revision: 301, Outcome: []byte{1, 1, 0, 1, 3, 16, 0, 0, 2, 0, 0, 0}}},
	}
}

// leaseFrames are those of leases, and of writes that say when their key ends or ask for what was there.
func leaseFrames() map[string]releasedFrame {
	write := Write{Session: 1 << 40, Lane: 1023, Seq: 1 << 33, Key: []byte("key"), Value: []byte("value")}
	lease, ttl, keep, previous := write, write, write, write
	lease.More.Lease, ttl.More.TTL, keep.More.Keep, previous.More.Previous = -7, 30_000, true, true
	return map[string]releasedFrame{
		"put-lease":       {KindPut, 1, lease},
		"put-ttl":         {KindPut, 2, ttl},
		"put-keep":        {KindPut, 3, keep},
		"append-previous": {KindAppend, 4, previous},
		"append-written":  {KindAppend.Answer(), 4, Written{Revision: 300, Version: 4, Length: 9, Outcome: "\x01\x01\x00\x00"}},
		"grant":           {KindGrant, 5, Grant{Session: 1 << 40, Lane: 1023, Seq: 1 << 33, Lease: -7, TTL: 15_000, Note: "worker 7"}},
		"granted":         {KindGranted, 5, Granted{Lease: 10_482, Replayed: true}},
		"keep-alive":      {KindKeepAlive, 6, KeepAlive{Leases: []int64{-7, 10_482}}},
		"kept":            {KindKept, 6, Kept{TTLs: []uint64{0, 15_000}}},
		"revoke":          {KindRevoke, 7, Revoke{Session: 1 << 40, Lane: 1023, Seq: 1 << 33, Lease: -7}},
		"revoked":         {KindRevoke.Answer(), 7, Written{Revision: 300, Length: 2}},
		"leases":          {KindLeases, 8, Leases{Consistency: Stale, MinRevision: 300, From: math.MinInt64, Limit: 20}},
		"lease":           {KindLeases, 9, Leases{Lease: -7, Keys: true}},
		"leases-shown": {KindLeasesShown, 8, LeasesShown{More: true, Next: 9, Leases: []LeaseShown{
			{Lease: -7, TTL: 15_000, Remaining: 9_000, Note: "worker 7", Count: 2, Keys: [][]byte{[]byte("a"), []byte("b")}}, {Lease: 8, TTL: 1_000, Remaining: 1},
		}}},
		"touch":   {KindTouch, 10, Touch{Key: []byte("k"), TTL: 30_000}},
		"touched": {KindTouch.Answer(), 10, Written{Revision: 300, Version: 4, Length: 9}},
	}
}

// lockFrames are those of locks, of writes that a lock guards, and of watches that follow locks.
func lockFrames() map[string]releasedFrame {
	guarded := Write{Session: 1 << 40, Lane: 1023, Seq: 1 << 33, Key: []byte("key"), Value: []byte("value")}
	guarded.More.Guard = Guard{Lock: "jobs\xff", Token: 300}
	content := AppendNote(nil, &Note{Kind: NoteHolder, Key: []byte("jobs"), State: State{Value: []byte("a"), Revision: 57, Lease: 9}})
	content = AppendNote(content, &Note{Kind: NoteChange, Revision: 300, Events: []Event{
		{Op: EventExpire, Key: []byte("k")},
		{Op: EventLockExpired, Key: []byte("jobs"), After: State{Value: []byte("a"), Revision: 57, Lease: 9}},
	}})
	return map[string]releasedFrame{
		"put-guarded": {KindPut, 1, guarded},
		"acquire":     {KindAcquire, 2, Acquire{Session: 1 << 40, Lane: 1023, Seq: 1 << 33, Lock: []byte("jobs\xff"), Lease: -7, Limit: 3, Delay: 5_000, Value: []byte("v"), Queue: true}},
		"acquire-ttl": {KindAcquire, 3, Acquire{Session: 1, Seq: 1, Lock: []byte("jobs"), TTL: 15_000, Limit: 1, Value: []byte{}}},
		"await":       {KindAcquire, 4, Acquire{Lock: []byte("jobs"), Lease: -7, Value: []byte{}, After: 300, Wait: 2_250}},
		"acquired":    {KindAcquired, 2, Acquired{Lease: -7, Token: 1 << 40, Replayed: true}},
		"queued":      {KindAcquired, 3, Acquired{Lease: 10_482, After: 300}},
		"release":     {KindRelease, 5, Release{Session: 1 << 40, Lane: 1023, Seq: 1 << 33, Lock: []byte("jobs"), Token: 300}},
		"released":    {KindRelease.Answer(), 5, Written{Revision: 301}},
		"leave":       {KindLeaveQueue, 6, LeaveQueue{Session: 1, Seq: 2, Lock: []byte("jobs"), Lease: -7, End: true}},
		"left":        {KindLeaveQueue.Answer(), 6, Written{Revision: 301}},
		"publish":     {KindPublish, 7, Publish{Session: 1, Seq: 2, Lock: []byte("jobs"), Token: 300, Value: []byte("10.0.0.7:80")}},
		"published":   {KindPublish.Answer(), 7, Written{Revision: 302}},
		"lock":        {KindLocks, 8, Locks{Lock: []byte("jobs"), Token: 300, Prefix: []byte{}, After: []byte{}}},
		"locks":       {KindLocks, 9, Locks{Consistency: Stale, MinRevision: 300, Lock: []byte{}, Prefix: []byte("a/"), After: []byte("a/b"), Limit: 20}},
		"locks-shown": {KindLocksShown, 9, LocksShown{More: true, Locks: []LockShown{
			{Lock: []byte("jobs"), Limit: 3, Waiting: 7, Holders: []LockHolder{{Token: 57, Lease: -7, Value: []byte("v"), Note: "worker 7"}}}, {Lock: []byte("z"), Limit: 1},
		}}},
		"watch-locks":      {KindWatch, 10, Watch{Keys: [][]byte{}, Prefixes: [][]byte{}, Ranges: []KeyRange{}, Locks: [][]byte{[]byte("jobs")}}},
		"changes-of-locks": {KindChanges, 10, Changes{Content: content}},
	}
}

// readFrames2 are those of reads, with what only protocol 2 has.
func readFrames2() map[string]releasedFrame {
	return map[string]releasedFrame{
		"get-at":      {KindGet, 1, Get{Key: []byte("k"), Pinned: Pinned{true, 300}}},
		"got-created": {KindGot, 1, Got{Found: true, Revision: 300, Version: 3, Store: 70_000, Value: []byte("v"), Created: 7}},
		"got-lease":   {KindGot, 2, Got{Found: true, Revision: 300, Version: 3, Store: 70_000, Value: []byte("v"), Created: 7, Lease: -7}},
		"list-more": {KindList, 3, List{Limit: 2, Prefix: []byte{}, After: []byte("b"), More: &ListMore{
			Pinned: Pinned{true, 300}, From: []byte("a"), To: []byte("c"), Count: true,
		}}},
		"listed-more": {KindListed, 3, Listed{Store: 300, More: true, Counted: true, Count: 70_000, Items: []Item{
			{Key: []byte("a"), Value: []byte{}, Revision: 1, Version: 2, Created: 1}, {Key: []byte("b"), Value: []byte("x"), Revision: 300, Version: 4, Created: 7, Lease: 10_482},
		}}},
	}
}

func writeReadFrames(*testing.T) golden.Files { return written(readFrames2()) }

func readReadFrames(t *testing.T, f golden.Files) {
	readFrames(t, f, readFrames2(), Requests2, Answers2)
}

func writeLockFrames(*testing.T) golden.Files { return written(lockFrames()) }

func readLockFrames(t *testing.T, f golden.Files) {
	readFrames(t, f, lockFrames(), Requests2, Answers2)
}

func writeLeaseFrames(*testing.T) golden.Files { return written(leaseFrames()) }

func readLeaseFrames(t *testing.T, f golden.Files) {
	readFrames(t, f, leaseFrames(), Requests2, Answers2)
}

func writeTxnFrames(*testing.T) golden.Files { return written(txnFrames()) }

func readTxnFrames(t *testing.T, f golden.Files) { readFrames(t, f, txnFrames(), Requests2, Answers2) }

// memberFrames are those that follow the members of the cluster.
func memberFrames() map[string]releasedFrame {
	return map[string]releasedFrame{"configuration": {KindConfiguration, 0, Configuration{Generation: 1, Version: 70_000}}}
}

func writeMemberFrames(*testing.T) golden.Files { return written(memberFrames()) }

func readMemberFrames(t *testing.T, f golden.Files) {
	readFrames(t, f, memberFrames(), Requests2, Answers2)
}

func writeWatchFrames(*testing.T) golden.Files { return written(watchFrames()) }

func readWatchFrames(t *testing.T, f golden.Files) {
	readFrames(t, f, watchFrames(), Requests2, Answers2)
}

func writeAuthFrames(*testing.T) golden.Files { return written(authFrames()) }

func readAuthFrames(t *testing.T, f golden.Files) { readFrames(t, f, authFrames(), Requests, Answers) }

func writeReleasedFrames(*testing.T) golden.Files { return written(releasedFrames()) }

func writeForwardFrames(*testing.T) golden.Files { return written(forwardFrames()) }

func written(frames map[string]releasedFrame) golden.Files {
	all := golden.Files{}
	for name, f := range frames {
		all[name] = AppendFrame(nil, f.kind, f.number, f.means)
	}
	return all
}

func readReleasedFrames(t *testing.T, f golden.Files) {
	readFrames(t, f, releasedFrames(), Requests, Answers)
}

func readForwardFrames(t *testing.T, f golden.Files) {
	readFrames(t, f, forwardFrames(), Forwards, ForwardAnswers)
}

func readFrames(t *testing.T, f golden.Files, frames map[string]releasedFrame, requests, answers Limits) {
	t.Helper()
	for name, want := range frames {
		b, limits := f[name], answers
		if _, ok := requests[want.kind]; ok {
			limits = requests
		}
		if len(b) < headerBytes {
			t.Errorf("%s has %d bytes", name, len(b))
			continue
		}
		h, err := limits.parse(b)
		if err != nil || h.Kind != want.kind || h.Number != want.number || h.Length != len(b)-headerBytes {
			t.Errorf("%s has the header %+v, %v", name, h, err)
			continue
		}
		got := empty(want.means)
		if err := got.Parse(b[headerBytes:]); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, want := spelled(reflect.ValueOf(got).Elem().Interface()), spelled(want.means); got != want {
			t.Errorf("%s is read as\n%s\nand said\n%s", name, got, want)
		}
	}
}

// spelled is what a message says.
func spelled(m any) string {
	if l, isList := m.(List); isList && l.More != nil {
		more := *l.More
		l.More = nil
		return fmt.Sprintf("%+v %+v", l, more)
	}
	return fmt.Sprintf("%+v", m)
}

// Goal: no kind of frame is without a file. Method: the kinds that may come,
// against those in the table.
func TestEveryKindOfFrameWasKept(t *testing.T) {
	kept := map[Kind]bool{}
	for _, frames := range []map[string]releasedFrame{releasedFrames(), forwardFrames(), authFrames(), watchFrames(), txnFrames(), memberFrames(), leaseFrames(), lockFrames()} {
		for _, f := range frames {
			kept[f.kind] = true
		}
	}
	for _, l := range []Limits{Requests2, Answers2, Forwards, ForwardAnswers} {
		for k := range l {
			if !kept[k] {
				t.Errorf("no file has a frame of kind 0x%02x", uint8(k))
			}
		}
	}
}
