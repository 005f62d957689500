package settings

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/inventory"
)

// Setting is something a user may set. It has one name in all places: the flag
// --data-dir, the variable RAFTKV_DATA_DIR, the key data-dir of a file.
type Setting struct {
	Name  string
	usage string
	value any // *string, *int64 or *time.Duration; holds the default at first
}

// New returns a setting. value points at where it is kept, and at its default.
func New(name, usage string, value any) Setting { return Setting{name, usage, value} }

// Variable is the name of a setting's environment variable.
func Variable(name string) string {
	return "RAFTKV_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// AddFlags makes the settings flags of a command.
func AddFlags(command *cobra.Command, settings []Setting) {
	flags := command.Flags()
	flags.SortFlags = false
	for _, s := range settings {
		switch v := s.value.(type) {
		case *string:
			flags.StringVar(v, s.Name, *v, s.usage)
		case *int64:
			flags.Int64Var(v, s.Name, *v, s.usage)
		case *time.Duration:
			flags.DurationVar(v, s.Name, *v, s.usage)
		}
	}
}

// ConfigName names the setting that names the file.
const ConfigName = "config"

// Complete fills in the settings that were not given as flags: from the
// environment, else from the file that --config names. Variables that are empty
// count as not set. A variable that is no setting's is only warned about (see
// Strays), because orchestrators put such things there; a key of the file
// that is none is an error.
func Complete(settings []Setting, givenAsFlag func(string) bool, lookup func(string) (string, bool)) error {
	given := map[string]bool{}
	path := ""
	for _, s := range settings {
		given[s.Name] = givenAsFlag(s.Name)
		if text, _ := lookup(Variable(s.Name)); text != "" && !given[s.Name] {
			given[s.Name] = true
			if err := s.set(text); err != nil {
				return fmt.Errorf("%s %w", Variable(s.Name), err)
			}
		}
		if s.Name == ConfigName {
			path = *s.value.(*string)
		}
	}
	if path == "" {
		return nil
	}
	if err := inventory.CheckTilde("--config", path); err != nil {
		return err
	}
	return completeFromFile(settings, given, path)
}

// completeFromFile gives the settings that are not in given the file's values.
// The file is checked whole, also where something else overrides it.
func completeFromFile(settings []Setting, given map[string]bool, path string) error {
	var values map[string]any
	if _, err := toml.DecodeFile(path, &values); err != nil {
		if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
			return fmt.Errorf("--config: %w", err)
		}
		return fmt.Errorf("--config: %s cannot be read: %w%s", path, err, adviceOnTOML(err))
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		i := slices.IndexFunc(settings, func(s Setting) bool { return s.Name == key && key != ConfigName })
		if i < 0 {
			return fmt.Errorf("%s: %q is not a setting; the settings are %s", path, key, listSettings(settings))
		}
		s := settings[i]
		if given[key] {
			s = s.discarded()
		}
		if err := s.setFromTOML(values[key]); err != nil {
			return fmt.Errorf("%s: %s %w", path, key, err)
		}
	}
	return nil
}

// adviceOnTOML says what to do about the commonest mistake in a file: a string
// without quotes.
func adviceOnTOML(err error) string {
	var parse toml.ParseError
	if !errors.As(err, &parse) || !strings.Contains(parse.Message, "expected value but found") {
		return ""
	}
	return fmt.Sprintf("; strings need quotes, as in %s = \"…\"", cmp.Or(parse.LastKey, "id"))
}

// listSettings lists what a file may hold, for people.
func listSettings(settings []Setting) string {
	var names []string
	for _, s := range settings {
		if s.Name != ConfigName {
			names = append(names, s.Name)
		}
	}
	return strings.Join(names, ", ")
}

// discarded returns a setting of the same kind whose value goes nowhere.
func (s Setting) discarded() Setting {
	switch s.value.(type) {
	case *int64:
		s.value = new(int64)
	case *time.Duration:
		s.value = new(time.Duration)
	default:
		s.value = new(string)
	}
	return s
}

// set reads the value from text. The error continues a sentence that begins
// with the setting's name, as do those below.
func (s Setting) set(text string) (err error) {
	switch v := s.value.(type) {
	case *int64:
		*v, err = strconv.ParseInt(text, 10, 64)
	case *time.Duration:
		*v, err = time.ParseDuration(text)
	case *string:
		*v = text
	}
	if err != nil {
		return fmt.Errorf("is %q, which is not a %s%s", text, s.kind(), adviceOnDuration(text, err))
	}
	return nil
}

// adviceOnDuration says what to do about a duration without a unit.
func adviceOnDuration(text string, err error) string {
	if err == nil || !strings.Contains(err.Error(), "missing unit in duration") {
		return ""
	}
	return fmt.Sprintf("; write it with a unit, as %ss", text)
}

// kind says what the setting takes.
func (s Setting) kind() string {
	switch s.value.(type) {
	case *int64:
		return "whole number"
	case *time.Duration:
		return `duration such as "300ms" or "10s"`
	}
	return "string"
}

// setFromTOML takes a value of a TOML file if it has the setting's type: whole
// numbers for numbers, strings for the rest. The cluster may also be a table of
// addresses by id.
func (s Setting) setFromTOML(value any) error {
	_, wantsNumber := s.value.(*int64)
	switch v := value.(type) {
	case string:
		if !wantsNumber {
			return s.set(v)
		}
	case int64:
		if wantsNumber {
			return s.set(strconv.FormatInt(v, 10))
		}
	case map[string]any:
		if pairs, ok := memberPairs(v); ok && s.Name == "cluster" {
			return s.set(pairs)
		}
	}
	return fmt.Errorf("must be a %s, not %s", s.kind(), describeTOML(value))
}

// memberPairs writes a table of addresses by id as --cluster would. An id with
// dots that is not quoted is a table in a table to TOML; it is put together again.
func memberPairs(table map[string]any) (string, bool) {
	var pairs []string
	for _, id := range slices.Sorted(maps.Keys(table)) {
		switch value := table[id].(type) {
		case string:
			pairs = append(pairs, id+"="+value)
		case map[string]any:
			inner, ok := memberPairs(value)
			if !ok || inner == "" {
				return "", false
			}
			for pair := range strings.SplitSeq(inner, ",") {
				pairs = append(pairs, id+"."+pair)
			}
		default:
			return "", false
		}
	}
	return strings.Join(pairs, ","), true
}

// describeTOML says what a file held.
func describeTOML(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case int64:
		return "a whole number"
	case float64:
		return "a number with a fraction"
	case bool:
		return "true or false"
	case map[string]any:
		return "a table"
	}
	return "a list or a time"
}
