package kv

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/txn"
)

// authWorld is a store at the level of identities, with the authors that were made.
type authWorld struct {
	t *testing.T
	s *Store
}

func newAuthWorld(t *testing.T) *authWorld { return &authWorld{t, NewAt(LevelHistory)} }

func (w *authWorld) apply(c Command) Result {
	return w.s.Apply(w.s.AppliedIndex()+1, EncodeCommand(c))
}

// change makes a change as a person on the leader's machine.
func (w *authWorld) change(c auth.Change) {
	w.t.Helper()
	if r := w.apply(AuthCommand(auth.Author{Identity: auth.Vouched}, &c)); r.Status != StatusOK {
		w.t.Fatalf("%+v: %+v", c, r)
	}
}

// add makes an identity with one token.
func (w *authWorld) add(name, token string, rules ...auth.Rule) auth.Author {
	w.t.Helper()
	w.change(auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: name, Rules: rules}})
	id, _ := auth.ParseTokenID(token)
	w.change(auth.Change{Action: auth.CreateToken, Name: name, Token: &auth.Token{ID: id}})
	return auth.Author{Identity: w.s.Auth().Named(name).Number, Token: id}
}

func (w *authWorld) revoke(a auth.Author) {
	w.t.Helper()
	w.change(auth.Change{Action: auth.RevokeToken, Token: &auth.Token{ID: a.Token}})
}

func (w *authWorld) enforce() {
	w.t.Helper()
	w.add("root", "root0000", auth.Rule{Rights: auth.RightsOf(auth.Admin)})
	w.change(auth.Change{Action: auth.SetState, State: auth.Enforcing})
}

var onA = auth.Rule{Space: auth.Keys, Text: "a/", Rights: auth.RightsOf(auth.Write, auth.Read)}

// Goal (S5): a write of a token that was revoked at index i has no effect after i, one
// by another token of the same identity has, and one before i has (planted bug 7).
// Method: the commands of one log, in which the leader let all of them in.
func TestAWriteOfARevokedTokenDoesNothing(t *testing.T) {
	w := newAuthWorld(t)
	user := w.add("user", "user0000", onA)
	w.enforce()
	put := func(by auth.Author, key string) Status {
		return w.apply(Command{Op: OpPut, Key: []byte(key), Value: []byte("v"), Caller: by}).Status
	}
	second, _ := auth.ParseTokenID("second00")
	w.change(auth.Change{Action: auth.CreateToken, Name: "user", Token: &auth.Token{ID: second}})
	steps := []struct {
		by   auth.Author
		key  string
		want Status
	}{{user, "a/1", StatusOK}, {user, "b", StatusForbidden}, {auth.Author{}, "a/1", StatusForbidden}, {auth.Author{Identity: auth.Vouched}, "a/1", StatusForbidden}}
	for _, s := range steps {
		if got := put(s.by, s.key); got != s.want {
			t.Errorf("%+v puts %s: %v, want %v", s.by, s.key, got, s.want)
		}
	}
	w.revoke(user)
	revision := w.s.Revision()
	if got := put(user, "a/2"); got != StatusForbidden || w.s.Revision() != revision {
		t.Errorf("a revoked token puts: %v", got)
	}
	if got := put(auth.Author{Identity: user.Identity, Token: second}, "a/2"); got != StatusOK {
		t.Errorf("the other token: %v", got)
	}
	if got := w.apply(Command{Op: OpDelete, Key: []byte("a/1"), Caller: auth.Author{Identity: user.Identity, Token: second}}).Status; got != StatusForbidden {
		t.Errorf("a delete without the right: %v", got)
	}
}

// Goal (S9): an idempotency key and a session of one identity answer no other, a rotated
// token of the same identity goes on, and what is from before identities counted is
// good for whoever repeats the very same request, or uses the session first.
// Method: two identities under one key and in one session.
func TestExactlyOnceIsPerIdentity(t *testing.T) {
	w := newAuthWorld(t)
	old := w.apply(Command{Op: OpOpenSession}).Session
	before := w.apply(Command{Op: OpAppend, Key: []byte("a/k"), Value: []byte("0"), IdempotencyKey: "before"})
	x, y := w.add("x", "x0000000", onA), w.add("y", "y0000000", onA)
	w.enforce()
	add := func(by auth.Author, key, value string) Result {
		return w.apply(Command{Op: OpAppend, Key: []byte("a/k"), Value: []byte(value), IdempotencyKey: key, Caller: by})
	}
	if r := add(x, "before", "0"); !r.Replayed || r.Revision != before.Revision {
		t.Errorf("the same request from before: %+v", r)
	}
	if r := add(y, "before", "other"); r.Replayed || r.Status != StatusOK {
		t.Errorf("another request under a key from before: %+v", r)
	}
	first := add(x, "key", "x")
	if r := add(y, "key", "y"); r.Replayed || r.Status != StatusOK {
		t.Errorf("another identity's key: %+v", r)
	}
	if r := add(y, "key", "x"); r.Status != StatusIdempotencyMismatch {
		t.Errorf("the own key for another request: %+v", r)
	}
	rotated, _ := auth.ParseTokenID("rotated0")
	w.change(auth.Change{Action: auth.CreateToken, Name: "x", Token: &auth.Token{ID: rotated}})
	w.revoke(x)
	x.Token = rotated
	if r := add(x, "key", "x"); !r.Replayed || r.Revision != first.Revision {
		t.Errorf("a rotated token: %+v", r)
	}
	session := w.apply(Command{Op: OpOpenSession, Caller: x}).Session
	call := func(by auth.Author, id, seq uint64) Result {
		return w.apply(Command{Op: OpAppend, Key: []byte("a/s"), Value: []byte("1"), Session: SessionCall{ID: id, Seq: seq}, Caller: by})
	}
	mine := call(x, session, 1)
	if r := call(y, session, 1); r.Status != StatusSessionExpired {
		t.Errorf("another identity's session: %+v", r)
	}
	if r := call(x, session, 1); !r.Replayed || r.Revision != mine.Revision {
		t.Errorf("the own session: %+v", r)
	}
	if r := call(y, old, 1); r.Status != StatusOK {
		t.Errorf("a session from before: %+v", r)
	}
	if r := call(x, old, 2); r.Status != StatusSessionExpired {
		t.Errorf("a session that another one has taken: %+v", r)
	}
}

// Goal (S7): the table, the owners of sessions and those of records are what the log
// says on a server that took a snapshot, too (planted bug 6), and in the digest.
// Method: random changes and calls against two stores, one of which goes through a
// snapshot again and again.
func TestIdentitiesAreInSnapshotsAndInTheDigest(t *testing.T) {
	chance := rand.New(rand.NewPCG(7, 8))
	here, there := newAuthWorld(t), newAuthWorld(t)
	authors := []auth.Author{{}, {Identity: auth.Vouched}}
	digests := map[Digest]bool{}
	for i := range 600 {
		by := authors[chance.IntN(len(authors))]
		c := Command{Op: OpAppend, Key: []byte("a/k"), Value: []byte("v"), Caller: by, IdempotencyKey: fmt.Sprint("k", chance.IntN(20))}
		name := fmt.Sprint("n", chance.IntN(6))
		switch chance.IntN(8) {
		case 0:
			c = Command{Op: OpOpenSession, Caller: by}
		case 1:
			c = AuthCommand(auth.Author{Identity: auth.Vouched}, &auth.Change{Action: auth.PutIdentity, Identity: &auth.Identity{Name: name, Rules: []auth.Rule{onA}[:chance.IntN(2)], Disabled: chance.IntN(5) == 0}})
		case 2:
			c = AuthCommand(auth.Author{Identity: auth.Vouched}, &auth.Change{Action: auth.CreateToken, Name: name, Token: &auth.Token{ID: auth.TokenIDOf([8]byte{byte(i), byte(i >> 8)}), Expires: uint64(chance.IntN(3))}})
		case 3:
			c = AuthCommand(auth.Author{Identity: auth.Vouched, Token: auth.TokenIDOf([8]byte{1})}, &auth.Change{Action: auth.SetState, State: auth.State(chance.IntN(3))})
		case 4:
			if tokens := here.s.Auth().Tokens(); len(tokens) > 0 {
				k := tokens[chance.IntN(len(tokens))]
				authors = append(authors, auth.Author{Identity: k.Identity, Token: k.ID})
				c = AuthCommand(auth.Author{Identity: auth.Vouched}, &auth.Change{Action: auth.RevokeToken, Token: &auth.Token{ID: k.ID}})
				if chance.IntN(2) == 0 {
					c = Command{Op: OpPut, Key: []byte("a/k"), Caller: authors[len(authors)-1], Session: SessionCall{ID: uint64(1 + chance.IntN(i+1)), Seq: uint64(i + 1)}}
				}
			}
		}
		a, b := here.apply(c), there.apply(c)
		if !sameResult(a, b) {
			t.Fatalf("step %d, %+v: %+v, and behind a snapshot %+v", i, c, a, b)
		}
		if chance.IntN(10) == 0 {
			var image bytes.Buffer
			if _, err := there.s.Freeze().WriteTo(&image); err != nil {
				t.Fatal(err)
			}
			again, err := Restore(bytes.NewReader(image.Bytes()))
			if err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
			there.s = again
		}
		if here.s.Digest() != there.s.Digest() || here.s.Hash() != there.s.Hash() {
			t.Fatalf("step %d: behind a snapshot the state is another", i)
		}
		digests[here.s.Digest()] = true
	}
	if len(digests) < 590 || len(here.s.Auth().Tokens()) == 0 {
		t.Errorf("void: %d digests", len(digests))
	}
	reset := newAuthWorld(t)
	reset.enforce()
	digest := reset.s.Digest()
	if reset.s.ResetAuth(); reset.s.Digest() == digest || reset.s.Auth().State() != auth.Off {
		t.Error("a table that was reset is still there")
	}
}

// Goal: at level 2 nothing of identities stands in the log or in a snapshot. A command
// with a caller or on the table stops the store, as a later version's does.
// Method: one of each.
func TestIdentitiesNeedTheirLevel(t *testing.T) {
	id, _ := auth.ParseTokenID("user0000")
	change := &auth.Change{Action: auth.SetState, State: auth.Enforcing}
	for _, c := range []Command{
		{Op: OpPut, Key: []byte("k"), Caller: auth.Author{Identity: 1, Token: id}}, AuthCommand(auth.Author{Identity: auth.Vouched}, change),
	} {
		s := New()
		if _, err := s.ApplyKnown(1, EncodeCommand(c)); err == nil || s.AppliedIndex() != 0 {
			t.Errorf("%v is applied at level 2", c.Op)
		}
		if err := c.CheckKnown(LevelBase); err == nil {
			t.Errorf("%v may be proposed at level 2", c.Op)
		}
		if err := c.CheckKnown(LevelHistory); err != nil {
			t.Errorf("%v at level 3: %v", c.Op, err)
		}
	}
}

// Goal (S1): no operation is forgotten by the decision in the log: each is asked for a
// right, changes the table, or can come from the servers alone.
// Method: all operations that are known.
func TestEveryOperationIsDecidedAbout(t *testing.T) {
	own := map[Op]bool{OpSettings: true, OpForget: true, OpLift: true, OpTick: true}
	for op := range 256 {
		o := Op(op)
		c := Command{Op: o, Key: []byte("k")}
		asked := c.EachNeed(func(auth.Right, auth.Range) bool { return true })
		if o.known() != (asked || o.onAuth() || own[o]) {
			t.Errorf("%v: who may ask for it?", o)
		}
	}
}

// Goal (S1): a transaction needs every right of every branch, compares, nested ones and
// previous values included, whichever branch it takes; so do writes that show what was
// there. Method: commands with each kind of compare and operation, and all that they ask
// for; without any one of these rights a command is refused in the log.
func TestWhatTransactionsNeed(t *testing.T) {
	parse := func(text string) Command {
		x, err := txn.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return TxnCommand(x, 1000)
	}
	previous := func(c Command) Command {
		c.Previous = true
		return c
	}
	for name, c := range map[string]struct {
		command Command
		want    string
	}{
		"compares": {parse(`{"if":[{"key":"a","version":1},{"prefix":"b/","count":1},{"from":"c","to":"d","absent":true}]}`),
			`read the key "a", list the keys from "b/" to before "b0", list the keys from "c" to before "d"`},
		"both branches": {parse(`{"then":[{"op":"put","key":"a","text":"x"},{"op":"append","key":"b","text":"x"}],"else":[{"op":"delete","key":"c"},{"op":"delete","prefix":"d"}]}`),
			`write the key "a", write the key "b", delete the key "c", delete the keys from "d" to before "e"`},
		"ends": {parse(`{"if":[{"key":"a","lease":7}],"then":[{"op":"put","key":"b","text":"x","lease":7},{"op":"touch","key":"c","ttl":"30s"}]}`),
			`read the key "a", write the key "b", write the key "c"`},
		"reads": {parse(`{"then":[{"op":"get","key":"a"},{"op":"list","from":"b","count_only":true}]}`), `read the key "a", list the keys from "b" to the end`},
		"previous": {parse(`{"then":[{"op":"put","key":"a","text":"x","prev":true},{"op":"delete","prefix":"b","prev":true}]}`),
			`write the key "a", read the key "a", delete the keys from "b" to before "c", list the keys from "b" to before "c"`},
		"nested": {parse(`{"then":[{"op":"txn","else":[{"op":"txn","if":[{"key":"a","exists":true}],"else":[{"op":"put","key":"b","text":"x"}]}]}]}`),
			`read the key "a", write the key "b"`},
		"range":                {DeleteRangeCommand(&txn.DeleteRange{From: "a", To: "b"}, 0), `delete the keys from "a" to before "b"`},
		"range with previous":  {previous(DeleteRangeCommand(&txn.DeleteRange{From: "a"}, 0)), `delete the keys from "a" to the end, list the keys from "a" to the end`},
		"put with previous":    {previous(Command{Op: OpPut, Key: []byte("a")}), `write the key "a", read the key "a"`},
		"delete with previous": {previous(Command{Op: OpDelete, Key: []byte("a")}), `delete the key "a", read the key "a"`},
		"malformed":            {Command{Op: OpTxn, Value: []byte{1}}, `admin the cluster`},
	} {
		var all []string
		c.command.EachNeed(func(right auth.Right, r auth.Range) bool {
			all = append(all, fmt.Sprint(right, " ", r))
			return true
		})
		if got := strings.Join(all, ", "); got != c.want {
			t.Errorf("%s needs %s, want %s", name, got, c.want)
		}
		for refused := range all {
			asked := 0
			c.command.EachNeed(func(auth.Right, auth.Range) bool {
				asked++
				return asked <= refused
			})
			if asked != refused+1 {
				t.Errorf("%s: refused at its need %d it goes on to %d", name, refused, asked)
			}
		}
	}
}

// Goal: the one kind of entry that lets identities be enforced is known before a log is
// applied, and nothing else is taken for it. Method: commands of each kind, and their
// beginnings.
func TestWhatAsksToEnforceIsKnown(t *testing.T) {
	state := func(s auth.State) []byte {
		return EncodeCommand(AuthCommand(auth.Author{Identity: 1}, &auth.Change{Action: auth.SetState, State: s}))
	}
	for _, other := range [][]byte{
		nil, state(auth.Off), state(auth.Observing), EncodeCommand(EndEnforcing()), EncodeCommand(Command{Op: OpPut, Key: []byte("k"), Value: state(auth.Enforcing)}),
		EncodeCommand(AuthCommand(auth.Author{}, &auth.Change{Action: auth.DeleteIdentity, Name: "root"})), {commandVersion, byte(OpAuthState)},
	} {
		if AsksToEnforce(other) {
			t.Errorf("%x asks to enforce identities", other)
		}
	}
	enforce := state(auth.Enforcing)
	if !AsksToEnforce(enforce) {
		t.Error("the entry is not known")
	}
	for n := range enforce {
		if AsksToEnforce(enforce[:n]) {
			t.Errorf("%d bytes of it are taken for it", n)
		}
	}
}
