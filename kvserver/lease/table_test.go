package lease

import (
	"fmt"
	"testing"
)

// plainHashes are hashes in which every number shows.
var plainHashes = Hashes{
	Lease: func(id int64, l *Lease) uint64 { return uint64(id)*1e9 + l.TTL*31 + l.Deadline*7 + uint64(len(l.Note)) },
	Tie: func(key string, t Tie) uint64 {
		h := uint64(t.Lease)*17 + t.Deadline*3
		for _, c := range key {
			h = h*131 + uint64(c)
		}
		return h
	},
}

// Goal (L5): what is due comes in order of deadline, kind and id, and nothing before its
// deadline. Method: leases and keys that are due at one time and at another.
func TestWhatIsDueComesInOneOrder(t *testing.T) {
	table := New(Standard, plainHashes)
	table.Grant(9, 0, Lease{TTL: 2000})
	table.Grant(10, -3, Lease{TTL: 2000})
	table.Grant(11, 5, Lease{TTL: 1000})
	for _, key := range []string{"b", "a", "c"} {
		table.Bind(key, Tie{}, 0, Tie{Deadline: 2000}, 1)
	}
	var order []string
	for range 40 {
		table.Pass(100)
		for {
			due, _, ok, _ := table.Next(Ended{})
			if !ok {
				break
			}
			if due.Deadline != table.Time() {
				t.Errorf("at %d ends what is due at %d", table.Time(), due.Deadline)
			}
			order = append(order, fmt.Sprint(due.Lease, due.Key))
			if due.Kind == OfLease {
				table.End(due.Lease)
			} else {
				table.Bind(due.Key, table.Tie(due.Key), 1, Tie{}, 0)
			}
		}
	}
	if got, want := fmt.Sprintf("%q", order), `["5" "-3" "9" "0a" "0b" "0c"]`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if table.Sum != 0 || table.CanEnd() || table.Ties() != 0 {
		t.Errorf("an empty table has the sum %d, %d ties", table.Sum, table.Ties())
	}
}

// Goal: a frozen table does not change, and says what the live one said.
// Method: freeze, and change everything.
func TestAFrozenTableDoesNotChange(t *testing.T) {
	table := New(Standard, plainHashes)
	table.Grant(1, 0, Lease{TTL: 1000, Note: "n"})
	table.Bind("k", Tie{}, 0, Tie{Lease: 1}, 2)
	frozen := table.Freeze()
	table.Pass(500)
	table.Keep(1)
	table.Bind("k", Tie{Lease: 1}, 2, Tie{}, 2)
	table.End(1)
	l, alive := frozen.Get(1)
	if !alive || l.Deadline != 1000 || frozen.Tie("k").Lease != 1 || frozen.Time() != 0 || frozen.Deadline(frozen.Tie("k")) != 1000 {
		t.Errorf("the frozen table shows %+v, %t", l, alive)
	}
	if _, alive := table.Get(1); alive {
		t.Error("the lease is still there")
	}
}

// Goal: a table that is used wrongly panics, rather than to let states part.
// Method: a lease that ends with its keys, a key that is tied to no lease, and limits
// under which a lease could never end.
func TestWrongUsePanics(t *testing.T) {
	for name, use := range map[string]func(){
		"a lease ends with a key": func() {
			table := New(Standard, plainHashes)
			table.Grant(1, 0, Lease{TTL: 1000})
			table.Bind("k", Tie{}, 0, Tie{Lease: 1}, 1)
			table.End(1)
		},
		"no such lease": func() {
			table := New(Standard, plainHashes)
			table.Bind("k", Tie{}, 0, Tie{Lease: 1}, 1)
		},
		"a lease larger than a tick": func() { New(Limits{Keys: 2, EndKeys: 1}, plainHashes) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: nothing happened", name)
				}
			}()
			use()
		}()
	}
}
