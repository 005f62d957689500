package recovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/kvserver"
	"raftkv/kvserver/auth"
	"raftkv/kvserver/kv"
	"raftkv/raft/core"
	"raftkv/raft/datadir"
	"raftkv/raft/members"
	"raftkv/raft/vfs"
	"raftkv/raft/wal"
)

const dir = "/data/n1"

// site is the data directory of n1, which has lost n2 and n3.
type site struct {
	t    *testing.T
	disk *vfs.Crashable
}

// newSite makes the directory. change changes the record in the log; nil writes none.
func newSite(t *testing.T, change func(*members.Record)) *site {
	t.Helper()
	s := &site{t, vfs.NewCrashable()}
	s.must(s.disk.MkdirAll(dir))
	s.must(errors.Join(s.disk.SyncDir(filepath.Dir(dir)), s.disk.SyncDir("/")))
	d, err := datadir.Check(s.disk, dir, datadir.NewOwner("c1", "n1", []core.ID{"n1", "n2", "n3"}))
	s.must(err)
	w, state, err := wal.Open(s.options(s.disk))
	s.must(err)
	s.must(d.Begin(&state, false))
	first := core.NewEntry(1, 1, core.KindNoop, nil)
	if change != nil {
		r := members.First(members.UID{7}, 3, []members.ID{"n1", "n2", "n3"})
		for i := range r.Members {
			m := &r.Members[i]
			m.Peer, m.HTTP = string(m.ID)+":9701", string(m.ID)+":8701"
			m.Incarnation = members.Incarnation{byte(i)}
		}
		r.Member("n1").Incarnation = members.Incarnation(d.Life().Incarnation)
		r.Tokens = []members.JoinToken{{ID: "t", Role: members.Learner, Uses: 1, Expiry: 1}}
		change(&r)
		r.Stamp(1)
		data, err := r.Encode()
		s.must(err)
		first = core.NewEntry(1, 1, core.KindConfiguration, data)
	}
	put := func(index uint64, value string) core.Entry {
		return core.NewEntry(index, 2, core.KindCommand, kv.EncodeCommand(kv.Command{Op: kv.OpPut, Key: []byte("k"), Value: []byte(value)}))
	}
	s.must(w.Save(&core.Write{Seq: 1, Term: 3, VotedFor: "n2", From: 1, Entries: []core.Entry{first, put(2, "a"), put(3, "b")}, Commit: 2}))
	s.must(w.Close())
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) options(disk vfs.FS) wal.Options {
	return wal.Options{FS: disk, Dir: filepath.Join(dir, datadir.LogDir), ClusterID: "c1", NodeID: "n1", SegmentBytes: wal.MinSegmentBytes}
}

// state returns what the log on a disk holds.
func (s *site) state(disk vfs.FS) core.State {
	s.t.Helper()
	w, state, err := wal.Open(s.options(disk))
	s.must(err)
	s.must(w.Close())
	return state
}

// nobody is a network in which nothing listens, somebody one in which these addresses do.
type somebody []string

func (n somebody) DialContext(_ context.Context, _, address string) (net.Conn, error) {
	if !slices.Contains(n, address) {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	there.Close()
	return here, nil
}

var nobody somebody

// forN1 are the flags of a recovery that is meant.
func forN1() settings { return settings{dataDir: dir, as: "n1", accept: "c1"} }

func unchanged(*members.Record) {}

// Goal (M18): a recovery that is interrupted at any moment, by a failing disk and a power
// cut, has left the log as it was or is done; when it says that it is done, it is. Then the
// node is the only voter, of the next generation, with all other directories removed and no
// token left, in a term in which it has voted for itself; and the revision is 2^40 higher.
// What may not have been committed stays. Method: the disk fails before the first operation,
// before the second, and so on; each time the power is cut, in two ways.
func TestARecoveryIsDoneOrNotBegun(t *testing.T) {
	var old, done int
	for at := 1; ; at++ {
		s := newSite(t, unchanged)
		before := s.state(s.disk)
		faulty, count := vfs.NewFaulty(s.disk), 0
		faulty.Hook(func(vfs.Op) error {
			if count++; count >= at {
				return errors.New("the disk is gone")
			}
			return nil
		})
		c := forN1()
		err := c.run(t.Context(), faulty, new(bytes.Buffer), nobody)
		for _, model := range []vfs.Model{vfs.LoseUnsynced, vfs.KeepBlocks} {
			after := s.state(s.disk.Crash(rand.New(rand.NewPCG(1, uint64(at))), model))
			switch {
			case reflect.DeepEqual(after, before):
				old++
				if err == nil {
					t.Fatalf("operation %d: it says that it is done, and nothing is", at)
				}
			default:
				done++
				s.check(&before, &after)
			}
		}
		if count < at {
			s.must(err)
			break
		}
	}
	if old < 4 || done < 3 {
		t.Errorf("the log was as before %d times, and the recovery was done %d times", old, done)
	}
}

// check checks the log of a recovery that is done.
func (s *site) check(before, after *core.State) {
	t := s.t
	t.Helper()
	if len(after.Entries) != 5 || !reflect.DeepEqual(after.Entries[:3], before.Entries) {
		t.Fatalf("the log holds %+v", after.Entries)
	}
	if after.Term != before.Term+1 || after.VotedFor != "n1" || after.Commit != before.Commit {
		t.Errorf("term %d, vote for %q, commit index %d", after.Term, after.VotedFor, after.Commit)
	}
	was, err := newest(before)
	s.must(err)
	is, err := newest(after)
	s.must(err)
	r := is.Record
	if is.Index != 4 || r.Generation != 2 || r.UID != was.Record.UID || r.Level != 3 || len(r.Tokens) != 0 || r.Joint() || r.Follows(was.Record) != nil {
		t.Errorf("the record of entry %d is %+v, %v", is.Index, r, r.Follows(was.Record))
	}
	if got := fmt.Sprint(r.Voters()); got != "[n1]" || len(r.Members) != 1 || r.Member("n1").HTTP != "n1:8701" {
		t.Errorf("the members are %+v", r.Members)
	}
	for _, id := range []members.ID{"n2", "n3"} {
		if !r.IsRemoved(id, was.Record.Member(id).Incarnation) {
			t.Errorf("%s is not removed: %+v", id, r.Removed)
		}
	}
	store := kv.New()
	for _, e := range after.Entries {
		if e.Kind == core.KindConfiguration {
			s.must(store.AdvanceLevel(e.Index, 3))
		} else {
			_, err := store.ApplyKnown(e.Index, e.Data)
			s.must(err)
		}
	}
	if got := store.Revision(); got != 3+kvserver.RevisionLift {
		t.Errorf("the revision is %d", got)
	}
	if h := store.History(); h.Reaches(3) || !h.Reaches(store.Revision()) {
		t.Errorf("the history reaches back to %d", h.Oldest())
	}
}

// Goal: with --reset-auth the log ends the enforcing of identities, and nothing else is
// another; without it they stay enforced. The directory remembers the same, so that a node
// that is open to everybody does not start beyond its machine unless that was said (S15).
// Method: a log that enforces them, recovered in both ways and applied; the note of the
// directory, by which a start is decided.
func TestARecoveryEndsTheEnforcingOfIdentitiesIfItIsAsked(t *testing.T) {
	for _, reset := range []bool{false, true} {
		s := newSite(t, unchanged)
		c := forN1()
		c.resetAuth = reset
		s.must(secure.Mark{Identities: secure.Enforces}.Write(s.disk, dir))
		s.must(c.run(t.Context(), s.disk, new(bytes.Buffer), nobody))
		after := s.state(s.disk)
		store := kv.NewAt(kv.LevelHistory)
		author := auth.Author{Identity: auth.Vouched, Token: auth.TokenIDOf([8]byte{1})}
		enforce := kv.EncodeCommand(kv.AuthCommand(author, &auth.Change{Action: auth.SetState, State: auth.Enforcing}))
		store.Apply(1, enforce)
		for _, e := range after.Entries[4:] {
			_, err := store.ApplyKnown(store.AppliedIndex()+1, e.Data)
			s.must(err)
		}
		mark, err := secure.ReadMark(s.disk, dir)
		if wanted := map[bool]string{false: secure.Enforces, true: ""}[reset]; err != nil || mark.Identities != wanted || !mark.Holds() {
			t.Errorf("reset %v: the directory remembers %+v, %v", reset, mark, err)
		}
		want := map[bool]auth.State{false: auth.Enforcing, true: auth.Off}[reset]
		if got := store.Auth().State(); got != want || (len(after.Entries) == 6) != reset {
			t.Errorf("reset %v: the state is %v behind %d entries", reset, got, len(after.Entries))
		}
	}
}

// Goal: what cannot be recovered from, and what was not meant, is refused with one sentence
// that says what to do, and nothing is changed. Method: each case; the log before and after.
func TestWhatIsNotRecovered(t *testing.T) {
	flags := func(change func(*settings)) func(*site) settings {
		return func(*site) settings { c := forN1(); change(&c); return c }
	}
	fault := func(change func(*site)) func(*site) settings {
		return func(s *site) settings { change(s); return forN1() }
	}
	file := func(name, content string) func(*site) settings {
		return fault(func(s *site) {
			s.must(s.disk.Remove(filepath.Join(dir, name)))
			if content != "" {
				f, err := s.disk.Create(filepath.Join(dir, name))
				s.must(err)
				_, err = f.WriteAt([]byte(content), 0)
				s.must(errors.Join(err, f.Sync(), f.Close(), s.disk.SyncDir(dir)))
			}
		})
	}
	const life = "format = 1\nincarnation = '%s'\nboot = 1\nnonces = ['0000000000000001']\nrejoined = false\n%s\n[rejoin]\non = %t\nterm = 0\nindex = 0\n"
	other := strings.Repeat("ab", 16)
	for name, test := range map[string]struct {
		record  func(*members.Record)
		prepare func(*site) settings
		network somebody
		code    int
		says    string
	}{
		"no directory":        {prepare: flags(func(c *settings) { c.dataDir = "" }), code: exit.Usage, says: "--data-dir is missing"},
		"no name":             {prepare: flags(func(c *settings) { c.as = "" }), code: exit.Usage, says: "--as is missing: name the node"},
		"no acceptance":       {prepare: flags(func(c *settings) { c.accept = "" }), code: exit.Usage, says: "--accept-data-loss is missing: give it the name of the cluster"},
		"plan and more":       {prepare: flags(func(c *settings) { c.plan = true }), code: exit.Usage, says: "--plan changes nothing"},
		"another node":        {prepare: flags(func(c *settings) { c.as = "n2" }), code: exit.Usage, says: "--as names n2, and the data directory /data/n1 belongs to node n1"},
		"another cluster":     {prepare: flags(func(c *settings) { c.accept = "c2" }), code: exit.Usage, says: "--accept-data-loss names the cluster c2, and the data directory /data/n1 belongs to cluster c1"},
		"a missing directory": {prepare: flags(func(c *settings) { c.dataDir = "/nothing" }), code: exit.Failed, says: "/nothing is not the data directory of a node"},
		"nobody's directory":  {prepare: file(datadir.OwnerFile, ""), code: exit.Failed, says: "it has no raftkv.toml"},
		"a damaged owner":     {prepare: file(datadir.OwnerFile, "format = 'x'"), code: exit.Failed, says: "raftkv.toml"},
		"no life":             {prepare: file(datadir.LifeFile, ""), code: exit.Failed, says: "has lost its life.toml"},
		"a directory that was removed": {
			prepare: file(datadir.LifeFile, fmt.Sprintf(life, other, "fenced = 'it was removed; empty it'\nremoved = 9", false)), code: exit.Failed, says: "it was removed; empty it",
		},
		"a directory that is fenced": {prepare: file(datadir.LifeFile, fmt.Sprintf(life, other, "fenced = 'it is a copy'", false)), code: exit.Failed, says: "it is a copy"},
		"one that has not come back": {prepare: file(datadir.LifeFile, fmt.Sprintf(life, other, "", true)), code: exit.Failed, says: "had not come back"},
		"one that is not pinned":     {prepare: file(datadir.LifeFile, fmt.Sprintf(life, other, "", false)), code: exit.Failed, says: "is not that of a member, by the record in its own log (entry 1)"},
		"no member":                  {record: func(r *members.Record) { r.Members = r.Members[1:] }, prepare: fault(func(*site) {}), code: exit.Failed, says: `"n1" is no member`},
		"a later level":              {record: func(r *members.Record) { r.Level = 4 }, prepare: fault(func(*site) {}), code: exit.Failed, says: "works at level 4, and this program at levels 2 to 3"},
		"a node that runs": {prepare: fault(func(s *site) {
			w, _, err := wal.Open(s.options(s.disk))
			s.must(err)
			s.t.Cleanup(func() { w.Close() })
		}), code: exit.Failed, says: "a node runs on the data directory /data/n1: stop it first"},
		"a majority that answers": {
			prepare: fault(func(*site) {}), network: somebody{"n3:9701"}, code: exit.Refused,
			says: "no majority is lost: 2 of the voters n1, n2, n3 are needed, and n1, n3 are here or answer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.record == nil {
				test.record = unchanged
			}
			s := newSite(t, test.record)
			before := s.state(s.disk)
			c := test.prepare(s)
			err := c.run(t.Context(), s.disk, new(bytes.Buffer), test.network)
			if err == nil || !strings.Contains(err.Error(), test.says) || codeOf(err) != test.code {
				t.Errorf("code %d, want %d: %v", codeOf(err), test.code, err)
			}
			if name != "a node that runs" && !reflect.DeepEqual(s.state(s.disk), before) {
				t.Error("the log has changed")
			}
		})
	}
	s := newSite(t, nil)
	c := forN1()
	if err := c.run(t.Context(), s.disk, new(bytes.Buffer), nobody); err == nil || !strings.Contains(err.Error(), "works at level 2") {
		t.Errorf("a cluster without a record: %v", err)
	}
}

// codeOf returns the exit code of an error, as main does.
func codeOf(err error) int {
	var ending *exit.Ending
	var failure *exit.Failure
	switch {
	case err == nil:
		return exit.Done
	case errors.As(err, &ending):
		return ending.Code
	case errors.As(err, &failure):
		return exit.Failed
	}
	return exit.Usage
}

// Goal: a recovery is refused exactly while this node and those that answer are a majority
// of a half of the configuration, unless it is told not to ask. Method: configurations and
// the members that answer.
func TestARecoveryIsRefusedWhileAMajorityIsThere(t *testing.T) {
	joint := func(r *members.Record) { // n4 takes the place of n3
		r.Member("n3").Role = members.Leaving
		r.Put(members.Member{ID: "n4", Role: members.Voter, Peer: "n4:9701"})
	}
	for name, test := range map[string]struct {
		record  func(*members.Record)
		answers somebody
		offline bool
		refused bool
	}{
		"nobody of three":                    {},
		"one of three":                       {answers: somebody{"n2:8701"}, refused: true},
		"one of three, not asked":            {answers: somebody{"n2:8701"}, offline: true},
		"one of five":                        {record: func(r *members.Record) { five(r) }, answers: somebody{"n5:9701"}},
		"two of five":                        {record: func(r *members.Record) { five(r) }, answers: somebody{"n5:9701", "n4:9701"}, refused: true},
		"two addresses of one of five":       {record: func(r *members.Record) { five(r) }, answers: somebody{"n2:9701", "n2:8701"}},
		"a learner":                          {record: func(r *members.Record) { r.Put(members.Member{ID: "n4", Role: members.Learner, Peer: "n4:9701"}) }, answers: somebody{"n4:9701"}},
		"one of the new half":                {record: joint, answers: somebody{"n4:9701"}, refused: true},
		"one of the old half":                {record: joint, answers: somebody{"n3:9701"}, refused: true},
		"a voter, and this one is a learner": {record: func(r *members.Record) { r.Member("n1").Role, r.Member("n1").WasVoter = members.Learner, false }, answers: somebody{"n2:9701"}},
		"both voters of another one's":       {record: func(r *members.Record) { r.Member("n1").Role, r.Member("n1").WasVoter = members.Learner, false }, answers: somebody{"n2:9701", "n3:9701"}, refused: true},
	} {
		if test.record == nil {
			test.record = unchanged
		}
		s := newSite(t, test.record)
		c := forN1()
		c.offline = test.offline
		err := c.run(t.Context(), s.disk, new(bytes.Buffer), test.answers)
		if refused := codeOf(err) == exit.Refused; refused != test.refused || !refused && err != nil {
			t.Errorf("%s: refused is %t: %v", name, refused, err)
		}
	}
}

// five makes the voters five.
func five(r *members.Record) {
	for _, id := range []members.ID{"n4", "n5"} {
		r.Put(members.Member{ID: id, Role: members.Voter, WasVoter: true, Peer: string(id) + ":9701"})
	}
}

// Goal: the plan names the node, and says what its log holds, what is uncertain and what may be
// missing, and changes nothing. Method: its text, and the log afterwards.
func TestThePlanSaysWhatMayBeLost(t *testing.T) {
	s := newSite(t, unchanged)
	before := s.state(s.disk)
	c := settings{dataDir: dir, plan: true}
	var out bytes.Buffer
	s.must(c.run(t.Context(), s.disk, &out, somebody{"n2:9701"}))
	for _, want := range []string{
		"node n1 of cluster c1, uid 07000000000000000000000000000000, generation 1, level 3\n",
		"ends with entry 3 of term 2; term 3; snapshot at entry 0\n",
		"by entry 1: n1 voter (this one), n2 voter at n2:9701, n3 voter at n3:9701\n",
		"entries 3 to 3 may never have been committed", "acknowledged behind entry 3",
		"n1 is a cluster of one, of generation 2",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the plan does not say %q:\n%s", want, out.String())
		}
	}
	if !reflect.DeepEqual(s.state(s.disk), before) {
		t.Error("the log has changed")
	}
}
