package kv

import "fmt"

// ConditionKind is the kind of test that a condition makes of a key. Values are
// stored in logs: they are only ever added to.
type ConditionKind uint8

// The kinds. Zero is no condition.
const (
	IfVersion  ConditionKind = 1 // the key has version Number; 0: there is no such key
	IfRevision ConditionKind = 2 // the key has revision Number; 0: there is no such key
	IfPresent  ConditionKind = 3 // there is such a key
	IfAbsent   ConditionKind = 4 // there is no such key
)

// conditionMax is the greatest kind this version knows.
const conditionMax = IfAbsent

func (k ConditionKind) String() string {
	switch k {
	case 0:
		return "unconditional"
	case IfVersion:
		return "if-version"
	case IfRevision:
		return "if-revision"
	case IfPresent:
		return "if-present"
	case IfAbsent:
		return "if-absent"
	}
	return fmt.Sprintf("condition(%d)", uint8(k))
}

// Condition lets a put, append or delete happen only if it holds for the key at
// the command's position in the log. The zero value always holds.
type Condition struct {
	Kind ConditionKind
	// Number is the version or revision to compare with; zero for the kinds that
	// compare with none.
	Number uint64
}

// fits reports whether c has a number only if its kind compares with one.
func (c Condition) fits() bool {
	return c.Number == 0 || c.Kind == IfVersion || c.Kind == IfRevision
}

// holds reports whether the condition is met by a key, which has the zero item
// if it does not exist. Versions and revisions of keys that exist begin at 1.
func (c Condition) holds(item Item, found bool) bool {
	switch c.Kind {
	case 0:
		return true
	case IfVersion:
		return item.Version == c.Number
	case IfRevision:
		return item.Revision == c.Number
	case IfPresent:
		return found
	case IfAbsent:
		return !found
	}
	// The decoder has refused kinds that this version does not know.
	panic("kv: " + c.Kind.String() + " cannot be tested")
}
