package terminal

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Output is standard output as commands see it. It remembers the first error of
// a write, so that no command can end well when what it said was not written,
// whichever way it prints. It belongs to one goroutine.
type Output struct {
	To  io.Writer
	err error
}

func (o *Output) Write(p []byte) (int, error) {
	n, err := o.To.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// Failed returns the first error of a write; nil if all was written.
func (o *Output) Failed() error { return o.err }

// Is reports whether what is written to w is seen by a person.
func Is(w any) bool {
	if o, wrapped := w.(*Output); wrapped {
		w = o.To
	}
	f, isFile := w.(*os.File)
	return isFile && term.IsTerminal(int(f.Fd()))
}

// WindowSize returns the columns and rows of the terminal that w is; otherwise 80
// columns and no limit of rows, which is 0.
func WindowSize(w any) (columns, rows int) {
	if o, wrapped := w.(*Output); wrapped {
		w = o.To
	}
	if f, isFile := w.(*os.File); isFile {
		if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns, rows
		}
	}
	return 80, 0
}

// HasColour reports whether what is written to w may have colours.
func HasColour(w io.Writer) bool {
	return Is(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
