package auth

import (
	"fmt"
	"math/bits"
	"strings"
)

// Right is one thing that an identity may be allowed to do. Values are stored: they are
// only ever added to.
type Right uint8

// The rights. Open and Known are granted to nobody: Open says that no token is needed,
// Known that any identity will do. Zero is not decided.
const (
	Open  Right = 1 // probes
	Known Right = 2

	// On keys.
	Read   Right = 3 // the value of a key
	List   Right = 4 // a range of keys, all of it
	Watch  Right = 5 // the changes of a range
	Write  Right = 6 // put, append, touch; tells revision, version and length, never a value
	Delete Right = 7
	Lease  Right = 8 // grant and keep leases; in a rule of any space

	// On locks.
	Acquire Right = 9
	Observe Right = 10

	// On the system. Admin stands for all rights on everything.
	Status     Right = 11
	Metrics    Right = 12
	Backup     Right = 13
	Members    Right = 14
	JoinTokens Right = 15
	Auth       Right = 16
	Admin      Right = 17

	rightMax = Admin
)

var rightNames = [rightMax + 1]string{
	Open: "open", Known: "known", Read: "read", List: "list", Watch: "watch", Write: "write", Delete: "delete", Lease: "lease",
	Acquire: "acquire", Observe: "observe", Status: "status", Metrics: "metrics", Backup: "backup", Members: "members",
	JoinTokens: "join-tokens", Auth: "auth", Admin: "admin",
}

// String returns the right's name in rules and errors.
func (r Right) String() string {
	if r > rightMax || rightNames[r] == "" {
		return fmt.Sprintf("right(%d)", uint8(r))
	}
	return rightNames[r]
}

// Grantable lists the rights that a rule may grant, in their order.
func Grantable() []Right { return grantable.list() }

// ParseRight reads the name of a right that a rule may grant.
func ParseRight(name string) (Right, error) {
	for _, r := range grantable.list() {
		if rightNames[r] == name {
			return r, nil
		}
	}
	return 0, fmt.Errorf("there is no right %.20q; there are %s", name, grantable)
}

// Rights is a set of rights.
type Rights uint32

// RightsOf returns the set of these rights.
func RightsOf(rights ...Right) (set Rights) {
	for _, r := range rights {
		set |= 1 << r
	}
	return set
}

// Has reports whether the right is in the set.
func (s Rights) Has(r Right) bool { return s>>r&1 != 0 }

// list returns the rights of the set in their order.
func (s Rights) list() (all []Right) {
	for rest := uint32(s); rest != 0; rest &= rest - 1 {
		all = append(all, Right(bits.TrailingZeros32(rest)))
	}
	return all
}

// Names returns the names of the rights in their order.
func (s Rights) Names() []string {
	names := []string{}
	for _, r := range s.list() {
		names = append(names, r.String())
	}
	return names
}

// String returns the names with commas between.
func (s Rights) String() string { return strings.Join(s.Names(), ", ") }

// Space is what a rule or a range is about.
type Space uint8

// The spaces.
const (
	System Space = 0
	Keys   Space = 1
	Locks  Space = 2

	spaceMax = Locks
)

var (
	onKeys   = RightsOf(Read, List, Watch, Write, Delete, Lease)
	onLocks  = RightsOf(Acquire, Observe, Lease)
	onSystem = RightsOf(Status, Metrics, Backup, Members, JoinTokens, Auth, Admin, Lease)

	grantable = onKeys | onLocks | onSystem
	// forAnonymous is all that a request without a token may be granted.
	forAnonymous = onKeys | RightsOf(Metrics, Status)
	// forBreakGlass is all that an identity of a node's file may hold.
	forBreakGlass = RightsOf(Status, Metrics, Members, Backup, Auth)
)

// ofRule says what a rule of this space names, for errors.
func (s Space) ofRule() string {
	switch s {
	case Keys:
		return "on a prefix or a key"
	case Locks:
		return "on locks"
	}
	return "without prefix, key or lock"
}

// rights returns what a rule of the space may grant.
func (s Space) rights() Rights {
	switch s {
	case Keys:
		return onKeys
	case Locks:
		return onLocks
	}
	return onSystem
}

// CheckAbout returns why nobody can use a right on a range: each right is about keys, locks
// or the system, lease about all of them.
func CheckAbout(right Right, r Range) error {
	switch {
	case r.space.rights().Has(right):
		return nil
	case onKeys.Has(right):
		return fmt.Errorf("the right %s is about keys; name a key or a prefix", right)
	case onLocks.Has(right):
		return fmt.Errorf("the right %s is about locks; name a lock", right)
	}
	return fmt.Errorf("the right %s is about the system; name no key, prefix or lock", right)
}
