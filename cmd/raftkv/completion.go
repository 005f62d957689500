package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/terminal"
)

const (
	completedKeys     = 20
	completionTimeout = time.Second
)

// completeKeys completes an argument with keys of the cluster; only the
// given number of arguments, 0 for all, are keys.
func (s *clerkSettings) completeKeys(arguments int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if arguments > 0 && len(args) >= arguments {
			return nil, cobra.ShellCompDirectiveDefault // a value, perhaps of a file
		}
		asking := clerkSettings{endpoints: s.endpoints, timeout: completionTimeout, tls: s.tls, stderr: io.Discard}
		if asking.settleTrust() != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var keys []string
		_ = asking.with(func(ctx context.Context, clerk *client.Clerk) error { // without a cluster nothing is completed
			page, err := clerk.List(ctx, begun, client.KeysOnly(), client.Limit(completedKeys))
			for _, item := range page.Items {
				if terminal.Readable(item.Key) == item.Key {
					keys = append(keys, item.Key)
				}
			}
			return err
		})
		return keys, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeNodes completes the names of nodes.
func (s *clerkSettings) completeNodes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	asking := clerkSettings{endpoints: s.endpoints, timeout: completionTimeout, tls: s.tls}
	if asking.settleTrust() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := asking.askAll(context.Background())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, n := range all {
		if n.Status != nil {
			names = append(names, n.Node)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeFlags completes the values of flags that have few.
func completeFlags(root *cobra.Command) {
	values := map[string][]string{
		"log-level": {"debug", "info", "warn", "error"},
		"mix":       {"put=1", "get=1", "put=1,get=1", "put=1,get=9", "put=1,append=1,delete=1,get=1", "stale=1"},
		"timeout":   {"1s", "5s", "10s", "30s", "1m"},
	}
	for _, command := range root.Commands() {
		for flag, all := range values { // any order will do
			if command.Flags().Lookup(flag) != nil {
				_ = command.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
			}
		}
	}
}
