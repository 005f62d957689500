package txn

// Limits of a transaction. They are part of the state machine's rules, like those of
// package kv: all servers decide alike, whatever they are configured to.
const (
	// MaxOps and MaxCompares bound the operations and the compares of all branches
	// together. A nested transaction counts as an operation.
	MaxOps      = 1024
	MaxCompares = 1024
	// MaxDepth is how many transactions may lie in each other, the outermost counted.
	MaxDepth = 128
	// MaxKeys is how many keys ranges may look at or remove, all together. It is also
	// how many keys a transaction may change.
	MaxKeys = 10_000
	// MaxBytes bounds the keys and values that a transaction replaces or removes: the
	// history must hold them.
	MaxBytes = 16 << 20
	// MaxResultBytes bounds the keys and values in an outcome. The command may ask for
	// less.
	MaxResultBytes = 16 << 20
	// MaxKeyBytes is the length of the longest key; the shortest has 1 byte.
	MaxKeyBytes = 1024
	// MaxLockBytes is the length of the longest name of a lock.
	MaxLockBytes = 256
	// MaxValueBytes is the length of the longest value.
	MaxValueBytes = 8 << 20
	// MinTTL and MaxTTL bound how long a key lives that has an end of its own, in
	// milliseconds; they are those of package lease.
	MinTTL = 1000
	MaxTTL = 9_000_000_000 * 1000
)

// Txn is a transaction: Then is done if all compares hold, else Else.
type Txn struct {
	If         []Compare
	Then, Else []Op
}

// Span is what a compare or an operation is about: one key, or a range of keys.
type Span struct {
	// Range: the keys from From on that are less than To; an empty To is no end.
	// Otherwise the key From alone.
	Range    bool
	From, To string
}

// IsOpen reports whether the span is a range without an end.
func (s *Span) IsOpen() bool { return s.Range && s.To == "" }

// Key returns the span of one key.
func Key(key string) Span { return Span{From: key} }

// Range returns the span of the keys from one on that are less than to; an empty to is
// no end.
func Range(from, to string) Span { return Span{Range: true, From: from, To: to} }

// Prefix returns the span of the keys that begin with a text.
func Prefix(prefix string) Span {
	// What follows "a\xff" is what follows "a": no byte is greater.
	n := len(prefix)
	for n > 0 && prefix[n-1] == 0xff {
		n--
	}
	to := ""
	if n > 0 {
		to = prefix[:n-1] + string([]byte{prefix[n-1] + 1})
	}
	return Range(prefix, to)
}

// holds reports whether a key is in the span.
func (s *Span) holds(key string) bool {
	if !s.Range {
		return key == s.From
	}
	return key >= s.From && (s.To == "" || key < s.To)
}

// Subject is what a compare looks at. Values are stored in logs: they are only ever
// added to.
type Subject uint8

// The subjects. The numbers and the value are those of every key of the span; of a span
// without keys they are those of one absent key, which are 0.
const (
	Revision Subject = 1
	Version  Subject = 2
	Created  Subject = 3
	Lease    Subject = 4 // the id of the lease that the key is tied to, signed; 0: none
	Value    Subject = 5 // of an absent key no compare holds
	Count    Subject = 6 // how many keys the range has
	NotNewer Subject = 7 // no key of the range has a revision above Number
	// Unchanged: the range has Number keys, and none has a revision above Newest. So
	// nothing in it was created, changed or removed since a list of then.
	Unchanged Subject = 8
	// LockHeld: the token Number holds the lock From, which is no key.
	LockHeld Subject = 9
)

// ofRange reports whether the subject is a range as a whole.
func (s Subject) ofRange() bool { return s == Count || s == NotNewer || s == Unchanged }

func (s Subject) known() bool { return s >= Revision && s <= LockHeld }

// plain reports whether a compare of the subject holds or does not, without an order.
func (s Subject) plain() bool { return s.ofRange() || s == LockHeld }

// Relation is how a compare relates what is there to what it names. Values are stored
// in logs: they are only ever added to.
type Relation uint8

// The relations. Of ranges as a whole, and of locks, there are only the first two.
const (
	Equal    Relation = 1
	NotEqual Relation = 2
	Less     Relation = 3
	Greater  Relation = 4

	relationMax = Greater
)

// Compare is one condition of a transaction.
type Compare struct {
	Span
	Subject Subject
	Is      Relation
	Number  uint64 // to compare with; of Lease in two's complement
	Newest  uint64 // of Unchanged
	Bytes   []byte // of Value
}

// Kind is what an operation does. Values are stored in logs: they are only ever added
// to.
type Kind uint8

// The kinds.
const (
	Put    Kind = 1
	Append Kind = 2
	Delete Kind = 3
	Get    Kind = 4
	List   Kind = 5
	Touch  Kind = 6 // gives the key another end, and changes nothing else of it
	Nested Kind = 7
)

func (k Kind) known() bool { return k >= Put && k <= Nested }

// Op is one operation of a branch.
type Op struct {
	Kind Kind
	Span // of delete and list it may be a range
	// Prev: the result has what was there before. Of put, append and delete.
	Prev bool
	// KeepValue: a put keeps the value that the key has, and makes a new version of it.
	KeepValue bool
	KeysOnly  bool // a list has no values
	CountOnly bool // a list has no items
	// Count: a list says how many keys the range has, beyond its limit, too.
	Count bool
	Limit uint64 // of a list, in items; 0: none of its own
	Value []byte // of put and append
	Txn   *Txn   // of Nested
	Tie          // of put, and of touch its TTL
}

// Tie says how long the key of a put lives: as long as a lease, for a TTL, or as before.
// The zero value is for ever.
type Tie struct {
	Lease int64
	TTL   uint64 // milliseconds, MinTTL to MaxTTL
	// KeepTie: the key must be there, and stays tied to what it is tied to.
	KeepTie bool
}

// Writes reports whether a branch has an operation that can change something.
func (t *Txn) Writes() bool {
	writes := false
	t.EachOp(func(o *Op) bool {
		writes = o.Writes()
		return !writes
	})
	return writes
}

// Writes reports whether the operation by itself can change something.
func (o *Op) Writes() bool {
	return o.Kind == Put || o.Kind == Append || o.Kind == Delete || o.Kind == Touch
}

// EachOp calls fn for the operations of all branches, nested ones included, until fn
// returns false.
func (t *Txn) EachOp(fn func(*Op) bool) bool {
	for _, branch := range [][]Op{t.Then, t.Else} {
		for i := range branch {
			if !fn(&branch[i]) || branch[i].Txn != nil && !branch[i].Txn.EachOp(fn) {
				return false
			}
		}
	}
	return true
}

// EachCompare calls fn for the compares of the transaction and of all that are nested
// in it, until fn returns false.
func (t *Txn) EachCompare(fn func(*Compare) bool) bool {
	for i := range t.If {
		if !fn(&t.If[i]) {
			return false
		}
	}
	return t.EachOp(func(o *Op) bool {
		if o.Txn == nil {
			return true
		}
		for i := range o.Txn.If {
			if !fn(&o.Txn.If[i]) {
				return false
			}
		}
		return true
	})
}

// Item is a key's value and its numbers; without a version there is no such key.
type Item struct {
	Value                      []byte
	Revision, Version, Created uint64
}

// Lives is what a key is tied to: Lease is 0 if that is no lease.
type Lives struct {
	Tied  bool
	Lease int64
}

// creation is the revision of the change that created the key, as clients see it: 1 if
// that was before the store had a history, 0 if there is no such key.
func (i Item) creation() uint64 {
	if i.Version == 0 {
		return 0
	}
	return max(1, i.Created)
}

// Keyed is a key and its item.
type Keyed struct {
	Key string
	Item
	Lease int64 // to which it was tied; 0: none
}
