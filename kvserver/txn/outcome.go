package txn

import "fmt"

// Outcome is what a transaction has come to.
type Outcome struct {
	Succeeded bool // all compares held
	// Failed is the number, from 0, of the first compare that did not hold.
	Failed uint64
	// Results has a result for each operation of the branch that was taken.
	Results []Result
	// Dropped: this is what was remembered of an earlier copy of the request, and the
	// values that were read then were too long to be.
	Dropped bool
}

// Result is the result of one operation. Which fields have a meaning depends on Kind.
type Result struct {
	Kind Kind
	// Version and Length are those of the key after a put or append, which Made the key.
	Version, Length uint64
	Made            bool
	Deleted         uint64 // how many keys a delete has removed
	// Items are what a get (one, or none) and a list have found; More: there are keys
	// behind the last one. Counted says that Count is how many the range has.
	Items   []Keyed
	More    bool
	Counted bool
	Count   uint64
	// Prev is what was there before a put, append or delete that asked for it, which
	// HasPrev says; of a range, which Many says, all that was there.
	HasPrev, Many bool
	Prev          []Keyed
	KeysOnly      bool     // the items of a list have no values
	Txn           *Outcome // of a nested transaction
}

// Bytes is about the length of the outcome's encoding.
func (o *Outcome) Bytes() int {
	const each = 32 // about what a result or an item takes in addition to its texts
	size := 0
	for i := range o.Results {
		r := &o.Results[i]
		size += each
		for _, all := range [2][]Keyed{r.Items, r.Prev} {
			for k := range all {
				size += each + len(all[k].Key) + len(all[k].Value)
			}
		}
		if r.Txn != nil {
			size += r.Txn.Bytes()
		}
	}
	return size
}

// Cause says why a transaction was refused.
type Cause uint8

// The causes.
const (
	NoSuchKey      Cause = 1 + iota // a put that keeps the value has none to keep
	TooLong                         // the value would be longer than it may be
	OverQuota                       // the store would hold more than it may
	TooManyKeys                     // ranges look at more than MaxKeys, or the change has more keys or bytes than it may
	ResultTooLarge                  // what was read is more than the command asks for
	NoSuchLease                     // a put ties its key to a lease that is not there
	TiedToLease                     // a touch of a key that ends with a lease
	FullLease                       // a lease would have more keys, or bytes of them, than it may
)

// Refusal is the error of a transaction that has done nothing.
type Refusal struct {
	Cause Cause
	// Operation names the operation by its number in its branch, from 0; those inside of
	// a nested transaction as "3.1". Compare says that it is a compare.
	Operation string
	Compare   bool
	// Count is, of TooManyKeys and of a single delete, how many keys the range has.
	Count uint64
}

func (r *Refusal) Error() string {
	what := "operation"
	if r.Compare {
		what = "compare"
	}
	return fmt.Sprintf("txn: %s %s is refused (cause %d)", what, r.Operation, r.Cause)
}

// State is what a transaction reads.
type State interface {
	// Find returns the item under a key.
	Find(key string) (item Item, found bool)
	// Ascend calls fn for the keys that are not less than from, in the order of their
	// bytes, until fn returns false.
	Ascend(from string, fn func(key string, item Item) bool)
	// Holds reports whether a token holds a lock.
	Holds(lock string, token uint64) bool
	// Lives returns what a key is tied to.
	Lives(key string) Lives
	// Alive reports whether there is a lease that the caller may use.
	Alive(lease int64) bool
}

// Bounds are what the command lets the transaction do.
type Bounds struct {
	Revision    uint64 // that the changes will have
	MaxLength   uint64 // of a value that a put or append makes, in bytes; 0: MaxValueBytes
	Bytes       int    // of the keys and values that the state holds
	TieBytes    int    // that a tie counts among them
	Quota       uint64 // how many it may hold; 0: no limit
	ResultBytes uint64 // of keys and values in the outcome; MaxResultBytes at most
}

// Change is what a transaction has made of one key: Item has version 0 if it is gone.
// Before has version 0 if it was not there.
type Change struct {
	Key          string
	Item, Before Item
	// Kept: the key lives as long as it did before. Otherwise Tie says how long, whose
	// KeepTie is not set.
	Kept bool
	Tie  Tie
	// Touched: nothing of the key has changed but its end. Item and Before are equal.
	Touched bool
	// At is the last put or append of the key, named as in a Refusal; "" if there is none.
	At string
}
