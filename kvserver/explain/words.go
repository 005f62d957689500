package explain

import (
	"fmt"
	"math"
	"strings"

	"raftkv/kvserver/recorder"
)

// Units of time, in nanoseconds.
const (
	microsecond = int64(1_000)
	millisecond = int64(1_000_000)
	second      = int64(1_000_000_000)
	minute      = 60 * second
)

// duration writes a time as people say it, with two digits that matter.
func duration(ns int64) string {
	switch {
	case ns < 0:
		return "-" + duration(-max(ns, -math.MaxInt64)) // the smallest number has no opposite
	case ns < 10*millisecond:
		return trimmed(float64(ns)/float64(millisecond), 1) + " ms"
	case ns < second:
		return fmt.Sprintf("%d ms", (ns+millisecond/2)/millisecond)
	case ns < 10*second:
		return trimmed(float64(ns)/float64(second), 2) + " s"
	case ns < 3*minute:
		return fmt.Sprintf("%d s", (ns+second/2)/second)
	case ns < 3*60*minute:
		return fmt.Sprintf("%d min", (ns+minute/2)/minute)
	case ns < 72*60*minute:
		return fmt.Sprintf("%d h", (ns+30*minute)/(60*minute))
	}
	return fmt.Sprintf("%d days", ns/(24*60*minute))
}

// trimmed writes a number without zeros at its end, except for the first behind the dot.
func trimmed(n float64, digits int) string {
	text := fmt.Sprintf("%.*f", digits, n)
	for strings.HasSuffix(text, "0") && !strings.HasSuffix(text, ".0") {
		text = text[:len(text)-1]
	}
	return text
}

// count writes a number with commas.
func count(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// list writes names as people do.
func list(names []string) string {
	switch len(names) {
	case 0:
		return "nobody"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// unreachables say why a node cannot be reached.
var unreachables = map[recorder.Why]string{
	recorder.NobodyListens: "connection refused", recorder.NoAnswer: "no answer", recorder.NoRoute: "no route",
	recorder.NoHello: "its machine answers and its process does not", recorder.TurnedDown: "it turns us down", recorder.WeTurnDown: "it is turned down",
	recorder.NoIdentity: "its certificate does not prove that it is the node",
}

// unreachable returns why a node cannot be reached, in a few words.
func unreachable(why recorder.Why) string {
	if text, known := unreachables[why]; known {
		return text
	}
	return "not reachable"
}

// plural chooses a word by a number.
func plural(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}
