package explain

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"raftkv/kvserver/recorder"
)

// base is when scripts begin, in Unix nanoseconds.
const base = int64(1_800_000_000_000_000_000)

// wholeScript is a span that holds all of a script.
var wholeScript = Span{From: base/1_000_000 - 60_000, To: base/1_000_000 + 3_600_000}

// rings makes the rings of a script. Each line is an event: the node, when it was, the
// kind, then "why" and name=value as they come; times are as in 1.35s. A second
// "started" of a node begins another boot. "clock n2 3h" sets the wall clock of a node
// ahead. Events of a node must be in order.
func rings(t testing.TB, script string) []recorder.Ring {
	t.Helper()
	type node struct {
		boot, seq int
		start     time.Duration
		clock     time.Duration
		lines     strings.Builder
	}
	nodes := map[string]*node{}
	get := func(name string) *node {
		if nodes[name] == nil {
			nodes[name] = &node{}
		}
		return nodes[name]
	}
	for _, line := range strings.Split(script, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if words[0] == "clock" {
			get(words[1]).clock = span(t, words[2])
			continue
		}
		n, at, kind := get(words[0]), span(t, words[1]), words[2]
		if n.boot == 0 || kind == "started" {
			n.boot++
			n.start = at - time.Second
			fmt.Fprintf(&n.lines, `{"recorder":1,"node":%q,"boot":%d,"tick_ns":10000000,"names":["n1","n2","n3","n4","n5"]}`+"\n", words[0], n.boot)
		}
		n.seq++
		event := map[string]any{"seq": n.seq, "kind": kind, "mono_ns": int64(at - n.start), "wall_ms": (base + int64(at+n.clock)) / 1_000_000}
		for _, word := range words[3:] {
			name, value, numbered := strings.Cut(word, "=")
			switch {
			case !numbered:
				event["why"] = word
			case name == "peer":
				event["peer"] = value
			default:
				event[name] = number(t, value)
			}
		}
		text, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&n.lines, "%s\n", text)
	}
	var all []recorder.Ring
	names := make([]string, 0, len(nodes))
	for name := range nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		of, err := recorder.ReadLines(strings.NewReader(nodes[name].lines.String()))
		if err != nil {
			t.Fatalf("%v in the script", err)
		}
		all = append(all, of...)
	}
	for _, r := range all {
		for _, e := range r.Events {
			if e.Kind == 0 {
				t.Fatalf("event %d of %s has a kind that is none", e.Seq, r.Node)
			}
		}
	}
	return all
}

func span(t testing.TB, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// number reads a number, or a time as nanoseconds.
func number(t testing.TB, text string) int64 {
	t.Helper()
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return int64(span(t, text))
}

// recorded reads the rings that nodes recorded in a folder of testdata.
func recorded(t testing.TB, folder string, nodes ...string) (all []recorder.Ring) {
	t.Helper()
	for _, node := range nodes {
		f, err := os.Open(filepath.Join("testdata", folder, node+".ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		rings, err := recorder.ReadLines(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rings...)
	}
	return all
}

// text is all sentences of stories, a story in a line.
func text(stories []Story) string {
	var b strings.Builder
	for _, s := range stories {
		fmt.Fprintf(&b, "%s (%s, %v): %s\n", s.Kind, s.Certainty, s.Culprits, strings.Join(s.Sentences, " "))
	}
	return b.String()
}

// among are the events with which three nodes come to their first leader, n1, in term 1.
const among = `
n1 0s started
n2 0s started
n3 0s started
n1 100ms connected peer=n2 a=1
n1 100ms connected peer=n3 a=1
n2 100ms connected peer=n1 a=1
n2 100ms connected peer=n3 a=1
n3 100ms connected peer=n1 a=1
n3 100ms connected peer=n2 a=1
n1 300ms campaign term=1
n2 301ms vote_granted peer=n1 term=1
n1 302ms elected term=1 a=2 b=3
n2 303ms followed peer=n1 term=1
n3 303ms followed peer=n1 term=1
n1 304ms first_commit term=1 index=1 a=304ms
`
