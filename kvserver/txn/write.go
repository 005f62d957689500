package txn

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// AppendJSON appends an outcome as JSON, the object that POST /v1/txn answers with.
// revision is that of the store behind it. text says that values that are UTF-8 are
// shown as they are.
func (o *Outcome) AppendJSON(b []byte, revision uint64, text bool) []byte {
	b = o.appendJSON(b, revision, o.Dropped, text)
	if o.Dropped {
		b = append(b[:len(b)-1], `,"reads_dropped":true}`...)
	}
	return b
}

// appendJSON is AppendJSON; of a nested transaction revision is 0 and left out.
// dropped says that what was read is not known any more, and is left out.
func (o *Outcome) appendJSON(b []byte, revision uint64, dropped, text bool) []byte {
	b = strconv.AppendBool(append(b, `{"succeeded":`...), o.Succeeded)
	if !o.Succeeded {
		b = appendField(b, "failed", o.Failed)
	}
	if revision != 0 {
		b = appendField(b, "revision", revision)
	}
	b = append(b, `,"results":[`...)
	for i := range o.Results {
		if i > 0 {
			b = append(b, ',')
		}
		b = o.Results[i].appendJSON(b, dropped, text)
	}
	return append(b, "]}"...)
}

func appendField(b []byte, name string, n uint64) []byte {
	return strconv.AppendUint(append(append(append(b, `,"`...), name...), `":`...), n, 10)
}

// appendJSON appends one result.
func (r *Result) appendJSON(b []byte, dropped, text bool) []byte {
	if r.Kind == Nested {
		return r.Txn.appendJSON(b, 0, dropped, text)
	}
	begin := len(b)
	switch r.Kind {
	case Put, Append:
		b = appendField(appendField(b, "version", r.Version), "length", r.Length)
	case Delete:
		b = appendField(b, "deleted", r.Deleted)
	case List:
		if !dropped {
			b = r.appendItems(append(b, `,"items":`...), r.Items, text)
		}
	case Get:
		if !dropped {
			b = r.appendItem(append(b, `,"item":`...), r.Items, text)
		}
	}
	if r.Counted {
		b = appendField(b, "count", r.Count)
	}
	if r.More {
		b = append(b, `,"more":true`...)
	}
	if r.HasPrev && !dropped {
		b = r.AppendPrev(append(b, `,"prev":`...), text)
	}
	if len(b) == begin {
		return append(b, "{}"...)
	}
	b[begin] = '{' // in the place of the comma
	return append(b, '}')
}

// AppendPrev appends what was there before: an item or null, and of a range a list.
func (r *Result) AppendPrev(b []byte, text bool) []byte {
	if r.Many {
		return r.appendItems(b, r.Prev, text)
	}
	return r.appendItem(b, r.Prev, text)
}

func (r *Result) appendItems(b []byte, items []Keyed, text bool) []byte {
	b = append(b, '[')
	for i := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.appendItem(b, items[i:i+1], text)
	}
	return append(b, ']')
}

// appendItem appends the only item of a list, null if there is none.
func (r *Result) appendItem(b []byte, items []Keyed, text bool) []byte {
	if len(items) == 0 {
		return append(b, "null"...)
	}
	i := &items[0]
	b = appendTextOr(append(b, '{'), "key", "key_base64", []byte(i.Key), true)
	if !r.KeysOnly {
		b = appendTextOr(append(b, ','), "text", "value", i.Value, text)
	}
	b = appendField(b, "revision", i.Revision)
	b = appendField(appendField(b, "version", i.Version), "created", i.Created)
	if i.Lease != 0 {
		b = strconv.AppendInt(append(b, `,"lease":`...), i.Lease, 10)
	}
	return append(b, '}')
}

// appendTextOr appends bytes as a text, if they are one and may be, or in base64 under
// another name.
func appendTextOr(b []byte, asText, asBase64 string, value []byte, may bool) []byte {
	b = append(b, '"')
	if may && utf8.Valid(value) {
		return appendQuoted(append(append(b, asText...), `":`...), string(value))
	}
	b = append(append(b, asBase64...), `":"`...)
	return append(base64.StdEncoding.AppendEncode(b, value), '"')
}

// appendQuoted appends a JSON string. <, > and & stay as they are: this is no HTML.
func appendQuoted(b []byte, text string) []byte {
	var quoted bytes.Buffer
	e := json.NewEncoder(&quoted)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // of a string there is no error
	return append(b, bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))...)
}
