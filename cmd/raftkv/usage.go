package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/settings"
	"raftkv/cmd/raftkv/internal/terminal"
)

// arguments returns a check that a command has exactly the arguments of these
// names.
func arguments(names ...string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		needs := fmt.Sprintf("%s needs %s", command.Name(), strings.Join(names, " and "))
		switch {
		case len(args) < len(names):
			text := fmt.Sprintf("%s; the %s is missing", needs, names[len(args)])
			if names[len(names)-1] == "VALUE" {
				text += fmt.Sprintf(" (a value that begins with - goes behind --: %s %s -- -5)", command.CommandPath(), orName(args, "KEY"))
			}
			return errors.New(text)
		case len(args) > len(names):
			return fmt.Errorf("%s; %q is too much", needs, args[len(names)])
		}
		return nil
	}
}

func orName(args []string, name string) string {
	if len(args) > 0 {
		return args[0]
	}
	return name
}

// noArguments is the check of commands that have only flags, or commands below
// them.
func noArguments(command *cobra.Command, args []string) error {
	if len(args) > 0 && command.HasSubCommands() {
		var names []string
		for _, below := range command.Commands() {
			names = append(names, below.Name())
		}
		return fmt.Errorf("unknown command %q for %q; it has %s", args[0], command.CommandPath(), strings.Join(names, ", "))
	}
	if len(args) > 0 {
		return fmt.Errorf("%s has no arguments; %q is too much", command.CommandPath(), args[0])
	}
	return nil
}

// atMostOne is the check of commands with one argument that can be left out.
func atMostOne(name string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("%s has one argument, %s; %q is too much", command.CommandPath(), name, args[1])
		}
		return nil
	}
}

// refuseHelpBesideArguments makes a command fail that is given --help or -h
// together with arguments, as in "put k $value" where the value is -h: it would
// else show its help, do nothing and end well. The error is set after the command
// was executed.
func refuseHelpBesideArguments(root *cobra.Command) *error {
	refused := new(error)
	show := root.HelpFunc()
	root.SetHelpFunc(func(command *cobra.Command, args []string) {
		given := command.Flags().Args()
		if len(given) == 0 || !command.Runnable() || command.HasSubCommands() {
			show(command, args)
			return
		}
		*refused = fmt.Errorf("nothing was done: %s was given %q and --help. For help leave the rest out; what begins with - and is no flag goes behind --: %s %s -- %s",
			command.CommandPath(), given, command.CommandPath(), given[0], "-h")
	})
	return refused
}

// notExist is pflag's error for a flag that a command does not have.
type notExist interface {
	error
	GetSpecifiedName() string
	GetSpecifiedShortnames() string
}

// badValue is pflag's error for a value that a flag cannot have.
type badValue interface {
	error
	GetValue() string
}

// explainFlagError says what to do about a flag that does not exist, or has a
// value that cannot be.
func explainFlagError(command *cobra.Command, err error) error {
	var unknown notExist
	var bad badValue
	switch {
	case errors.As(err, &unknown):
		text := err.Error()
		if like := likeFlag(command, unknown.GetSpecifiedName()); like != "" {
			text += fmt.Sprintf("; did you mean --%s", like) + "?"
		}
		if unknown.GetSpecifiedName() == "prefix" && strings.Contains(command.Use, "[PREFIX]") {
			text += fmt.Sprintf("; the prefix is an argument: %s PREFIX", command.CommandPath())
		}
		if strings.Contains(command.Use, "VALUE") {
			text += fmt.Sprintf("; a value that begins with - goes behind --: %s KEY -- %s", command.CommandPath(), dashed(unknown))
		}
		return errors.New(text)
	case errors.As(err, &bad) && strings.Contains(err.Error(), "missing unit in duration"):
		return fmt.Errorf("%w; write %ss", err, bad.GetValue())
	}
	return err
}

// dashed is what was given that is no flag.
func dashed(unknown notExist) string {
	if letters := unknown.GetSpecifiedShortnames(); letters != "" {
		return "-" + letters
	}
	return "--" + unknown.GetSpecifiedName()
}

// likeFlag returns the flag of a command that is written most like a name; "" if
// none is near.
func likeFlag(command *cobra.Command, name string) string {
	if len(name) < 2 {
		return ""
	}
	best, least := "", len(name)/3+1
	for _, known := range flagNames(command) {
		d := settings.Distance(name, known)
		if d > least && (strings.HasPrefix(known, name) || strings.HasPrefix(name, known)) {
			d = least
		}
		if d <= least && (best == "" || d < least) {
			best, least = known, d
		}
	}
	return best
}

// flagNames returns the flags that a command shows, sorted.
func flagNames(command *cobra.Command) (names []string) {
	for line := range strings.Lines(command.Flags().FlagUsages()) {
		_, flag, found := strings.Cut(line, "--")
		if !found || strings.TrimLeft(line[:strings.Index(line, "--")], " -,abcdefghijklmnopqrstuvwxyz") != "" {
			continue
		}
		names = append(names, strings.FieldsFunc(flag, func(c rune) bool { return c == ' ' || c == '[' || c == '\n' })[0])
	}
	slices.Sort(names)
	return names
}

// usageTemplate makes cobra's template wrap the lines of flags at 80 columns.
func usageTemplate(template string) string {
	template = strings.ReplaceAll(template, ".LocalFlags.FlagUsages", ".LocalFlags.FlagUsagesWrapped 80")
	return strings.ReplaceAll(template, ".InheritedFlags.FlagUsages", ".InheritedFlags.FlagUsagesWrapped 80")
}

// reflow makes the paragraphs of all help texts 80 columns wide. Lines that begin
// with a space stay as they are.
func reflow(command *cobra.Command) {
	const columns = 80
	var lines, paragraph []string
	end := func() {
		if len(paragraph) > 0 {
			lines = append(lines, terminal.Wrap(strings.Join(paragraph, " "), columns)...)
			paragraph = nil
		}
	}
	for line := range strings.SplitSeq(command.Long, "\n") {
		if line == "" || strings.HasPrefix(line, " ") {
			end()
			lines = append(lines, line)
			continue
		}
		paragraph = append(paragraph, line)
	}
	end()
	command.Long = strings.Join(lines, "\n")
	for _, below := range command.Commands() {
		reflow(below)
	}
}
