package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"raftkv/client"
	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/api"
	"raftkv/tests/virtual"
)

// watchedEvents are a state, changes, and a history that is gone.
func watchedEvents(yield func(client.WatchEvent, error) bool) {
	prev := client.Item{Key: "b", Value: []byte("0"), Revision: 1, Version: 1, Created: 1}
	for _, e := range []client.WatchEvent{
		{Kind: client.StateItem, Item: prev},
		{Kind: client.StateHolder, Holder: client.Holder{Lock: "jobs", Token: 1, Lease: 5, Value: []byte("me")}},
		{Kind: client.StateComplete, Revision: 1},
		{Kind: client.Changed, Revision: 2, Changes: []client.Change{
			{Op: client.ChangePut, Key: "a", Item: client.Item{Key: "a", Value: []byte("1"), Revision: 2, Version: 1, Created: 2, Lease: 9}},
			{Op: client.ChangeDelete, Key: "b", Prev: &prev},
			{Op: client.ChangeReleased, Reason: client.ReasonExpired, Holder: &client.Holder{Lock: "jobs", Token: 1, Lease: 5, Value: []byte("me")}},
			{Op: client.ChangeGranted, Holder: &client.Holder{Lock: "jobs", Token: 2, Lease: 6}},
		}},
		{Kind: client.Progress, Revision: 3},
		{Kind: client.Reset},
		{Kind: client.StateItem, Item: client.Item{Key: "\xff", Revision: 7, Version: 1, Created: 7}},
		{Kind: client.StateComplete, Revision: 9},
	} {
		if !yield(e, nil) {
			return
		}
	}
	yield(client.WatchEvent{}, &client.RevisionGoneError{After: 9, Oldest: 20, Revision: 30})
}

// Goal: watch prints what changes, the state and a reset; --json prints what GET /v1/watch
// sends; --exec runs once for every event, with what happened in its environment, and a
// command that fails ends the watch; the exit code says that the history is gone.
// Method: the events of a watch, without a server.
func TestWatchPrintsAndRunsCommands(t *testing.T) {
	for name, c := range map[string]struct {
		settings watchSettings
		code     int
		want     string
	}{
		"plain": {watchSettings{}, exit.HistoryGone, "1\titem\tb\t0\n1\tholder\tjobs\t1\t5\tme\n1\tsynced\t2 keys\n2\tput\ta\t1\n2\tdelete\tb\n2\treleased\tjobs\t1\t5\texpired\n2\tgranted\tjobs\t2\t6\t\n-\treset\n7\titem\t\"\\xff\"\t\n9\tsynced\t1 keys\n"},
		"json": {watchSettings{clerkSettings: clerkSettings{json: true}}, exit.HistoryGone, `{"event":"item","key":"b","value":"MA==","revision":1,"version":1,"created":1}
{"event":"item","lock":"jobs","token":1,"lease":5,"value":"bWU="}
{"event":"synced","id":"1","revision":1,"items":2}
{"event":"change","id":"2","revision":2,"events":[{"op":"put","key":"a","value":"MQ==","version":1,"created":2,"lease":9},{"op":"delete","key":"b","prev":{"value":"MA==","revision":1,"version":1,"created":1}},{"op":"released","lock":"jobs","token":1,"lease":5,"value":"bWU=","reason":"expired"},{"op":"granted","lock":"jobs","token":2,"lease":6,"value":""}]}
{"event":"progress","id":"3","revision":3}
{"event":"reset","code":"revision_gone"}
{"event":"item","key_base64":"/w==","revision":7,"version":1,"created":7}
{"event":"synced","id":"9","revision":9,"items":1}
`},
		"exec":          {watchSettings{command: `echo "$RAFTKV_REVISION $RAFTKV_OP $RAFTKV_KEY$RAFTKV_LOCK '$RAFTKV_VALUE' $RAFTKV_TOKEN"`}, exit.HistoryGone, "1 item b '0' \n1 item jobs 'me' 1\n1 synced  '' \n2 put a '1' \n2 delete b '' \n2 released jobs 'me' 1\n2 granted jobs '' 2\n0 reset  '' \n7 item \xff '' \n9 synced  '' \n"},
		"exec and fail": {watchSettings{command: "echo $RAFTKV_KEY; exit 3"}, exit.Failed, "b\n"},
	} {
		var out strings.Builder
		s := c.settings
		err := s.judge(s.follow(iter.Seq2[client.WatchEvent, error](watchedEvents), &search{}, &out))
		code := exit.Usage
		if ending := (*exit.Ending)(nil); errors.As(err, &ending) {
			code = ending.Code
		} else if failure := (*exit.Failure)(nil); errors.As(err, &failure) {
			code = exit.Failed
		}
		if code != c.code || out.String() != c.want {
			t.Errorf("%s: exit code %d, %v, printed\n%q, want\n%q", name, code, err, out.String(), c.want)
		}
	}
}

// Goal: --exec runs the command whatever keys and values are: what no variable can hold is in
// none, and the command has the value as its input and the key in base64.
// Method: a key and values with zero bytes, and values at both sides of what a variable takes.
func TestACommandOfAWatchHasEveryValue(t *testing.T) {
	longest := strings.Repeat("v", maxVariable-len("RAFTKV_VALUE="))
	for _, c := range []struct{ key, value, want string }{
		{"k", "v", "k - 1 1\n"},
		{"k", longest, fmt.Sprintf("k - %d %[1]d\n", len(longest))},
		{"k", longest + "v", fmt.Sprintf("k - 0 %d\n", len(longest)+1)},
		{"k", "\x00v", "k - 0 2\n"},
		{"k\x00", "v", " awA= 1 1\n"},
	} {
		var out strings.Builder
		s := watchSettings{command: `echo "$RAFTKV_KEY ${RAFTKV_KEY_BASE64--} ${#RAFTKV_VALUE} $(wc -c)"`}
		e := client.WatchEvent{Kind: client.Changed, Revision: 2, Changes: []client.Change{{Op: client.ChangePut, Key: c.key, Item: client.Item{Value: []byte(c.value)}}}}
		if err := s.execute(&e, &out); err != nil || out.String() != c.want {
			t.Errorf("key %q, %d bytes: %v, prints %q, want %q", c.key, len(c.value), err, out.String(), c.want)
		}
	}
}

// Goal: watch gives up when no server has served it for the time that was given, and not
// before: the time begins with the first refusal behind the last event. Method: virtual
// time; refusals that come all the time, with an event between them.
func TestWatchGivesUp(t *testing.T) {
	virtual.Time(t, func(t *testing.T) {
		ctx, end := context.WithCancelCause(t.Context())
		s := &search{limit: 10 * time.Second, over: end}
		refused := func(seconds int) {
			for range seconds {
				s.refused(client.Refusal{Address: "n1:1", Code: api.CodeNoLeader})
				time.Sleep(time.Second)
			}
		}
		refused(10)
		s.heard()
		time.Sleep(time.Hour)
		refused(11)
		if ctx.Err() != nil {
			t.Errorf("it is given up too early: %v", context.Cause(ctx))
		}
		refused(1)
		if err := context.Cause(ctx); !errors.Is(err, errNotServed) || !strings.Contains(err.Error(), "for 10s") || !strings.Contains(err.Error(), "n1:1") {
			t.Errorf("it goes on: %v", err)
		}
	})
	var errs strings.Builder
	if code := run([]string{"watch", "--endpoints", "127.0.0.1:1", "--timeout", "300ms"}, &strings.Builder{}, &errs); code != exit.Unavailable {
		t.Errorf("nobody listens: exit code %d: %s", code, errs.String())
	}
	for _, code := range []api.Code{api.CodeNotActive, api.CodeRevisionAhead} {
		if err, failure := new(watchSettings).judge(&client.Error{Code: code, Detail: "no"}), (*exit.Failure)(nil); !errors.As(err, &failure) {
			t.Errorf("%s ends it with %v", code, err)
		}
	}
}
