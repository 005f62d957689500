package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/kvserver/api"
)

// clerkSettings are the flags that all commands have which talk to a running
// cluster.
type clerkSettings struct {
	endpoints string
	timeout   time.Duration
	json      bool
}

const (
	// devEndpoints are where raftkv dev serves unless told otherwise.
	devEndpoints        = "127.0.0.1:8701,127.0.0.1:8702,127.0.0.1:8703"
	defaultClerkTimeout = 10 * time.Second
)

// addTo adds the flags to a command.
func (s *clerkSettings) addTo(command *cobra.Command) {
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&s.endpoints, "endpoints", "", "where the servers take clients: host:port,… (default $RAFTKV_ENDPOINTS, else "+devEndpoints+")")
	flags.DurationVar(&s.timeout, "timeout", defaultClerkTimeout, "how long to go on trying")
	flags.BoolVar(&s.json, "json", false, "print JSON")
}

// list returns the endpoints one by one.
func (s *clerkSettings) list() []string {
	given := s.endpoints
	if given == "" {
		given = os.Getenv("RAFTKV_ENDPOINTS")
	}
	if given == "" {
		given = devEndpoints
	}
	var list []string
	for e := range strings.SplitSeq(given, ",") {
		if e = strings.TrimSpace(e); e != "" {
			list = append(list, e)
		}
	}
	return list
}

// checkTimeout refuses a time in which nothing can be done.
func (s *clerkSettings) checkTimeout() error {
	if s.timeout <= 0 {
		return fmt.Errorf("--timeout is %v; it must be above 0", s.timeout)
	}
	return nil
}

// with runs a call by a Clerk within the time that was given. Ctrl-C ends it,
// too.
func (s *clerkSettings) with(call func(ctx context.Context, clerk *client.Clerk) error) error {
	if err := s.checkTimeout(); err != nil {
		return err
	}
	ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer endOfSignals()
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	clerk, err := client.Dial(ctx, client.Config{Endpoints: s.list()})
	if err != nil {
		return clerkEnding(err)
	}
	defer clerk.Close()
	return clerkEnding(call(ctx, clerk))
}

// clerkEnding gives an error of the Clerk its exit code.
func clerkEnding(err error) error {
	var e *client.Error
	if !errors.As(err, &e) {
		return err // a setting of the Clerk, a file of the user's
	}
	text := errors.New(strings.TrimPrefix(e.Error(), "raftkv: ")) // run puts the name before it
	switch {
	case errors.Is(err, client.ErrOutcomeUnknown):
		return &ending{exitUnknown, text}
	case errors.Is(err, client.ErrNotFound), errors.Is(err, client.ErrConflict):
		return &ending{exitFailed, text}
	case errors.Is(err, client.ErrInvalid), errors.Is(err, client.ErrTooLarge):
		return text
	}
	return &ending{exitUnavailable, text}
}

// readValue returns a value as it is given on a command line: itself, - for
// standard input, or @ and the name of a file.
func readValue(argument string, stdin io.Reader) ([]byte, error) {
	from := stdin
	if name, isFile := strings.CutPrefix(argument, "@"); isFile {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("the value's file: %w", err)
		}
		defer f.Close()
		from = f
	} else if argument != "-" {
		return []byte(argument), nil
	}
	value, err := io.ReadAll(io.LimitReader(from, api.MaxValueBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the value: %w", err)
	}
	if len(value) > api.MaxValueBytes {
		return nil, fmt.Errorf("the value is longer than %d bytes, which no server takes", api.MaxValueBytes)
	}
	return value, nil
}

// valueHelp is what the help of commands says that take a value.
const valueHelp = `VALUE is the value itself, - for standard input, or @FILE for the content of a
file. A value that begins with @, or is -, goes by standard input.`
