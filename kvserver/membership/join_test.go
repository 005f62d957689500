package membership

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/api"
	"raftkv/kvserver/failure"
	"raftkv/raft/levels"
	"raftkv/raft/members"
)

// joinBody is what a server says that wants to join.
func joinBody(id members.ID, token string) api.Join {
	incarnation := incarnationOf(id)
	return api.Join{
		Token: token, ID: string(id), Incarnation: hex.EncodeToString(incarnation[:]), Peer: string(id) + ":1", HTTP: string(id) + ":2",
		LevelMin: 2, LevelMax: 3,
	}
}

// listen lets a server answer at its peer port.
func (f *fakeLog) listen(id members.ID, incarnation members.Incarnation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listens[string(id)+":1"] = Greeting{ID: id, Shown: Shown{Levels: levels.Range{Min: 2, Max: 3}, Incarnation: incarnation}}
}

// newToken makes a token at the leader n1.
func newToken(t *testing.T, f *fakeLog, b api.JoinTokenWanted) string {
	t.Helper()
	token, err := f.nodes["n1"].driver.CreateToken(t.Context(), b)
	if err != nil || token.Token == "" {
		t.Fatalf("a token: %+v, %v", token, err)
	}
	return token.Token
}

// Goal: a server joins as a learner when the leader has heard this very directory at its
// address, and not before; the token is used up in the same entry; the same request again
// gets the same answer, although the token is gone; and another server may not use it.
// Method: a server that listens late, and under another directory at first.
func TestAServerJoinsWhenTheLeaderHasReachedIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1")
		defer f.close()
		d, body := f.nodes["n1"].driver, joinBody("n4", newToken(t, f, api.JoinTokenWanted{}))
		appends := f.entries()
		for name, step := range map[string]func(){"nobody listens": func() {}, "another directory": func() { f.listen("n4", members.Incarnation{9}) }} {
			step()
			if _, err := d.Join(t.Context(), body); failure.KindOf(err).Code != api.CodeUnreachable {
				t.Errorf("%s: %v", name, err)
			}
		}
		f.set(func() { f.listens["n4:1"] = Greeting{ID: "n5"} })
		if _, err := d.Join(t.Context(), body); failure.KindOf(err).Code != api.CodeUnreachable || !strings.Contains(err.Error(), "n5 answers") {
			t.Errorf("another server: %v", err)
		}
		if f.entries() != appends {
			t.Fatal("something was appended for a server that was not reached")
		}
		f.listen("n4", incarnationOf("n4"))
		joined, err := d.Join(t.Context(), body)
		if err != nil || joined.UID != f.uid.String() || joined.Generation != 1 || joined.Level != 3 {
			t.Fatalf("%+v, %v", joined, err)
		}
		m := f.record().Member("n4")
		if m == nil || m.Role != members.Learner || !m.Promote || m.Incarnation != incarnationOf("n4") || m.HTTP != "n4:2" || len(f.record().Tokens) != 0 {
			t.Fatalf("the member is %+v, and the tokens are %v", m, f.record().Tokens)
		}
		appends = f.entries()
		if again, err := d.Join(t.Context(), body); err != nil || again.Version != joined.Version || f.entries() != appends {
			t.Errorf("again: %+v, %v", again, err)
		}
		f.listen("n5", incarnationOf("n5"))
		if _, err := d.Join(t.Context(), joinBody("n5", body.Token)); failure.KindOf(err).Code != api.CodeJoinRefused {
			t.Errorf("another server by the same token: %v", err)
		}
	})
}

// Goal: a member comes back on a new directory without a token, in the role that it had;
// asked again after its old directory was removed and the answer was lost, it still may;
// nobody else joins without a token, under any name, and no member by leaving out whose
// place it takes. Method: a voter and a replica whose disks are gone; a stranger.
func TestAMemberComesBackWithoutAToken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		f.set(func() {
			f.silent["n3"], f.silent["r1"], f.silent["r2"] = true, true, true
			f.show("n3", Shown{Levels: levels.Range{Min: 2, Max: 3}, Incarnation: members.Incarnation{3, 'n'}}) // the new directory was heard
			f.newest.Record.Member("n3").Incarnation = members.Incarnation{}                                    // nobody had heard the old one
			f.newest.Record.Put(members.Member{ID: "r1", Role: members.Replica, Added: 2, Peer: "r1:1"})
			f.newest.Record.Put(members.Member{ID: "r2", Role: members.Replica, Added: 2, Peer: "r2:1"})
		})
		d := f.nodes["n1"].driver
		time.Sleep(4 * time.Second)
		back := func(id members.ID, replaces string) api.Join {
			b, fresh := joinBody(id, ""), members.Incarnation{3, id[0]}
			b.Incarnation, b.Replaces = hex.EncodeToString(fresh[:]), replaces
			f.listen(id, fresh)
			return b
		}
		for _, b := range []api.Join{back("n4", "n4"), back("n4", "n3"), back("n4", ""), back("n3", "")} {
			if _, err := d.Join(t.Context(), b); failure.KindOf(err).Code != api.CodeJoinRefused {
				t.Errorf("%s in the place of %q joins without a token: %v", b.ID, b.Replaces, err)
			}
		}
		if _, err := d.Join(t.Context(), back("r2", "r2")); err != nil || f.record().Member("r2").Role != members.Replica {
			t.Errorf("a replica comes back as %+v (%v)", f.record().Member("r2"), err)
		}
		for _, id := range []members.ID{"n3", "r1"} {
			add, err := ParseJoin(back(id, string(id)))
			if err != nil {
				t.Fatal(err)
			}
			if err := d.makeRoom(t.Context(), &add, changeOf(back(id, string(id)))); err != nil { // and then the answer is lost
				t.Fatal(err)
			}
			if _, err := d.Join(t.Context(), back(id, string(id))); err != nil {
				t.Errorf("%s comes back again: %v", id, err)
			}
		}
		r := f.record()
		if m := r.Member("n3"); m == nil || m.Role != members.Learner || !m.Promote {
			t.Errorf("n3 is %+v", m)
		}
	})
}

// Goal: a server takes the place of a voter that is lost, under its own name, with its
// directory emptied: the old directory is removed for good, and the new one is a learner;
// while the old one answers it is refused. Method: n3 comes back.
func TestAServerTakesItsOwnPlaceAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2", "n3")
		defer f.close()
		body := joinBody("n3", newToken(t, f, api.JoinTokenWanted{For: "n3"}))
		fresh := members.Incarnation{3, 3}
		body.Incarnation, body.Replaces = hex.EncodeToString(fresh[:]), "n3"
		f.listen("n3", fresh)
		if _, err := f.nodes["n1"].driver.Join(t.Context(), body); failure.KindOf(err).Err != failure.StillAlive {
			t.Fatalf("while the old one answers: %v", err)
		}
		f.mu.Lock()
		f.silent["n3"] = true
		f.mu.Unlock()
		time.Sleep(2 * time.Second)
		if _, err := f.nodes["n1"].driver.Join(t.Context(), body); failure.KindOf(err).Err != failure.StillAlive || !strings.Contains(err.Error(), "may only be started anew") {
			t.Fatalf("while the old one may be started anew: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := f.nodes["n1"].driver.Join(t.Context(), body); err != nil {
			t.Fatal(err)
		}
		r := f.record()
		if m := r.Member("n3"); m.Role != members.Learner || m.Incarnation != fresh || !r.IsRemoved("n3", incarnationOf("n3")) {
			t.Errorf("n3 is %+v, and removed are %+v", m, r.Removed)
		}
	})
}

// Goal: a voter that lost its disk gets its vote back when it has caught up, though more vote than
// are wanted and nobody else is promoted (contract, section 7); no spare takes the place that is
// kept for it, unless it is silent for as long as a dead voter may be; and a member without a vote
// gets none. Method: n3 of five and of three, with a spare, with promotion on and off; it comes
// back by two attempts, since the first answer is lost.
func TestAVoterThatComesBackGetsItsVoteBack(t *testing.T) {
	for name, c := range map[string]struct {
		voters    []members.ID
		promotion bool
		silent    time.Duration // for how long n3 is silent when it is a member again
		want      string
	}{
		"more vote than are wanted":  {[]members.ID{"n1", "n2", "n3", "n5", "n6"}, true, 0, "n1, n2, n3, n5, n6"},
		"nobody else is promoted":    {[]members.ID{"n1", "n2", "n3", "n5", "n6"}, false, 0, "n1, n2, n3, n5, n6"},
		"a spare is ready":           {[]members.ID{"n1", "n2", "n3"}, true, 0, "n1, n2, n3"},
		"a spare, and it is slow":    {[]members.ID{"n1", "n2", "n3"}, true, 20 * time.Second, "n1, n2, n3"},
		"a spare, and it dies again": {[]members.ID{"n1", "n2", "n3"}, true, 40 * time.Second, "n1, n2, n4"},
	} {
		inBubble(t, func(t *testing.T) {
			f := newFakeLog(t, true, c.voters...)
			defer f.close()
			f.add(t, "n4", 3)
			spare := newcomer("n4")
			if _, err := f.nodes["n1"].driver.Change(t.Context(), Ask{ID: "spare", Add: []Addition{spare}}); err != nil {
				t.Fatal(err)
			}
			f.edit(func(r *members.Record) {
				r.Settings.Wanted, r.Settings.Promotion, r.Settings.ReplaceAfter = 3, c.promotion, 30_000
			})
			time.Sleep(15 * time.Second)
			f.set(func() { f.silent["n3"] = true })
			time.Sleep(4 * time.Second)
			b, fresh := joinBody("n3", ""), members.Incarnation{3, 3}
			b.Incarnation, b.Replaces = hex.EncodeToString(fresh[:]), "n3"
			f.listen("n3", fresh)
			add, err := ParseJoin(b)
			if err == nil {
				err = f.nodes["n1"].driver.makeRoom(t.Context(), &add, changeOf(b)) // and then the leader ends
			}
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if _, err := f.nodes["n1"].driver.Join(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			time.Sleep(c.silent)
			if m := f.record().Member("n3"); c.silent < 30*time.Second && !returns(m) {
				t.Errorf("%s: n3 is %+v, and waits for no vote", name, m)
			}
			f.set(func() {
				f.silent["n3"] = false
				f.show("n3", Shown{Levels: levels.Range{Min: 2, Max: 3}, Incarnation: fresh})
			})
			time.Sleep(30 * time.Second)
			if got := joinIDs(f.record().Voters()); got != c.want {
				t.Errorf("%s: the voters are %s, not %s", name, got, c.want)
			}
		})
	}
}

// Goal: where identities are enforced, nobody gets the place of a dead voter, or looks at the
// network through the leader's eyes, without a token and without a certificate. Method: a
// server without a token asks for the place of n3, alive and dead, with and without TLS
// between nodes; what is dialled is counted, and what the answers tell is looked at.
func TestNobodyTakesAPlaceWithNothingToShow(t *testing.T) {
	for name, c := range map[string]struct {
		transport Transport
		enforces  bool
		alive     bool
		there     bool // the server listens at its address
		code      api.Code
		dialled   int
	}{
		"clear, off":                    {code: "", dialled: 1, there: true},
		"clear, off, nobody there":      {code: api.CodeUnreachable, dialled: 1},
		"clear, enforced":               {enforces: true, there: true, code: api.CodeJoinRefused},
		"TLS, enforced":                 {Transport{DialsTLS: true}, true, false, true, "", 1},
		"TLS, enforced, nobody there":   {Transport{DialsTLS: true}, true, false, false, api.CodeUnreachable, 1},
		"TLS, enforced, n3 is alive":    {Transport{DialsTLS: true}, true, true, true, api.CodePreconditionFailed, 0},
		"TLS, off, n3 is alive":         {Transport{DialsTLS: true}, false, true, true, api.CodePreconditionFailed, 0},
		"clear, enforced, n3 is alive ": {enforces: true, alive: true, code: api.CodeJoinRefused},
	} {
		inBubble(t, func(t *testing.T) {
			f := newFakeLogOver(t, c.transport, true, "n1", "n2", "n3")
			defer f.close()
			f.set(func() { f.enforces, f.silent["n3"] = c.enforces, !c.alive })
			time.Sleep(4 * time.Second)
			b, fresh := joinBody("n3", ""), members.Incarnation{3, 3}
			b.Incarnation, b.Replaces = hex.EncodeToString(fresh[:]), "n3"
			if c.there {
				f.listen("n3", fresh)
			}
			_, err := f.nodes["n1"].driver.Join(t.Context(), b)
			if got := failure.KindOf(err).Code; err != nil && got != c.code || err == nil && c.code != "" {
				t.Errorf("%s: %v, want %q", name, err, c.code)
			}
			if c.enforces && err != nil && strings.Contains(failure.Detail(err), "connection refused") {
				t.Errorf("%s: a stranger hears what is at the address: %v", name, err)
			}
			f.set(func() {
				if f.dialled != c.dialled {
					t.Errorf("%s: the leader connected %d times to the address, want %d", name, f.dialled, c.dialled)
				}
			})
			if c.enforces && c.code == api.CodeJoinRefused {
				known := incarnationOf("n3") // a server that knows a member's directory hears no more
				b.Incarnation = hex.EncodeToString(known[:])
				if joined, err := f.nodes["n1"].driver.Join(t.Context(), b); err == nil {
					t.Errorf("%s: a stranger hears of the members: %+v", name, joined)
				}
			}
		})
	}
}

// Goal: a server hears that it is a member only when that is committed: what is not may still
// be lost, and the server would never ask again. Method: the entry that adds it is committed
// late.
func TestAServerHearsThatItJoinedWhenThatIsCommitted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1")
		defer f.close()
		d := f.nodes["n1"].driver
		time.Sleep(time.Second)
		body := joinBody("n4", newToken(t, f, api.JoinTokenWanted{}))
		f.listen("n4", incarnationOf("n4"))
		f.set(func() { before := f.newest; f.committed = &before })
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			if joined, err := d.Join(ctx, body); err == nil || f.record().Member("n4") == nil {
				t.Errorf("before it is committed: %+v", joined)
			}
			cancel()
		}
		f.set(func() { f.committed = nil })
		f.tell()
		if _, err := d.Join(t.Context(), body); err != nil {
			t.Errorf("when it is committed: %v", err)
		}
	})
}

// Goal: a server that has not heard that it is a member, and asks again after so many changes
// that the record has forgotten when it joined, gets the same answer; nothing of it is removed.
// Method: the changes are taken out of the record, and the server asks with its used token, and
// as one that comes back under its own name.
func TestAServerThatJoinedLongAgoGetsTheSameAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1")
		defer f.close()
		d, body := f.nodes["n1"].driver, joinBody("n4", newToken(t, f, api.JoinTokenWanted{}))
		f.listen("n4", incarnationOf("n4"))
		if _, err := d.Join(t.Context(), body); err != nil {
			t.Fatal(err)
		}
		f.edit(func(r *members.Record) { r.Changes = nil })
		appends := f.entries()
		for _, replaces := range []string{"", "n4"} {
			body.Replaces = replaces
			if replaces != "" {
				body.Token = ""
			}
			if joined, err := d.Join(t.Context(), body); err != nil || joined.UID != f.uid.String() {
				t.Errorf("in the place of %q: %+v, %v", replaces, joined, err)
			}
		}
		if m := f.record().Member("n4"); m == nil || m.Role != members.Learner || f.entries() != appends || len(f.record().Removed) != 0 {
			t.Errorf("n4 is %+v, and %d changes were made", m, f.entries()-appends)
		}
	})
}

// Goal: a token is given out, or said to be taken back, only when that is committed; else it is
// said that the outcome is unknown. Method: the entry is committed late.
func TestATokenIsGivenOutWhenItIsCommitted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1")
		defer f.close()
		d := f.nodes["n1"].driver
		newToken(t, f, api.JoinTokenWanted{})
		id := d.Tokens().Tokens[0].ID
		for name, ask := range map[string]func(context.Context) error{
			"a new one":  func(ctx context.Context) error { _, err := d.CreateToken(ctx, api.JoinTokenWanted{}); return err },
			"taken back": func(ctx context.Context) error { return d.DropToken(ctx, id) },
		} {
			f.set(func() { before := f.newest; f.committed = &before })
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			if err := ask(ctx); err == nil || failure.KindOf(err).Outcome != api.OutcomeUnknown {
				t.Errorf("%s, before it is committed: %v", name, err)
			}
			cancel()
			f.set(func() { f.committed = nil })
			f.tell()
		}
	})
}

// Goal: the seventeenth token is refused with what to do, and an expired one makes room. Method:
// tokens of a minute.
func TestThereIsRoomForSixteenTokens(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1")
		defer f.close()
		for range members.MaxJoinTokens {
			newToken(t, f, api.JoinTokenWanted{TTLSeconds: 60})
		}
		if _, err := f.nodes["n1"].driver.CreateToken(t.Context(), api.JoinTokenWanted{}); failure.KindOf(err).Status != 400 || !strings.Contains(failure.Detail(err), "raftkv member token drop") {
			t.Errorf("one more: %v", err)
		}
		time.Sleep(61 * time.Second)
		newToken(t, f, api.JoinTokenWanted{})
	})
}

// Goal: below level 3 nobody joins, and nobody makes tokens. Method: a cluster without a
// record.
func TestNobodyJoinsWithoutARecord(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, false, "n2")
		defer f.close()
		f.set(func() { f.static = append(f.static, "n1") })
		f.add(t, "n1", 2)
		if _, err := f.nodes["n1"].driver.Join(t.Context(), joinBody("n4", "t.s")); failure.KindOf(err).Code != api.CodeNotActive {
			t.Errorf("joining: %v", err)
		}
		if _, err := f.nodes["n1"].driver.CreateToken(t.Context(), api.JoinTokenWanted{}); failure.KindOf(err).Code != api.CodeNotActive {
			t.Errorf("a token: %v", err)
		}
	})
}

// Goal: tokens can be listed without their secrets, and taken back. Method: one.
func TestATokenCanBeTakenBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1")
		defer f.close()
		d := f.nodes["n1"].driver
		text := newToken(t, f, api.JoinTokenWanted{Uses: 3, TTLSeconds: 60})
		all := d.Tokens().Tokens
		if len(all) != 1 || all[0].Token != "" || all[0].Uses != 3 || strings.Contains(text, all[0].ID+".") != true {
			t.Fatalf("%+v", all)
		}
		if err := d.DropToken(t.Context(), all[0].ID); err != nil || len(d.Tokens().Tokens) != 0 {
			t.Errorf("taken back: %v, %v", err, d.Tokens())
		}
		if err := d.DropToken(t.Context(), all[0].ID); failure.KindOf(err).Status != 404 {
			t.Errorf("taken back again: %v", err)
		}
		for _, b := range []api.JoinTokenWanted{{Role: "voter"}, {Uses: 33}, {TTLSeconds: 8 * 24 * 3600}, {For: strings.Repeat("x", 65)}} {
			if _, err := d.CreateToken(t.Context(), b); failure.KindOf(err).Status != 400 {
				t.Errorf("%+v: %v", b, err)
			}
		}
	})
}

// Goal (S17): a token by which servers join and that nobody made, while everybody could, opens
// nothing while identities are enforced: it is refused, is not listed, makes room for the next,
// and can be taken back. One that an identity or the leader's process made goes on; where
// identities do not count any more, so does that of nobody.
// Method: a token of each maker, and a cluster that enforces identities, and then does not.
func TestATokenOfNobodyEndsWhenIdentitiesCount(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1")
		defer f.close()
		d := f.nodes["n1"].driver
		made := func(by Maker) (id, text string) {
			token, err := d.CreateTokenBy(t.Context(), api.JoinTokenWanted{}, by)
			if err != nil {
				t.Fatal(err)
			}
			return token.ID, token.Token
		}
		enforce := func(yes bool) { f.set(func() { f.enforces = yes }) }
		early, first := made(Nobody)
		_, second := made(Nobody)
		_, granted := made(17)
		_, own := made(ThisProcess)
		listed := func() int { return len(d.Tokens().Tokens) }
		for _, id := range []members.ID{"n4", "n5", "n6", "n7"} {
			f.listen(id, incarnationOf(id))
		}
		join := func(id members.ID, token string) api.Code {
			if _, err := d.Join(t.Context(), joinBody(id, token)); err != nil {
				return failure.KindOf(err).Code
			}
			return ""
		}
		enforce(true)
		appends := f.entries()
		if code := join("n4", first); code != api.CodeJoinRefused || f.entries() != appends {
			t.Errorf("a token of nobody: %q", code)
		}
		if listed() != 2 {
			t.Errorf("there are the tokens %+v", d.Tokens().Tokens)
		}
		if err := d.DropToken(t.Context(), early); err != nil || len(f.record().Tokens) != 3 {
			t.Errorf("it cannot be taken back: %v", err)
		}
		if code := join("n5", granted); code != "" {
			t.Errorf("a token of an identity: %q", code)
		}
		if code := join("n6", own); code != "" {
			t.Errorf("a token of the process: %q", code)
		}
		enforce(false)
		if listed() != 1 {
			t.Errorf("there are the tokens %+v", d.Tokens().Tokens)
		}
		if code := join("n7", second); code == api.CodeJoinRefused {
			t.Errorf("a token of nobody where everybody may make one: %q", code)
		}
		made(Nobody)
		enforce(true)
		made(17)
		if all := f.record().Tokens; len(all) != 1 {
			t.Errorf("the record keeps %+v", all)
		}
	})
}

// Goal: no body of a request to join makes the leader panic, and what is taken is within
// the limits of a record. Method: fuzzing from good and bad bodies.
func FuzzJoinBody(f *testing.F) {
	good, err := json.Marshal(joinBody("n4", "t1.secret"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"id":"","incarnation":"00"}`))
	f.Add([]byte(`{"level_min":4294967295,"level_max":1,"role":"voter"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var body api.Join
		if json.Unmarshal(b, &body) != nil {
			return
		}
		add, err := ParseJoin(body)
		if err != nil {
			if failure.KindOf(err).Status != 400 {
				t.Fatalf("%s is refused with %v", b, err)
			}
			return
		}
		v := newView("n1")
		p, err := Decide(v, Ask{ID: "j", Add: []Addition{add}})
		if err != nil {
			return
		}
		if _, err := p.Wanted.Encode(); err != nil && p.Wanted.Valid() == nil {
			t.Fatalf("%s makes a record that cannot be written: %v", b, err)
		}
	})
}

// Goal: where the settings say that a certificate lets servers join, one that asks by the
// peer port under its own name becomes a learner without a token, and gets the same answer
// again; where they do not, and under another name, it is refused; a node that does not lead
// names the one that does. What is not known to have happened is not said to have not (audit).
// Method: a server at the peer ports of a follower and the leader.
func TestACertificateLetsAServerJoinWhereThatIsSet(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFakeLog(t, true, "n1", "n2")
		defer f.close()
		f.edit(func(r *members.Record) { r.Member("n1").Peer = "n1:1" })
		f.listen("n4", incarnationOf("n4"))
		ask := func(at, from members.ID, b api.Join) (answer api.PeerJoined) {
			t.Helper()
			body, err := json.Marshal(b)
			if err != nil {
				t.Fatal(err)
			}
			text, outcome, code := f.nodes[at].driver.PeerJoin(t.Context(), from, body)
			if err := json.Unmarshal(text, &answer); err != nil {
				t.Fatal(err)
			}
			if applied := answer.Joined != nil; applied != (outcome == api.OutcomeApplied) || applied != (code == "") || answer.Refused != "" && code != answer.Code {
				t.Errorf("the outcome is %s (%s) and the answer %+v", outcome, code, answer)
			}
			return answer
		}
		appends := f.entries()
		if got := ask("n1", "n4", joinBody("n4", "")); got.Code != api.CodeJoinRefused || !strings.Contains(got.Refused, "by a token only") {
			t.Errorf("where only a token lets servers join: %+v", got)
		}
		by := api.JoinByCertificate
		set, err := ChangeSettings(api.ClusterSettings{Join: &by})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.nodes["n1"].driver.Change(t.Context(), Ask{ID: "certificates", Settings: set}); err != nil {
			t.Fatal(err)
		}
		if got := ask("n1", "n5", joinBody("n4", "")); got.Code != api.CodeJoinRefused {
			t.Errorf("under another name: %+v", got)
		}
		if got := ask("n2", "n4", joinBody("n4", "")); got.Leader != "n1:1" || got.Joined != nil {
			t.Errorf("at a follower: %+v", got)
		}
		if _, err := f.nodes["n1"].driver.Join(t.Context(), joinBody("n4", "")); failure.KindOf(err).Code != api.CodeJoinRefused {
			t.Errorf("at the client port: %v", err)
		}
		if f.entries() != appends+1 {
			t.Fatalf("%d entries were appended for servers that were refused", f.entries()-appends-1)
		}
		first := ask("n1", "n4", joinBody("n4", ""))
		if m := f.record().Member("n4"); first.Joined == nil || m == nil || m.Role != members.Learner || m.Incarnation != incarnationOf("n4") {
			t.Fatalf("%+v; the member is %+v", first, m)
		}
		if again := ask("n1", "n4", joinBody("n4", "")); again.Joined == nil || again.Joined.Version != first.Joined.Version {
			t.Errorf("again: %+v", again)
		}
		if got, outcome, _ := f.nodes["n1"].driver.PeerJoin(t.Context(), "n4", []byte("{")); !strings.Contains(string(got), "not understood") || outcome != api.OutcomeNotApplied {
			t.Errorf("half a body: %s (%s)", got, outcome)
		}
		f.listen("n5", incarnationOf("n5"))
		f.set(func() { before := f.newest; f.committed = &before })
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		body, err := json.Marshal(joinBody("n5", ""))
		if err != nil {
			t.Fatal(err)
		}
		if text, outcome, _ := f.nodes["n1"].driver.PeerJoin(ctx, "n5", body); outcome != api.OutcomeUnknown {
			t.Errorf("while it is under way: %s %s", outcome, text)
		}
	})
}

// Goal: where the nodes share one certificate, which names none of them, it lets nobody join
// under a name of his choice: neither can that be set, nor does it count where it was set
// before; and peers' TLS can be required only by a leader that requires it itself. Method: the
// settings and a wish to join at leaders of each kind.
func TestASharedCertificateLetsNobodyJoin(t *testing.T) {
	by, yes := api.JoinByCertificate, true
	for name, c := range map[string]struct {
		own  Transport
		body api.ClusterSettings
		want string
	}{
		"shared, by certificate":      {Transport{RequiresTLS: true, SharesCertificate: true}, api.ClusterSettings{Join: &by}, "share one certificate"},
		"own, by certificate":         {Transport{RequiresTLS: true}, api.ClusterSettings{Join: &by}, ""},
		"TLS required of a clear one": {Transport{}, api.ClusterSettings{PeerTLS: &yes}, "--peer-tls require first"},
		"TLS required":                {Transport{RequiresTLS: true}, api.ClusterSettings{PeerTLS: &yes}, ""},
	} {
		v := newView("n1", "n2")
		v.Transport = c.own
		set, err := ChangeSettings(c.body)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Decide(v, Ask{ID: "s", Settings: set})
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v", name, err)
		case c.want == "" && (err != nil || p.Wanted.Settings.PeerTLS != (c.body.PeerTLS != nil)):
			t.Errorf("%s: %v", name, err)
		}
	}
	inBubble(t, func(t *testing.T) {
		f := newFakeLogOver(t, Transport{RequiresTLS: true, SharesCertificate: true}, true, "n1")
		defer f.close()
		f.edit(func(r *members.Record) { r.Settings.JoinBy = members.JoinByCertificate })
		f.listen("n4", incarnationOf("n4"))
		d := f.nodes["n1"].driver
		body, err := json.Marshal(joinBody("n4", ""))
		if err != nil {
			t.Fatal(err)
		}
		var got api.PeerJoined
		text, _, _ := d.PeerJoin(t.Context(), "n4", body)
		if err := json.Unmarshal(text, &got); err != nil || got.Joined != nil || got.Code != api.CodeJoinRefused || !strings.Contains(got.Refused, "share one certificate") {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
