package httpd

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"raftkv/kvserver/api"
)

// Goal: a client that sends too much reads why it was refused, also when it
// closes the connection afterwards and is still sending (net/http would reset
// it under its hands).
// Method: a real server and bodies of four times the limit, by Content-Length
// and chunked, many times.
func TestAClientThatSendsTooMuchReadsTheRefusal(t *testing.T) {
	s, _ := newServer(t, nil)
	ts := serveHTTP(t, s)
	body := bytes.Repeat([]byte("x"), 4*int(s.Config().MaxValueBytes))
	for i := range 10 {
		r, err := http.NewRequest("PUT", ts.URL+"/v1/kv/k", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			r.ContentLength = -1
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Do(r)
		if err != nil {
			t.Fatalf("try %d: no answer: %v", i, err)
		}
		wantProblem(t, readAnswer(t, response), 413, api.CodeValueTooLarge, api.OutcomeNotApplied)
	}
	if got := stored(s, "k"); got != "(none)" {
		t.Errorf("the store has %s", fmt.Sprint(len(got)))
	}
}
