package txn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrTooLarge is wrapped by the errors of Check and Parse about a transaction with more
// operations, compares or depth than there may be.
var ErrTooLarge = errors.New("the transaction is too large")

// Parse reads a transaction as JSON: one object, whose fields are those of the contract
// (docs/coordination.md), each at most once and spelled as there, with nothing behind it.
// The error wraps ErrMalformed or ErrTooLarge and says where and what.
func Parse(text []byte) (*Txn, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var j txnJSON
	if err := d.Decode(&j); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, plain(err))
	}
	t, err := j.txn("", 1)
	if err == nil {
		err = t.Check()
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// plain says what is wrong with a text of JSON in the words of JSON.
func plain(err error) error {
	var other *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the text ends before its JSON does")
	case errors.As(err, &other) && other.Field == "":
		return fmt.Errorf("it must be an object, and is of the type %s", other.Value)
	case errors.As(err, &other):
		return fmt.Errorf("%q must not be of the type %s", other.Field, other.Value)
	}
	return err
}

// Sentence returns what an error of Check or Parse says, without the name of the package.
func Sentence(err error) string { return strings.TrimPrefix(err.Error(), ErrMalformed.Error()+": ") }

type txnJSON struct {
	If   []compareJSON `json:"if"`
	Then []opJSON      `json:"then"`
	Else []opJSON      `json:"else"`
}

// spanJSON are the ways to name a key or a range. Each text may be in base64 instead.
type spanJSON struct {
	Key       *string `json:"key"`
	KeyB64    []byte  `json:"key_base64"`
	Prefix    *string `json:"prefix"`
	PrefixB64 []byte  `json:"prefix_base64"`
	From      *string `json:"from"`
	FromB64   []byte  `json:"from_base64"`
	To        *string `json:"to"`
	ToB64     []byte  `json:"to_base64"`
}

// either returns a text that is given in one of two ways.
func either(text *string, b64 []byte) (value string, given bool, err error) {
	switch {
	case text != nil && b64 != nil:
		return "", true, errors.New("a text is given as it is and in base64")
	case text != nil:
		return *text, true, nil
	}
	return string(b64), b64 != nil, nil
}

// span returns what is named: exactly one key, prefix, or range with a from.
func (j *spanJSON) span() (s Span, err error) {
	key, ofKey, err1 := either(j.Key, j.KeyB64)
	prefix, ofPrefix, err2 := either(j.Prefix, j.PrefixB64)
	from, ofRange, err3 := either(j.From, j.FromB64)
	to, ends, err4 := either(j.To, j.ToB64)
	switch err := errors.Join(err1, err2, err3, err4); {
	case err != nil:
		return s, err
	case ofKey && !ofPrefix && !ofRange && !ends:
		return Key(key), nil
	case ofPrefix && !ofKey && !ofRange && !ends:
		return Prefix(prefix), nil
	case (ofRange || ends) && !ofKey && !ofPrefix:
		return Range(from, to), nil
	}
	return s, errors.New("name one of key, prefix, and from with to")
}

type compareJSON struct {
	spanJSON
	Revision     *uint64 `json:"revision"`
	Version      *uint64 `json:"version"`
	Created      *uint64 `json:"created"`
	Lease        *int64  `json:"lease"`
	Value        []byte  `json:"value"`
	Text         *string `json:"text"`
	Exists       bool    `json:"exists"`
	Absent       bool    `json:"absent"`
	Count        *uint64 `json:"count"`
	NotNewerThan *uint64 `json:"not_newer_than"`
	Lock         *string `json:"lock"`
	LockB64      []byte  `json:"lock_base64"`
	Token        *uint64 `json:"token"`
	Is           string  `json:"is"`
	Not          bool    `json:"not"`
}

var relations = map[string]Relation{"": Equal, "=": Equal, "!=": NotEqual, "<": Less, ">": Greater}

func (j *compareJSON) compare() (c Compare, err error) {
	name, ofLock, err := either(j.Lock, j.LockB64)
	if err != nil {
		return c, err
	}
	switch {
	case ofLock && (j.spanJSON.given() || j.Token == nil):
		return c, errors.New("a compare of a lock has the fields lock and token, and names no key")
	case !ofLock && j.Token != nil:
		return c, errors.New("a token goes with a lock")
	case ofLock:
		c.Span = Key(name)
	default:
		if c.Span, err = j.span(); err != nil {
			return c, err
		}
	}
	is, known := relations[j.Is]
	if !known {
		return c, fmt.Errorf(`there is no relation %.10q; choose "=", "!=", "<" or ">"`, j.Is)
	}
	value, ofValue, err := either(j.Text, j.Value)
	if err != nil {
		return c, err
	}
	subjects := 0
	set := func(given bool, subject Subject, is Relation, number uint64) {
		if given {
			subjects++
			c.Subject, c.Is, c.Number = subject, is, number
		}
	}
	number := func(n *uint64) uint64 {
		if n == nil {
			return 0
		}
		return *n
	}
	set(j.Revision != nil, Revision, is, number(j.Revision))
	set(j.Version != nil, Version, is, number(j.Version))
	set(j.Created != nil, Created, is, number(j.Created))
	set(ofValue, Value, is, 0)
	if j.Lease != nil {
		set(true, Lease, is, uint64(*j.Lease))
	}
	set(j.Exists, Version, Greater, 0)
	set(j.Absent, Version, Equal, 0)
	whole := Equal
	if j.Not {
		whole = NotEqual
	}
	set(ofLock, LockHeld, whole, number(j.Token))
	switch {
	case j.Count != nil && j.NotNewerThan != nil:
		set(true, Unchanged, whole, *j.Count)
		c.Newest = *j.NotNewerThan
	case j.Count != nil:
		set(true, Count, whole, *j.Count)
	case j.NotNewerThan != nil:
		set(true, NotNewer, whole, *j.NotNewerThan)
	}
	switch {
	case subjects != 1:
		return c, errors.New("compare with one of revision, version, created, lease, value, text, exists, absent, lock, and of a range count, not_newer_than or both")
	case j.Is != "" && (j.Exists || j.Absent || c.Subject.plain()):
		return c, errors.New(`"is" goes with revision, version, created, lease, value and text`)
	case j.Not && !c.Subject.plain():
		return c, errors.New(`"not" goes with count, not_newer_than and lock; for others there is "is":"!="`)
	case ofValue:
		c.Bytes = []byte(value)
	}
	return c, nil
}

type opJSON struct {
	spanJSON
	Op        string  `json:"op"`
	Value     []byte  `json:"value"`
	Text      *string `json:"text"`
	KeepValue bool    `json:"keep_value"`
	Prev      bool    `json:"prev"`
	Limit     *uint64 `json:"limit"`
	KeysOnly  bool    `json:"keys_only"`
	Count     bool    `json:"count"`
	CountOnly bool    `json:"count_only"`
	TTL       *string `json:"ttl"`
	Lease     *int64  `json:"lease"`
	KeepLease bool    `json:"keep_lease"`
	All       bool    `json:"all"`
	txnJSON
}

var kinds = map[string]Kind{"put": Put, "append": Append, "delete": Delete, "get": Get, "list": List, "touch": Touch, "txn": Nested}

func (j *opJSON) op(at string, depth int) (o Op, err error) {
	kind, known := kinds[j.Op]
	if !known {
		return o, fmt.Errorf("there is no operation %.20q; there are put, append, delete, get, list, touch and txn", j.Op)
	}
	o = Op{Kind: kind, Prev: j.Prev, KeepValue: j.KeepValue, KeysOnly: j.KeysOnly, Count: j.Count, CountOnly: j.CountOnly}
	value, given, err := either(j.Text, j.Value)
	if err != nil {
		return o, err
	}
	if writes := (kind == Put || kind == Append) && !j.KeepValue; writes != given {
		if given {
			return o, errors.New("it has a value that it does not take")
		}
		return o, errors.New("it needs a value or a text")
	}
	o.Value = []byte(value)
	if o.Tie, err = j.tie(); err != nil {
		return o, err
	}
	if j.Limit != nil {
		if o.Limit = *j.Limit; o.Limit == 0 {
			return o, errors.New("a limit is at least 1")
		}
	}
	if kind == Nested {
		if j.spanJSON.given() {
			return o, errors.New("a nested transaction names no key")
		}
		o.Txn, err = j.txn(at, depth+1)
		return o, err
	}
	if j.If != nil || j.Then != nil || j.Else != nil {
		return o, errors.New("if, then and else go with the operation txn")
	}
	if o.Span, err = j.span(); err != nil {
		return o, err
	}
	switch open := kind == Delete && o.IsOpen(); {
	case open && !j.All:
		return o, fmt.Errorf(`this would delete all keys from %.40q to the last; add "all": true if that is meant`, o.From)
	case j.All && !open:
		return o, errors.New(`"all" goes with the delete of a range without an end`)
	}
	return o, nil
}

// tie returns how long the key is to live.
func (j *opJSON) tie() (t Tie, err error) {
	t.KeepTie = j.KeepLease
	if j.Lease != nil {
		if t.Lease = *j.Lease; t.Lease == 0 {
			return t, errors.New("the lease is 0, which none is; leave it out for a key without an end")
		}
	}
	if j.TTL != nil {
		d, err := time.ParseDuration(*j.TTL)
		if err != nil || d < MinTTL*time.Millisecond || d > MaxTTL*time.Millisecond {
			return t, fmt.Errorf("the ttl is %.40q; it must be a duration from 1s to 9000000000s, such as 30s", *j.TTL)
		}
		t.TTL = uint64((d + time.Millisecond - 1) / time.Millisecond)
	}
	return t, nil
}

func (j *spanJSON) given() bool {
	return j.Key != nil || j.KeyB64 != nil || j.Prefix != nil || j.PrefixB64 != nil || j.From != nil || j.FromB64 != nil || j.To != nil || j.ToB64 != nil
}

// txn makes the transaction that lies in the operation at.
func (j *txnJSON) txn(at string, depth int) (*Txn, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("%w: operation %s lies in more than %d transactions", ErrTooLarge, at, MaxDepth)
	}
	t := &Txn{}
	for i := range j.If {
		c, err := j.If[i].compare()
		if err != nil {
			return nil, bad("compare "+place(at, i), "%v", err)
		}
		t.If = append(t.If, c)
	}
	var err error
	if t.Then, err = branchOf(j.Then, at, depth); err == nil {
		t.Else, err = branchOf(j.Else, at, depth)
	}
	return t, err
}

// branchOf makes a branch of the transaction that lies in the operation at.
func branchOf(from []opJSON, at string, depth int) (ops []Op, err error) {
	for i := range from {
		o, err := from[i].op(place(at, i), depth)
		if errors.Is(err, ErrTooLarge) || errors.Is(err, ErrMalformed) {
			return nil, err // of an operation inside
		}
		if err != nil {
			return nil, bad("operation "+place(at, i), "%v", err)
		}
		ops = append(ops, o)
	}
	return ops, nil
}

// names are all fields that there are.
var names = []string{
	"if", "then", "else", "key", "key_base64", "prefix", "prefix_base64", "from", "from_base64", "to", "to_base64",
	"revision", "version", "created", "value", "text", "exists", "absent", "count", "not_newer_than", "is", "not", "lock", "lock_base64", "token",
	"op", "keep_value", "prev", "limit", "keys_only", "count_only", "ttl", "lease", "keep_lease", "all",
}

// checkText refuses what encoding/json would take in another meaning: text that is no
// UTF-8, a field that is there twice or spelled in capitals, something behind the end;
// and nesting that no transaction has.
func checkText(text []byte) error {
	if !utf8.Valid(text) {
		return fmt.Errorf("%w: it is not UTF-8; put other bytes into key_base64 and value", ErrMalformed)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	var objects []map[string]bool // that are open; nil for a list
	for begun := false; !begun || len(objects) > 0; begun = true {
		token, err := d.Token()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, plain(err))
		}
		switch delim, _ := token.(json.Delim); delim {
		case '{':
			objects = append(objects, map[string]bool{})
		case '[':
			objects = append(objects, nil)
		case '}', ']':
			objects = objects[:len(objects)-1]
		default:
			if !begun {
				return fmt.Errorf(`%w: it must be an object such as {"then":[{"op":"put","key":"a","text":"x"}]}`, ErrMalformed)
			}
		}
		if len(objects) > 2*MaxDepth+4 {
			return fmt.Errorf("%w: an operation lies in more than %d transactions", ErrTooLarge, MaxDepth)
		}
		if err := takeName(d, objects); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: something stands behind its end", ErrMalformed)
	}
	return nil
}

// takeName reads the name of the next field, if the innermost thing that is open is an
// object with another one.
func takeName(d *json.Decoder, objects []map[string]bool) error {
	if len(objects) == 0 || objects[len(objects)-1] == nil || !d.More() {
		return nil
	}
	token, err := d.Token()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, plain(err))
	}
	name, seen := token.(string), objects[len(objects)-1]
	switch {
	case !slices.Contains(names, name):
		return fmt.Errorf("%w: there is no field %.40q", ErrMalformed, name)
	case seen[name]:
		return fmt.Errorf("%w: the field %q is given twice", ErrMalformed, name)
	}
	seen[name] = true
	return nil
}
