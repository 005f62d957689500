package access

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"unicode/utf8"

	"raftkv/kvserver/auth"
	"raftkv/kvserver/failure"
)

// Needs calls fn for every right and range that a request asks for, in their order, until fn
// returns false, as kv.Command.EachNeed does.
type Needs func(fn func(auth.Right, auth.Range) bool)

// Over returns the needs of a request that asks for one right on ranges.
func Over(right auth.Right, ranges ...auth.Range) Needs {
	return func(fn func(auth.Right, auth.Range) bool) {
		for _, r := range ranges {
			if !fn(right, r) {
				return
			}
		}
	}
}

// Lack is a right that a caller lacks, and the range on which it lacks it.
type Lack struct {
	Right auth.Right
	Range auth.Range
}

// Error stands behind the sentence of the error whose cause it is.
func (l *Lack) Error() string { return "no rule grants it" }

// LackOf returns what the caller lacks, by an error of Gate.Allow; nil for every other error.
func LackOf(err error) *Lack {
	lack, _ := failure.Cause(err).(*Lack)
	return lack
}

// Lacks returns the first of the needs that is not granted to a caller now, nil if all are. It
// is for refusals by the log or by another node, which do not say what was lacking.
func (g *Gate) Lacks(c *Caller, needs Needs) (lack *Lack) {
	t := g.config.Table()
	if t.State() != auth.Enforcing {
		return nil
	}
	i := c.present(t)
	needs(func(right auth.Right, r auth.Range) bool {
		if right = r.Right(right); !g.allows(t, i, right, r) {
			lack = &Lack{right, r}
		}
		return lack == nil
	})
	return lack
}

// Span is a key, a lock, or a range of them, in a line. Of a range it has both ends: all from
// the one on and before the other; an empty To is no end. Texts that are not valid UTF-8 stand
// under the names with base64.
type Span struct {
	Key        *string `json:"key,omitempty"`
	KeyBase64  string  `json:"key_base64,omitempty"`
	Lock       *string `json:"lock,omitempty"`
	LockBase64 string  `json:"lock_base64,omitempty"`
	Locks      bool    `json:"locks,omitempty"` // the range is one of locks
	From       *string `json:"from,omitempty"`
	FromBase64 string  `json:"from_base64,omitempty"`
	To         *string `json:"to,omitempty"`
	ToBase64   string  `json:"to_base64,omitempty"`
	Lacks      string  `json:"lacks,omitempty"` // the right that the caller lacks on it
}

// What a line holds of many keys and ranges: so many, with so many bytes of text, but the first
// in any case.
const (
	maxSpans     = 32
	maxSpanBytes = 8 << 10
)

// changing are the rights of what changes keys.
var changing = auth.RightsOf(auth.Write, auth.Delete)

// gather returns the ranges that a line shows, each once, and how many it leaves out: first the
// one that was refused, then those that may be changed, or, if none may, all that is read.
func gather(needs Needs, lack *Lack) (ranges []auth.Range, left int) {
	writes := false
	needs(func(right auth.Right, _ auth.Range) bool {
		writes = changing.Has(right)
		return !writes
	})
	seen, room := map[auth.Range]struct{}{}, maxSpanBytes
	add := func(r auth.Range) {
		if _, again := seen[r]; again || r.Space() == auth.System {
			return
		}
		seen[r] = struct{}{}
		from, to, _ := r.Bounds()
		if len(ranges) > 0 && (len(ranges) == maxSpans || len(from)+len(to) > room) {
			left++
			return
		}
		room -= len(from) + len(to)
		ranges = append(ranges, r)
	}
	if lack != nil {
		add(lack.Range)
	}
	needs(func(right auth.Right, r auth.Range) bool {
		if !writes || changing.Has(right) {
			add(r)
		}
		return true
	})
	return ranges, left
}

// describe fills in what a line says of keys. A line about one key has no list.
func (a *Audit) describe(l *Line) {
	if a.config.Keys == NoKeys {
		l.Key = ""
		return
	}
	if l.Needs != nil {
		ranges, left := gather(l.Needs, l.Lack)
		for i, r := range ranges {
			from, _, one := r.Bounds()
			if i == 0 && l.Key == "" {
				l.Key = from
			}
			if one && len(ranges) == 1 && left == 0 {
				break
			}
			span := a.span(&r)
			if l.Lack != nil && l.Lack.Range == r {
				span.Lacks = l.Lack.Right.String()
			}
			l.Keys = append(l.Keys, span)
		}
		l.KeysLeftOut = left
	}
	if key, encoded := a.name(l.Key); key != nil {
		l.Key = *key
	} else {
		l.Key, l.KeyBase64 = "", encoded
	}
}

// span writes a range.
func (a *Audit) span(r *auth.Range) (s Span) {
	from, to, one := r.Bounds()
	locks := r.Space() == auth.Locks
	switch {
	case one && locks:
		s.Lock, s.LockBase64 = a.name(from)
	case one:
		s.Key, s.KeyBase64 = a.name(from)
	default:
		s.Locks = locks
		s.From, s.FromBase64 = a.name(from)
		s.To, s.ToBase64 = a.name(to)
	}
	return s
}

// name writes a key, a lock or the end of a range by itself: as a text, or in base64. An empty
// end of a range stays what it is, or nobody could tell that the range has none.
func (a *Audit) name(of string) (text *string, encoded string) {
	of = auth.Conceal(of) // a token may stand where a name belongs
	if a.config.Keys == HashKeys && of != "" {
		sum := sha256.Sum256([]byte(of))
		of = "sha256:" + hex.EncodeToString(sum[:8])
	}
	if !utf8.ValidString(of) {
		return nil, base64.StdEncoding.EncodeToString([]byte(of))
	}
	return &of, ""
}
