package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/inventory"
)

// setting is something a user may set. It has one name in all places: the flag
// --data-dir, the variable RAFTKV_DATA_DIR, the key data-dir of a file.
type setting struct {
	name  string
	usage string
	value any // *string, *int64 or *time.Duration; holds the default at first
}

// variable is the name of a setting's environment variable.
func variable(name string) string {
	return "RAFTKV_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// addFlags makes the settings flags of a command.
func addFlags(command *cobra.Command, settings []setting) {
	flags := command.Flags()
	flags.SortFlags = false
	for _, s := range settings {
		switch v := s.value.(type) {
		case *string:
			flags.StringVar(v, s.name, *v, s.usage)
		case *int64:
			flags.Int64Var(v, s.name, *v, s.usage)
		case *time.Duration:
			flags.DurationVar(v, s.name, *v, s.usage)
		}
	}
}

// configSetting names the setting that names the file.
const configSetting = "config"

// completeSettings fills in the settings that were not given as flags: from the
// environment, else from the file that --config names. Variables that are empty
// count as not set. A variable that is no setting's is only warned about (see
// strayVariables), because orchestrators put such things there; a key of the file
// that is none is an error.
func completeSettings(settings []setting, givenAsFlag func(string) bool, lookup func(string) (string, bool)) error {
	given := map[string]bool{}
	path := ""
	for _, s := range settings {
		given[s.name] = givenAsFlag(s.name)
		if text, _ := lookup(variable(s.name)); text != "" && !given[s.name] {
			given[s.name] = true
			if err := s.set(text); err != nil {
				return fmt.Errorf("%s %w", variable(s.name), err)
			}
		}
		if s.name == configSetting {
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
func completeFromFile(settings []setting, given map[string]bool, path string) error {
	var values map[string]any
	if _, err := toml.DecodeFile(path, &values); err != nil {
		if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
			return fmt.Errorf("--config: %w", err)
		}
		return fmt.Errorf("--config: %s cannot be read: %w%s", path, err, adviceOnTOML(err))
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		i := slices.IndexFunc(settings, func(s setting) bool { return s.name == key && key != configSetting })
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
func listSettings(settings []setting) string {
	var names []string
	for _, s := range settings {
		if s.name != configSetting {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, ", ")
}

// discarded returns a setting of the same kind whose value goes nowhere.
func (s setting) discarded() setting {
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
func (s setting) set(text string) (err error) {
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
func (s setting) kind() string {
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
func (s setting) setFromTOML(value any) error {
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
		if pairs, ok := memberPairs(v); ok && s.name == "cluster" {
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

// environment is the process's own, for completeSettings.
func environment(name string) (string, bool) { return os.LookupEnv(name) }
