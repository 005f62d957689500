package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"raftkv/client"
	"raftkv/client/verify"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/status"
	"raftkv/cmd/raftkv/internal/target"
	"raftkv/cmd/raftkv/internal/terminal"
)

// verifySettings are the flags of verify.
type verifySettings struct {
	clerkSettings
	clients, keys int
	duration      time.Duration
	rate          float64
	checkLimit    time.Duration
	picture       target.File
	plant         bool
	watch, ttl    bool
	locks         bool
	denied        atomic.Value // of deniedCall; empty: no server refused the caller
}

func newVerifyCommand() *cobra.Command {
	var s verifySettings
	command := &cobra.Command{
		Use:   "verify",
		Short: "Check that a running cluster is linearizable",
		Long: `Drive a running cluster with concurrent clients that write, read and list a few
keys, record every response, and check that the history is linearizable: that
some order of the operations explains all answers. Stale reads are left out of the
order; they may only show what was written, and nothing older than they ask for.
Meanwhile kill nodes, cut connections, stop processes.

With --watch, --ttl or --locks something else is checked: that watches bring every
change of the keys once, in order and whole, on every node and over every loss of one;
that keys end with their leases and TTLs, none before its time, and the keys of a
lease together; that a lock never has two holders, neither in the log nor by what they
believe, and that nobody but its holder writes under it. All need level 3, and several
may be given.

Exit code 0: the history is linearizable. 1: it is not; an HTML picture of the
history of the key is written. 5: the search did not end in time; nobody knows.
A file that is there is not touched by the picture without --force.
The keys begin with raftkv-verify/ and are removed at the end. With --stale-read
one read is made to tell an old value, to show that this is found.`,
		Example: `  raftkv verify
  raftkv verify --duration 1m --clients 16 --rate 2000
  raftkv verify --check-limit 10m --picture found.html
  raftkv verify --watch --ttl --locks --duration 1m`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			return s.run(command.OutOrStdout(), command.ErrOrStderr())
		},
	}
	s.addTo(command)
	command.Flags().Lookup("timeout").Usage = "how long one request goes on trying"
	flags := command.Flags()
	flags.IntVar(&s.clients, "clients", 10, "clients, each with one request outstanding")
	flags.IntVar(&s.keys, "keys", 5, "number of different keys")
	flags.DurationVar(&s.duration, "duration", 10*time.Second, "how long to drive the cluster")
	flags.Float64Var(&s.rate, "rate", 1000, "requests per second of all clients together at most; 0: as many as they can")
	flags.DurationVar(&s.checkLimit, "check-limit", 5*time.Minute, "how long to search an order")
	flags.StringVar(&s.picture.Path, "picture", "", "file for the picture of a violation (default raftkv-verify.html, or the next free raftkv-verify-2.html, …)")
	flags.BoolVar(&s.picture.Force, "force", false, "let the picture replace a file that is there")
	flags.BoolVar(&s.watch, "watch", false, "check what watches bring, instead of the order of calls")
	flags.BoolVar(&s.ttl, "ttl", false, "check the ends of keys and leases, instead of the order of calls")
	flags.BoolVar(&s.locks, "locks", false, "check who holds locks and writes under them, instead of the order of calls")
	flags.BoolVar(&s.plant, "stale-read", false, "let one read lie, to show that it is found")
	return command
}

const (
	mostVerifyClients = 1000
	mostVerifyKeys    = 10_000
)

func (s *verifySettings) check() error {
	switch {
	case s.clients < 1 || s.clients > mostVerifyClients:
		return fmt.Errorf("--clients is %d; choose 1 to %d", s.clients, mostVerifyClients)
	case s.keys < 1 || s.keys > mostVerifyKeys:
		return fmt.Errorf("--keys is %d; choose 1 to %d", s.keys, mostVerifyKeys)
	case s.duration <= 0 || s.timeout <= 0 || s.checkLimit <= 0:
		return errors.New("--duration, --timeout and --check-limit must be above 0")
	case s.plant && (s.watch || s.ttl || s.locks):
		return errors.New("--stale-read is for the check of the order of calls; leave it, or --watch, --ttl and --locks, out")
	}
	return checkRate(s.rate)
}

// verification is the result in JSON.
type verification struct {
	Verdict    verify.Verdict `json:"verdict"`
	Key        string         `json:"key,omitempty"`
	Stale      string         `json:"stale,omitempty"` // what a stale read showed that it may not
	Wrong      string         `json:"wrong,omitempty"` // the first answer that fits into no order
	Picture    string         `json:"picture,omitempty"`
	Operations int            `json:"operations"`
	Unknown    int            `json:"unknown"` // operations whose outcome is not known
	Refused    int            `json:"refused"` // requests that did not happen
	Keys       int            `json:"keys"`
	Clients    int            `json:"clients"`
	CheckMs    int64          `json:"check_ms"`
}

func (s *verifySettings) run(out, stderr io.Writer) error {
	if err := s.check(); err != nil {
		return err
	}
	ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer endOfSignals()
	if s.watch || s.ttl || s.locks {
		return s.promises(ctx, out, stderr)
	}
	if err := s.settlePicture(); err != nil {
		return err
	}
	history, err := s.drive(ctx, stderr)
	if err != nil {
		return err
	}
	bar := terminal.StartProgress(stderr, "searching an order", int64(s.keys))
	begun := time.Now()
	finding := history.Check(s.checkLimit, func(done, _ int) { bar.Set(int64(done)) })
	bar.Finish()
	v := verification{
		Verdict: finding.Verdict, Key: finding.Key, Stale: finding.Stale, Operations: history.Size(), Unknown: history.Unknown(), Refused: history.Refused(),
		Keys: s.keys, Clients: s.clients, CheckMs: time.Since(begun).Milliseconds(),
	}
	if finding.Verdict == verify.Violation {
		if err := s.draw(finding); err != nil {
			return exit.Fail(err)
		}
		v.Picture, v.Wrong = s.picture.Path, finding.Wrong()
	}
	return s.report(out, v)
}

// drive makes the history.
func (s *verifySettings) drive(ctx context.Context, stderr io.Writer) (*verify.History, error) {
	dialling, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	clerk, end, err := s.dial(dialling, client.Config{})
	if err != nil {
		return nil, err
	}
	defer end()
	bar := terminal.StartProgress(stderr, "driving the cluster", s.duration.Milliseconds())
	defer bar.Finish()
	config := s.config()
	config.PlantStaleRead = s.plant
	config.Answered = func(a verify.Answer) {
		if errors.Is(a.Err, client.ErrUnauthenticated) || errors.Is(a.Err, client.ErrForbidden) {
			s.denied.Store(deniedCall{a.Err})
		}
	}
	config.Progress = func(passed time.Duration) { bar.Set(min(passed, s.duration).Milliseconds()) }
	return verify.Run(ctx, []*client.Clerk{clerk}, config), nil
}

// config is the way to drive the cluster, under keys of its own.
func (s *verifySettings) config() verify.Config {
	return verify.Config{
		Clients: s.clients, Keys: s.keys, Duration: s.duration, Timeout: s.timeout, Rate: s.rate,
		Prefix: "raftkv-verify/" + rand.Text()[:8] + "/",
	}
}

// promise is what --watch, --ttl or --locks checks.
type promise struct {
	name string
	run  func(context.Context, []*client.Clerk, verify.Config) (verify.Report, error)
}

// promises checks what was asked for, at the same time.
func (s *verifySettings) promises(ctx context.Context, out, stderr io.Writer) error {
	dialling, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	clerk, end, err := s.dial(dialling, client.Config{})
	if err != nil {
		return err
	}
	defer end()
	var all []promise
	if s.watch {
		all = append(all, promise{"watch", verify.RunStreams})
	}
	if s.ttl {
		all = append(all, promise{"ttl", verify.RunEnds})
	}
	if s.locks {
		all = append(all, promise{"locks", verify.RunLocks})
	}
	bar := terminal.StartProgress(stderr, "driving the cluster", s.duration.Milliseconds())
	reports, failed := make([]verify.Report, len(all)), make([]error, len(all))
	var running sync.WaitGroup
	for i, p := range all {
		config := s.config()
		if i == 0 {
			config.Progress = func(passed time.Duration) { bar.Set(min(passed, s.duration).Milliseconds()) }
		}
		running.Go(func() { reports[i], failed[i] = p.run(ctx, []*client.Clerk{clerk}, config) })
	}
	running.Wait()
	bar.Finish()
	if err := errors.Join(failed...); err != nil {
		return s.ending(err)
	}
	return s.reportPromises(out, all, reports)
}

// reportPromises prints what came out, and gives the worst of it its exit code.
func (s *verifySettings) reportPromises(out io.Writer, all []promise, reports []verify.Report) error {
	byName := map[string]verify.Report{}
	for i, p := range all {
		byName[p.name] = reports[i]
	}
	if s.json {
		if err := terminal.PrintJSON(out, byName); err != nil {
			return err
		}
	}
	var broken, missing error
	for i, p := range all {
		r := &reports[i]
		if !s.json {
			var counts []string
			for _, what := range slices.Sorted(maps.Keys(r.Counts)) {
				counts = append(counts, fmt.Sprintf("%d %s", r.Counts[what], what))
			}
			fmt.Fprintf(out, "%s: %s: %s\n", p.name, r.Verdict, strings.Join(counts, ", "))
			for _, fault := range r.Faults {
				fmt.Fprintf(out, "  %s\n", fault)
			}
		}
		switch {
		case r.Verdict == verify.Broken && broken == nil:
			broken = exit.With(exit.Failed, fmt.Errorf("%s: %d faults; the first: %s", p.name, r.Found, r.Faults[0]))
		case r.Verdict == verify.Undecided && missing == nil:
			missing = exit.With(exit.Undecided, fmt.Errorf("%s: %s", p.name, r.Missing))
		}
	}
	return cmp.Or(broken, missing)
}

// draw makes the picture of a violation.
func (s *verifySettings) draw(finding verify.Finding) error {
	endpoints, err := s.servers()
	if err != nil {
		return err
	}
	caption := verify.Caption{Endpoints: endpoints, Clients: s.clients, At: time.Now()}
	if all, err := s.askAll(context.Background()); err == nil {
		caption.Cluster = status.Judge(all).Cluster
	}
	return s.picture.Write(func(to io.Writer) error { return finding.Draw(to, caption) })
}

// mostPictures bounds the search for a free name.
const mostPictures = 1000

// settlePicture finds out where the picture of a violation is to go, before the cluster is
// driven: a picture that has no place is worth nothing, and the one of an earlier run may
// be all that is left of what that run saw.
func (s *verifySettings) settlePicture() error {
	s.picture.Mode = 0o644
	if s.picture.Path != "" {
		return s.picture.Check()
	}
	s.picture.Path = "raftkv-verify.html"
	for n := 2; !s.picture.Force && n <= mostPictures; n++ {
		if _, err := os.Lstat(s.picture.Path); errors.Is(err, fs.ErrNotExist) {
			break
		}
		s.picture.Path = fmt.Sprintf("raftkv-verify-%d.html", n)
	}
	return s.picture.Check()
}

// deniedCall is an error of a request whose caller a server refused.
type deniedCall struct{ err error }

// report prints the result and gives it its exit code.
func (s *verifySettings) report(out io.Writer, v verification) error {
	if v.Operations == 0 {
		v.Verdict = verify.Undecided // nothing is easily linearizable
	}
	if s.json {
		if err := terminal.PrintJSON(out, v); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%s: %d operations of %d clients on %d keys,\n%d of unknown outcome, %d more refused; searched for %d ms\n",
			v.Verdict, v.Operations, v.Clients, v.Keys, v.Unknown, v.Refused, v.CheckMs)
	}
	switch {
	case v.Operations == 0:
		if last, denied := s.denied.Load().(deniedCall); denied {
			return exit.With(exit.Unavailable, fmt.Errorf("nothing was done: %w", last.err))
		}
		return exit.With(exit.Unavailable, errors.New("nothing was done"))
	case v.Verdict == verify.Violation:
		if v.Stale != "" {
			return exit.With(exit.Failed, fmt.Errorf("of key %s %s; %s shows the calls that are not stale reads", v.Key, v.Stale, v.Picture))
		}
		return exit.With(exit.Failed, fmt.Errorf("key %s: %s %s shows it", v.Key, v.Wrong, v.Picture))
	case v.Verdict == verify.Undecided:
		return exit.With(exit.Undecided, fmt.Errorf("the search for an order of key %s did not end within %v; give it longer by --check-limit, or less to search by --rate", v.Key, s.checkLimit))
	}
	return nil
}
