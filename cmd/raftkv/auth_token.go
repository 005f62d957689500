package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"raftkv/cmd/raftkv/internal/credential"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func newAuthTokenCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "token", Short: "List, create, rotate or revoke tokens", Args: noArguments, RunE: showHelp,
		Example: `  raftkv auth token create svc-orders --ttl 720h --token-to orders.token
  raftkv auth token list
  raftkv auth token rotate svc-orders 8xUfa3Kp --token-to orders.new
  raftkv auth token revoke 8xUfa3Kp`,
	}
	var ttl, comment, to string
	create := authCommand("create IDENTITY", "Make a token and print it, this once", "Make a token of an identity and print it. It is shown this once.",
		`  raftkv auth token create svc-orders --ttl 720h --token-to orders.token`, arguments("IDENTITY"),
		func(ctx context.Context, s *clerkSettings, out io.Writer, args []string) error {
			return s.makeToken(ctx, out, to, api.NewToken{Identity: args[0], TTL: ttl, Comment: comment}, func() error { return nil })
		})
	var grace time.Duration
	rotate := authCommand("rotate IDENTITY ID", "Make a token in the place of another one, which is revoked",
		`Make a token of an identity, print it, wait, and revoke the token with the id ID.
--grace is how long both are good, so that the new one can be deployed. Standard
error says when the old one was last used, as far as the nodes at --endpoints know
since they started: still in use behind the grace means that somebody has not got
the new one.`,
		`  raftkv auth token rotate svc-orders 8xUfa3Kp --grace 10m --token-to orders.new`, arguments("IDENTITY", "ID"),
		func(ctx context.Context, s *clerkSettings, out io.Writer, args []string) error {
			asked := api.NewToken{Identity: args[0], TTL: ttl, Comment: comment}
			if err := s.makeToken(ctx, out, to, asked, func() error { return s.checkTokenOf(ctx, args[0], args[1]) }); err != nil {
				return err
			}
			s.sayLastUse(ctx, args[1], "before")
			select {
			case <-time.After(grace):
			case <-ctx.Done():
				return exit.With(exit.Unavailable, fmt.Errorf("interrupted: the token %s is still good; raftkv auth token revoke %s ends it", args[1], args[1]))
			}
			if grace > 0 {
				s.sayLastUse(ctx, args[1], "after")
			}
			return s.revoke(ctx, args[1])
		})
	rotate.Flags().DurationVar(&grace, "grace", 0, "how long both tokens are good")
	for _, c := range []*cobra.Command{create, rotate} {
		c.Flags().StringVar(&ttl, "ttl", "", "how long the token is good, as 720h (default: for ever)")
		c.Flags().StringVar(&comment, "comment", "", "what the token is for")
		addTokenTo(c, &to)
	}
	command.AddCommand(create, rotate,
		authCommand("list", "List the tokens that you may manage", "List the tokens that you may manage: all, or your own. No token is shown, only its id.\nLAST USED is what the nodes at --endpoints know since they started.", `  raftkv auth token list`, noArguments,
			func(ctx context.Context, s *clerkSettings, out io.Writer, _ []string) error {
				return s.listTokens(ctx, out)
			}),
		authCommand("revoke ID", "Revoke a token by its id", "Revoke a token. When the command ends well, the token opens nothing any more.", `  raftkv auth token revoke 8xUfa3Kp`, arguments("ID"),
			func(ctx context.Context, s *clerkSettings, _ io.Writer, args []string) error {
				return s.revoke(ctx, args[0])
			}))
	return command
}

func (s *clerkSettings) revoke(ctx context.Context, id string) error {
	_, err := s.askAuth(ctx, http.MethodDelete, "/v1/auth/tokens/"+url.PathEscape(id), nil, nil)
	return err
}

// checkTokenOf refuses a token that is not that of an identity.
func (s *clerkSettings) checkTokenOf(ctx context.Context, identity, id string) error {
	var all api.AuthTokens
	if _, err := s.askAuth(ctx, http.MethodGet, "/v1/auth/tokens", nil, &all); err != nil {
		return err
	}
	for _, k := range all.Tokens {
		if k.ID == id && k.Identity == identity {
			return nil
		}
	}
	if _, err := s.askAuth(ctx, http.MethodGet, identityPath(identity), nil, nil); err != nil {
		return err // perhaps it is not this caller's to see
	}
	return exit.With(exit.Failed, fmt.Errorf("%s has no token %s that you may manage, so none was made in its place; raftkv auth token list shows them", identity, terminal.Harmless(id)))
}

// lastUses returns the last uses of tokens by their ids, as the nodes at the endpoints
// remember them, and the nodes that were asked.
func (s *clerkSettings) lastUses(ctx context.Context) (uses map[string]credential.Use, asked string) {
	endpoints, err := s.servers()
	if err != nil {
		return nil, err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, min(s.timeout, lastUsesLimit))
	defer cancel()
	return credential.LastUses(endpoints, func(endpoint string, of *api.AuthTokens) error {
		return askAuthAt(ctx, endpoint, http.MethodGet, "/v1/auth/tokens", nil, of, nil)
	})
}

// lastUsesLimit bounds the time for asking all nodes: some of them may be down.
const lastUsesLimit = 2 * time.Second

// sayLastUse tells the person when a token was last used.
func (s *clerkSettings) sayLastUse(ctx context.Context, id, when string) {
	uses, asked := s.lastUses(ctx)
	text := "no use of it is known"
	if last, used := uses[id]; used {
		text = fmt.Sprintf("it was last used at %s on %s", last.At.Format(time.DateTime), terminal.Harmless(last.Node))
	}
	fmt.Fprintf(s.stderr, "raftkv: the token %s, %s the grace: %s (known: %s)\n", terminal.Harmless(id), when, text, terminal.Harmless(asked))
}

func (s *clerkSettings) listTokens(ctx context.Context, out io.Writer) error {
	var all api.AuthTokens
	if _, err := s.askAuth(ctx, http.MethodGet, "/v1/auth/tokens", nil, &all); err != nil {
		return err
	}
	if s.json {
		return terminal.PrintJSON(out, all)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	uses, asked := s.lastUses(ctx)
	fmt.Fprintln(w, "ID\tIDENTITY\tCREATED\tEXPIRES\tLAST USED\tCOMMENT")
	for _, k := range all.Tokens {
		expires := "never"
		if k.Expires != nil {
			expires = k.Expires.Format(time.DateTime)
		}
		last := "-"
		if u, used := uses[k.ID]; used {
			last = u.At.Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Identity, k.Created.Format(time.DateTime), expires, last, terminal.Harmless(k.Comment))
	}
	fmt.Fprintf(s.stderr, "raftkv: uses are known of %s\n", terminal.Harmless(asked))
	return w.Flush()
}

func addTokenTo(command *cobra.Command, to *string) {
	command.Flags().StringVar(to, "token-to", "", "file to make for the token, which only you can use; it takes the place of no other")
}

// makeToken makes a token when before has gone well. It writes it to a new file, or with ""
// prints it, alone on its line.
func (s *clerkSettings) makeToken(ctx context.Context, out io.Writer, to string, asked api.NewToken, before func() error) error {
	var made api.AuthToken
	ask := func() error {
		if err := before(); err != nil {
			return err
		}
		// Under a key of its own a second node makes no second token, whatever the first has done.
		_, err := s.askAuth(ctx, http.MethodPost, "/v1/auth/tokens", asked, &made, api.HeaderIdempotencyKey, rand.Text())
		if err == nil && made.Token == "" {
			return exit.With(exit.Failed, fmt.Errorf("the token %s was made, and the answer with it was lost: raftkv auth token revoke %s ends it; then make another one", terminal.Harmless(made.ID), terminal.Harmless(made.ID)))
		}
		return err
	}
	if to != "" {
		file, err := credential.NewTokenFile(to)
		if err != nil {
			return err
		}
		if err := ask(); err != nil {
			file.Abandon()
			return err
		}
		if err := file.Keep(made.Token); err != nil {
			return exit.Fail(err)
		}
		return nil
	}
	if err := ask(); err != nil {
		return err
	}
	if s.json {
		return terminal.PrintJSON(out, made)
	}
	_, err := fmt.Fprintln(out, made.Token)
	return err
}
