package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/gather"
	"raftkv/cmd/raftkv/internal/status"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
	"raftkv/kvserver/explain"
	"raftkv/kvserver/recorder"
	"raftkv/raft/datadir"
	"raftkv/raft/vfs"
)

// explainSettings are the flags of explain.
type explainSettings struct {
	clerkSettings
	since   time.Duration
	at      string
	group   uint32
	follow  bool
	events  bool
	offline bool
	request string
}

func newExplainCommand() *cobra.Command {
	var s explainSettings
	command := &cobra.Command{
		Use:   "explain [DIR…]",
		Short: "Tell why leadership changed, what was slow and what clients felt",
		Long: `Ask every endpoint what its node recorded, and tell what happened: who caused it,
how certain that is, and for how long nobody could write. The order of events comes
from the protocol and not from the clocks of the machines.

A node that does not answer is named first. What it recorded up to its end is in its
data directory: name that as DIR, on this machine or copied from the other one. DIR may
also be a file with the answer of GET /v1/recorder. --offline asks no endpoint.

A story that says "likely" fits the events best and is not proved by them. Where the
events do not say why, the story says so.

--at tells what happened between two moments in place of the last minutes, by the clocks
of the nodes: 10:02..10:05 of today, in the time zone of this machine, or moments as in
2026-12-01T10:02:00Z.

--follow goes on, and tells each new story when it is certain, or when it is over.

--request tells the way of one request instead, by the name in its answer's header
Kv-Request-Id or in its error. Nodes keep requests that were slow, that they refused for
want of room or of a leader, and those whose outcome is unknown, until they end.

A recording does not say of which cluster it is, so the endpoints and the data
directories are asked for that: a story is of one.

Exit code 3 says that no node answered, and no DIR held anything, 2 that they are
of two clusters.`,
		Example: `  raftkv explain
  raftkv explain --since 1h
  raftkv explain --at 10:02..10:05
  raftkv explain --since 5m /srv/raftkv/n1
  raftkv explain --json | jq -r '.sentences[]'
  raftkv explain --events --since 1m
  raftkv explain --request n1-k3f2a-1c`,
		Args: cobra.ArbitraryArgs,
		RunE: func(command *cobra.Command, paths []string) error {
			ctx, endOfSignals := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
			defer endOfSignals()
			return s.explain(ctx, command.OutOrStdout(), paths)
		},
	}
	s.addTo(command)
	command.Flags().DurationVar(&s.since, "since", 10*time.Minute, "how far to look back: 30s, 10m, 48h")
	command.Flags().StringVar(&s.at, "at", "", "tell what happened between two moments: 10:02..10:05")
	command.Flags().Uint32Var(&s.group, "group", 0, "tell only of this group of Raft; 0: of all")
	command.Flags().BoolVar(&s.follow, "follow", false, "go on, and tell new stories as they become certain")
	command.Flags().BoolVar(&s.events, "events", false, "show the events instead of stories, in an order that the protocol allows")
	command.Flags().StringVar(&s.request, "request", "", "tell the way of the request of this name")
	command.Flags().BoolVar(&s.offline, "offline", false, "ask no endpoint: tell what the DIRs hold")
	return command
}

// leadIn is how much more than the time that was asked for is looked at, so that it is
// known which node led when that time began: nodes record their leader once a minute.
const leadIn = 2 * time.Minute

// longest is how far back a node can be asked.
const longest = 365 * 24 * time.Hour

// explain gathers, tells and prints.
func (s *explainSettings) explain(ctx context.Context, out io.Writer, paths []string) error {
	if s.since < time.Second || s.since > longest {
		return fmt.Errorf("--since is %v; choose 1s to 8760h", s.since)
	}
	if s.follow {
		return s.followStories(ctx, out, paths)
	}
	between, err := s.between(time.Now())
	if err != nil {
		return err
	}
	if s.offline && len(paths) == 0 {
		return errors.New("--offline asks no endpoint, and no DIR is given; name the data directory of a node")
	}
	if s.request != "" {
		return s.explainRequest(ctx, out, paths)
	}
	answers, rings, err := s.hear(ctx, paths)
	if err != nil {
		return err
	}
	span := s.span(rings, time.Now())
	if between != nil {
		span = *between
	}
	switch {
	case s.events:
		return s.printEvents(out, rings, span)
	case s.json:
		for _, story := range explain.Stories(rings, span) {
			if err := terminal.PrintJSON(out, story); err != nil {
				return err
			}
		}
		return nil
	}
	_, err = io.WriteString(out, s.text(answers, explain.Stories(rings, span), terminal.HasColour(out)))
	return err
}

// hear gathers the events of all nodes. An error says that none was heard.
func (s *explainSettings) hear(ctx context.Context, paths []string) (answers []gather.Answer, rings []recorder.Ring, err error) {
	answers, err = s.gather(ctx, paths)
	if err != nil {
		return nil, nil, err
	}
	heard := 0
	for _, a := range answers {
		rings = append(rings, a.Rings...)
		if a.Err == nil || len(a.Rings) > 0 {
			heard++
		}
	}
	if heard == 0 {
		return nil, nil, nobody(answers)
	}
	return answers, gather.OfGroup(rings, s.group), nil
}

// between returns the time that --at names, nil if it is not given, and looks back as far.
func (s *explainSettings) between(now time.Time) (*explain.Span, error) {
	if s.at == "" {
		return nil, nil
	}
	span, err := gather.Between(s.at, now)
	if err != nil {
		return nil, fmt.Errorf("--at is %q; %w", s.at, err)
	}
	back := now.Sub(time.UnixMilli(span.From))
	if !s.offline && (back <= 0 || back > longest) {
		return nil, fmt.Errorf("--at is %q; choose moments of the last 8760h", s.at)
	}
	s.since = max(s.since, min(back, longest))
	return &span, nil
}

// followPause is the time between two questions of --follow.
const followPause = 2 * time.Second

// followStories tells what is new, as it becomes certain, until ctx ends. A round in which
// nobody answers is passed over, but for the first.
func (s *explainSettings) followStories(ctx context.Context, out io.Writer, paths []string) error {
	if s.offline || s.events || s.at != "" || s.request != "" {
		return errors.New("--follow asks the nodes that run, and tells what comes; leave out --offline, --events, --at and --request")
	}
	var told gather.Told
	for round := 0; ; round++ {
		_, rings, err := s.hear(ctx, paths)
		if err != nil && round == 0 {
			return err
		}
		if err == nil {
			span := s.span(rings, time.Now())
			fresh := told.New(explain.Stories(rings, span), span.To)
			if round > 0 {
				if err := s.printFresh(out, fresh); err != nil {
					return err
				}
			}
		}
		select {
		case <-time.After(followPause):
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *explainSettings) printFresh(out io.Writer, fresh []explain.Story) error {
	for _, story := range fresh {
		if s.json {
			if err := terminal.PrintJSON(out, story); err != nil {
				return err
			}
			continue
		}
		if _, err := io.WriteString(out, s.text(nil, []explain.Story{story}, terminal.HasColour(out))+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// explainRequest tells the way of one request: each node that keeps something of it is
// told by itself.
func (s *explainSettings) explainRequest(ctx context.Context, out io.Writer, paths []string) error {
	switch {
	case s.offline || s.events || s.at != "" || s.follow:
		return errors.New("--request asks the nodes that run; leave out --offline, --events, --at and --follow")
	case len(s.request) > api.MaxRequestIDBytes:
		return fmt.Errorf("--request has %d bytes; the name of a request has 1 to %d", len(s.request), api.MaxRequestIDBytes)
	}
	endpoints, err := s.servers()
	if err != nil {
		return err
	}
	ofOne := s.beginToAskForCluster(ctx, endpoints, paths)
	trails, asked := gather.AskRequest(ctx, endpoints, s.request, s.timeout)
	if err := ofOne(); err != nil {
		return err
	}
	if len(trails) == 0 && len(missing(asked)) > 0 && !slices.ContainsFunc(asked, func(a gather.Answer) bool { return a.Err == nil }) {
		return nobody(asked)
	}
	if len(trails) == 0 {
		return exit.Fail(fmt.Errorf("no node keeps a request named %q: it went well and was not slow, its node has ended since, or newer ones took its place%s", s.request, missing(asked)))
	}
	if s.json {
		for i := range trails {
			if err := terminal.PrintJSON(out, &trails[i]); err != nil {
				return err
			}
		}
		return nil
	}
	oldest := slices.MinFunc(trails, func(a, b api.RequestTrail) int { return cmp.Compare(a.AtMs, b.AtMs) })
	s.since = max(s.since, time.Since(time.UnixMilli(oldest.AtMs))+leadIn)
	answers, err := s.gather(ctx, paths)
	if err != nil {
		return err
	}
	var rings []recorder.Ring
	for _, a := range answers {
		rings = append(rings, a.Rings...)
	}
	for i := range trails {
		if _, err := io.WriteString(out, s.requestText(rings, &trails[i], i > 0, terminal.HasColour(out))); err != nil {
			return err
		}
	}
	return nil
}

// requestText writes the way of a request, and the stories of that time.
func (s *explainSettings) requestText(rings []recorder.Ring, t *api.RequestTrail, behind, colour bool) string {
	sentences, meanwhile := explain.OfRequest(rings, &explain.Request{
		Node: t.Node, Method: t.Method, At: t.AtMs, Placed: t.PlacedNs, Ended: t.EndedNs, Index: t.Index, Term: t.Term,
		Leader: t.Leader, Status: t.Status, Code: string(t.Code), Unknown: t.Outcome == api.OutcomeUnknown,
	})
	var b strings.Builder
	if behind {
		b.WriteByte('\n')
	}
	heading := fmt.Sprintf("%s  request %s", moments(t.AtMs, t.AtMs+t.EndedNs/1_000_000), t.ID)
	if colour {
		heading = "\x1b[1m" + heading + "\x1b[0m"
	}
	fmt.Fprintln(&b, heading)
	for _, line := range terminal.Wrap(terminal.Harmless(strings.Join(sentences, " ")), lineWidth-2) {
		fmt.Fprintln(&b, "  "+line)
	}
	if len(meanwhile) > 0 {
		b.WriteString("\nMeanwhile:\n\n" + s.text(nil, meanwhile, colour))
	}
	return b.String()
}

// gather asks all endpoints and reads all paths, which must be of one cluster.
func (s *explainSettings) gather(ctx context.Context, paths []string) (answers []gather.Answer, err error) {
	var endpoints []string
	if !s.offline {
		if endpoints, err = s.servers(); err != nil {
			return nil, err
		}
	}
	ofOne := s.beginToAskForCluster(ctx, endpoints, paths)
	if !s.offline {
		answers = gather.Ask(ctx, endpoints, int(min(s.since+leadIn, longest).Seconds()), s.timeout)
	}
	for _, path := range paths {
		answers = append(answers, gather.Read(path))
	}
	return answers, ofOne()
}

// beginToAskForCluster asks endpoints of which cluster they are, and the owners' files of
// data directories, in addition to whatever else they are asked: a node that hangs costs one wait.
// ofOne waits, and returns an error if there are several. What does not say it, such as a
// file or a node that does not answer, is of any.
func (s *explainSettings) beginToAskForCluster(ctx context.Context, endpoints, paths []string) (ofOne func() error) {
	said := make(chan []status.Answer, 1)
	go func() { said <- status.AskAll(ctx, endpoints, min(s.timeout, gather.MaxWait)) }()
	return func() error {
		all := <-said
		for _, path := range paths {
			if owner, found, err := datadir.ReadOwner(vfs.ReadOnly{}, path, ""); err == nil && found {
				all = append(all, status.Answer{Endpoint: path, Status: &api.Status{Cluster: owner.ClusterID, UID: owner.UID}})
			}
		}
		return status.OneCluster(all)
	}
}

// clocksDiffer is from when on the clocks of the nodes, and not that of this machine,
// say what the time is, where they do not say when they were asked.
const clocksDiffer = 2 * time.Minute

// span returns the time that is told about. It ends when the nodes were asked, by their
// clocks, or with the last event where nobody was asked.
func (s *explainSettings) span(rings []recorder.Ring, now time.Time) explain.Span {
	end := explain.End(rings)
	to := now.UnixMilli()
	switch asked, ahead := explain.Now(rings), time.Duration(end-to)*time.Millisecond; {
	case s.offline:
		to = end
	case asked != 0:
		to = asked
	case ahead > clocksDiffer:
		to = end
	}
	return explain.Span{From: to - s.since.Milliseconds(), To: to}
}

// nobody is the error where none of these gave anything.
func nobody(answers []gather.Answer) error {
	var reasons ask.Reasons
	for _, a := range answers {
		if a.Err != nil {
			reasons.Add(a.From, a.Err)
		}
	}
	return exit.With(exit.Unavailable, fmt.Errorf("nobody can tell what happened; %w", &reasons))
}

// missing names what gave nothing, for the end of an error.
func missing(answers []gather.Answer) string {
	var b strings.Builder
	for _, a := range answers {
		if a.Err != nil {
			fmt.Fprintf(&b, "; %s: %v", a.From, a.Err)
		}
	}
	return b.String()
}

// lineWidth is the longest line of a story.
const lineWidth = 80

// text writes stories for people: the nodes that did not answer, and a paragraph for each story.
func (s *explainSettings) text(answers []gather.Answer, stories []explain.Story, colour bool) string {
	var b strings.Builder
	for _, a := range answers {
		if a.Err != nil {
			for _, line := range terminal.Wrap(terminal.Harmless(fmt.Sprintf("%s: %v", a.From, a.Err)), lineWidth) {
				fmt.Fprintln(&b, line)
			}
		}
	}
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	for i, story := range stories {
		if i > 0 {
			b.WriteByte('\n')
		}
		heading := fmt.Sprintf("%s  %s", moments(story.From, story.To), strings.ReplaceAll(string(story.Kind), "_", " "))
		if story.Certainty != explain.Certain {
			heading += ", " + certainties[story.Certainty]
		}
		if colour {
			heading = "\x1b[1m" + heading + "\x1b[0m"
		}
		fmt.Fprintln(&b, heading)
		for _, line := range terminal.Wrap(terminal.Harmless(strings.Join(story.Sentences, " ")), lineWidth-2) {
			fmt.Fprintln(&b, "  "+line)
		}
	}
	return b.String()
}

// certainties are the words behind a kind of story that is not certain.
var certainties = map[explain.Certainty]string{explain.Likely: "likely", explain.Unknown: "cause not known"}

// moments writes when a story began and ended.
func moments(from, to int64) string {
	const exact = "15:04:05.000"
	begin, end := time.UnixMilli(from), time.UnixMilli(to)
	day := ""
	if time.Since(begin).Abs() > 20*time.Hour {
		day = begin.Format("2006-01-02 ")
	}
	if to-from < 10 {
		return day + begin.Format(exact)
	}
	return day + begin.Format(exact) + " to " + end.Format(exact)
}

// printEvents prints the events of a span in a line each.
func (s *explainSettings) printEvents(out io.Writer, rings []recorder.Ring, span explain.Span) error {
	for _, l := range explain.Lines(rings, span) {
		if s.json {
			if err := terminal.PrintJSON(out, l); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintln(out, terminal.Harmless(eventText(l))); err != nil {
			return err
		}
	}
	return nil
}

// eventText writes an event in a line.
func eventText(l explain.Line) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-6s %s", time.UnixMilli(l.At).Format("15:04:05.000"), l.Node, l.Kind)
	for _, f := range []struct {
		name, value string
	}{{"why", l.Why}, {"peer", l.Peer}} {
		if f.value != "" {
			fmt.Fprintf(&b, " %s=%s", f.name, f.value)
		}
	}
	for _, f := range []struct {
		name  string
		value int64
	}{{"term", int64(l.Term)}, {"index", int64(l.Index)}, {"a", l.A}, {"b", l.B}, {"count", int64(l.Count)}} {
		if f.value != 0 {
			fmt.Fprintf(&b, " %s=%d", f.name, f.value)
		}
	}
	return b.String()
}
