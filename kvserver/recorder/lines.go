package recorder

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A ring travels as lines of JSON: for each boot a line that describes the section, and
// a line for each event behind it. Kinds and reasons are words, nodes are names, so a
// later build can read the rings of an earlier one, and people can read both.

// sectionLine describes the events that follow.
type sectionLine struct {
	Recorder int      `json:"recorder"` // the version of these lines
	Node     string   `json:"node"`
	Boot     uint64   `json:"boot"`
	TickNs   int64    `json:"tick_ns"`
	Names    []string `json:"names"`
	Build    string   `json:"build"`
	NowMono  int64    `json:"now_mono_ns,omitzero"`
}

// eventLine is one event. Fields that are zero are left out.
type eventLine struct {
	Seq   uint64 `json:"seq,omitzero"`
	Mono  int64  `json:"mono_ns,omitzero"`
	Wall  int64  `json:"wall_ms,omitzero"`
	Kind  string `json:"kind,omitzero"`
	Why   string `json:"why,omitzero"`
	Peer  string `json:"peer,omitzero"`
	Term  uint64 `json:"term,omitzero"`
	Index uint64 `json:"index,omitzero"`
	A     int64  `json:"a,omitzero"`
	B     int64  `json:"b,omitzero"`
	Count uint32 `json:"count,omitzero"`
	Group uint32 `json:"group,omitzero"`
}

// linesVersion is the version of the lines.
const linesVersion = 1

// WriteLines writes rings as lines of JSON.
func WriteLines(w io.Writer, rings []Ring) error {
	out := bufio.NewWriter(w)
	encode := json.NewEncoder(out)
	for _, ring := range rings {
		s := &ring.Section
		if err := encode.Encode(sectionLine{linesVersion, s.Node, s.Boot, s.Tick, s.Names, s.Build, s.NowMono}); err != nil {
			return err
		}
		for i := range ring.Events {
			e := &ring.Events[i]
			line := eventLine{e.Seq, e.Mono, e.Wall, e.Kind.String(), e.Why.String(), s.Name(e.Peer), e.Term, e.Index, e.A, e.B, e.Count, e.Group}
			if err := encode.Encode(line); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

// maxLineBytes bounds a line, that of a section with 255 names included.
const maxLineBytes = 512 << 10

// ReadLines reads what WriteLines wrote: at most Capacity events. An event of a kind
// that this build does not know is kept without a kind.
func ReadLines(from io.Reader) (rings []Ring, err error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 4<<10), maxLineBytes)
	for events := 0; lines.Scan(); {
		var line struct {
			sectionLine
			eventLine
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return rings, fmt.Errorf("line %d of a ring: %w", events+len(rings)+1, err)
		}
		if line.Recorder != 0 {
			if line.Recorder != linesVersion || !fits(line.Names) || len(line.Node) > maxNameBytes || len(line.Build) > maxNameBytes {
				return rings, fmt.Errorf("a ring of version %d with %d names; this build reads version %d with at most %d names of at most %d bytes", line.Recorder, len(line.Names), linesVersion, maxNames, maxNameBytes)
			}
			rings = append(rings, Ring{Section: Section{Node: line.Node, Boot: line.Boot, Tick: line.TickNs, Names: line.Names, Build: line.Build, NowMono: line.NowMono}})
			continue
		}
		if len(rings) == 0 {
			return nil, errors.New("the events of a ring come before the line that says whose they are")
		}
		if events++; events > Capacity {
			return rings, fmt.Errorf("a ring of more than %d events", Capacity)
		}
		ring := &rings[len(rings)-1]
		e := line.eventLine
		if len(ring.Events) == 0 {
			ring.From = e.Seq
		}
		ring.Events = append(ring.Events, Event{
			Seq: e.Seq, Mono: e.Mono, Wall: e.Wall, Kind: number(kindNames, e.Kind), Why: number(whyNames, e.Why), Peer: ring.position(e.Peer),
			Term: e.Term, Index: e.Index, A: e.A, B: e.B, Count: e.Count, Group: e.Group,
		})
	}
	return rings, lines.Err()
}

// maxNameBytes bounds the name of a node or a build in a ring.
const maxNameBytes = 255

// fits reports whether a section may have these names.
func fits(names []string) bool {
	return len(names) <= maxNames && !slices.ContainsFunc(names, func(n string) bool { return len(n) > maxNameBytes })
}
