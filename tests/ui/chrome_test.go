package ui

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"raftkv/tests/cluster"
)

// browser is a Chromium without a window, which is told what to do over two pipes: lines
// of JSON that end with a zero byte.
type browser struct {
	t       *testing.T
	to      *os.File
	mu      sync.Mutex
	last    int
	waiting map[int]chan message
	tabs    map[string]*tab
}

// message is what goes over the pipes.
type message struct {
	ID     int             `json:"id,omitempty"`
	Tab    string          `json:"sessionId,omitempty"`
	Method string          `json:"method,omitempty"`
	Params any             `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// tab is one page.
type tab struct {
	b  *browser
	id string

	mu    sync.Mutex
	said  []string // to the console, by an exception, or of the policy
	asked []string // addresses
}

// startBrowser starts the program, and ends it with the test.
func startBrowser(t *testing.T, program string) *browser {
	t.Helper()
	theirs, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	command.ExtraFiles = []*os.File{theirs, ours}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	ours.Close()
	b := &browser{t: t, to: to, waiting: map[int]chan message{}, tabs: map[string]*tab{}}
	ended := make(chan struct{})
	go func() {
		b.read(from)
		close(ended)
	}()
	t.Cleanup(func() {
		b.send(&message{ID: 1 << 30, Method: "Browser.close"})
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			command.Process.Kill()
		}
		command.Wait()
		to.Close()
		from.Close()
	})
	return b
}

func (b *browser) send(m *message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = b.to.Write(append(text, 0))
	return err
}

// read hands on what the browser says, until it has ended.
func (b *browser) read(from *os.File) {
	r := bufio.NewReaderSize(from, 1<<20)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		m := message{Params: &json.RawMessage{}}
		if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m) != nil {
			continue
		}
		b.mu.Lock()
		answered, of := b.waiting[m.ID], b.tabs[m.Tab]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		switch {
		case m.ID != 0 && answered != nil:
			answered <- m
		case m.ID == 0 && of != nil:
			raw, _ := m.Params.(*json.RawMessage)
			of.note(m.Method, *raw)
		}
	}
}

// call asks the browser for something, of a tab or of itself, and decodes the answer.
func (b *browser) call(of, method string, params, result any) error {
	b.mu.Lock()
	b.last++
	id, answered := b.last, make(chan message, 1)
	b.waiting[id] = answered
	b.mu.Unlock()
	if params == nil {
		params = struct{}{}
	}
	if err := b.send(&message{ID: id, Tab: of, Method: method, Params: params}); err != nil {
		return err
	}
	select {
	case m := <-answered:
		if m.Error != nil {
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			return json.Unmarshal(m.Result, result)
		}
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("%s: the browser does not answer", method)
	}
}

// note remembers what a tab must not say or ask for, to be judged later.
func (p *tab) note(method string, params json.RawMessage) {
	var e struct {
		Type             string
		Args             []struct{ Value, Description any }
		ExceptionDetails json.RawMessage
		Entry            struct{ Source, Text, URL string }
		Request          struct{ URL string }
	}
	if json.Unmarshal(params, &e) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch method {
	case "Runtime.consoleAPICalled":
		p.said = append(p.said, fmt.Sprintf("console.%s: %v", e.Type, e.Args))
	case "Runtime.exceptionThrown":
		p.said = append(p.said, "exception: "+string(e.ExceptionDetails))
	case "Log.entryAdded":
		if e.Entry.Source != "network" { // that a request had no answer, or an error for one, is what the page is for
			p.said = append(p.said, e.Entry.Source+": "+e.Entry.Text)
		}
	case "Network.requestWillBeSent":
		p.asked = append(p.asked, e.Request.URL)
	}
}

// open opens a tab and turns on what is noted of it.
func (b *browser) open() *tab {
	b.t.Helper()
	var target struct{ TargetID string }
	var session struct{ SessionID string }
	p := &tab{b: b}
	if err := errors.Join(b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target),
		b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)); err != nil {
		b.t.Fatal(err)
	}
	p.id = session.SessionID
	b.mu.Lock()
	b.tabs[p.id] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.do(domain+".enable", nil)
	}
	p.do("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": "window.violated = []; document.addEventListener('securitypolicyviolation', (e) => violated.push(e.violatedDirective + ' ' + e.blockedURI));"})
	return p
}

// do calls a method of the tab.
func (p *tab) do(method string, params any) {
	p.b.t.Helper()
	if err := p.b.call(p.id, method, params, nil); err != nil {
		p.b.t.Fatal(err)
	}
}

// run evaluates an expression in the page and decodes its value.
func (p *tab) run(expression string, result any) {
	p.b.t.Helper()
	if err := p.try(expression, result); err != nil {
		p.b.t.Fatalf("%.200s: %v", expression, err)
	}
}

func (p *tab) try(expression string, result any) error {
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	err := p.b.call(p.id, "Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &answer)
	switch {
	case err != nil:
		return err
	case answer.ExceptionDetails != nil:
		return fmt.Errorf("%.500s", answer.ExceptionDetails)
	case result == nil:
		return nil
	}
	return json.Unmarshal(answer.Result.Value, result)
}

// await waits until an expression is true.
func (p *tab) await(expression string) {
	p.b.t.Helper()
	cluster.Eventually(p.b.t, cluster.Patience, func() error {
		var is bool
		if err := p.try("Boolean("+expression+")", &is); err != nil || !is {
			var text string
			_ = p.try("document.body.innerText", &text) // for people only
			return fmt.Errorf("it is not so that %s (%v): %.1000s", expression, err, text)
		}
		return nil
	})
}

// size gives the page a size and a colour scheme.
func (p *tab) size(width, height int, scheme string) {
	p.b.t.Helper()
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}}})
}

// shoot returns the page as a PNG, from its top to a height.
func (p *tab) shoot(width, height int) []byte {
	p.b.t.Helper()
	var shot struct{ Data string }
	clip := map[string]any{"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
	if err := p.b.call(p.id, "Page.captureScreenshot", map[string]any{"format": "png", "clip": clip, "captureBeyondViewport": true}, &shot); err != nil {
		p.b.t.Fatal(err)
	}
	content, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		p.b.t.Fatal(err)
	}
	return content
}

// wantSilence fails if the page has said or asked for anything that it must not.
func (p *tab) wantSilence(name, origin string) {
	p.b.t.Helper()
	var violated []string
	p.run("window.violated || []", &violated)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, said := range append(violated, p.said...) {
		p.b.t.Errorf("%s: the page says %s", name, said)
	}
	for _, asked := range p.asked {
		if !strings.HasPrefix(asked, origin+"/") && !strings.HasPrefix(asked, "blob:"+origin) && asked != "about:blank" {
			p.b.t.Errorf("%s: the page asks for %s", name, asked)
		}
	}
	p.said, p.asked = nil, nil
}
