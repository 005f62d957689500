package terminal

import (
	"errors"
	"io"
	"testing"
)

// full is an output without room, or of which nobody reads.
type full struct{ err error }

func (f full) Write([]byte) (int, error) { return 0, f.err }

// Goal: an error of the output is found wherever it happened.
func TestTheFirstErrorOfTheOutputIsKept(t *testing.T) {
	o := &Output{To: full{io.ErrClosedPipe}}
	o.Write([]byte("x"))
	if !errors.Is(o.err, io.ErrClosedPipe) {
		t.Error(o.err)
	}
}

// Goal: a value cannot give a terminal orders, and text stays as it is.
func TestValuesAreVisibleOnATerminal(t *testing.T) {
	for value, want := range map[string]string{
		"hello": "hello", "a = \"b\"\n\tc\n": "a = \"b\"\n\tc\n", "ä→": "ä→",
		"\x1b]0;pwned\a": `"\x1b]0;pwned\a"`, "\x00": `"\x00"`, "\xff": `"\xff"`, "a\rb": `"a\rb"`, "a\u202eb": `"a\u202eb"`, "\u009bX": `"\u009bX"`,
	} {
		if got := Visible(value); got != want {
			t.Errorf("%q is shown as %q, want %q", value, got, want)
		}
	}
	if got := Harmless("a\x1b[31mb\nc\u009b"); got != "a\ufffd[31mb\nc\ufffd" {
		t.Errorf("%q", got)
	}
}
