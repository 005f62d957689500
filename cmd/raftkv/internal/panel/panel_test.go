package panel

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"raftkv/cmd/raftkv/internal/stage"
	"raftkv/raft/core"
)

// send gives one request to a panel of two nodes that do not run.
func send(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	s := stage.New(nil)
	s.Add("n1", nil)
	s.Add("n2", nil)
	r := httptest.NewRequest(method, "http://127.0.0.1:8700"+path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	w := httptest.NewRecorder()
	New(s, map[core.ID]string{"n1": "http://127.0.0.1:8701/ui/"}).ServeHTTP(w, r)
	return w
}

// Goal (I14): the panel does nothing for other names, for pages of other sites, or for what
// is no fault, and says what is wrong.
// Method: requests of each kind, to nodes that do not run, so that the right ones are refused
// as well, for that reason.
func TestThePanelRefusesWhatIsNotItsPage(t *testing.T) {
	const kill, media = `{"do":"kill","node":"n1"}`, "application/json"
	for _, c := range []struct {
		name    string
		body    string
		headers []string
		status  int
		says    string
	}{
		{"the panel's own page", kill, []string{"Content-Type", media, "Origin", "http://127.0.0.1:8700", "Sec-Fetch-Site", "same-origin"}, 409, "does not run"},
		{"a program", kill, []string{"Content-Type", media}, 409, "does not run"},
		{"a page of another site", kill, []string{"Content-Type", media, "Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, 403, "another site"},
		{"a node's page", kill, []string{"Content-Type", media, "Origin", "http://127.0.0.1:8701", "Sec-Fetch-Site", "same-site"}, 403, "another site"},
		{"a foreign name", kill, []string{"Content-Type", media, "Host", "evil.example:8700"}, 403, "does not serve the host"},
		{"an address of another machine", kill, []string{"Content-Type", media, "Host", "192.0.2.1:8700"}, 403, "does not serve the host"},
		{"a form", kill, []string{"Content-Type", "text/plain"}, 415, "application/json"},
		{"an unknown field", `{"do":"kill","node":"n1","why":"x"}`, []string{"Content-Type", media}, 400, "unknown field"},
		{"two faults", kill + kill, []string{"Content-Type", media}, 400, "more behind it"},
		{"a long one", `{"do":"` + strings.Repeat("x", maxFaultBytes) + `"}`, []string{"Content-Type", media}, 400, "too large"},
		{"no fault", `[]`, []string{"Content-Type", media}, 400, "no fault"},
		{"an unknown fault", `{"do":"explode"}`, []string{"Content-Type", media}, 409, "choose one of"},
	} {
		w := send("POST", "/dev/faults", c.body, c.headers...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
	}
	outside := addressed{"192.0.2.1:8700"}
	if err := New(stage.New(nil), nil).Serve(outside); err == nil || !strings.Contains(err.Error(), "on loopback alone") {
		t.Errorf("on another address it is served: %v", err)
	}
}

// addressed is a listener of which only the address is asked.
type addressed struct{ at string }

func (a addressed) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (a addressed) Close() error              { return nil }
func (a addressed) Addr() net.Addr            { at, _ := net.ResolveTCPAddr("tcp", a.at); return at }

// Goal (I12): the panel's files come with the strictest policy, name no other origin and
// evaluate nothing, and the page shows how each node is.
func TestThePanelShowsItself(t *testing.T) {
	for path, media := range map[string]string{"/": "text/html", "/panel.css": "text/css", "/panel.js": "text/javascript"} {
		w := send("GET", path, "")
		body := w.Body.String()
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), media) || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		for _, never := range []string{"innerHTML", "eval(", "style=", "<style", "http:", "https:", "localStorage", "console."} {
			if strings.Contains(body, never) {
				t.Errorf("%s holds %q", path, never)
			}
		}
		for _, named := range regexp.MustCompile(`(?:href|src)="([^"]+)"`).FindAllStringSubmatch(body, -1) {
			if got := send("GET", "/"+named[1], "").Code; got != 200 {
				t.Errorf("%s names %s, which is answered with %d", path, named[1], got)
			}
		}
	}
	for path, want := range map[string]int{"/x": 404, "/files/panel.js": 404, "/../panel.go": 404, "/dev/faults": 404} {
		if got := send("GET", path, "").Code; got != want {
			t.Errorf("GET %s is answered with %d", path, got)
		}
	}
	if got := send("DELETE", "/panel.js", "").Code; got != http.StatusMethodNotAllowed {
		t.Errorf("DELETE is answered with %d", got)
	}
	var now state
	if err := json.Unmarshal(send("GET", "/dev/state", "").Body.Bytes(), &now); err != nil || len(now.Nodes) != 2 || now.Nodes[0].State != "gone" || now.Nodes[0].Page == "" || len(now.Verbs) != len(stage.Verbs()) {
		t.Errorf("the state is %+v, %v", now, err)
	}
}
