package labgob

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// printed returns the lines that do puts on standard output, and how many
// mistakes it counts, when labgob has seen nothing before.
func printed(t *testing.T, do func()) (lines []string, count int) {
	t.Helper()
	mu.Lock()
	clear(checked)
	errorCount, warnedDefault = 0, false
	mu.Unlock()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	read := make(chan string)
	go func() {
		output, _ := io.ReadAll(r)
		read <- string(output)
	}()
	func() {
		defer func() {
			os.Stdout = stdout
			w.Close()
		}()
		do()
	}()
	output := <-read
	r.Close()
	mu.Lock()
	defer mu.Unlock()
	if output == "" {
		return nil, errorCount
	}
	return strings.Split(strings.TrimSuffix(output, "\n"), "\n"), errorCount
}

// lowerCase is the report of a field that is not sent.
func lowerCase(field, of string) string {
	return "labgob error: lower-case field " + field + " of " + of + " in RPC or persist/snapshot will break your Raft"
}

// used is the report of a variable that is not zero.
func used(what string) string {
	return "labgob warning: Decoding into a non-default variable/field " + what + " may not work"
}

func encode(t *testing.T, value any) []byte {
	t.Helper()
	var stream bytes.Buffer
	if err := NewEncoder(&stream).Encode(value); err != nil {
		t.Fatal(err)
	}
	return stream.Bytes()
}

func decode(t *testing.T, stream []byte, variable any) {
	t.Helper()
	if err := NewDecoder(bytes.NewReader(stream)).Decode(variable); err != nil {
		t.Fatal(err)
	}
}

// Types with a field that is not sent, at several depths.
type (
	plain    struct{ A, B int }
	leaf     struct{ A, b int }
	twoBad   struct{ A, b, c int }
	throughs struct{ L []map[string]*[3]leaf }
	asKey    struct{ K map[leaf]int }
	within   struct {
		A int
		l leaf
	}
	ring struct {
		Next *ring
		Down []ring
		bad  int
	}
	embeds struct {
		leaf
		A int
	}
	hides struct{ I any }
	clock struct{ At time.Time }
)

var _ = []any{leaf{}.b, twoBad{}.b, twoBad{}.c, within{}.l, ring{}.bad}

// Goal: a lower-case field is reported with its type, at any depth, and
// counted; the value is encoded all the same. Method: types of every shape.
func TestLowerCaseFieldIsReported(t *testing.T) {
	anonymous := struct{ A, b int }{}
	for _, c := range []struct {
		value any
		want  []string
	}{
		{plain{}, nil},
		{1, nil},
		{leaf{}, []string{lowerCase("b", "leaf")}},
		{&leaf{}, []string{lowerCase("b", "leaf")}},
		{twoBad{}, []string{lowerCase("b", "twoBad"), lowerCase("c", "twoBad")}},
		{[]leaf{}, []string{lowerCase("b", "leaf")}},
		{[2]leaf{}, []string{lowerCase("b", "leaf")}},
		{map[int]leaf{}, []string{lowerCase("b", "leaf")}},
		{map[leaf]int{}, []string{lowerCase("b", "leaf")}},
		{throughs{}, []string{lowerCase("b", "leaf")}},
		{asKey{}, []string{lowerCase("b", "leaf")}},
		{within{}, []string{lowerCase("l", "within"), lowerCase("b", "leaf")}},
		{ring{}, []string{lowerCase("bad", "ring")}},
		{embeds{}, []string{lowerCase("leaf", "embeds"), lowerCase("b", "leaf")}},
		{anonymous, []string{lowerCase("b", fmt.Sprintf("%T", anonymous))}},
		// Its dynamic type is looked at when it is registered.
		{hides{leaf{}}, nil},
		// It encodes itself, lower-case fields and all.
		{clock{time.Now()}, nil},
	} {
		got, count := printed(t, func() {
			if h, ok := c.value.(hides); ok {
				checkType(reflect.TypeOf(h)) // gob would want leaf registered
				return
			}
			encode(t, c.value)
		})
		if !slices.Equal(got, c.want) || count != len(c.want) {
			t.Errorf("%T: counted %d, printed %q; want %q", c.value, count, got, c.want)
		}
	}
}

// Goal: whatever labgob first meets a type by, the report is the same. Method:
// every function that takes a value.
func TestLowerCaseFieldIsReportedByEveryFunction(t *testing.T) {
	type registered struct{ A, b int }
	type named struct{ A, b int }
	_ = []int{registered{}.b, named{}.b}
	var stream []byte
	printed(t, func() { stream = encode(t, leaf{}) })
	for name, c := range map[string]struct {
		do func()
		of string
	}{
		"Encode":       {func() { encode(t, leaf{}) }, "leaf"},
		"EncodeValue":  {func() { _ = NewEncoder(io.Discard).EncodeValue(reflect.ValueOf(leaf{})) }, "leaf"},
		"Decode":       {func() { decode(t, stream, new(leaf)) }, "leaf"},
		"Register":     {func() { Register(registered{}) }, "registered"},
		"RegisterName": {func() { RegisterName("named", named{}) }, "named"},
	} {
		if got, count := printed(t, c.do); !slices.Equal(got, []string{lowerCase("b", c.of)}) || count != 1 {
			t.Errorf("%s: counted %d, printed %q", name, count, got)
		}
	}
}

// Goal: a type is reported once, from however many goroutines it comes and by
// whatever way; another type with it adds only its own. Method: many encoders
// at once.
func TestLowerCaseFieldIsReportedOnce(t *testing.T) {
	got, count := printed(t, func() {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_ = NewEncoder(io.Discard).Encode(leaf{})
				_ = NewEncoder(io.Discard).Encode([]*leaf{{}})
			})
		}
		wg.Wait()
		encode(t, within{})
	})
	if want := []string{lowerCase("b", "leaf"), lowerCase("l", "within")}; !slices.Equal(got, want) || count != 2 {
		t.Fatalf("counted %d, printed %q, want %q", count, got, want)
	}
}

// Variables that may be used ones.
type (
	reply struct {
		Term  int
		OK    bool
		Text  string
		Ratio float64
		Small uint16
		Many  []int
		Inner plain
		Link  *plain
	}
	privateScalar struct {
		A int
		b int
	}
)

// Goal: decoding into a variable that holds a non-zero scalar is reported with
// the field's name, or the type's for a scalar, three levels deep: the
// pointer, the variable, its fields. Method: variables of every kind.
func TestUsedVariableIsReported(t *testing.T) {
	number, text, p := 7, "", &reply{Term: 1}
	for _, c := range []struct {
		variable any
		want     string
	}{
		{new(reply), ""},
		{&reply{Term: 1}, used("Term")},
		{&reply{OK: true}, used("OK")},
		{&reply{Text: "x"}, used("Text")},
		{&reply{Ratio: 0.1}, used("Ratio")},
		{&reply{Small: 1, Text: "x"}, used("Text")},
		{&number, used("int")},
		{&text, ""},
		{&reply{Many: []int{1}}, ""},        // not a scalar
		{&reply{Inner: plain{A: 1}}, ""},    // too deep
		{&reply{Link: &plain{A: 1}}, ""},    // too deep
		{&p, ""},                            // the fields are on the fourth level
		{(*reply)(nil), ""},                 // gob's error
		{&struct{ Term *int }{&number}, ""}, // too deep
	} {
		want, wantCount := []string(nil), 0
		if c.want != "" {
			want, wantCount = []string{c.want}, 1
		}
		got, count := printed(t, func() { _ = NewDecoder(strings.NewReader("")).Decode(c.variable) })
		if !slices.Equal(got, want) || count != wantCount {
			t.Errorf("%T: counted %d, printed %q; want %q", c.variable, count, got, c.want)
		}
	}
}

// Goal: the report is printed once per process, for whatever type comes first,
// and counted each time. Method: several types, several goroutines.
func TestUsedVariableIsReportedOnce(t *testing.T) {
	stream := encode(t, 5)
	got, count := printed(t, func() {
		decode(t, stream, &[]int{1}[0])
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_ = NewDecoder(strings.NewReader("")).Decode(&reply{Term: 1})
			})
		}
		wg.Wait()
	})
	if !slices.Equal(got, []string{used("int")}) || count != 11 {
		t.Fatalf("counted %d, printed %q", count, got)
	}
}

// Goal: what the warning warns of does happen. Method: a zero value decoded
// into a used variable and into a fresh one.
func TestUsedVariableKeepsWhatItHad(t *testing.T) {
	printed(t, func() {
		stream := encode(t, reply{OK: true})
		fresh, old := reply{}, reply{Term: 99}
		decode(t, stream, &fresh)
		decode(t, stream, &old)
		if !fresh.OK || !old.OK || fresh.Term != 0 || old.Term != 99 {
			t.Errorf("%+v and %+v", fresh, old)
		}
	})
}

// Goal: a lower-case field of the variable's own is reported as such, does not
// count as used, and is no reason to panic. Method: one that holds something, in
// a fresh variable and next to a used field.
func TestLowerCaseFieldOfTheVariable(t *testing.T) {
	stream := encode(t, privateScalar{A: 1})
	for _, c := range []struct {
		variable privateScalar
		want     []string
	}{
		{privateScalar{b: 2}, []string{lowerCase("b", "privateScalar")}},
		{privateScalar{A: 3, b: 2}, []string{lowerCase("b", "privateScalar"), used("A")}},
	} {
		got, _ := printed(t, func() { decode(t, stream, &c.variable) })
		if !slices.Equal(got, c.want) || c.variable != (privateScalar{1, 2}) {
			t.Errorf("decoded %+v, printed %q; want %q", c.variable, got, c.want)
		}
	}
}
