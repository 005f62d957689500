package ui

import (
	"fmt"
	"path/filepath"
	"testing"

	"raftkv/tests/cluster"
)

// Goal (I12, I14): the panel of raftkv dev works by its buttons alone, says what it did and
// how each node is, and bars nobody: no message, no report of the policy, no request
// elsewhere, nothing that axe-core finds, no sideways scrolling.
// Method: a cluster of dev and a browser; nodes are killed, paused, cut off and slowed by
// pressing buttons, and something is tried that cannot be; pictures of it.
func TestThePanelOfDev(t *testing.T) {
	program := chromium(t)
	port := cluster.FreeRows(t, 4, 1000) + 1
	dev := cluster.Launch(t, "dev", nil, "dev", "--panel", "--data-dir", filepath.Join(t.TempDir(), "dev"), "--port", fmt.Sprint(port))
	dev.Says("Break it: http://", cluster.Patience)
	origin := fmt.Sprintf("http://127.0.0.1:%d", port-1)
	p := startBrowser(t, program).open()
	p.size(1280, 800, "light")
	p.do("Page.navigate", map[string]any{"url": origin + "/"})
	p.await(`document.querySelectorAll("#nodes section").length === 3 && document.body.innerText.includes("Leads.")`)
	look := func(name string) {
		picture(t, p, "panel-"+name)
		judge(t, p, "panel-"+name)
		p.wantSilence("panel-"+name, origin)
	}
	look("healthy")
	press := func(label, says string) {
		t.Helper()
		p.run(fmt.Sprintf(`document.querySelector('[aria-label=%q]').click()`, label), nil)
		p.await(fmt.Sprintf(`document.getElementById("said").textContent.includes(%q)`, says))
	}
	press("Kill: n1", "Done: kill n1")
	press("Pause: n2", "Done: pause n2")
	p.run(`document.getElementById("from").value = "n2"; document.getElementById("to").value = "n3"; document.querySelector("#way button").click()`, nil)
	p.await(`document.getElementById("cuts").textContent.includes("n2 is not heard by n3")`)
	press("Slow disk: n3", "Done: slow n3")
	p.await(`document.body.innerText.includes("paused.") && document.body.innerText.includes("does not exist") && document.body.innerText.includes("slow by 200ms")`)
	look("broken")
	p.run(`document.querySelector('[aria-label="Lose disk: n1"]').click()`, nil)
	p.await(`document.getElementById("said").textContent.includes("no majority") || document.getElementById("said").textContent.includes("Done")`)
	for _, label := range []string{"Start: n1", "Go on: n2", "Let disk go: n3"} {
		press(label, "Done: ")
	}
	p.run(`document.getElementById("heal").click()`, nil)
	p.await(`document.getElementById("cuts").textContent === "All ways are open."`)
}
