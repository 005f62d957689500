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
	"time"

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
		{"healthy", func() { fill(t, c); ends = write(t, c) }, others[0], `document.getElementById("headline").className === "good"`},
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
				p.run(`(document.querySelector('[data-row="config"]') || document.querySelector(".keys .row:not(.folder)")).click()`, nil)
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
	p.await(`(document.querySelector(".rows > button")?.click(), !document.querySelector(".rows > button"))`)
	var rows, different int
	p.run(`document.querySelectorAll(".keys li").length`, &rows)
	p.run(`new Set([...document.querySelectorAll(".keys [data-row]")].map((b) => b.dataset.row)).size`, &different)
	if want := len(hostile) + 304; rows != want || different != want {
		t.Errorf("%d rows of %d keys, want %d", rows, different, want)
	}
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

// Goal (I13): the page loses no update. What somebody else wrote while a value was edited is
// shown beside what was to be written, and goes only if the person says so; the time to live
// stays; a key that is there is not created again; a deletion wants the revision.
// Method: a browser edits, a program writes meanwhile; and the same page of a node that lets
// browsers write nothing.
func TestThePageLosesNoUpdate(t *testing.T) {
	program := chromium(t)
	c := cluster.New(t, 1, "--ui", "on")
	c.Start()
	n := c.Nodes[0]
	put := func(value string) {
		if status, _, body, err := n.Ask("PUT", "/v1/kv/k?ttl=9000s", value); err != nil || status >= 300 {
			t.Fatal(status, body, err)
		}
	}
	wantValue := func(want string) {
		t.Helper()
		cluster.Eventually(t, cluster.Patience, func() error {
			_, header, body, err := n.Ask("GET", "/v1/kv/k", "")
			if body != want || err == nil && header.Get("Kv-Expires-In") == "" {
				return fmt.Errorf("the value is %q, want %q; it ends in %q", body, want, header.Get("Kv-Expires-In"))
			}
			return err
		})
	}
	put("one\ntwo")
	origin := "http://" + n.HTTP
	p := startBrowser(t, program).open()
	p.size(1280, 800, "light")
	p.do("Page.navigate", map[string]any{"url": origin + "/ui/#data"})
	press := func(text string) {
		t.Helper()
		find := fmt.Sprintf(`[...document.querySelectorAll("#view-data button")].find((b) => !b.hidden && !b.disabled && b.textContent.startsWith(%q))`, text)
		p.await(find)
		p.run(find+".click()", nil)
	}
	fillIn := func(id, text string) { p.run(fmt.Sprintf(`document.getElementById(%q).value = %q`, id, text), nil) }
	open := func() {
		p.await(`document.querySelector('[data-row="k"]')`)
		p.run(`document.querySelector('[data-row="k"]').click()`, nil)
	}
	open()
	press("Edit")
	fillIn("edit-value", "one\nmine")
	press("Write")
	wantValue("one\nmine")
	p.await(`document.querySelector(".value pre")?.textContent.includes("mine")`)

	press("Edit")
	put("one\ntheirs")
	fillIn("edit-value", "one\nlost?")
	press("Write")
	p.await(`document.querySelectorAll(".versions mark").length === 2`)
	wantValue("one\ntheirs")
	picture(t, p, "conflict")
	judge(t, p, "conflict")
	press("Take theirs")
	wantValue("one\ntheirs")
	p.await(`document.querySelector(".value pre")?.textContent.includes("theirs")`)
	press("Edit")
	put("one\nthirds")
	fillIn("edit-value", "one\nfourth")
	press("Write")
	press("Write mine over")
	wantValue("one\nfourth")

	press("New key")
	fillIn("edit-key", "k")
	fillIn("edit-value", "taken")
	press("Create")
	p.await(`document.querySelector(".versions")`)
	wantValue("one\nfourth")
	press("Take theirs")
	open()
	press("Delete")
	put("one\nfifth")
	p.run(`document.getElementById("sure").checked = true`, nil)
	p.run(`document.querySelector(".danger").click()`, nil)
	p.await(`document.querySelector(".editor .note.bad")`)
	wantValue("one\nfifth")
	p.wantSilence("edits", origin)

	n.Signal(syscall.SIGKILL)
	<-n.Ended
	n.Arguments = nil
	n.Start()
	n.AwaitServing()
	p.do("Page.navigate", map[string]any{"url": "about:blank"})
	p.do("Page.navigate", map[string]any{"url": origin + "/ui/#data"})
	open()
	p.await(`document.querySelector(".value pre")`)
	var buttons string
	p.run(`[...document.querySelectorAll("#view-data button")].filter((b) => !b.hidden).map((b) => b.textContent).join()`, &buttons)
	if strings.Contains(buttons, "Edit") || strings.Contains(buttons, "New key") {
		t.Errorf("a node that is only to show has the buttons %s", buttons)
	}
}

// Goal: a part of the page that cannot be shown is said to be one, does not look like a node that
// is gone, and ends nothing: the page goes on.
// Method: what the cards stand in cannot be found for a while.
func TestAMistakeOfThePageEndsNothing(t *testing.T) {
	program := chromium(t)
	n := cluster.Start(t, 1).Nodes[0]
	p := startBrowser(t, program).open()
	p.size(1280, 800, "light")
	p.do("Page.navigate", map[string]any{"url": "http://" + n.HTTP + "/ui/"})
	p.await(`document.getElementById("headline").className === "good" && document.getElementById("cards").children.length > 0`)
	p.run(`window.found = document.getElementById.bind(document);
		found("cards").replaceChildren();
		document.getElementById = (id) => { if (id === "cards") throw new Error("planted"); return found(id); }`, nil)
	p.await(`!found("mistake").hidden && found("mistake").innerText.includes("planted")`)
	var headline string
	p.run(`found("headline").className`, &headline)
	if headline != "good" {
		t.Errorf("beside a mistake of the page the headline is %q", headline)
	}
	p.run(`document.getElementById = window.found`, nil)
	p.await(`document.getElementById("cards").children.length > 0`)
}

// Goal: while identities are enforced the page is there, asks for a token, works with it, and
// forgets it with its tab.
// Method: a node with a viewer; the page without a token, with a wrong one, with the right
// one, and loaded again.
func TestThePageAsksForAToken(t *testing.T) {
	program := chromium(t)
	c := cluster.Start(t, 1)
	n := c.Nodes[0]
	raftkv := func(arguments ...string) string {
		t.Helper()
		run := cluster.Launch(t, "auth", []string{"RAFTKV_ENDPOINTS=" + n.HTTP}, arguments...)
		if code := run.ExitCode(cluster.Patience); code != 0 {
			t.Fatalf("%v ends with %d: %s", arguments, code, run.Output.String())
		}
		return strings.TrimSpace(run.Output.String())
	}
	token := raftkv("auth", "init", "root")
	if _, err := fmt.Sscanf(token[strings.Index(token, "rkt1_"):], "%s", &token); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	raftkv("auth", "state", "enforce", "--token-file", file)
	origin := "http://" + n.HTTP
	p := startBrowser(t, program).open()
	p.size(1280, 800, "light")
	p.do("Page.navigate", map[string]any{"url": origin + "/ui/#explain"})
	enter := func(text string) {
		p.run(fmt.Sprintf(`document.getElementById("token").value = %q; document.querySelector("#token-form button").click()`, text), nil)
	}
	p.await(`!document.getElementById("token-form").hidden && document.querySelector("#view-explain .note.bad")`)
	picture(t, p, "token")
	judge(t, p, "token")
	enter("rkt1_wrong")
	p.await(`document.getElementById("headline").innerText.includes("opens nothing")`)
	enter(token)
	p.await(`document.getElementById("headline").className === "good" && document.querySelector("#view-explain .story")`)
	var kept string
	p.run(`JSON.stringify([Object.keys(localStorage), Object.keys(sessionStorage), document.cookie, location.href, document.body.innerHTML.includes("rkt1_w"), document.getElementById("token").value])`, &kept)
	if want := `[[],[],"","` + origin + `/ui/#explain",false,""]`; kept != want {
		t.Errorf("the page keeps %s, want %s", kept, want)
	}
	p.do("Page.reload", nil)
	p.await(`document.getElementById("headline").innerText.includes("who you are")`)
	p.wantSilence("token", origin)
}

// Goal: the page works below level 3, where there are no watches, and outlives the node that
// serves it: it says so, names the others, breaks in no view, and goes on when the node is back.
// Method: a cluster that is held at level 2; its third node is killed under the page.
func TestThePageOutlivesItsNode(t *testing.T) {
	program := chromium(t)
	c := cluster.New(t, 3, "--hold-level")
	c.Start()
	n := c.Others(c.Leader())[0]
	for _, key := range []string{"a", "b/c"} {
		if status, _, body, err := n.Ask("PUT", "/v1/kv/"+key, "x"); err != nil || status >= 300 {
			t.Fatal(status, body, err)
		}
	}
	origin := "http://" + n.HTTP
	p := startBrowser(t, program).open()
	p.size(1280, 800, "light")
	p.do("Page.navigate", map[string]any{"url": origin + "/ui/#data"})
	p.await(`document.querySelectorAll(".keys li").length === 2 && document.querySelector("#view-data").innerText.includes("without watches")`)
	if status, _, body, err := n.Ask("PUT", "/v1/kv/later", "x"); err != nil || status >= 300 {
		t.Fatal(status, body, err)
	}
	p.await(`document.querySelectorAll(".keys li").length === 3`)
	n.Signal(syscall.SIGKILL)
	<-n.Ended
	p.await(`document.getElementById("headline").className === "bad" && document.getElementById("headline").innerText.includes("does not answer")`)
	p.await(`document.querySelectorAll("#links a").length === 2`)
	for _, view := range append(views, "data", "nothing") {
		p.run(`location.hash = "`+view+`"`, nil)
		p.run(`new Promise((done) => setTimeout(done, 300))`, nil)
	}
	picture(t, p, "gone")
	judge(t, p, "gone")
	n.Start()
	n.AwaitServing()
	p.run(`location.hash = "data"`, nil)
	p.await(`document.getElementById("headline").className === "good" && document.querySelectorAll(".keys li").length === 3`)
	p.wantSilence("a node that went away", origin)
}

// Goal (I15): the tab does not grow while it is open.
// Method: the page goes from view to view under load for -ui.for, and what its heap holds
// after a collection is compared. The first round makes what every later one needs.
func TestTheTabStaysSmall(t *testing.T) {
	program := chromium(t)
	c := cluster.Start(t, 3)
	defer write(t, c)()
	origin := "http://" + c.Nodes[0].HTTP
	p := startBrowser(t, program).open()
	p.size(1280, 800, "light")
	p.do("Page.navigate", map[string]any{"url": origin + "/ui/"})
	p.await(`document.querySelectorAll(".card").length === 3`)
	heap := func() float64 {
		for _, view := range views {
			p.run(`location.hash = "`+view+`"`, nil)
			p.run(`new Promise((done) => setTimeout(done, 1500))`, nil)
		}
		p.do("HeapProfiler.collectGarbage", nil)
		var usage struct{ UsedSize float64 }
		if err := p.b.call(p.id, "Runtime.getHeapUsage", nil, &usage); err != nil {
			t.Fatal(err)
		}
		return usage.UsedSize / 1e6
	}
	first := heap()
	last := first
	for begun := time.Now(); time.Since(begun) < *hold; {
		last = heap()
	}
	t.Logf("the heap holds %.2f MB after the first round, and %.2f MB %v later", first, last, *hold)
	if last > first+5 {
		t.Errorf("it has grown by %.1f MB", last-first)
	}
	p.wantSilence("a page that stays open", origin)
}
