package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"raftkv/client"
)

// clerkCalls are many calls of one Clerk. The time of --timeout bounds each of
// them and not the whole.
type clerkCalls struct {
	settings *clerkSettings
}

// run dials and makes the calls. Ctrl-C ends them.
func (c clerkCalls) run(calls func(ctx context.Context, clerk *client.Clerk) error) error {
	ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer endOfSignals()
	dialling, cancel := context.WithTimeout(ctx, c.settings.timeout)
	defer cancel()
	clerk, end, err := c.settings.dial(dialling, client.Config{})
	if err != nil {
		return err
	}
	defer end()
	return c.settings.ending(calls(ctx, clerk))
}

// callWithin makes one call that may take so long.
func callWithin[R any](ctx context.Context, timeout time.Duration, call func(ctx context.Context) (R, error)) (R, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return call(ctx)
}
