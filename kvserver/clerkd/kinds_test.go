package clerkd

import (
	"testing"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/clerkwire"
)

// Goal (S1): each kind of frame needs the right that is written out here a second time, so that
// a row whose right is changed fails, and has a name in the audit unless it belongs to a watch
// that was let in. A transaction needs a known identity, and then what its body does.
// Method: the table of kinds, against a list.
func TestEveryKindSaysItsRight(t *testing.T) {
	want := map[clerkwire.Kind]auth.Right{
		clerkwire.KindOpen: auth.Known, clerkwire.KindAuth: auth.Known, clerkwire.KindForward: auth.Known, clerkwire.KindTxn: auth.Known,
		clerkwire.KindGet: auth.Read, clerkwire.KindList: auth.List, clerkwire.KindWatch: auth.Watch,
		clerkwire.KindPut: auth.Write, clerkwire.KindAppend: auth.Write, clerkwire.KindTouch: auth.Write, clerkwire.KindDelete: auth.Delete, clerkwire.KindDeleteRange: auth.Delete,
		clerkwire.KindGrant: auth.Lease, clerkwire.KindKeepAlive: auth.Lease, clerkwire.KindRevoke: auth.Lease, clerkwire.KindLeases: auth.Lease,
		clerkwire.KindAcquire: auth.Acquire, clerkwire.KindRelease: auth.Acquire, clerkwire.KindLeaveQueue: auth.Acquire, clerkwire.KindPublish: auth.Acquire, clerkwire.KindLocks: auth.Observe,
		clerkwire.KindSync: auth.Known, clerkwire.KindCredit: auth.Known, clerkwire.KindUnwatch: auth.Known,
	}
	ofWatch := map[clerkwire.Kind]bool{clerkwire.KindSync: true, clerkwire.KindCredit: true, clerkwire.KindUnwatch: true}
	for i, row := range kinds {
		kind := clerkwire.Kind(i)
		if row.right != want[kind] || (row.serve == nil) != (want[kind] == 0) {
			t.Errorf("a frame of kind 0x%02x needs %v, want %v; it is served: %v", i, row.right, want[kind], row.serve != nil)
		}
		if named := actions[kind] != ""; named != (row.serve != nil && !ofWatch[kind]) {
			t.Errorf("a frame of kind 0x%02x has the name %q in the audit", i, actions[kind])
		}
		delete(want, kind)
	}
	for kind := range want {
		t.Errorf("void: there is no kind 0x%02x", uint8(kind))
	}
}
