package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/credential"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/refusal"
	"raftkv/cmd/raftkv/internal/secure"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

// clerkSettings are the flags that all commands have which talk to a running
// cluster.
type clerkSettings struct {
	endpoints string
	profile   string // the endpoints in the user's profile
	fixed     bool   // no other servers than endpoints
	timeout   time.Duration
	json      bool
	token     credential.Source
	tls       secure.ClientFiles
	trust     *tls.Config // made of tls; nil: nothing was said of it
	stderr    io.Writer   // for what is waited for; nil: nobody is told
}

const (
	// devEndpoints are where raftkv dev serves unless told otherwise.
	devEndpoints        = "127.0.0.1:8701,127.0.0.1:8702,127.0.0.1:8703"
	defaultClerkTimeout = 10 * time.Second
)

// addTo adds the flags to a command. A flag that is not given takes its value
// from its environment variable.
func (s *clerkSettings) addTo(command *cobra.Command) {
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&s.endpoints, "endpoints", "", "where servers take clients: host:port,… (default $"+endpointsVariable+", else those of the profile, else ports 8701 to 8703 of this host)")
	flags.BoolVar(&s.fixed, "fixed-endpoints", false, "ask no other server than these and the leader they name, whatever members the cluster has")
	flags.DurationVar(&s.timeout, "timeout", defaultClerkTimeout, "how long to go on trying ($"+timeoutVariable+")")
	flags.BoolVar(&s.json, "json", false, "print JSON ($"+jsonVariable+")")
	flags.StringVar(&s.tls.CA, "tls-ca", "", "CAs by which servers are verified; asks them by TLS ($"+trustVariable+")")
	flags.StringVar(&s.tls.Cert, "tls-cert", "", "certificate to show to servers that ask for one ($"+certVariable+")")
	flags.StringVar(&s.tls.Key, "tls-key", "", "its key ($"+keyVariable+")")
	flags.StringVar(&s.token.File, "token-file", "", "file with the token to send (default $"+credential.FileVariable+", else the token in $"+credential.Variable+", else the profile)")
	command.PreRunE = func(command *cobra.Command, _ []string) error {
		s.stderr = command.ErrOrStderr()
		do := command.RunE
		command.RunE = func(command *cobra.Command, args []string) error { return s.caller().Judge(do(command, args)) }
		return s.readEnvironment(command)
	}
}

// caller is what servers learn of this command, and by what it knows them.
func (s *clerkSettings) caller() refusal.Caller {
	c := refusal.Caller{CA: s.tls.CA, Cert: s.tls.Cert, Token: s.token.From(), Hint: credential.Misnamed()}
	c.Clear = strings.Contains(strings.ToLower(s.given()), "http://")
	return c
}

// The environment variables of commands that talk to a running cluster.
const (
	endpointsVariable = "RAFTKV_ENDPOINTS"
	timeoutVariable   = "RAFTKV_TIMEOUT"
	jsonVariable      = "RAFTKV_JSON"
	trustVariable     = "RAFTKV_TLS_CA"
	certVariable      = "RAFTKV_TLS_CERT"
	keyVariable       = "RAFTKV_TLS_KEY"
)

// commandVariables are the environment variables of the commands that talk to a
// running cluster. Those of serve are made of its settings, see settings.Variable.
var commandVariables = []string{endpointsVariable, timeoutVariable, jsonVariable, trustVariable, certVariable, keyVariable, credential.FileVariable, credential.Variable}

// readEnvironment takes from the environment what no flag says, and refuses what
// cannot be.
func (s *clerkSettings) readEnvironment(command *cobra.Command) error {
	for _, v := range []struct{ flag, variable string }{
		{"timeout", timeoutVariable}, {"json", jsonVariable}, {"tls-ca", trustVariable}, {"tls-cert", certVariable}, {"tls-key", keyVariable},
	} {
		value, set := os.LookupEnv(v.variable)
		if !set || value == "" || command.Flags().Changed(v.flag) {
			continue
		}
		if err := command.Flags().Lookup(v.flag).Value.Set(value); err != nil {
			return fmt.Errorf("%s is %q: %w", v.variable, value, err)
		}
	}
	if err := s.checkTimeout(); err != nil {
		return err
	}
	if err := s.readProfile(); err != nil {
		return err
	}
	if s.endpoints == "" && command.Flags().Changed("endpoints") {
		return errors.New("--endpoints is empty; give at least one endpoint, host:port, or leave the flag out")
	}
	servers, err := s.servers()
	if err != nil {
		return err
	}
	// A wrong token is said before anything is asked, and so is one that may not be sent.
	token, err := s.token.Token()
	if err != nil {
		return err
	}
	for _, endpoint := range servers {
		if err := ask.CheckClear(endpoint); err != nil && !token.IsZero() {
			return err
		}
	}
	if warning := s.token.Warning(); warning != "" {
		fmt.Fprintf(s.stderr, "raftkv: %s\n", warning)
	}
	ask.Authorize(s.token.Token)
	ask.Word(s.caller().Mistake)
	return s.settleTrust()
}

// readProfile takes from the user's profile what neither a flag nor a variable says. Its files
// of TLS are for all endpoints but those that are to be asked in clear.
func (s *clerkSettings) readProfile() error {
	own, err := credential.ProfileSettings()
	if err != nil {
		return err
	}
	s.profile = own.Endpoints
	if inClear := strings.Contains(strings.ToLower(s.given()), "http://"); inClear {
		return nil
	}
	s.tls.CA = cmp.Or(s.tls.CA, own.CA)
	if s.tls.Cert == "" && s.tls.Key == "" {
		s.tls.Cert, s.tls.Key = own.Cert, own.Key
	}
	return nil
}

// given returns the endpoints as they were written.
func (s *clerkSettings) given() string {
	return cmp.Or(s.endpoints, os.Getenv(endpointsVariable), s.profile, devEndpoints)
}

// settleTrust reads the files by which servers are verified.
func (s *clerkSettings) settleTrust() (err error) {
	if !s.tls.Given() {
		return nil
	}
	if s.trust, err = s.tls.Config(); err == nil {
		ask.Trust(s.trust)
	}
	return err
}

// servers returns the endpoints, host:port each, or https://host:port if they are asked by
// TLS.
func (s *clerkSettings) servers() ([]string, error) {
	given := s.given()
	all, err := client.ParseEndpoints(given)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "client: "))
	}
	if !s.tls.Given() {
		return all, nil
	}
	if strings.Contains(strings.ToLower(given), "http://") {
		return nil, errors.New("an endpoint begins with http://, which asks for no TLS, and --tls-ca or --tls-cert does; write https://, or leave the files out")
	}
	for i, e := range all {
		all[i] = "https://" + client.Address(e)
	}
	return all, nil
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
	ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer endOfSignals()
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	clerk, end, err := s.dial(ctx, client.Config{})
	if err != nil {
		return err
	}
	defer end()
	return s.ending(call(ctx, clerk))
}

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

// dial makes a Clerk of the endpoints. Until end is called a terminal shows what
// is waited for.
func (s *clerkSettings) dial(ctx context.Context, config client.Config) (clerk *client.Clerk, end func(), err error) {
	if config.Endpoints, err = s.servers(); err != nil {
		return nil, nil, err
	}
	config.TLS, config.FixedEndpoints = s.trust, s.fixed
	if token, err := s.token.Token(); err != nil {
		return nil, nil, err
	} else if !token.IsZero() {
		config.Token = func(context.Context) (string, error) {
			token, err := s.token.Token()
			return token.Reveal(), err
		}
	}
	w := terminal.StartWaiting(cmp.Or[io.Writer](s.stderr, io.Discard))
	told := config.OnRefusal
	config.OnRefusal = func(r client.Refusal) {
		w.Note(r)
		if told != nil {
			told(r)
		}
	}
	if clerk, err = client.Dial(ctx, config); err != nil {
		w.Stop()
		return nil, nil, s.ending(err)
	}
	return clerk, func() {
		w.Stop()
		clerk.Close()
	}, nil
}

// ending gives an error of the Clerk its words and its exit code.
func (s *clerkSettings) ending(err error) error {
	var e *client.Error
	var settled *exit.Ending
	if !errors.As(err, &e) || errors.As(err, &settled) {
		return err // a setting of the Clerk, a file of the user's; or it has both
	}
	text := &refusal.Worded{Text: s.explain(e), Err: e}
	switch {
	case errors.Is(err, client.ErrOutcomeUnknown):
		return exit.With(exit.Unknown, text)
	case errors.Is(err, client.ErrLeaseLost):
		return exit.With(exit.LeaseGone, text)
	case errors.Is(err, client.ErrNotFound), errors.Is(err, client.ErrConflict), errors.Is(err, client.ErrTooManyKeys),
		errors.Is(err, client.ErrLeaseExists), errors.Is(err, client.ErrLeaseFull), errors.Is(err, client.ErrLockHeld), errors.Is(err, client.ErrLockLost), errors.Is(err, client.ErrRevisionGone):
		return exit.With(exit.Failed, text)
	case errors.Is(err, client.ErrInvalid) && len(e.Refusals) == 0:
		return text
	case errors.Is(err, client.ErrTooLarge):
		return exit.With(exit.Usage, text)
	}
	return exit.With(exit.Unavailable, text)
}

// refusals returns the refusals that an error holds, those that the caller can mend in words
// for that, whether a server runs at any of the addresses, and whether the caller can mend all.
func (s *clerkSettings) refusals(e *client.Error) (all []client.Refusal, answered, mendable bool) {
	caller := s.caller()
	mendable = true
	for _, r := range e.Refusals {
		cause := r.Err
		if cause == nil && ask.SaysTLSOnly(r.Reason) {
			cause = ask.ErrTLSOnly
		}
		mistake := caller.Mistake(cause)
		answered = answered || r.Node != "" || r.Code != "" || mistake != ""
		mendable = mendable && mistake != ""
		r.Reason = cmp.Or(mistake, r.Reason)
		all = append(all, r)
	}
	return all, answered, mendable
}

// explain says in one sentence why a call failed: what each server said, and what
// to do about it.
func (s *clerkSettings) explain(e *client.Error) string {
	if len(e.Refusals) == 0 {
		return strings.TrimPrefix(e.Error(), "raftkv: ") // run puts the name before it
	}
	refusals, answered, mendable := s.refusals(e)
	var b strings.Builder
	switch {
	case errors.Is(e, context.Canceled):
		b.WriteString("interrupted: ")
	case errors.Is(e, context.DeadlineExceeded) && answered:
		fmt.Fprintf(&b, "it could not be done within %v: ", s.timeout)
	case errors.Is(e, context.DeadlineExceeded):
		fmt.Fprintf(&b, "no server answered within %v: ", s.timeout)
	case !answered:
		b.WriteString("no server can answer: ")
	}
	b.WriteString(client.Explain(refusals))
	if e.Outcome == api.OutcomeUnknown {
		b.WriteString(" (the write may have happened or may still happen, once)")
	}
	if !mendable {
		b.WriteString(adviceFor(e, answered))
	}
	return b.String()
}

// adviceFor says what to do about a call that failed; "" if that was said.
func adviceFor(e *client.Error, answered bool) string {
	unreachable := 0
	var dns *net.DNSError
	if !answered && len(e.Refusals) > 0 && errors.As(e, &dns) {
		return ". Check the names in --endpoints"
	}
	for _, r := range e.Refusals {
		if r.Node == "" && r.Code == "" {
			unreachable++
		}
	}
	switch {
	case e.Code == api.CodeNoLeader && e.Leader != "" && e.Leader != e.Node:
		return fmt.Sprintf(". Name in --endpoints an address at which this machine reaches %s, which leads", e.Leader)
	case e.Code == api.CodeNoLeader && answered:
		return ". A majority of the nodes must run and reach each other; `raftkv status` shows which do"
	case unreachable == len(e.Refusals) && !answered:
		return ask.NobodyThere
	}
	return ""
}

// readValue returns a value as it is given on a command line: itself, - for
// standard input, or @ and the name of a file.
func readValue(argument string, stdin io.Reader) ([]byte, error) {
	from := stdin
	if name, isFile := strings.CutPrefix(argument, "@"); isFile {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("cannot open the value's file %s: %w", name, exit.LastCause(err))
		}
		defer f.Close()
		from = f
	} else if argument != "-" {
		return []byte(argument), nil
	} else if terminal.InputIsClosed(stdin) {
		return nil, errors.New("standard input is closed, so there is no value to read; for an empty value say ''")
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
file. A value that begins with @, or is -, goes by standard input. One that
begins with - and is no flag goes behind --, as in put KEY -- -5.`

// memberClient is the flags of the commands of packages of their own.
type memberClient struct{ clerkSettings }

func (c *memberClient) AddTo(command *cobra.Command) { c.addTo(command) }
func (c *memberClient) Servers() ([]string, error)   { return c.servers() }
func (c *memberClient) Limit() time.Duration         { return c.timeout }
func (c *memberClient) JSON() bool                   { return c.json }

func (c *memberClient) Long(calls func(ctx context.Context, clerk *client.Clerk) error) error {
	return clerkCalls{&c.clerkSettings}.run(calls)
}

func (c *memberClient) With(call func(ctx context.Context, clerk *client.Clerk) error) error {
	return c.with(call)
}
