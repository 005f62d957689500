package ui

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"raftkv/client"
	"raftkv/tests/cluster"
)

var views = []string{"cluster", "timeline", "explain", "load", "data", "learn"}

// hostile are keys and values that would do harm if they were not shown as what they are.
var hostile = map[string]string{
	`<img src=x onerror=alert(1)>`:      `<script>document.title = "taken"</script>`,
	`"><svg onload=alert(1)>`:           `{"a":"</pre><script>alert(1)</script>","n":12345678901234567890,"n":1}`,
	"javascript:alert(1)":               "[[[[[[" + strings.Repeat("[", 500),
	"..":                                "two dots",
	".":                                 "one dot",
	"a//b/../c":                         "slashes",
	"\x00\x01\xff\xfe":                  "\x00\xff\x80 bytes",
	"evil\u202egnp.exe":                 "turned\u202eround",
	"zero\u200bwidth\ufeff":             "unseen\u200b",
	"line\nbreak\ttab":                  "a\r\nb",
	"50%25 %2F {{7*7}} ${alert(1)} `x`": "templates",
	"Z\u0351\u036b\u0343\u036a\u0302A\u035b\u0306LGO": "marks",
	strings.Repeat("k", 1024):                         strings.Repeat("v", 300<<10),
	"data/" + strings.Repeat("deep/", 60) + "leaf":    "deep",
	"constructor": "",
	"__proto__":   "{}",
	"\u05d0\u05d1\u05d2/\u0627\u0644\u0639\u0631\u0628": "right to left",
}

// state is a state of the cluster, and how the page shows it.
type state struct {
	name  string
	enter func()
	// serves is the node whose page is looked at.
	serves *cluster.Node
	// shows must become true of the page.
	shows string
}

// Goal (I12): in every state of the cluster every view works: no message, no report of the
// policy, no request elsewhere, nothing that bars people with other needs, no sideways
// scrolling; and the page says what is.
// Method: a real cluster and a real browser; with -ui.shots pictures, for people to look at.
func TestEveryViewInEveryState(t *testing.T) {
	program := chromium(t)
	b := startBrowser(t, program)
	if *given != "" {
		lookAt(t, b, state{name: "given", serves: &cluster.Node{HTTP: strings.TrimPrefix(*given, "http://")}, shows: `document.getElementById("headline").className !== "wait"`})
		return
	}
	c := cluster.Start(t, 3)
	leader := c.Leader()
	others := c.Others(leader)
	var second *cluster.Node
	ends := func() {}
	for _, s := range []state{
		{"fresh", func() {}, others[0], `document.getElementById("headline").className === "good"`},
		{"healthy", func() { fill(t, c); ends = write(t, c) }, others[0], `document.querySelector("#cards").innerText.includes("takes writes")`},
		{"killed", func() { leader.Signal(syscall.SIGKILL); <-leader.Ended }, others[0], `document.getElementById("headline").className === "warn"`},
		{"one-down", func() {
			leader.Start()
			c.AwaitServing()
			second = c.Leader()
			down := c.Others(second)
			down[0].Signal(syscall.SIGKILL)
			<-down[0].Ended
			others = []*cluster.Node{down[1], down[0]}
		}, nil, `document.getElementById("headline").className === "warn"`},
		{"no-majority", func() { second.Signal(syscall.SIGKILL); <-second.Ended }, nil, `document.getElementById("headline").className === "bad"`},
	} {
		s.enter()
		if s.serves == nil {
			s.serves = others[0]
		}
		lookAt(t, b, s)
	}
	ends()
}

// lookAt looks at all views of the page of one node.
func lookAt(t *testing.T, b *browser, s state) {
	origin := "http://" + s.serves.HTTP
	p := b.open()
	for _, view := range views {
		p.size(1280, 800, "light")
		p.do("Page.navigate", map[string]any{"url": "about:blank"})
		p.do("Page.navigate", map[string]any{"url": origin + "/ui/#" + view})
		p.await(`document.querySelector('[aria-current="page"]')?.id === "to-` + view + `"`)
		p.await(s.shows)
		p.await(map[string]string{
			"cluster": `document.querySelectorAll(".card").length === 3`, "timeline": `document.querySelector("#lanes svg")`,
			"explain": `document.querySelector("#view-explain .story")`, "load": `document.querySelectorAll(".chart").length === 4`,
			"data": `document.querySelector(".keys, .rows .empty")`, "learn": `document.querySelectorAll(".topic").length > 15`,
		}[view])
		name := s.name + "-" + view
		switch view {
		case "cluster":
			p.await(`document.querySelector("#lately .story")`)
		case "data":
			var keys bool
			if p.run(`document.querySelector(".keys .row:not(.folder)") !== null`, &keys); keys {
				p.run(`document.querySelector(".keys .row:not(.folder)").click()`, nil)
				p.await(`document.querySelector(".value pre, .value .note, .value .empty + .legend")`)
			}
		}
		picture(t, p, name)
		if view == "timeline" {
			var told bool
			p.run(`document.querySelector("g.span.grave")?.dispatchEvent(new MouseEvent("click", { bubbles: true })) ?? false`, &told)
			if told {
				p.await(`document.querySelector("article.story.on")`)
				picture(t, p, name+"-story")
			}
		}
		judge(t, p, name)
		p.wantSilence(name, origin)
	}
	p.do("Page.close", nil)
}

// picture shows the page in four forms, and fails if one of them is wider than its window.
func picture(t *testing.T, p *tab, name string) {
	t.Helper()
	for _, form := range []struct {
		name          string
		width, height int
		scheme        string
	}{{"wide-light", 1280, 800, "light"}, {"wide-dark", 1280, 800, "dark"}, {"phone-light", 390, 844, "light"}, {"phone-dark", 390, 844, "dark"}, {"narrow", 320, 640, "light"}} {
		p.size(form.width, form.height, form.scheme)
		p.run(`new Promise((done) => setTimeout(() => requestAnimationFrame(done), 250))`, nil) // what follows the size waits for 150 ms
		var wide, high int
		p.run(`document.documentElement.scrollWidth`, &wide)
		p.run(`document.documentElement.scrollHeight`, &high)
		if wide > form.width {
			var which string
			p.run(`[...document.querySelectorAll("main *, header *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 5).map((e) => e.outerHTML.slice(0, 120)).join("\n")`, &which)
			t.Errorf("%s is %d pixels wide in a window of %d: %s", name, wide, form.width, which)
		}
		if *shots != "" && form.name != "narrow" {
			content := p.shoot(form.width, min(max(form.height, high), 1600))
			if err := os.WriteFile(filepath.Join(*shots, name+"-"+form.name+".png"), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// judge asks axe-core whether everybody can use the page, in light and in dark.
func judge(t *testing.T, p *tab, name string) {
	t.Helper()
	if *axe == "" {
		return
	}
	source, err := os.ReadFile(*axe)
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"light", "dark"} {
		p.size(1280, 800, scheme)
		p.run(string(source)+"; true", nil)
		var found []struct {
			ID, Impact, Help string
			Nodes            []struct{ HTML, FailureSummary string }
		}
		p.run(`axe.run(document, { resultTypes: ["violations"] }).then((r) => r.violations.map((v) => ({ id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.slice(0, 3).map((n) => ({ html: n.html, failureSummary: n.failureSummary })) })))`, &found)
		for _, v := range found {
			t.Errorf("%s, %s: %s (%s): %s: %+v", name, scheme, v.ID, v.Impact, v.Help, v.Nodes)
		}
	}
}

// fill writes what a store may hold, hostile keys and values among it.
func fill(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	clerk, err := client.Dial(t.Context(), client.Config{Endpoints: cluster.Addresses(c.Nodes)})
	if err != nil {
		t.Fatal(err)
	}
	defer clerk.Close()
	put := func(key, value string) {
		if _, err := clerk.Put(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range hostile {
		put(key, value)
	}
	for i := range 300 {
		put(fmt.Sprintf("orders/2026/%03d", i), fmt.Sprintf(`{"id":%d,"paid":%v}`, i, i%2 == 0))
	}
	for _, key := range []string{"config", "greeting", "services/a", "services/b"} {
		put(key, `{"name":"`+key+`","ports":[80,443],"note":"hello"}`)
	}
}

// write puts without a pause until the function that it returns is called.
func write(t *testing.T, c *cluster.Cluster) (end func()) {
	t.Helper()
	clerk, err := client.Dial(t.Context(), client.Config{Endpoints: cluster.Addresses(c.Nodes)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			put, cancel := context.WithTimeout(ctx, cluster.Patience)
			_, _ = clerk.Put(put, fmt.Sprintf("load/%d", i%50), []byte("x")) // nodes are killed meanwhile
			cancel()
		}
	}()
	return func() {
		cancel()
		<-done
		clerk.Close()
	}
}

// Goal: whatever a key or a value holds, it is shown as text, and every key of the list can
// be opened.
// Method: keys and values that are programs, marks of direction, paths and bytes; the page
// lists them without folders and opens each.
func TestHostileKeysAndValuesAreTexts(t *testing.T) {
	program := chromium(t)
	c := cluster.Start(t, 1)
	fill(t, c)
	origin := "http://" + c.Nodes[0].HTTP
	p := startBrowser(t, program).open()
	p.size(1280, 800, "light")
	p.do("Page.navigate", map[string]any{"url": origin + "/ui/#data"})
	p.await(`document.querySelector(".keys")`)
	p.run(`document.getElementById("separator").value = ""; document.getElementById("separator").dispatchEvent(new Event("change"))`, nil)
	p.await(`document.querySelectorAll(".keys li").length >= 100`)
	for range 5 {
		p.run(`document.querySelector(".rows > button")?.click()`, nil)
	}
	p.await(`document.querySelector(".keys").innerText.includes("greeting") && document.querySelectorAll(".keys li").length > 300`)
	for key, value := range hostile {
		var opened struct{ Length, Content, Title string }
		id, _ := json.Marshal(percent(key))
		p.await(fmt.Sprintf(`document.querySelector('[data-row=' + JSON.stringify(%s) + ']')`, id))
		p.run(fmt.Sprintf(`document.querySelector('[data-row=' + JSON.stringify(%s) + ']').click()`, id), nil)
		p.await(fmt.Sprintf(`document.querySelector('[data-row=' + JSON.stringify(%s) + ']').getAttribute("aria-pressed") === "true" && document.querySelector(".value h2").textContent === document.querySelector('[data-row=' + JSON.stringify(%s) + '] .name').textContent && document.querySelector(".value dl")`, id, id))
		p.run(`({ length: document.querySelector(".value dl").innerText, content: document.querySelector(".value pre")?.textContent || "", title: document.title })`, &opened)
		if strings.Contains(opened.Title, "taken") || value != "" && opened.Content == "" || strings.ContainsAny(opened.Content, "\u202e\u200b\x00") {
			t.Errorf("%q is shown as %.300q, %s", key, opened.Content, opened.Title)
		}
		if strings.Contains(value, "12345678901234567890") && (!strings.Contains(opened.Content, `"n": 12345678901234567890`) || strings.Count(opened.Content, `"n"`) != 2) {
			t.Errorf("JSON is shown as %s", opened.Content)
		}
	}
	var strange int
	p.run(`document.querySelectorAll("main script, main img, main svg:not(.x), main iframe, main style").length`, &strange)
	if strange > 0 {
		t.Errorf("%d elements were made of what keys and values hold", strange)
	}
	p.wantSilence("hostile keys", origin)
}

// percent encodes a key as the page does.
func percent(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_.~-", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
