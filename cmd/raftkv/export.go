package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/target"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

func newExportCommand() *cobra.Command {
	var s clerkSettings
	var prefix string
	var force bool
	command := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write keys and values as lines of JSON",
		Long: `Write all keys and values, or those that begin with --prefix, as they are at one
moment, to FILE or standard output: a JSON object in a line each, which import
reads. A key that is not UTF-8 is in "key_base64" instead of "key". A value that
is UTF-8 is in "text", any other, in base64, in "value".

It is whole only if the exit code is 0. A FILE is made under another name and
gets its own when it is whole and on the disk. For a copy of everything that the
cluster remembers, sessions and revisions too, see snapshot save.`,
		Example: `  raftkv export all.ndjson
  raftkv export --prefix config/ | jq -r .key
  raftkv export | raftkv import - --endpoints 10.0.0.1:8701`,
		Args: atMostOne("FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			file := target.File{Path: "-", Force: force, Output: true}
			if len(args) == 1 {
				file.Path = args[0]
			}
			return s.export(file, prefix, command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	s.addTo(command)
	command.Flags().Lookup("timeout").Usage = "how long to wait for a node to begin, and then for more to come"
	command.Flags().StringVar(&prefix, "prefix", "", "only keys that begin so")
	command.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	return command
}

// exported is a line of an export. An import also takes what list --json and the
// HTTP API print, so Value means the same there: base64.
type exported struct {
	api.KeyName
	Text     *string `json:"text,omitempty"`
	Value    []byte  `json:"value,omitzero"`
	Revision uint64  `json:"revision,omitempty"`
	Version  uint64  `json:"version,omitempty"`
	// Created and Lease are in what list --json prints. An export leaves them out, and an
	// import passes over them: the keys are made anew, and live without a lease.
	Created uint64 `json:"created,omitempty"`
	Lease   int64  `json:"lease,omitempty"`
}

func exportedOf(v api.Value) exported {
	e := exported{KeyName: v.KeyName, Revision: v.Revision, Version: v.Version}
	if utf8.Valid(v.Value) {
		text := string(v.Value)
		e.Text = &text
	} else {
		e.Value = v.Value
	}
	return e
}

func (s *clerkSettings) export(file target.File, prefix string, stdout, stderr io.Writer) error {
	if file.Path == "-" {
		_, err := s.exportFromAny(prefix, stderr, func(fill func(io.Writer) error) error { return fill(stdout) })
		return err
	}
	if err := file.Check(); err != nil {
		return err
	}
	lines, err := s.exportFromAny(prefix, stderr, file.Write)
	if err != nil {
		return err
	}
	if s.json {
		return terminal.PrintJSON(stdout, struct {
			File string `json:"file"`
			Keys int    `json:"keys"`
		}{file.Path, lines})
	}
	_, err = fmt.Fprintf(stdout, "%s: %d keys\n", file.Path, lines)
	return err
}

// exportFromAny asks the endpoints in turn. When a part is written, no other node
// can be asked.
func (s *clerkSettings) exportFromAny(prefix string, stderr io.Writer, place func(fill func(io.Writer) error) error) (lines int, err error) {
	endpoints, err := s.servers()
	if err != nil {
		return 0, err
	}
	ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer endOfSignals()
	var reasons ask.Reasons
	for _, endpoint := range endpoints {
		from, err := ask.OpenStream(ctx, endpoint, "/v1/kv?prefix="+url.QueryEscape(prefix), s.timeout, "Accept", api.MediaNDJSON)
		if err == nil && !strings.HasPrefix(from.Header.Get("Content-Type"), api.MediaNDJSON) {
			from.Close()
			err = errors.New("answers, and not like a node")
		}
		if err != nil {
			if ctx.Err() != nil {
				return 0, exit.Fail(errors.New("interrupted"))
			}
			reasons.Add(endpoint, err)
			continue
		}
		defer from.Close()
		err = place(func(to io.Writer) error {
			lines, err = exportLines(from, to, stderr)
			return err
		})
		return lines, err
	}
	return 0, exit.With(exit.Unavailable, fmt.Errorf("no node sent its keys: %w", &reasons))
}

// mostLineBytes is longer than the line of the longest key and value in base64.
const mostLineBytes = 16 << 20

// exportLines copies the lines of a node.
func exportLines(from *ask.Stream, to io.Writer, stderr io.Writer) (lines int, err error) {
	bar := terminal.StartProgress(stderr, "exporting", -1)
	defer bar.Finish()
	in := bufio.NewScanner(from)
	in.Buffer(nil, mostLineBytes)
	out := bufio.NewWriterSize(to, 64<<10)
	broke := func(cause error) error {
		return exit.With(exit.Unavailable, fmt.Errorf("the export broke off after %d keys: %w", lines, cause))
	}
	for in.Scan() {
		var v api.Value
		if err := json.Unmarshal(in.Bytes(), &v); err != nil {
			if from.Failed() != nil {
				return lines, broke(exit.LastCause(from.Failed()))
			}
			return lines, broke(fmt.Errorf("line %d cannot be read: %w", lines+1, err))
		}
		if err := terminal.PrintJSON(out, exportedOf(v)); err != nil {
			return lines, err
		}
		lines++
		bar.Set(int64(lines))
	}
	if err := in.Err(); err != nil {
		_ = out.Flush() // what came is written; the error says that it is not all
		return lines, broke(exit.LastCause(err))
	}
	return lines, out.Flush()
}
