package main

import (
	"fmt"
	"hash"
	"hash/fnv"
	"io"
)

// keptRows is how many of the last rows a failing run shows.
const keptRows = 60

// trace hashes everything that happens and, if asked, prints it: one row an
// event, in columns that line up.
type trace struct {
	out  io.Writer // nil: only hash
	hash hash.Hash64
	rows []string
	keep bool
}

func newTrace(out io.Writer) *trace { return &trace{out: out, hash: fnv.New64a()} }

func (t *trace) sum() uint64    { return t.hash.Sum64() }
func (t *trace) last() []string { return t.rows }

// event records that something happened to somebody.
func (w *world) event(who, what string, args ...any) {
	t := w.trace
	row := fmt.Sprintf("%4d.%06d  %-4s %s", w.now/second, w.now%second, who, fmt.Sprintf(what, args...))
	_, _ = io.WriteString(t.hash, row) // a hash never fails
	if t.out != nil {
		fmt.Fprintln(t.out, row)
	}
	if t.keep {
		if len(t.rows) >= keptRows {
			copy(t.rows, t.rows[1:])
			t.rows = t.rows[:keptRows-1]
		}
		t.rows = append(t.rows, row)
	}
}
