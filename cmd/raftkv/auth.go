package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/credential"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
	"raftkv/kvserver/auth"
)

func newAuthCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "auth",
		Short: "Manage identities, their tokens and what they may do",
		Long: `Manage the identities of a cluster: who may do what, and by which token.

A command sends the token in the file of --token-file, else in the file that
RAFTKV_TOKEN_FILE names, else the one in RAFTKV_AUTH_TOKEN, else the one in the
profile (config.toml in raftkv's directory among your settings, mode 0600, with
token = "…" or token-file = "…").
docs/security.md says what identities, rules and states are.`,
		Example: `  raftkv auth init root --token-to root.token      on the leader's machine, once
  export RAFTKV_TOKEN_FILE=root.token
  raftkv auth identity put svc --rule '{"prefix":"svc/","rights":["read"]}'
  raftkv auth token create svc --ttl 720h --token-to svc.token
  raftkv auth state observe
  raftkv auth state enforce`,
		Args: noArguments,
		RunE: showHelp,
	}
	command.AddCommand(newAuthInitCommand(), newAuthIdentityCommand(), newAuthTokenCommand(), newAuthStateCommand(),
		newAuthCheckCommand(), newAuthObserveCommand(), newAuthFileEntryCommand())
	return command
}

// authCommand makes a command that asks a cluster about identities.
func authCommand(use, short, long, example string, args cobra.PositionalArgs, run func(ctx context.Context, s *clerkSettings, out io.Writer, args []string) error) *cobra.Command {
	var s clerkSettings
	command := &cobra.Command{Use: use, Short: short, Long: long, Example: example, Args: args}
	command.RunE = func(command *cobra.Command, args []string) error {
		ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer endOfSignals()
		return run(ctx, &s, command.OutOrStdout(), args)
	}
	s.addTo(command)
	return command
}

// askAuth makes a call about identities at a node that can answer it, and reads the answer into
// to, unless that is nil. It returns the header of the answer.
func (s *clerkSettings) askAuth(ctx context.Context, method, path string, body, to any, headers ...string) (http.Header, error) {
	endpoints, err := s.servers()
	if err != nil {
		return nil, err
	}
	call := ask.Call{Method: method, Path: path, Headers: headers, To: to, Code: codeOfAuth, Sentence: "no node did it: "}
	if body != nil {
		if call.Body, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return call.Make(ctx, endpoints)
}

// codeOfAuth is the exit code of a refusal.
func codeOfAuth(refused *ask.RefusedError) int {
	switch refused.Code {
	case api.CodeBadRequest:
		return exit.Usage // the same mistake, seen by the server
	case api.CodeLastAdmin:
		return exit.Refused
	}
	return exit.Failed
}

// askAuthAt is askAuth at one node.
func askAuthAt(ctx context.Context, endpoint, method, path string, body []byte, to any, headers []string) error {
	response, err := ask.Node(ctx, endpoint, method, path, bytes.NewReader(body), headers...)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if to == nil {
		return nil
	}
	answer, err := ask.ReadAnswer(response)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, to)
}

func identityPath(name string) string { return "/v1/auth/identities/" + url.PathEscape(name) }

func newAuthInitCommand() *cobra.Command {
	var to string
	command := authCommand("init NAME", "Make the first admin and print its token",
		`Make the identity NAME, which may do everything, with a token, and print the
token or write it to --token-to. This is possible on the leader's own machine while
identities are off, or by an admin. The token is shown this once.`,
		`  raftkv auth init root --token-to root.token`, arguments("NAME"),
		func(ctx context.Context, s *clerkSettings, out io.Writer, args []string) error {
			admin := api.Identity{Rules: json.RawMessage(`[{"rights":["admin"]}]`)}
			return s.makeToken(ctx, out, to, api.NewToken{Identity: args[0], Comment: "auth init"}, func() error {
				_, err := s.askAuth(ctx, http.MethodPut, identityPath(args[0]), admin, nil)
				return err
			})
		})
	addTokenTo(command, &to)
	return command
}

func newAuthIdentityCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "identity", Short: "List, show, make, change or remove identities", Args: noArguments, RunE: showHelp,
		Example: `  raftkv auth identity list
  raftkv auth identity put svc --rule '{"prefix":"svc/","rights":["read"]}'
  raftkv auth identity put anonymous --rule '{"key":"motd","rights":["read"]}'
  raftkv auth identity delete svc-orders`,
	}
	var rules []string
	var limits string
	var disabled bool
	var put *cobra.Command
	put = authCommand("put NAME", "Make an identity, or replace its rules",
		`Make the identity NAME, or give it these rules and limits in place of those that it
has. What is not given stays as it is, and so do its tokens. Each --rule is an object
as docs/security.md describes it.`,
		`  raftkv auth identity put svc --rule '{"prefix":"svc/","rights":["read","list"]}'`, arguments("NAME"),
		func(ctx context.Context, s *clerkSettings, out io.Writer, args []string) error {
			asked := api.Identity{Rules: json.RawMessage("[" + strings.Join(rules, ",") + "]"), Disabled: disabled}
			if limits != "" {
				asked.Limits = json.RawMessage(limits)
			}
			if slices.Contains(rules, "") {
				return errors.New("a --rule is empty, and would take the rules of the identity away; give a rule, or --disabled, which ends what its tokens open")
			}
			if !json.Valid(asked.Rules) || limits != "" && !json.Valid(asked.Limits) {
				return errors.New("a --rule or --limits is no JSON; a rule is an object such as {\"prefix\":\"orders/\",\"rights\":[\"read\"]}")
			}
			return s.putIdentity(ctx, args[0], asked, put.Flags().Changed)
		})
	put.Flags().StringArrayVar(&rules, "rule", nil, "a rule, as JSON; may be given several times")
	put.Flags().StringVar(&limits, "limits", "", `limits, as JSON: {"requests_per_second":100}`)
	put.Flags().BoolVar(&disabled, "disabled", false, "its tokens open nothing")
	command.AddCommand(put,
		authCommand("list", "List the identities with their rules and tokens", "List the identities with their rules and tokens.", `  raftkv auth identity list`, noArguments,
			func(ctx context.Context, s *clerkSettings, out io.Writer, _ []string) error {
				return s.listIdentities(ctx, out)
			}),
		authCommand("get NAME", "Show an identity as JSON", "Show an identity with its rules, limits and tokens, as JSON.", `  raftkv auth identity get svc-orders`, arguments("NAME"),
			func(ctx context.Context, s *clerkSettings, out io.Writer, args []string) error {
				var i api.Identity
				if _, err := s.askAuth(ctx, http.MethodGet, identityPath(args[0]), nil, &i); err != nil {
					return err
				}
				return terminal.PrintJSON(out, i)
			}),
		authCommand("delete NAME", "Remove an identity with its tokens", "Remove an identity with its tokens.", `  raftkv auth identity delete svc-orders`, arguments("NAME"),
			func(ctx context.Context, s *clerkSettings, _ io.Writer, args []string) error {
				_, err := s.askAuth(ctx, http.MethodDelete, identityPath(args[0]), nil, nil)
				return err
			}))
	return command
}

// neverChanged is the ETag of a table that nobody has changed yet, which no If-Match can name.
const neverChanged = `"0"`

// maxPuts bounds how often a change of an identity begins anew because the table has changed.
const maxPuts = 5

// putIdentity makes an identity, or changes what flags give of one that is there.
func (s *clerkSettings) putIdentity(ctx context.Context, name string, given api.Identity, isGiven func(flag string) bool) error {
	for attempt := 1; ; attempt++ {
		asked := given
		seen, err := s.keepOthers(ctx, name, &asked, isGiven)
		if err != nil {
			return err
		}
		var only []string
		if seen != "" {
			only = []string{"If-Match", seen} // or what another admin has done meanwhile would be undone
		}
		_, err = s.askAuth(ctx, http.MethodPut, identityPath(name), asked, nil, only...)
		refused := ask.Final(err)
		if refused == nil || refused.Code != api.CodePreconditionFailed || ask.MayBeDone(err) || attempt == maxPuts {
			return err
		}
	}
}

// keepOthers fills in what an identity has already, if there is one, for what no flag gives. seen
// is the table's revision of which that is so, or of which there is none, as an ETag; "" if the
// change needs no condition.
func (s *clerkSettings) keepOthers(ctx context.Context, name string, asked *api.Identity, given func(flag string) bool) (seen string, err error) {
	if given("rule") && given("limits") && given("disabled") {
		return "", nil
	}
	var old api.Identity
	header, err := s.askAuth(ctx, http.MethodGet, identityPath(name), nil, &old)
	if refused := ask.Final(err); refused != nil && refused.Code == api.CodeNotFound {
		if refused.ETag == neverChanged {
			return "", nil
		}
		return refused.ETag, nil // another admin may make it meanwhile
	}
	if err != nil {
		return "", err
	}
	if !given("rule") {
		asked.Rules = old.Rules
	}
	if !given("limits") {
		asked.Limits = old.Limits
	}
	if !given("disabled") {
		asked.Disabled = old.Disabled
	}
	return header.Get("Etag"), nil
}

func (s *clerkSettings) listIdentities(ctx context.Context, out io.Writer) error {
	var all api.Identities
	if _, err := s.askAuth(ctx, http.MethodGet, "/v1/auth/identities", nil, &all); err != nil {
		return err
	}
	if s.json {
		return terminal.PrintJSON(out, all)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tTOKENS\tRULES")
	for _, i := range all.Identities {
		name := i.Name
		if i.Disabled {
			name += " (disabled)"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\n", name, len(i.Tokens), terminal.Harmless(string(i.Rules)))
	}
	return w.Flush()
}

func newAuthStateCommand() *cobra.Command {
	return authCommand("state [off|observe|enforce]", "Show or set how far identities count",
		`Without an argument print the state of the cluster. With one, set it: off (everything
is served), observe (everything is served, and what would be refused is told) or
enforce (what no rule grants is refused). Only an admin can set it.`,
		`  raftkv auth state
  raftkv auth state observe`, cobra.MaximumNArgs(1),
		func(ctx context.Context, s *clerkSettings, out io.Writer, args []string) error {
			var state api.AuthState
			method, asked := http.MethodGet, any(nil)
			if len(args) == 1 {
				if _, known := auth.ParseState(args[0]); !known {
					return fmt.Errorf("the state is %.20q; choose off, observe or enforce", args[0])
				}
				method, asked = http.MethodPut, api.AuthState{State: args[0]}
			}
			if _, err := s.askAuth(ctx, method, "/v1/auth/state", asked, &state); err != nil {
				return err
			}
			if s.json {
				return terminal.PrintJSON(out, state)
			}
			_, err := fmt.Fprintln(out, terminal.Harmless(state.State))
			return err
		})
}

func newAuthCheckCommand() *cobra.Command {
	var key, prefix, lock string
	var command *cobra.Command
	command = authCommand("check IDENTITY RIGHT", "Say whether an identity may do something, and by which rule",
		`Say whether the identity may use the right: on --key, on all of --prefix, on --lock,
or on the system. Exit code 1 says that it may not.`,
		`  raftkv auth check svc-orders read --key orders/1
  raftkv auth check svc-orders list --prefix orders/
  raftkv auth check ops backup`, arguments("IDENTITY", "RIGHT"),
		func(ctx context.Context, s *clerkSettings, out io.Writer, args []string) error {
			asked := api.AuthCheck{Identity: args[0], Right: args[1]}
			for _, given := range []struct {
				flag string
				text *string
				to   **string
			}{{"key", &key, &asked.Key}, {"prefix", &prefix, &asked.Prefix}, {"lock", &lock, &asked.Lock}} {
				if command.Flags().Changed(given.flag) {
					*given.to = given.text
				}
			}
			var answer api.AuthChecked
			if _, err := s.askAuth(ctx, http.MethodPost, "/v1/auth/check", asked, &answer); err != nil {
				return err
			}
			if s.json {
				if err := terminal.PrintJSON(out, answer); err != nil || answer.Allowed {
					return err
				}
			} else if answer.Allowed {
				_, err := fmt.Fprintf(out, "yes: %s %s\n", answer.Why, terminal.Harmless(string(answer.Rule)))
				return err
			}
			return exit.With(exit.Failed, fmt.Errorf("no: %s", answer.Why))
		})
	command.Flags().StringVar(&key, "key", "", "on this key")
	command.Flags().StringVar(&prefix, "prefix", "", "on all keys that begin with it")
	command.Flags().StringVar(&lock, "lock", "", "on this lock")
	return command
}

func newAuthObserveCommand() *cobra.Command {
	var watch bool
	command := authCommand("observe", "List what would be refused if identities were enforced",
		`List what the nodes at --endpoints have served of late and would refuse if identities
were enforced: the identity and the right, by node. Put the cluster into the state
observe first. Each node has --timeout to answer; with --watch two seconds at most.
Exit code 3 says that the list lacks a node, also where --watch is interrupted.`,
		`  raftkv auth observe
  raftkv auth observe --watch`, noArguments,
		func(ctx context.Context, s *clerkSettings, out io.Writer, _ []string) error {
			endpoints, err := s.servers()
			if err != nil {
				return err
			}
			limit := s.timeout
			if watch {
				limit = min(limit, 2*time.Second) // for so long a silent node holds up what the others tell
			}
			o := observation{told: map[string]bool{}, absent: map[string][]string{}}
			for {
				final, err := o.look(ctx, endpoints, limit, out)
				if err != nil || final || !watch {
					return cmp.Or(err, o.missing)
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
					return o.missing
				}
			}
		})
	command.Flags().BoolVar(&watch, "watch", false, "go on until interrupted, and print what is new")
	return command
}

// observation is what was printed of the nodes' lists, over all looks at them.
type observation struct {
	told    map[string]bool     // lines of lists
	absent  map[string][]string // why a node told nothing, as printed since it last told
	heard   bool                // some node has told its list
	looks   int
	missing error // which nodes the list lacks after the last look; nil: none
}

// look asks all nodes side by side, so that none hides another, and prints what is new in the
// order of the endpoints. final says that no further look can do better.
func (o *observation) look(ctx context.Context, endpoints []string, limit time.Duration, out io.Writer) (final bool, err error) {
	lists, failures := make([]api.AuthState, len(endpoints)), make([]error, len(endpoints))
	var asking sync.WaitGroup
	for i, endpoint := range endpoints {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			failures[i] = askAuthAt(ctx, endpoint, http.MethodGet, "/v1/auth/state", nil, &lists[i], nil)
		})
	}
	asking.Wait()
	if ctx.Err() != nil && o.looks > 0 {
		return false, nil // an interrupt makes no node a missing one
	}
	o.looks++
	for i, endpoint := range endpoints {
		for _, news := range o.news(endpoint, lists[i].WouldDeny, failures[i]) {
			if _, err := fmt.Fprintln(out, endpoint+"  "+terminal.Harmless(news)); err != nil {
				return false, err
			}
		}
	}
	o.missing, final = o.lacks(endpoints, failures)
	return final, nil
}

// news returns what is to be printed of a node: that it tells nothing, for each reason once;
// that it tells again; and what of its list was not told yet.
func (o *observation) news(endpoint string, list []string, failure error) (news []string) {
	reasons, was := o.absent[endpoint]
	if failure != nil {
		if slices.Contains(reasons, failure.Error()) {
			return nil
		}
		o.absent[endpoint] = append(reasons, failure.Error())
		what := "is not heard"
		if refused := (*ask.RefusedError)(nil); errors.As(failure, &refused) {
			what = "does not tell"
		}
		return []string{what + ", so what it served is missing here: " + failure.Error()}
	}
	if was {
		delete(o.absent, endpoint)
		news = append(news, "is heard again")
	}
	for _, line := range list {
		if of := endpoint + "  " + line; !o.told[of] {
			o.told[of] = true
			news = append(news, line)
		}
	}
	return news
}

// lacks returns an error about the nodes that told nothing; nil if there are none. final says
// that all nodes that answered refuse the caller alike. One node alone may lag behind the table
// of identities, and is then a missing one.
func (o *observation) lacks(endpoints []string, failures []error) (missing error, final bool) {
	var reasons ask.Reasons
	codes := map[api.Code]bool{}
	for i, err := range failures {
		if err == nil {
			continue
		}
		reasons.Add(endpoints[i], err)
		if refused := (*ask.RefusedError)(nil); errors.As(err, &refused) {
			codes[refused.Code] = true
			final = !refused.IsUnavailable()
		}
	}
	lacking := len(reasons.Unwrap())
	some := lacking < len(endpoints)
	o.heard = o.heard || some
	switch {
	case lacking == 0:
		return nil, false
	case some: // without the reasons as errors: the caller was not refused as a whole
		return exit.With(exit.Unavailable, fmt.Errorf("the list lacks %d of %d nodes: %s", lacking, len(endpoints), reasons.Error())), false
	case o.heard: // so a cluster does run there
		return exit.With(exit.Unavailable, fmt.Errorf("no node tells its list any more: %w", &reasons)), final && len(codes) == 1
	}
	return reasons.Ended(exit.Unavailable, "no node tells its list: "), final && len(codes) == 1
}

func newAuthFileEntryCommand() *cobra.Command {
	var rights, tokenFile string
	command := &cobra.Command{
		Use:   "file-entry NAME",
		Short: "Make a token for a node's own file, and print the entry",
		Long: `Make a token for an identity of a node's own file (serve --auth-file), write the
token to the file of --token-to, which nobody else can read, and print the entry, which
holds its hash alone. Such an identity is good on the nodes that have the entry, whatever
the cluster's table says, and never reaches a key.`,
		Example: `  raftkv auth file-entry ops --rights status,metrics,auth --token-to ops.token >> auth.toml`,
		Args:    arguments("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			var random [auth.SecretBytes + 8]byte
			rand.Read(random[:])
			token := auth.MakeToken(auth.TokenIDOf([8]byte(random[:8])), [auth.SecretBytes]byte(random[8:]))
			entry, err := credential.Entry(args[0], listOf(rights), token)
			if err != nil {
				return err
			}
			if tokenFile == "" {
				return errors.New("--token-to is missing: name the file that shall hold the token")
			}
			file, err := credential.NewTokenFile(tokenFile)
			if err != nil {
				return err
			}
			if err := file.Keep(token.Reveal()); err != nil {
				return exit.Fail(err)
			}
			_, err = fmt.Fprint(command.OutOrStdout(), entry)
			return err
		},
	}
	command.Flags().StringVar(&rights, "rights", "status,metrics", "rights on the system: status, metrics, members, backup, auth")
	command.Flags().StringVar(&tokenFile, "token-to", "", "file to make for the token")
	return command
}
