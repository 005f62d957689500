package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// output is standard output as commands see it. It remembers the first error of
// a write, so that no command can end well when what it said was not written,
// whichever way it prints. It belongs to one goroutine.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// errReaderGone: nobody reads standard output any more, as behind "| head".
var errReaderGone = errors.New("standard output was closed by its reader")

// judge returns how a command ends that has returned err. An output that could
// not be written is an error of its own kind, unless the command failed for
// another reason, which then is the more important one.
func (o *output) judge(command *cobra.Command, err error) error {
	server := command.Name() == "serve" || command.Name() == "dev" // they go on when nobody reads them
	own := err != nil && (o.err == nil || !errors.Is(err, o.err))
	switch {
	case o.err == nil || server || own:
		return err
	case errors.Is(o.err, syscall.EPIPE):
		return &ending{exitReaderGone, errReaderGone}
	}
	return &ending{exitOutput, fmt.Errorf("the output could not be written, all else was done: %w", lastCause(o.err))}
}

// isTerminal reports whether what is written to w is seen by a person.
func isTerminal(w any) bool {
	if o, wrapped := w.(*output); wrapped {
		w = o.to
	}
	f, isFile := w.(*os.File)
	return isFile && term.IsTerminal(int(f.Fd()))
}

// windowSize returns the columns and rows of the terminal that w is; otherwise 80
// columns and no limit of rows, which is 0.
func windowSize(w any) (columns, rows int) {
	if o, wrapped := w.(*output); wrapped {
		w = o.to
	}
	if f, isFile := w.(*os.File); isFile {
		if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns, rows
		}
	}
	return 80, 0
}

// harmless returns text without the characters that a terminal would obey. Lines
// stay lines.
func harmless(text string) string {
	return strings.Map(func(c rune) rune {
		if c != '\n' && c != '\t' && !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, text)
}
