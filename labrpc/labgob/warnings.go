package labgob

import (
	"encoding"
	"encoding/gob"
	"fmt"
	"reflect"
	"sync"
)

// State that labgob keeps until the process ends.
var (
	// mu guards the rest; it is not held while printing.
	mu sync.Mutex
	// checked holds every type that was looked at.
	checked = make(map[reflect.Type]bool)
	// errorCount is the number of mistakes that were found, printed or not.
	errorCount int
	// warnedDefault is set once decoding into a used variable was reported.
	warnedDefault bool
)

// finding is a field that gob will not send.
type finding struct {
	field string
	of    reflect.Type
}

// checkType reports the lower-case fields of a type and of the types that it
// is made of, unless they were looked at before.
func checkType(t reflect.Type) {
	if t == nil {
		return
	}
	mu.Lock()
	found := lowerCaseFields(t, nil)
	errorCount += len(found)
	mu.Unlock()
	for _, f := range found {
		fmt.Printf("labgob error: lower-case field %s of %s in RPC or persist/snapshot will break your Raft\n",
			f.field, typeName(f.of))
	}
}

// lowerCaseFields appends to found the lower-case fields in t; the caller holds
// mu.
func lowerCaseFields(t reflect.Type, found []finding) []finding {
	if checked[t] {
		return found
	}
	checked[t] = true // before descending: a type may contain itself
	if encodesItself(t) {
		return found
	}
	switch t.Kind() {
	case reflect.Struct:
		for field := range t.Fields() {
			if !field.IsExported() {
				found = append(found, finding{field.Name, t})
			}
			// It also descends below a lower-case field: once that is fixed, the next
			// mistake would show.
			found = lowerCaseFields(field.Type, found)
		}
	case reflect.Slice, reflect.Array, reflect.Pointer:
		found = lowerCaseFields(t.Elem(), found)
	case reflect.Map:
		found = lowerCaseFields(t.Key(), found)
		found = lowerCaseFields(t.Elem(), found)
	}
	return found
}

var (
	gobEncoder      = reflect.TypeFor[gob.GobEncoder]()
	binaryMarshaler = reflect.TypeFor[encoding.BinaryMarshaler]()
)

// encodesItself reports whether gob leaves the encoding of the type to one of its
// methods, as for time.Time; its fields then do not matter.
func encodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(gobEncoder) || p.Implements(binaryMarshaler)
}

// lookDepth is the depth to which checkDefault looks: the pointer, the variable,
// and the fields of the variable.
const lookDepth = 3

// checkDefault reports, the first time, that a variable to decode into holds
// something. Only numbers, strings and booleans count.
func checkDefault(pointer any) {
	name, found := nonDefault(reflect.ValueOf(pointer), "", 1)
	if !found {
		return
	}
	mu.Lock()
	errorCount++
	first := !warnedDefault
	warnedDefault = true
	mu.Unlock()
	if first {
		fmt.Printf("labgob warning: Decoding into a non-default variable/field %s may not work\n", name)
	}
}

// nonDefault returns the name of a field in v, or of v itself, that is a
// non-zero scalar. A variable without a name goes by that of its type.
func nonDefault(v reflect.Value, name string, depth int) (string, bool) {
	if depth > lookDepth {
		return "", false
	}
	switch v.Kind() {
	case reflect.Pointer:
		return nonDefault(v.Elem(), name, depth+1)
	case reflect.Struct:
		for field, value := range v.Fields() {
			// Gob does not send such a field, so it does not overwrite it either.
			if !field.IsExported() {
				continue
			}
			if name, found := nonDefault(value, field.Name, depth+1); found {
				return name, true
			}
		}
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if !v.IsZero() {
			if name == "" {
				name = typeName(v.Type())
			}
			return name, true
		}
	}
	return "", false
}

// typeName returns the name of a type without its package; an anonymous type is
// written out.
func typeName(t reflect.Type) string {
	if name := t.Name(); name != "" {
		return name
	}
	return t.String()
}
