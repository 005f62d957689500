package wal

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"raftkv/raft/vfs"
)

// tally counts the fates of machines.
type tally struct {
	cuts                                                                    map[vfs.Model]int
	deaths                                                                  map[string]int // by the call
	boundaries                                                              map[string]int // by the call and the operation that did not happen any more
	tornEnds, rolls, snapshots, installs, fallbacks, kills, trims, recycled int
}

func newTally() tally {
	return tally{cuts: map[vfs.Model]int{}, deaths: map[string]int{}, boundaries: map[string]int{}}
}

func (t *tally) add(o tally) {
	for model, n := range o.cuts {
		t.cuts[model] += n
	}
	for call, n := range o.deaths {
		t.deaths[call] += n
	}
	for boundary, n := range o.boundaries {
		t.boundaries[boundary] += n
	}
	t.tornEnds += o.tornEnds
	t.rolls += o.rolls
	t.snapshots += o.snapshots
	t.installs += o.installs
	t.fallbacks += o.fallbacks
	t.kills += o.kills
	t.trims += o.trims
	t.recycled += o.recycled
}

func (t *tally) powerCuts() (n int) {
	for _, cuts := range t.cuts {
		n += cuts
	}
	return n
}

// boundary names an operation: what it does to which of the log's files.
func boundary(call string, op vfs.Op) string {
	name := filepath.Base(op.Path)
	segment := strings.HasSuffix(name, segmentSuffix)
	switch {
	case segment && op.Kind == vfs.OpWrite, segment && op.Kind == vfs.OpSync:
		name = spareName // a segment keeps the name it was opened by
	case name == "wal":
		name = "the directory"
	case segment:
		name = "a segment"
	case strings.HasSuffix(name, snapshotSuffix):
		name = "a snapshot"
	}
	return fmt.Sprintf("%s: %v %s", call, op.Kind, name)
}

// report prints what happened.
func (t *tally) report(to *testing.T) {
	for _, model := range vfs.Models {
		to.Logf("%9d power cuts of %v", t.cuts[model], model)
	}
	to.Logf("%9d kills, %d torn ends cut, %d rolls, %d snapshots (%d received), %d trims, %d recycled segments, %d damaged snapshots passed over",
		t.kills, t.tornEnds, t.rolls, t.snapshots, t.installs, t.trims, t.recycled, t.fallbacks)
	to.Logf("deaths in %v", t.deaths)
	for _, b := range slices.Sorted(maps.Keys(t.boundaries)) {
		to.Logf("%9d died before %s", t.boundaries[b], b)
	}
}
