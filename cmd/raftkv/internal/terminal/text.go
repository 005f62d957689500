package terminal

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Visible returns a value as a terminal may have it: as it is if it is text of
// one or more lines, else quoted as in Go.
func Visible(value string) string {
	for _, c := range value {
		if c != '\n' && c != '\t' && (!unicode.IsPrint(c) || c == unicode.ReplacementChar) {
			return strconv.Quote(value)
		}
	}
	return value
}

// Readable returns text as it is if it can stand in a line, else quoted as in Go.
func Readable(text string) string {
	for _, c := range text {
		if !unicode.IsPrint(c) || c == unicode.ReplacementChar || c == '"' {
			return strconv.Quote(text)
		}
	}
	return text
}

// PrintJSON prints a value in one line.
func PrintJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false) // a key with & should be readable
	return e.Encode(v)
}

// Harmless returns text without the characters that a terminal would obey. Lines
// stay lines.
func Harmless(text string) string {
	return strings.Map(func(c rune) rune {
		if c != '\n' && c != '\t' && !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, text)
}

// Wrap breaks a text into lines at spaces, and words that are longer than a line.
func Wrap(text string, columns int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		for letters := []rune(word); len(letters) > columns; letters = []rune(word) {
			if line != "" {
				lines = append(lines, line)
				line = ""
			}
			lines = append(lines, string(letters[:columns]))
			word = string(letters[columns:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= columns:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

// SizeOf writes a number of bytes for people; -1 is not known.
func SizeOf(bytes int64) string {
	if bytes < 0 {
		return "?"
	}
	unit, value := 0, float64(bytes)
	for value >= 1024 && unit < 4 {
		value /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGT"[unit-1])
}
