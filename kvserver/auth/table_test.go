package auth

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// world is a table with the log index of its last change.
type world struct {
	t     *testing.T
	table *Table
	index uint64
}

// do makes a change and returns how it ended.
func (w *world) do(by Author, c Change) error {
	w.index++
	coded, err := DecodeChange(c.Encode())
	if err != nil {
		w.t.Fatalf("%+v: %v", c, err)
	}
	if !reflect.DeepEqual(*coded, c) {
		w.t.Fatalf("a change is read as %+v, was %+v", *coded, c)
	}
	before := w.table.Image()
	next, err := w.table.Apply(w.index, by, coded)
	if !bytes.Equal(before, w.table.Image()) {
		w.t.Fatal("a table was changed in place")
	}
	if err != nil {
		return err
	}
	w.table = next
	again, err := FromImage(next.Image(), w.index)
	if err != nil || !reflect.DeepEqual(again, next) && !bytes.Equal(again.Image(), next.Image()) || again.keeper != next.keeper {
		w.t.Fatalf("the image of a table is read as another one: %v", err)
	}
	return nil
}

func (w *world) must(by Author, c Change) {
	w.t.Helper()
	if err := w.do(by, c); err != nil {
		w.t.Fatalf("%+v: %v", c, err)
	}
}

var person = Author{Identity: Vouched}

// add makes an identity with a token and returns it as an author.
func (w *world) add(name, token string, expires uint64, rules ...Rule) Author {
	w.t.Helper()
	w.must(person, Change{Action: PutIdentity, Identity: &Identity{Name: name, Rules: rules}})
	id, secret := testToken(token, 1)
	w.must(person, Change{Action: CreateToken, Name: name, Token: &Token{ID: id, Hash: HashOf(secret.Reveal()), Expires: expires}})
	return Author{w.table.Named(name).Number, id}
}

var (
	adminRule = Rule{Rights: RightsOf(Admin)}
	authRule  = Rule{Rights: RightsOf(Auth)}
	aRule     = Rule{Space: Keys, Text: "a/", Rights: RightsOf(Read, Write, List)}
)

// Goal (S17): the last admin of an enforced cluster can neither be removed, disabled,
// stripped nor run out of tokens; with a second admin all of that is allowed.
// Method: try each way, with one admin and with two.
func TestTheLastAdminStays(t *testing.T) {
	for _, second := range []bool{false, true} {
		for name, attack := range map[string]func(a Author) Change{
			"remove": func(Author) Change { return Change{Action: DeleteIdentity, Name: "root"} },
			"disable": func(Author) Change {
				return Change{Action: PutIdentity, Identity: &Identity{Name: "root", Rules: []Rule{adminRule}, Disabled: true}}
			},
			"strip": func(Author) Change {
				return Change{Action: PutIdentity, Identity: &Identity{Name: "root", Rules: []Rule{aRule}}}
			},
			"revoke": func(a Author) Change { return Change{Action: RevokeToken, Token: &Token{ID: a.Token}} },
			"expire": func(a Author) Change { return Change{Action: ExpireToken, Token: &Token{ID: a.Token}} },
		} {
			w := &world{t: t}
			root := w.add("root", "root0000", 10, adminRule)
			if second {
				w.add("other", "other000", 20, adminRule)
			}
			w.must(root, Change{Action: SetState, State: Enforcing})
			change, by := attack(root), root
			if change.Action == ExpireToken {
				by = Author{}
			}
			err := w.do(by, change)
			if second && err != nil || !second && !errors.Is(err, ErrLastAdmin) {
				t.Errorf("%s, another admin %v: %v", name, second, err)
			}
			if !second && w.table.Still(root.Token, 1000) == nil {
				t.Errorf("the token of the last admin ran out")
			}
		}
	}
}

// Goal (S17): nobody comes to hold more than was granted by an identity that held it.
// Method: an identity with auth, a/ and the key k tries to grant, to take over and to switch off.
func TestNobodyGrantsWhatHeDoesNotHold(t *testing.T) {
	oneKey := Rule{Space: Keys, Text: "k", Single: true, Rights: RightsOf(Read)}
	id, secret := testToken("newtoken", 3)
	token := &Token{ID: id, Hash: HashOf(secret.Reveal())}
	for name, c := range map[string]struct {
		change Change
		want   error
	}{
		"less":              {Change{Action: PutIdentity, Identity: &Identity{Name: "x", Rules: []Rule{{Space: Keys, Text: "a/b", Rights: RightsOf(Read)}}}}, nil},
		"auth":              {Change{Action: PutIdentity, Identity: &Identity{Name: "x", Rules: []Rule{authRule}}}, nil},
		"a right":           {Change{Action: PutIdentity, Identity: &Identity{Name: "x", Rules: []Rule{{Space: Keys, Text: "a/b", Rights: RightsOf(Read, Delete)}}}}, ErrNotAllowed},
		"a range":           {Change{Action: PutIdentity, Identity: &Identity{Name: "x", Rules: []Rule{{Space: Keys, Text: "a", Rights: RightsOf(Read)}}}}, ErrNotAllowed},
		"one key":           {Change{Action: PutIdentity, Identity: &Identity{Name: "x", Rules: []Rule{oneKey}}}, nil},
		"all behind a key":  {Change{Action: PutIdentity, Identity: &Identity{Name: "x", Rules: []Rule{{Space: Keys, Text: "k", Rights: RightsOf(Read)}}}}, ErrNotAllowed},
		"a lock":            {Change{Action: PutIdentity, Identity: &Identity{Name: "x", Rules: []Rule{{Space: Locks, Text: "a/", Rights: RightsOf(Acquire)}}}}, ErrNotAllowed},
		"admin":             {Change{Action: PutIdentity, Identity: &Identity{Name: "x", Rules: []Rule{adminRule}}}, ErrNotAllowed},
		"admin to itself":   {Change{Action: PutIdentity, Identity: &Identity{Name: "clerk", Rules: []Rule{adminRule}}}, ErrNotAllowed},
		"less to an admin":  {Change{Action: PutIdentity, Identity: &Identity{Name: "root", Rules: []Rule{aRule}}}, ErrNotAllowed},
		"token of an admin": {Change{Action: CreateToken, Name: "root", Token: token}, ErrNotAllowed},
		"own token":         {Change{Action: CreateToken, Name: "clerk", Token: token}, nil},
		"admin's removal":   {Change{Action: DeleteIdentity, Name: "root"}, ErrNotAllowed},
		"admin's token":     {Change{Action: RevokeToken, Token: &Token{ID: TokenID([]byte("root0000"))}}, ErrNotAllowed},
		"state":             {Change{Action: SetState, State: Off}, ErrNotAllowed},
		"expiry":            {Change{Action: ExpireToken, Token: &Token{ID: TokenID([]byte("root0000"))}}, ErrNotAllowed},
	} {
		w := &world{t: t}
		root := w.add("root", "root0000", 0, adminRule)
		clerk := w.add("clerk", "clerk000", 0, authRule, aRule, oneKey)
		w.must(root, Change{Action: SetState, State: Enforcing})
		if err := w.do(clerk, c.change); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if c.change.Action == CreateToken && c.want == nil {
			w.must(clerk, Change{Action: RevokeToken, Token: &Token{ID: id}})
		}
	}
}

// Goal: changes by nobody, by a revoked token, of another revision and beyond the
// limits are refused. Method: one of each.
func TestChangesThatAreRefused(t *testing.T) {
	w := &world{t: t}
	if err := w.do(person, Change{Action: SetState, State: Enforcing}); !errors.Is(err, ErrLastAdmin) {
		t.Errorf("enforced without an admin: %v", err)
	}
	root := w.add("root", "root0000", 0, adminRule)
	plain := w.add("plain", "plain000", 0)
	for _, by := range []Author{{}, {Identity: root.Identity}, {root.Identity, plain.Token}, plain, {plain.Identity, root.Token}} {
		if err := w.do(by, Change{Action: PutIdentity, Identity: &Identity{Name: "x"}}); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%+v: %v", by, err)
		}
	}
	if err := w.do(root, Change{Action: SetState, Match: w.table.Revision()}); !errors.Is(err, ErrRevision) {
		t.Errorf("an old revision: %v", err)
	}
	w.must(root, Change{Action: SetState, State: Observing, Match: w.table.Revision() + 1})
	for i := range MaxTokens {
		id := TokenIDOf([8]byte{byte(i)})
		err := w.do(root, Change{Action: CreateToken, Name: "plain", Token: &Token{ID: id}})
		if full := i == MaxTokens-1; full != errors.Is(err, ErrFull) || !full && err != nil {
			t.Errorf("token %d: %v", i+2, err)
		}
	}
	if err := w.do(root, Change{Action: CreateToken, Name: "root", Token: &Token{ID: plain.Token}}); !errors.Is(err, ErrTokenIDUse) {
		t.Errorf("one id twice: %v", err)
	}
	w.must(root, Change{Action: PutIdentity, Identity: &Identity{Name: Anonymous, Rules: []Rule{aRule}}})
	if err := w.do(root, Change{Action: CreateToken, Name: Anonymous, Token: &Token{ID: TokenIDOf([8]byte{9})}}); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("a token for anonymous: %v", err)
	}
	w.must(root, Change{Action: RevokeToken, Token: &Token{ID: plain.Token}})
	if err := w.do(root, Change{Action: RevokeToken, Token: &Token{ID: plain.Token}}); !errors.Is(err, ErrNoSuch) {
		t.Errorf("a token that is gone: %v", err)
	}
	if err := (&Identity{Name: Anonymous, Rules: []Rule{{Rights: RightsOf(Backup)}}}).Check(); err == nil {
		t.Error("anonymous may be granted backup")
	}
}

// Goal: a token is found if it is known, right, in time and its identity is enabled; an
// identity that is made anew has nothing of the old one. Method: one table.
func TestWhatATokenFinds(t *testing.T) {
	w := &world{t: t}
	w.add("root", "root0000", 0, adminRule)
	user := w.add("user", "user0000", 100, aRule)
	_, secret := testToken("user0000", 1)
	hash, wrong := HashOf(secret.Reveal()), HashOf("another")
	find := func(h *Hash, now uint64) bool {
		i, _ := w.table.Find(user.Token, h, now)
		return i != nil
	}
	if !find(&hash, 99) || find(&hash, 100) || find(&wrong, 1) {
		t.Error("a token is found at the wrong time or by the wrong secret")
	}
	w.must(person, Change{Action: SetState, State: Enforcing})
	if !w.table.Allows(user, Write, OneKey("a/1")) || w.table.Allows(user, Write, OneKey("b")) || w.table.Allows(Author{}, Write, OneKey("a/1")) || w.table.Allows(person, Write, OneKey("a/1")) {
		t.Error("the log decides wrongly")
	}
	old := w.table
	w.must(person, Change{Action: PutIdentity, Identity: &Identity{Name: "user", Rules: []Rule{aRule}, Disabled: true}})
	if find(&hash, 1) || w.table.Allows(user, Write, OneKey("a/1")) || !old.Allows(user, Write, OneKey("a/1")) {
		t.Error("a disabled identity is found, or an old table has changed")
	}
	w.must(person, Change{Action: DeleteIdentity, Name: "user"})
	again := w.add("user", "again000", 0, aRule)
	if again.Identity == user.Identity || w.table.Token(user.Token) != nil || w.table.Allows(user, Write, OneKey("a/1")) {
		t.Error("an identity that was made anew has the old one's number or token")
	}
	w.must(person, Change{Action: PutIdentity, Identity: &Identity{Name: Anonymous, Rules: []Rule{aRule}}})
	if !w.table.Allows(Author{}, Write, OneKey("a/1")) || w.table.Allows(Author{}, Delete, OneKey("a/1")) {
		t.Error("anonymous does not have what it was granted")
	}
}

func FuzzChange(f *testing.F) {
	id, secret := testToken("user0000", 1)
	for _, c := range []Change{
		{Action: PutIdentity, Identity: &Identity{Name: "user", Rules: []Rule{aRule, adminRule}, Limits: Limits{InFlight: 3}}},
		{Action: CreateToken, Name: "user", Token: &Token{ID: id, Hash: HashOf(secret.Reveal()), Comment: "c"}},
		{Action: SetState, State: Enforcing, Match: 3},
	} {
		f.Add(c.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeChange(b)
		if err == nil && !bytes.Equal(c.Encode(), b) {
			t.Errorf("%x is read and written as %x", b, c.Encode())
		}
	})
}

func FuzzImage(f *testing.F) {
	w := &world{t: &testing.T{}}
	w.add("root", "root0000", 0, adminRule)
	w.add("user", "user0000", 5, aRule)
	f.Add(w.table.Image())
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := FromImage(b, 1<<40)
		if err == nil && !bytes.Equal(table.Image(), b) {
			t.Errorf("%x is read and written as %x", b, table.Image())
		}
	})
}
