package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"raftkv/kvserver/auth"
)

// lineAbout is the line of an act, with its keys in one of the ways.
func lineAbout(t *testing.T, keys AuditKeys, l Line) (read Line, text string) {
	t.Helper()
	var file bytes.Buffer
	a := NewAudit(AuditConfig{To: &file, Keys: keys})
	if err := a.Reserve(); err != nil {
		t.Fatal(err)
	}
	a.Put(l)
	a.Close()
	if err := json.Unmarshal(file.Bytes(), &read); err != nil {
		t.Fatal(err)
	}
	return read, file.String()
}

// hashed is how a key appears with HashKeys.
func hashed(key string) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(key)))[:len("sha256:")+16]
}

// Goal (S14): with hashes, each key and each end of a range is found by its own hash, and no
// name is readable; without keys there is nothing of them. Method: an act on two keys, a lock
// and two ranges, in the three ways.
func TestEachKeyIsHashedByItself(t *testing.T) {
	l := Line{Needs: func(fn func(auth.Right, auth.Range) bool) {
		for _, r := range []auth.Range{auth.OneKey("orders/1"), auth.OneKey("orders/2"), auth.OneLock("orders"), auth.KeysBetween("orders/", ""), auth.KeysWith("orders/", "")} {
			fn(auth.Write, r)
		}
	}, Lack: &Lack{auth.Write, auth.OneKey("orders/2")}}
	of := func(name func(string) string) string {
		return fmt.Sprintf(`"key":%q,"keys":[{"key":%[1]q,"lacks":"write"},{"key":%q},{"lock":%q},{"from":%q,"to":""},{"from":%[4]q,"to":%q}],`,
			name("orders/2"), name("orders/1"), name("orders"), name("orders/"), name("orders0"))
	}
	plain := func(name string) string { return name }
	for keys, want := range map[AuditKeys]string{FullKeys: of(plain), HashKeys: of(hashed), NoKeys: `"action":"","outcome":""`} {
		if _, text := lineAbout(t, keys, l); !strings.Contains(text, want) {
			t.Errorf("%s: the line is %s, and not with %s", keys, text, want)
		}
	}
}

// Goal (S14): a line has at most so many ranges and bytes of them, says how many it leaves out,
// and always shows the one that was refused. Method: acts on many keys and on long ones, one of
// them twice.
func TestALineIsBounded(t *testing.T) {
	for _, c := range []struct {
		keys, length, shown int
	}{{32, 10, 32}, {33, 10, 32}, {10_000, 10, 32}, {8, 1024, 8}, {9, 1024, 8}, {20, 1024, 8}} {
		var ranges []auth.Range
		for i := range c.keys {
			ranges = append(ranges, auth.OneKey(fmt.Sprintf("%0*d", c.length, i)))
		}
		last := ranges[c.keys-1]
		needs := Over(auth.Write, append(ranges, ranges[0])...)
		for _, lack := range []*Lack{nil, {auth.Write, last}} {
			first := ranges[0]
			if lack != nil {
				first = last
			}
			want, _, _ := first.Bounds()
			l, _ := lineAbout(t, FullKeys, Line{Needs: needs, Lack: lack})
			if len(l.Keys) != c.shown || l.KeysLeftOut != c.keys-c.shown || l.Key != want || *l.Keys[0].Key != want {
				t.Errorf("%d keys of %d bytes: %d are shown and %d left out; the first is %.20q, want %d and %.20q", c.keys, c.length, len(l.Keys), l.KeysLeftOut, l.Key, c.shown, want)
			}
		}
	}
}

// Goal: the ends of a range are those of what it holds, and names that are no UTF-8 can be told
// apart. Method: ranges of every kind, and what a line writes.
func TestTheEndsOfARange(t *testing.T) {
	for _, c := range []struct {
		r    auth.Range
		want string
	}{
		{auth.KeysBetween("", ""), `{"from":"","to":""}`},
		{auth.KeysBetween("a", "b"), `{"from":"a","to":"b"}`},
		{auth.KeysWith("", ""), `{"from":"","to":""}`},
		{auth.KeysWith("a/", ""), `{"from":"a/","to":"a0"}`},
		{auth.KeysWith("a/", "a/x"), `{"from":"a/x\u0000","to":"a0"}`},
		{auth.KeysWith("a\xff", ""), `{"from_base64":"Yf8=","to":"b"}`},
		{auth.KeysWith("\xff", ""), `{"from_base64":"/w==","to":""}`},
		{auth.KeysBetween("a\xfe", "a\xff"), `{"from_base64":"Yf4=","to_base64":"Yf8="}`},
		{auth.LocksWith("l"), `{"locks":true,"from":"l","to":"m"}`},
		{auth.OneLock("\xff"), `{"lock_base64":"/w=="}`},
	} {
		_, text := lineAbout(t, FullKeys, Line{Needs: Over(auth.List, c.r, auth.OneKey("z"))})
		if want := `"keys":[` + c.want + `,{"key":"z"}]`; !strings.Contains(text, want) {
			t.Errorf("the line is %s, and not with %s", text, want)
		}
	}
}
