package membership

import (
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/raft"
	"raftkv/raft/members"
)

// Goal: a member that answers is healthy if it would catch up at once. Bytes decide that, not
// entries: few large values take long, and many small ones do not. What no majority has does
// not count, and a member that needs a snapshot is never healthy. One that answers heartbeats
// and has confirmed nothing for five election timeouts, though something is committed that it
// lacks, has a disk that may hang, and is not healthy, however little it lacks (M9). The list of
// the members, the tolerance and the guard of a change go by the same decision, and each says
// the number.
// Method: n3 of three lacks something of each kind, up to the bound and a byte more, for some
// time, in which it confirms entries or none; n2 is to be removed, which takes n3.
func TestHealthGoesByTheBytesThatAMemberLacks(t *testing.T) {
	const bound = 4 << 20
	for name, c := range map[string]struct {
		last, first, match uint64
		commit, confirms   uint64 // confirms: entries in each 100 ms, as many as are committed
		lacks, uncommitted int
		after              time.Duration
		newLeader          bool
		why                string // of n3; "": it is healthy
	}{
		"nothing":                             {last: 100, first: 1, match: 100},
		"as much as it may":                   {last: 110, first: 1, match: 100, lacks: bound},
		"a byte more":                         {last: 110, first: 1, match: 100, lacks: bound + 1, why: "lacks 4.0 MiB of the log (healthy: 4 MiB at most)"},
		"few large values":                    {last: 10_000, first: 1, match: 9_990, lacks: 7_550_000, why: "lacks 7.2 MiB of the log (healthy: 4 MiB at most)"},
		"many small ones":                     {last: 60_000, first: 1, match: 10_000, lacks: 3_200_000},
		"large values that nobody has either": {last: 200, first: 1, match: 100, lacks: 60 << 20, uncommitted: 58 << 20},
		"more than nobody has":                {last: 200, first: 1, match: 100, lacks: 60 << 20, uncommitted: 55 << 20, why: "lacks 5.0 MiB of the log (healthy: 4 MiB at most)"},
		"less than the majority lacks":        {last: 200, first: 1, match: 150, lacks: 20 << 20, uncommitted: 30 << 20},
		"large values, and a new leader that does not know who has them": {last: 200, first: 1, match: 100, lacks: 60 << 20, uncommitted: 58 << 20, newLeader: true, why: "lacks 60.0 MiB of the log (healthy: 4 MiB at most)"},
		"a snapshot":                              {last: 100, first: 52, match: 50, lacks: 10, why: "needs a snapshot: it has entry 50 of 100, and the leader keeps those from 52 on"},
		"the first entry that the leader keeps":   {last: 100, first: 51, match: 50, lacks: 10},
		"a disk that hangs":                       {last: 100, first: 1, match: 95, commit: 100, lacks: 5000, after: 3 * time.Second, why: "has confirmed nothing for 2s: it has entry 95, entry 100 is committed, and its disk may hang"},
		"a disk that has hung for a moment":       {last: 100, first: 1, match: 95, commit: 100, lacks: 5000, after: time.Second},
		"a disk that hangs, and nothing to write": {last: 100, first: 1, match: 100, commit: 100, after: 3 * time.Second},
		"what no majority confirms either":        {last: 100, first: 1, match: 95, commit: 95, lacks: 5000, after: 3 * time.Second},
		"always something, while it goes on":      {last: 1000, first: 1, match: 95, commit: 100, confirms: 1, lacks: 5000, after: 3 * time.Second},
		"nobody knows what":                       {last: 100, first: 52, match: 0, lacks: 10, why: "has entry 0 of 100"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				f := newFakeLog(t, true, "n1", "n2", "n3")
				defer f.close()
				f.mu.Lock()
				began := time.Now()
				f.shows = func(s *raft.Status) {
					confirmed := c.confirms * uint64(time.Since(began)/(100*time.Millisecond))
					s.CommitIndex = c.commit + confirmed
					s.LastIndex, s.FirstIndex, s.UncommittedBytes, s.CommittedInTerm = c.last, c.first, c.uncommitted, !c.newLeader
					for i := range s.Peers {
						p := &s.Peers[i]
						if p.MatchIndex = c.last; p.ID == "n3" {
							p.MatchIndex, p.LacksBytes = c.match+confirmed, c.lacks
						}
					}
				}
				f.mu.Unlock()
				time.Sleep(c.after)
				driver := f.nodes["n1"].driver
				one := healthOf(driver, "n3")
				health, tolerance := "healthy", 1
				if c.why != "" {
					health, tolerance = "unhealthy", 0
				}
				if one.Health != health || one.Why != c.why {
					t.Errorf("n3 is %s, %q; it should be %s, %q", one.Health, one.Why, health, c.why)
				}
				if m := driver.Describe(); m.Tolerance != tolerance {
					t.Errorf("%d voters may fail, not %d", m.Tolerance, tolerance)
				}
				_, err := driver.Plan(Ask{ID: "c", Remove: []members.ID{"n2"}})
				if c.why == "" && err != nil || c.why != "" && (err == nil || !strings.Contains(err.Error(), "n3 "+c.why)) {
					t.Errorf("removing n2: %v", err)
				}
			})
		})
	}
}

// healthOf returns what a node says of a member.
func healthOf(d *Driver, id string) api.Member {
	for _, one := range d.Describe().Members {
		if one.ID == id {
			return one
		}
	}
	return api.Member{}
}
