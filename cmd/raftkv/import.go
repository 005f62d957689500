package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/refusal"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

// importSettings are the flags of import.
type importSettings struct {
	clerkSettings
	skip   int
	absent bool
}

func newImportCommand() *cobra.Command {
	var s importSettings
	command := &cobra.Command{
		Use:   "import FILE",
		Short: "Put keys and values from lines of JSON",
		Long: `Put every line of FILE, or of standard input if FILE is -: JSON objects as export,
list --values --json and the HTTP API print them. "key" is the key, or
"key_base64"; "text" is the value, or "value" in base64. A file is checked whole
before anything is written.

Each put happens once, however often the servers had to be asked, and the last
line of a key wins. The import as a whole is not one step. If it ends early it
says how many lines are written: go on with --skip, or run it again, which writes
the same values once more; with --if-absent only those that are not there yet.`,
		Example: `  raftkv import all.ndjson
  raftkv import all.ndjson --if-absent
  jq -c '{key: .name, text: .mail}' people.json | raftkv import -`,
		Args: arguments("FILE"),
		RunE: func(command *cobra.Command, args []string) error {
			return s.run(args[0], command.InOrStdin(), command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	s.addTo(command)
	command.Flags().Lookup("timeout").Usage = "how long to go on trying with one line"
	command.Flags().IntVar(&s.skip, "skip", 0, "leave out this many lines at the beginning")
	command.Flags().BoolVar(&s.absent, "if-absent", false, "leave keys alone that exist")
	return command
}

func (s *importSettings) run(path string, stdin io.Reader, out, stderr io.Writer) error {
	if s.skip < 0 {
		return fmt.Errorf("--skip is %d; it cannot be below 0", s.skip)
	}
	from, size := stdin, int64(-1)
	if path == "-" {
		if terminal.InputIsClosed(stdin) {
			return errors.New("standard input is closed, so there is nothing to import")
		}
	} else {
		file, err := os.Open(path)
		if err != nil {
			return exit.Fail(fmt.Errorf("cannot open the file to import %s: %w", path, exit.LastCause(err)))
		}
		defer file.Close()
		is, err := file.Stat()
		switch {
		case err != nil:
			return exit.Fail(err)
		case is.IsDir():
			return fmt.Errorf("%s is a directory; name a file", path)
		case is.Mode().IsRegular():
			size = is.Size()
			if err := checkImport(file); err != nil {
				return fmt.Errorf("%s: %w; nothing was written", path, err)
			}
			if _, err := file.Seek(0, io.SeekStart); err != nil {
				return exit.Fail(err)
			}
		}
		from = file
	}
	bar := terminal.StartProgress(stderr, "importing", size)
	defer bar.Finish()
	long := clerkCalls{settings: &s.clerkSettings}
	return long.run(func(ctx context.Context, clerk *client.Clerk) error {
		i := &importer{settings: s, clerk: clerk, seed: maphash.MakeSeed(), ended: map[int]bool{}}
		return i.report(out, i.run(ctx, &terminal.WatchedReader{From: from, Bar: bar}))
	})
}

// checkImport reads all lines.
func checkImport(from io.Reader) error {
	return eachLine(from, func(int, string, []byte) error { return nil })
}

// eachLine calls do for every line; an empty one has no key. An error of do ends
// it.
func eachLine(from io.Reader, do func(line int, key string, value []byte) error) error {
	in := bufio.NewScanner(from)
	in.Buffer(nil, mostLineBytes)
	line := 0
	for in.Scan() {
		line++
		key, value := "", []byte(nil)
		if len(bytes.TrimSpace(in.Bytes())) > 0 {
			var err error
			if key, value, err = parseImported(in.Bytes()); err != nil {
				return fmt.Errorf("line %d: %w", line, err)
			}
		}
		if err := do(line, key, value); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("line %d: %w", line+1, exit.LastCause(err))
	}
	return nil
}

// parseImported reads a line. What cannot be kept as it is written is refused.
func parseImported(line []byte) (key string, value []byte, err error) {
	var e exported
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	switch {
	case !utf8.Valid(line):
		return "", nil, errors.New("it is not UTF-8; write such keys to key_base64 and such values, in base64, to value")
	case decoder.Decode(&e) != nil:
		return "", nil, errors.New(`it is not of the form {"key": "…", "text": "…"}, with key_base64 and value for base64`)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return "", nil, errors.New("something stands behind the object")
	}
	switch key = e.Name(); {
	case e.Key != "" && e.KeyBase64 != nil:
		return "", nil, errors.New("it has two keys, key and key_base64")
	case len(key) == 0 || len(key) > api.MaxKeyBytes:
		return "", nil, fmt.Errorf("its key has %d bytes; it must have 1 to %d", len(key), api.MaxKeyBytes)
	case e.Text != nil && e.Value != nil:
		return "", nil, errors.New("it has two values, text and value")
	case e.Text == nil && e.Value == nil:
		return "", nil, errors.New("it has no value: text, or value in base64")
	}
	value = e.Value
	if e.Text != nil {
		value = []byte(*e.Text)
	}
	if len(value) > api.MaxValueBytes {
		return "", nil, fmt.Errorf("its value has %d bytes; no server takes more than %d", len(value), api.MaxValueBytes)
	}
	// A \u escape of half a character would be stored as another one.
	const replaced = string(utf8.RuneError)
	if half := strings.Contains(e.Key, replaced) || e.Text != nil && strings.Contains(*e.Text, replaced); half &&
		!bytes.Contains(line, []byte(replaced)) && !bytes.Contains(bytes.ToLower(line), []byte(`\ufffd`)) {
		return "", nil, errors.New("it has a \\u escape that is half a character; write it in base64")
	}
	return key, value, nil
}

// importWorkers is how many puts are under way at the same time. Lines of one key
// go to one of them, so that they keep their order.
const importWorkers = 16

// importer puts lines.
type importer struct {
	settings *importSettings
	clerk    *client.Clerk
	seed     maphash.Seed

	mu       sync.Mutex // guards the fields below
	ended    map[int]bool
	through  int // all lines up to this one have ended well
	written  int
	existing int
	failed   error
}

// importLine is a line on its way.
type importLine struct {
	number int
	key    string
	value  []byte
}

// run puts all lines of from, and returns why it ended early.
func (i *importer) run(ctx context.Context, from io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var working sync.WaitGroup
	queues := make([]chan importLine, importWorkers)
	for n := range queues {
		queues[n] = make(chan importLine, 1)
		working.Go(func() {
			for l := range queues[n] {
				if err := i.put(ctx, l); err != nil {
					cancel()
				}
			}
		})
	}
	err := eachLine(from, func(line int, key string, value []byte) error {
		if line <= i.settings.skip || key == "" {
			i.end(line)
			return nil
		}
		queue := queues[maphash.String(i.seed, key)%importWorkers]
		select {
		case queue <- importLine{line, key, value}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	for _, queue := range queues {
		close(queue)
	}
	working.Wait()
	if i.failed != nil {
		return i.failed
	}
	return err
}

// put makes one put.
func (i *importer) put(ctx context.Context, l importLine) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var options []client.WriteOption
	if i.settings.absent {
		options = append(options, client.IfAbsent())
	}
	_, err := callWithin(ctx, i.settings.timeout, func(ctx context.Context) (client.Written, error) {
		return i.clerk.Put(ctx, l.key, l.value, options...)
	})
	i.mu.Lock()
	switch {
	case err == nil:
		i.written++
	case errors.Is(err, client.ErrConflict):
		i.existing++
		err = nil
	case i.failed == nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)):
		i.failed = fmt.Errorf("line %d: %w", l.number, err)
	}
	i.mu.Unlock()
	if err == nil {
		i.end(l.number)
	}
	return err
}

// end notes that a line has ended well, and finds how far all have.
func (i *importer) end(line int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended[line] = true
	for i.ended[i.through+1] {
		i.through++
		delete(i.ended, i.through)
	}
}

// report says what was done.
func (i *importer) report(out io.Writer, err error) error {
	if err != nil {
		text := i.settings.explainImport(err)
		code := exit.Unavailable
		if errors.Is(err, client.ErrOutcomeUnknown) {
			code = exit.Unknown
		}
		text = fmt.Sprintf("%s. Lines 1 to %d are written, and perhaps some after them: go on with --skip %d", text, i.through, i.through)
		return exit.With(code, &refusal.Worded{Text: text, Err: err})
	}
	if i.settings.json {
		return terminal.PrintJSON(out, struct {
			Written  int `json:"written"`
			Existing int `json:"existing"`
		}{i.written, i.existing})
	}
	text := fmt.Sprintf("%d keys written", i.written)
	if i.settings.absent {
		text += fmt.Sprintf(", %d were there already", i.existing)
	}
	_, err = fmt.Fprintln(out, text)
	return err
}

// explainImport is what went wrong, in words.
func (s *importSettings) explainImport(err error) string {
	var e *client.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	before, _, _ := strings.Cut(err.Error(), ": ")
	return before + ": " + s.explain(e)
}
