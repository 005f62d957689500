package bench

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Op is a kind of request that a client makes.
type Op string

// The operations.
const (
	Put    Op = "put"
	Append Op = "append"
	Get    Op = "get"   // linearizable
	Stale  Op = "stale" // a get of any server's present state
	Delete Op = "delete"
)

// Ops lists the operations in the order in which reports show them.
var Ops = []Op{Put, Append, Delete, Get, Stale}

// Mix is a set of operations with weights: the chances with which each is drawn.
type Mix struct {
	ops   []Op
	upTo  []int // sum of the weights up to each of ops
	total int
}

// ParseMix reads "put=90,get=10".
func ParseMix(text string) (Mix, error) {
	var m Mix
	for part := range strings.SplitSeq(text, ",") {
		name, number, found := strings.Cut(strings.TrimSpace(part), "=")
		weight, err := strconv.Atoi(number)
		if !found || err != nil || weight < 1 || weight > 1_000_000 {
			return m, fmt.Errorf("the mix %q has the part %q; write parts like put=90, separated by commas", text, part)
		}
		op := Op(name)
		if !m.has(op, Ops) {
			return m, fmt.Errorf("the mix %q asks for %q; choose put, append, delete, get or stale", text, name)
		}
		if m.has(op, m.ops) {
			return m, fmt.Errorf("the mix %q names %s twice", text, name)
		}
		m.total += weight
		m.ops = append(m.ops, op)
		m.upTo = append(m.upTo, m.total)
	}
	return m, nil
}

func (m Mix) has(op Op, in []Op) bool {
	for _, o := range in {
		if o == op {
			return true
		}
	}
	return false
}

// draw returns an operation.
func (m Mix) draw(r *rand.Rand) Op {
	n := r.IntN(m.total)
	for i, upTo := range m.upTo {
		if n < upTo {
			return m.ops[i]
		}
	}
	panic("bench: a weight beyond the total was drawn")
}

// String writes the mix as ParseMix reads it.
func (m Mix) String() string {
	var parts []string
	before := 0
	for i, op := range m.ops {
		parts = append(parts, fmt.Sprintf("%s=%d", op, m.upTo[i]-before))
		before = m.upTo[i]
	}
	return strings.Join(parts, ",")
}
