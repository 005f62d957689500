package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"raftkv/cmd/raftkv/internal/exit"
	"raftkv/kvserver/explain"
	"raftkv/kvserver/recorder"
	"raftkv/raft/datadir"
)

// life returns the recordings of three nodes.
func life(t *testing.T) (paths []string) {
	t.Helper()
	for _, node := range []string{"n1", "n2", "n3"} {
		paths = append(paths, filepath.Join("..", "..", "kvserver", "explain", "testdata", "life", node+".ndjson"))
	}
	return paths
}

// Goal: explain tells recordings that are files, in lines of at most 80 columns, as JSON
// and as events; what is certain is not called likely.
func TestExplainTellsFiles(t *testing.T) {
	var out, said strings.Builder
	if code := run(append([]string{"explain", "--offline", "--since", "2m"}, life(t)...), &out, &said); code != exit.Done {
		t.Fatalf("code %d: %s", code, said.String())
	}
	for _, want := range []string{
		"  leader stopped\n  n2 was stopped for 10 s, by a signal (such as SIGSTOP). n3 stood 490 ms later,\n  n1 voted for it, and it leads term 2. There was no write for 492 ms.\n",
		"  starved, likely\n",
		"  handed over\n  Somebody asked for it: n1 handed leadership to n2.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	for line := range strings.Lines(out.String()) {
		if len([]rune(strings.TrimSuffix(line, "\n"))) > 80 {
			t.Errorf("a line is longer than 80 columns: %s", line)
		}
	}
	out.Reset()
	run(append([]string{"explain", "--offline", "--json", "--since", "2m"}, life(t)...), &out, &said)
	var first explain.Story
	if err := json.Unmarshal([]byte(strings.SplitAfter(out.String(), "\n")[0]), &first); err != nil || first.Kind == "" || len(first.Evidence) == 0 {
		t.Errorf("the first line of JSON is %+v, %v", first, err)
	}
	out.Reset()
	run(append([]string{"explain", "--offline", "--events", "--since", "2m"}, life(t)...), &out, &said)
	if n := strings.Count(out.String(), "\n"); n < 400 || !strings.Contains(out.String(), "n2     continued\n") {
		t.Errorf("%d events are shown", n)
	}
	at := time.UnixMilli(first.From)
	between := at.Add(-time.Second).Format(time.RFC3339) + ".." + at.Add(15*time.Second).Format(time.RFC3339)
	out.Reset()
	if code := run(append([]string{"explain", "--offline", "--json", "--at", between}, life(t)...), &out, &said); code != exit.Done || !strings.Contains(out.String(), `"kind":"`+string(first.Kind)+`"`) || strings.Contains(out.String(), "handed_over") {
		t.Errorf("--at %s: code %d, %s, told is\n%s", between, code, said.String(), out.String())
	}
	out.Reset()
	run(append([]string{"explain", "--offline", "--group", "2", "--since", "2m"}, life(t)...), &out, &said)
	if strings.Contains(out.String(), "stopped") {
		t.Errorf("of another group is told\n%s", out.String())
	}
	out.Reset()
	run(append([]string{"explain", "--offline", "--since", "1s"}, life(t)...), &out, &said)
	if strings.Contains(out.String(), "stopped") {
		t.Errorf("of the last second is told\n%s", out.String())
	}
}

// Goal: explain asks every endpoint, names those that do not answer or are no nodes, and
// tells what the others recorded.
// Method: two servers that answer as nodes, a web server, and an address where nobody
// listens.
func TestExplainGathers(t *testing.T) {
	paths := life(t)
	recordings := func(path string) string {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return fakeServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/recorder" || r.URL.Query().Get("seconds") != "31536000" {
				http.NotFound(w, r)
				return
			}
			w.Write(content)
		})
	}
	web := fakeServer(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>hello</html>") })
	const nobody = "127.0.0.1:1"
	endpoints := strings.Join([]string{recordings(paths[0]), recordings(paths[1]), web, nobody}, ",")
	var out, said strings.Builder
	code := run([]string{"explain", "--since", "8760h", "--endpoints", endpoints}, &out, &said)
	if code != exit.Done {
		t.Fatalf("code %d: %s", code, said.String())
	}
	for _, want := range []string{web + ": answers, and not like a node", nobody + ": no answer: connection refused", "n2 was stopped for 10 s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	out.Reset()
	if code := run([]string{"explain", "--endpoints", nobody}, &out, &said); code != exit.Unavailable || !strings.Contains(said.String(), "nobody can tell what happened") {
		t.Errorf("where nobody answers: code %d, %s", code, said.String())
	}
}

// Goal (section 5 of the contract): --request asks every endpoint for a request of that
// name, and tells its way and what the nodes recorded of that time.
// Method: one server keeps the request of a recorded leader that was stopped, two keep
// nothing.
func TestExplainTellsTheWayOfARequest(t *testing.T) {
	recording, err := os.ReadFile(life(t)[1])
	if err != nil {
		t.Fatal(err)
	}
	rings, err := recorder.ReadLines(strings.NewReader(string(recording)))
	if err != nil {
		t.Fatal(err)
	}
	at := rings[0].Events[0].Wall
	node := func(kept string) string {
		return fakeServer(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Query().Get("request") == "a b":
				io.WriteString(w, `{"requests":[`+kept+`]}`)
			case r.URL.Query().Has("seconds"):
				w.Write(recording)
			default:
				io.WriteString(w, `{"requests":[]}`)
			}
		})
	}
	kept := fmt.Sprintf(`{"node":"n2","request_id":"a b","method":"PUT","at_ms":%d,"placed_ns":100000,"ended_ns":5000000000,"index":3,"term":1,"status":504,"code":"timeout","outcome":"unknown"}`, at)
	endpoints := strings.Join([]string{node(""), node(kept), node("")}, ",")
	var out, said strings.Builder
	if code := run([]string{"explain", "--request", "a b", "--endpoints", endpoints}, &out, &said); code != exit.Done {
		t.Fatalf("code %d: %s", code, said.String())
	}
	told := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{" request a b The PUT", "The PUT came to n2, which led term 1 and put it into its log as entry 3, 0.1 ms", "with status 504 (timeout); its outcome was not known then"} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	out.Reset()
	if code := run([]string{"explain", "--request", "a b", "--json", "--endpoints", endpoints}, &out, &said); code != exit.Done || !strings.Contains(out.String(), `"request_id":"a b"`) {
		t.Errorf("as JSON: code %d, %s", code, out.String())
	}
	said.Reset()
	if code := run([]string{"explain", "--request", "other", "--endpoints", endpoints}, &out, &said); code != exit.Failed || !strings.Contains(said.String(), `no node keeps a request named "other"`) {
		t.Errorf("of another name: code %d, %s", code, said.String())
	}
	said.Reset()
	if code := run([]string{"explain", "--request", "x", "--endpoints", "127.0.0.1:1"}, &out, &said); code != exit.Unavailable {
		t.Errorf("where nobody answers: code %d, %s", code, said.String())
	}
}

// Goal: the recordings of two clusters are never told as one story, whether endpoints or
// data directories are of two: that ends with exit code 2 and both names, as status does.
// Method: three servers that answer as nodes with one recording, of two clusters by name or
// uid; a data directory of a third.
func TestExplainTellsOfOneClusterOnly(t *testing.T) {
	recording, err := os.ReadFile(life(t)[1])
	Must(t, err)
	node := func(name, cluster, uid string) string {
		s := leading(name, 3)
		s.Cluster, s.UID = cluster, uid
		return fakeNode(t, s, map[string]http.HandlerFunc{"/v1/recorder": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("request") {
				io.WriteString(w, `{"requests":[{"node":"n2","request_id":"x","method":"PUT","status":504}]}`)
				return
			}
			w.Write(recording)
		}})
	}
	dir := t.TempDir()
	Must(t, os.WriteFile(filepath.Join(dir, datadir.OwnerFile), []byte("format = 1\ncluster-id = \"dev\"\nid = \"n3\"\nmembers = [\"n3\"]\n"), 0o600))
	Must(t, os.Mkdir(filepath.Join(dir, "flight"), 0o700))
	one, same, young := node("n1", "c1", "aa"), node("n2", "c1", "aa"), node("n3", "c1", "")
	for _, c := range []struct {
		endpoints []string
		more      []string
		code      int
		says      string
	}{
		{[]string{one, same, young}, nil, exit.Done, ""},
		{[]string{one, same, node("n3", "dev", "aa")}, nil, exit.Usage, "2 clusters: c1 at "},
		{[]string{one, same, node("n3", "c1", "bb")}, nil, exit.Usage, "c1 (uid bb)"},
		{[]string{one, node("n3", "c1", "bb")}, []string{"--events"}, exit.Usage, "2 clusters"},
		{[]string{one, node("n3", "c1", "bb")}, []string{"--request", "x", "--json"}, exit.Usage, "2 clusters"},
		{[]string{one}, []string{"--json", dir}, exit.Usage, "dev at " + dir},
	} {
		var out, said strings.Builder
		code := run(append([]string{"explain", "--since", "8759h58m", "--endpoints", strings.Join(c.endpoints, ",")}, c.more...), &out, &said)
		if code != c.code || !strings.Contains(said.String(), c.says) || c.code != exit.Done && out.Len() > 0 {
			t.Errorf("%q: code %d, want %d, %q: %s%.200s", c.more, code, c.code, c.says, said.String(), out.String())
		}
	}
}

// Goal: what cannot be meant is refused with the number and what to do.
func TestExplainRefusesWhatCannotBeMeant(t *testing.T) {
	empty := t.TempDir()
	for _, c := range []struct {
		arguments []string
		says      string
	}{
		{[]string{"--since", "0s"}, "choose 1s to 8760h"},
		{[]string{"--since", "9000h"}, "choose 1s to 8760h"},
		{[]string{"--offline"}, "no DIR is given"},
		{[]string{"--at", "10:05"}, "give two moments"},
		{[]string{"--at", "2026-01-02 10:05..2026-01-02 10:02"}, "the earlier one first"},
		{[]string{"--at", "2001-01-02 10:02..2001-01-02 10:05"}, "of the last 8760h"},
		{[]string{"--offline", empty}, "name the data directory of a node"},
		{[]string{"--offline", filepath.Join(empty, "nothing")}, "no such file"},
		{[]string{"--request", "x", "--offline", empty}, "leave out --offline"},
		{[]string{"--follow", "--at", "10:02..10:05"}, "leave out --offline"},
		{[]string{"--follow", "--endpoints", "127.0.0.1:1"}, "nobody can tell"},
		{[]string{"--request", strings.Repeat("x", 65)}, "has 1 to 64"},
	} {
		var out, said strings.Builder
		if code := run(append([]string{"explain"}, c.arguments...), &out, &said); code == exit.Done || !strings.Contains(said.String(), c.says) {
			t.Errorf("%q: code %d, %s", c.arguments, code, said.String())
		}
	}
}
