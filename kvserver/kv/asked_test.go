package kv

import (
	"strings"
	"testing"
)

// Goal: of the commands that come from other nodes, those pass that a client can ask
// for, and no others. Method: one of each kind that passes; of a command that passes,
// one field at a time that does not; every operation that there can be.
func TestOnlyWhatAClientMayAskFor(t *testing.T) {
	put := Command{Op: OpPut, Key: []byte("k"), Value: []byte("v"), IdempotencyKey: "once", Condition: Condition{IfRevision, 7}}
	for _, c := range []Command{
		put, {Op: OpAppend, Key: []byte("k"), Condition: Condition{Kind: IfAbsent}}, {Op: OpDelete, Key: []byte("k"), Condition: Condition{Kind: IfPresent}},
	} {
		if err := c.CheckAsked(); err != nil {
			t.Errorf("%v: %v", c.Op, err)
		}
	}
	for name, spoil := range map[string]func(*Command){
		"identity": func(c *Command) { c.ID.Number = 1 }, "origin": func(c *Command) { c.ID.Origin = 1 },
		"previous": func(c *Command) { c.Previous = true },
		"time":     func(c *Command) { c.Time = 1 }, "limit": func(c *Command) { c.MaxLength = 1 }, "quota": func(c *Command) { c.Quota = 1 },
		"session": func(c *Command) { c.Session.ID = 1 }, "condition of the labs": func(c *Command) { c.Condition.Kind = IfVersion },
		"unknown condition":          func(c *Command) { c.Condition.Kind = conditionMax + 1 },
		"number without a use":       func(c *Command) { c.Condition.Kind = IfPresent },
		"number without condition":   func(c *Command) { c.Condition.Kind = 0 },
		"long idempotency key":       func(c *Command) { c.IdempotencyKey = strings.Repeat("x", MaxIdempotencyKeyBytes+1) },
		"unfit idempotency key":      func(c *Command) { c.IdempotencyKey = "a b" },
		"value of a delete":          func(c *Command) { c.Op = OpDelete },
		"session that is half there": func(c *Command) { c.Session.Seq = 1 },
	} {
		c := put
		spoil(&c)
		if c.CheckAsked() == nil {
			t.Errorf("%s: %+v passes", name, c)
		}
	}
	for op := range 256 {
		c := Command{Op: Op(op), Key: []byte("k")}
		want := c.Op == OpPut || c.Op == OpAppend || c.Op == OpDelete
		if passes := c.CheckAsked() == nil; passes != want {
			t.Errorf("the operation %v passes: %v", c.Op, passes)
		}
	}
}
