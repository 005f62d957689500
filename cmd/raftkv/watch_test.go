package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"raftkv/kvserver/api"
)

// watchNode is a node of a test: each request is answered by the next of its answers, and
// 410 behind the last.
type watchNode struct {
	mu      sync.Mutex
	answers []string
	asked   []string
}

func (n *watchNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, r.URL.RawQuery)
	if len(n.answers) == 0 {
		w.Header().Set("Content-Type", api.MediaProblem)
		w.WriteHeader(http.StatusGone)
		fmt.Fprint(w, `{"code":"revision_gone","detail":"it is gone"}`)
		return
	}
	w.Header().Set("Content-Type", api.MediaNDJSON)
	fmt.Fprint(w, n.answers[0])
	n.answers = n.answers[1:]
}

func serveWatch(t *testing.T, answers ...string) (*watchNode, string) {
	t.Helper()
	n := &watchNode{answers: answers}
	s := httptest.NewServer(n)
	t.Cleanup(s.Close)
	return n, strings.TrimPrefix(s.URL, "http://")
}

const (
	watchOpen  = `{"event":"open","id":"1","revision":1,"oldest":1,"node":"n1"}` + "\n"
	watchPut   = `{"event":"change","id":"2","revision":2,"events":[{"op":"put","key":"a","value":"MQ==","version":1,"created":2},{"op":"delete","key":"b"}]}` + "\n"
	watchEnds  = "\n" + `{"event":"end","code":"stopping","detail":"it stops"}` + "\n"
	watchLater = `{"event":"change","id":"7","revision":7,"events":[{"op":"put","key_base64":"/w==","value":"","version":1,"created":7}]}` + "\n"
)

// Goal: watch prints what changes, goes on at another node behind what it has printed,
// and says by its exit code that the history is gone. Method: two nodes; one ends the
// stream, the other breaks off.
func TestWatchGoesOnAtAnotherNode(t *testing.T) {
	first, at := serveWatch(t, watchOpen+watchPut+watchEnds)
	second, other := serveWatch(t, `{"event":"open","id":"2","revision":7,"oldest":1,"node":"n2"}`+"\n"+watchLater)
	var out, errs strings.Builder
	code := run([]string{"watch", "a", "--key", "b", "--endpoints", at + "," + other}, &out, &errs)
	if want := "2\tput\ta\t1\n2\tdelete\tb\n7\tput\t\"\\xff\"\t\n"; code != 8 || out.String() != want {
		t.Errorf("exit code %d, printed\n%q\n%s", code, out.String(), errs.String())
	}
	if !strings.Contains(errs.String(), "it stops") || !strings.Contains(errs.String(), "it is gone") {
		t.Errorf("said %s", errs.String())
	}
	if first.asked[0] != "key=b&prefix=a" || second.asked[0] != "after=2&key=b&prefix=a" || first.asked[1] != "after=7&key=b&prefix=a" {
		t.Errorf("asked %q and %q", first.asked, second.asked)
	}
}

// Goal: a mirror is printed anew behind a reset, and a node that is lost in the middle of
// a state is not gone on from. Method: a state that breaks off behind a reset.
func TestWatchMirrors(t *testing.T) {
	state := `{"event":"item","key":"a","value":"MQ==","revision":2,"version":1,"created":2}` + "\n" + `{"event":"synced","id":"2","revision":2,"items":1}` + "\n"
	n, at := serveWatch(t, `{"event":"open","revision":2,"oldest":1,"node":"n1"}`+"\n"+state+`{"event":"reset","code":"revision_gone","oldest":3}`+"\n", state)
	var out, errs strings.Builder
	code := run([]string{"watch", "--mirror", "--after", "1", "--endpoints", at}, &out, &errs)
	if want := "2\titem\ta\t1\n2\tsynced\t1 keys\n-\treset\n2\titem\ta\t1\n2\tsynced\t1 keys\n"; code != 8 || out.String() != want {
		t.Errorf("exit code %d, printed\n%q\n%s", code, out.String(), errs.String())
	}
	if n.asked[0] != "after=1&mirror=1&prefix=" || n.asked[1] != "mirror=1&prefix=" || n.asked[2] != "after=2&mirror=1&prefix=" {
		t.Errorf("asked %q", n.asked)
	}
}

// Goal: --json prints the lines as they came, and --exec runs once for every event, with
// what happened in its environment; a command that fails ends the watch. Method: a shell
// that prints its variables, and one that fails.
func TestWatchPrintsJSONAndRunsCommands(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--json"}, 8, watchOpen + watchPut},
		{[]string{"--exec", `echo "$RAFTKV_REVISION $RAFTKV_OP $RAFTKV_KEY '$RAFTKV_VALUE'"`}, 8, "2 put a '1'\n2 delete b ''\n"},
		{[]string{"--exec", "echo $RAFTKV_KEY; exit 3"}, 1, "a\n"},
	} {
		_, at := serveWatch(t, watchOpen+watchPut)
		var out, errs strings.Builder
		if code := run(append([]string{"watch", "--endpoints", at}, c.args...), &out, &errs); code != c.code || out.String() != c.want {
			t.Errorf("%q: exit code %d, printed\n%q\n%s", c.args, code, out.String(), errs.String())
		}
	}
}

// Goal: watch gives up when no node serves it in time, and at once for what none would.
// Method: nobody listens; an answer that the cluster is not ready for it.
func TestWatchGivesUp(t *testing.T) {
	var errs strings.Builder
	if code := run([]string{"watch", "--endpoints", "127.0.0.1:1", "--timeout", "300ms"}, &strings.Builder{}, &errs); code != 3 || !strings.Contains(errs.String(), "no node served the watch within 300ms") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
	low := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotImplemented)
		fmt.Fprint(w, `{"code":"not_active","detail":"the cluster works at level 2"}`)
	}))
	defer low.Close()
	errs.Reset()
	if code := run([]string{"watch", "--endpoints", strings.TrimPrefix(low.URL, "http://")}, &strings.Builder{}, &errs); code != 1 || !strings.Contains(errs.String(), "level 2") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}
