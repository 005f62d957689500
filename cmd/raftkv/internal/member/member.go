// Package member is the commands about the members of a cluster and its level.
//
// Each of them is one or two requests to any node: every node passes them on to the
// leader. A command that changes something asks first what the change would be like,
// prints that, and asks a person at a terminal whether to go on; it then makes the change
// that was shown, or none if another was made meanwhile.
package member

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"raftkv/cmd/raftkv/internal/ask"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/cmd/raftkv/internal/terminal"
	"raftkv/kvserver/api"
)

// Client is the flags that a command shares with the others that talk to a cluster.
type Client interface {
	AddTo(command *cobra.Command) // adds the flags
	Servers() ([]string, error)   // where nodes take clients
	Limit() time.Duration         // how long to go on trying
	JSON() bool                   // whether to print JSON
}

// Paths of calls that programs of level 2 do not know.
const (
	levelPath   = "/v1/level"
	membersPath = "/v1/members"
)

// tokensPath is where join tokens are made, listed and dropped.
const tokensPath = "/v1/join-tokens"

// pollPause is the interval at which a change that goes on is asked for.
const pollPause = 200 * time.Millisecond

// waitTimeout says to wait for the end of a change as long as the command may take.
const waitTimeout = time.Duration(-1)

// longestAsk is for how long one request waits for the end of a change.
const longestAsk = 5 * time.Second

// caller asks the nodes.
type caller struct {
	Client
	out, err io.Writer
	in       io.Reader
	yes      bool            // do not ask a person
	life     context.Context // of the command
	pause    time.Duration   // between two pictures of watch
	wait     time.Duration   // for the end of a change, or waitTimeout
}

// context ends with a signal and with the time limit.
func (c *caller) context() (context.Context, context.CancelFunc) { return c.forLonger(0) }

// forLonger is context for what takes this long in addition to the time limit.
func (c *caller) forLonger(wait time.Duration) (context.Context, context.CancelFunc) {
	ctx, end := signal.NotifyContext(c.life, syscall.SIGTERM, os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, c.Limit()+wait)
	return ctx, func() { cancel(); end() }
}

// call makes a request at a node that can answer it, and decodes the answer. A refusal by a
// guard ends the process with code 7.
func (c *caller) call(ctx context.Context, method, path string, body, to any, headers ...string) error {
	endpoints, err := c.Servers()
	if err != nil {
		return err
	}
	call := ask.Call{
		Method: method, Path: path, Headers: headers, To: to, Code: codeOf,
		Elsewhere: func(refused *ask.RefusedError) bool { return isOlder(method, path, refused) },
	}
	if body != nil {
		if call.Body, err = json.Marshal(body); err != nil {
			return err
		}
	}
	_, err = call.Make(ctx, endpoints)
	return err
}

// codeOf is the exit code of a refusal.
func codeOf(refused *ask.RefusedError) int {
	if refused.IsGuard() {
		return exit.Refused
	}
	return exit.Failed
}

// isOlder reports whether a node, or the leader to which it passed the request on, runs a
// program of level 2, which does not know the call. Another node may know it.
func isOlder(method, path string, refused *ask.RefusedError) bool {
	path, _, _ = strings.Cut(path, "?")
	return refused.Code == api.CodeNotFound && (path == levelPath || path == membersPath && method == http.MethodGet)
}

// members asks for the members: as the leader knows them, or where its program is older, as
// any node does.
func (c *caller) members(ctx context.Context) (m api.Members, err error) {
	err = c.call(ctx, http.MethodGet, membersPath, nil, &m)
	if err != nil && c.call(ctx, http.MethodGet, membersPath+"?consistency="+api.ConsistencyStale, nil, &m) == nil {
		return m, nil
	}
	return m, err
}

// change shows what a change would be like, asks whether to go on, and makes it.
func (c *caller) change(b api.MembersChange) error {
	ctx, end := c.context()
	defer end()
	var plan api.MembersPlan
	if err := c.call(ctx, http.MethodPost, "/v1/members?dry_run", b, &plan); err != nil {
		return err
	}
	if !c.JSON() {
		printPlan(c.out, &plan)
	}
	if !c.goesOn() {
		return exit.With(exit.Failed, errors.New("nothing was changed"))
	}
	until := time.Now().Add(c.wait)
	if limit, _ := ctx.Deadline(); c.wait == waitTimeout {
		until = limit
	} else if until.After(limit) { // a longer wait takes the place of the limit
		var cancel context.CancelFunc
		ctx, cancel = c.forLonger(c.wait)
		defer cancel()
	}
	var done api.MembersPlan
	// A node that is asked waits for less than its share of the time: what it answers must come
	// in that.
	endpoints, err := c.Servers()
	if err != nil {
		return err
	}
	path := fmt.Sprintf("/v1/members?wait=%v", max(min(time.Until(until)/time.Duration(len(endpoints)+1), longestAsk), 0).Truncate(time.Millisecond))
	err = c.call(ctx, http.MethodPost, path, b, &done, "If-Match", fmt.Sprintf("%q", fmt.Sprint(plan.Version)), api.HeaderIdempotencyKey, plan.Change)
	if err != nil {
		return err
	}
	over := time.NewTimer(time.Until(until))
	defer over.Stop()
	for state := done.State; state != api.ChangeDone && c.wait != 0; {
		select {
		case <-time.After(pollPause):
		case <-over.C:
			return exit.With(exit.Unknown, fmt.Errorf("the change %s goes on: it is %s", plan.Change, state))
		case <-ctx.Done():
			return exit.With(exit.Unknown, fmt.Errorf("the change %s goes on: it is %s", plan.Change, state))
		}
		var is api.MembersChanged
		if err := c.call(ctx, http.MethodGet, "/v1/members/changes/"+url.PathEscape(plan.Change), nil, &is); err != nil {
			return exit.With(exit.Unknown, fmt.Errorf("the change %s goes on, and could not be asked for: %w", plan.Change, err))
		}
		state, done.State = is.State, is.State
	}
	if c.JSON() {
		return terminal.PrintJSON(c.out, done)
	}
	text := "done"
	if done.State != api.ChangeDone {
		text = fmt.Sprintf("the change %s goes on: it is %s", plan.Change, done.State)
	}
	_, err = fmt.Fprintln(c.out, text)
	return err
}

// goesOn asks a person at a terminal whether to go on. Nobody else is asked.
func (c *caller) goesOn() bool {
	file, isFile := c.in.(*os.File)
	if c.yes || c.JSON() || !isFile || !term.IsTerminal(int(file.Fd())) {
		return true
	}
	fmt.Fprint(c.err, "Make this change? [y/N] ")
	line, _ := bufio.NewReader(io.LimitReader(c.in, 64)).ReadString('\n')
	return strings.EqualFold(strings.TrimSpace(line), "y") || strings.EqualFold(strings.TrimSpace(line), "yes")
}

// printPlan prints what a change would be like.
func printPlan(out io.Writer, p *api.MembersPlan) {
	half := func(name string, h api.MembersHalf, tolerance int) {
		fmt.Fprintf(out, "%-7s voters %s; healthy %d, needed %d, %d may fail\n", name, strings.Join(h.Voters, ", "), len(h.Healthy), h.Majority, max(tolerance, 0))
	}
	if p.Joint {
		half("before", p.Before, p.Tolerance[0])
		half("after", p.After, p.Tolerance[2])
		if p.Leader != "" {
			fmt.Fprintf(out, "leadership goes to %s first\n", p.Leader)
		}
	} else {
		fmt.Fprintf(out, "the voters stay %s\n", strings.Join(p.Before.Voters, ", "))
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(out, "warning: %s\n", w)
	}
}
