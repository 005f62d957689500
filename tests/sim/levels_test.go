package main

import "testing"

const upgradedWorlds = 5

// Goal (M19, M20): a cluster goes from level 2 to level 3 in the middle of everything that goes
// wrong, and no promise breaks: nothing of level 3 stands in a log or a snapshot, or comes to a
// server, before all know it, and no program meets what it does not know. Method: worlds of three
// to five servers with one to all old programs, with snapshots and coordinators, under the
// faults that their seeds draw.
func TestClustersAreUpgraded(t *testing.T) {
	var all counts
	for seed := range uint64(upgradedWorlds) {
		o := drawOptions(seed)
		o.Labs, o.Founders, o.ChangeEvery, o.Quota = false, 0, 0, 0
		if o.Servers < 3 {
			o.Servers, o.SlowDisks, o.Outside = 3, 0, ""
		}
		o.Coordinators, o.SnapshotEvery = 2, max(o.SnapshotEvery, 20)
		o.Faulty = min(o.Faulty, second+20*o.election())
		for share := newDice(seed, streamLevels); o.OldPrograms == 0; {
			o.drawLevels(share)
		}
		o.UpgradeWithin = min(o.UpgradeWithin, o.Faulty/2)
		if err := o.valid(); err != nil {
			t.Fatal(err)
		}
		r := run(seed, o, &trace{})
		if r.err != nil {
			t.Errorf("%v\noptions %s", r.err, o)
		}
		all.add(r.counts)
	}
	if all.Upgrades == 0 || all.LevelsRaised < upgradedWorlds/2 || all.NotActive == 0 || all.LockGrants == 0 || all.Installs == 0 {
		t.Errorf("void: of %d clusters %d were upgraded, with %d servers; %d requests came too early, %d locks were granted, %d snapshots installed",
			upgradedWorlds, all.LevelsRaised, all.Upgrades, all.NotActive, all.LockGrants, all.Installs)
	}
}
