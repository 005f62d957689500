package verify

import (
	"fmt"
	"math"
	"strings"

	"github.com/anishathalye/porcupine"
)

// action is the kind of a request.
type action uint8

const (
	get action = iota
	put
	add // append
	remove
	swap // put, if the key still has the value that was read
)

// request is a request as the model sees it.
type request struct {
	action action
	key    string
	value  string // the value to write or append
	// expected is the value that a swap requires; "" stands for no key.
	expected string
}

// heard is the answer to a request.
type heard struct {
	value    string // of a get; "" with no key
	revision uint64 // of the value read or written; 0: not known
	refused  bool   // a swap's condition did not hold, a delete found nothing
	unknown  bool   // it is not known whether it happened
}

// register is the state of a key: no value is empty, so "" means that there is no
// key.
type register struct {
	value    string
	revision uint64 // 0: not known
}

// model is one key. Calls on different keys are independent of each other, so
// each key is searched by itself.
var model = porcupine.Model{
	Init:              func() interface{} { return register{} },
	Step:              step,
	DescribeOperation: describe,
	DescribeState:     func(state interface{}) string { return shorten(state.(register).value) },
}

// step returns the state of a key after a request with the given answer, or false
// if that answer is impossible.
func step(state, input, output interface{}) (bool, interface{}) {
	was, asked, heard := state.(register), input.(request), output.(heard)
	if asked.action == get {
		return stepGet(was, heard)
	}
	next := register{revision: heard.revision}
	switch asked.action {
	case put:
		next.value = asked.value
	case add:
		next.value = was.value + asked.value
	case remove:
		return heard.unknown || heard.refused == (was.value == ""), register{}
	case swap:
		fits := was.value == asked.expected
		switch {
		case heard.refused:
			return !fits, was
		case heard.unknown && !fits:
			return true, was
		case !fits:
			return false, was
		}
		next.value = asked.value
	}
	if next.revision != 0 && next.revision <= was.revision {
		return false, was // revisions rise
	}
	return true, next
}

func stepGet(was register, heard heard) (bool, interface{}) {
	if heard.value != was.value {
		return false, was
	}
	if was.revision != 0 && heard.revision != was.revision {
		return false, was
	}
	return true, register{value: was.value, revision: heard.revision}
}

// never is the end of a request whose outcome is not known: it may have happened
// after everything else, which is the same as never.
const never = math.MaxInt64

func describe(input, output interface{}) string {
	asked, heard := input.(request), output.(heard)
	var b strings.Builder
	switch asked.action {
	case get:
		fmt.Fprintf(&b, "get → %s", shorten(heard.value))
	case put:
		fmt.Fprintf(&b, "put %s", shorten(asked.value))
	case add:
		fmt.Fprintf(&b, "append %s", shorten(asked.value))
	case remove:
		b.WriteString("delete")
	case swap:
		fmt.Fprintf(&b, "put %s if %s", shorten(asked.value), shorten(asked.expected))
	}
	switch {
	case heard.unknown:
		b.WriteString(" → unknown")
	case heard.refused:
		b.WriteString(" → does not hold")
	case heard.revision != 0:
		fmt.Fprintf(&b, " (revision %d)", heard.revision)
	}
	return b.String()
}

// shorten keeps the end of a value, where appends show.
func shorten(value string) string {
	const maxShown = 32
	switch {
	case value == "":
		return "(no key)"
	case len(value) > maxShown:
		return "…" + value[len(value)-maxShown:]
	}
	return value
}
