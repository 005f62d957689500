package verify

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Caption describes a picture, for those that open it later.
type Caption struct {
	Cluster   string   // the name of the cluster that was tested; "" if it is not known
	Endpoints []string // the addresses that were asked
	Clients   int
	At        time.Time // when the test ended
}

// Draw writes an HTML page on which the history of the finding's key can be
// looked at. It begins with a sentence that names the fault, and shows the first
// error.
func (f Finding) Draw(w io.Writer, c Caption) error {
	var page bytes.Buffer
	if err := porcupine.Visualize(model, f.info, &page); err != nil {
		return fmt.Errorf("drawing the history of %s: %w", f.Key, err)
	}
	title := fmt.Sprintf("key %s is not linearizable", f.Key)
	text := page.String()
	for _, change := range []struct{ mark, replacement string }{
		{"<title>Porcupine</title>", "<title>" + html.EscapeString(title) + "</title>\n<style>" + pictureStyle + "</style>"},
		{"<body>", "<body>\n" + f.heading(title, c)},
		{"render(data)\n    </script>", "render(data)\n" + pictureScript + "    </script>"},
	} {
		if strings.Count(text, change.mark) != 1 {
			return fmt.Errorf("drawing the history of %s: the page has no place for its heading (%q)", f.Key, change.mark)
		}
		text = strings.Replace(text, change.mark, change.replacement, 1)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("drawing the history of %s: %w", f.Key, err)
	}
	return nil
}

// heading returns the heading of the page.
func (f Finding) heading(title string, c Caption) string {
	tested := fmt.Sprintf("Tested by raftkv verify with %d clients, until %s", c.Clients, c.At.Format(time.RFC1123))
	if c.Cluster != "" {
		tested += ", cluster " + c.Cluster
	}
	if len(c.Endpoints) > 0 {
		tested += " at " + strings.Join(c.Endpoints, ", ")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<header id=\"finding\"><h1>%s</h1>\n<p><strong>%s</strong></p>\n<p>%s.</p>\n", html.EscapeString(title), html.EscapeString(f.Wrong()), html.EscapeString(tested))
	b.WriteString("<p>A row is a client, a box is a call from its request to its answer, time goes to the right. The line joins the calls in the longest order that one store could have had; a red point marks a call that fits into none.</p></header>\n")
	return b.String()
}

// pictureStyle puts the heading over the legend and follows the reader's choice
// of dark or light.
const pictureStyle = `
#finding { margin: 0 10px 10px; max-width: 60em; overflow-wrap: anywhere; }
#finding h1 { font-size: 1.3rem; margin: 0.5rem 0; }
#finding p { margin: 0.3rem 0; }
body #legend { position: sticky; display: inline-block; max-width: 98vw; overflow-x: auto; }
body #canvas { margin-top: 10px; }
@media (prefers-color-scheme: dark) {
  html { background: #111; color: #ddd; }
  body #legend { background-color: rgba(17, 17, 17, 0.8); }
  #legend svg, #canvas svg { filter: invert(1) hue-rotate(180deg); }
  .tooltip { color: #111; }
}
`

// pictureScript goes to the first error when the page is shown.
const pictureScript = `
      document.querySelector('#jump-link').dispatchEvent(new MouseEvent('click'))
      window.scrollTo({top: 0})
`

// Wrong describes the fault in a sentence: the stale read, or the first call that
// fits into no order.
func (f Finding) Wrong() string {
	if f.Stale != "" {
		return strings.ToUpper(f.Stale[:1]) + f.Stale[1:] + "."
	}
	o, found := f.misfit()
	if !found {
		return "No order explains all answers."
	}
	text := fmt.Sprintf("Client %d was answered at %s: %s. No order that one store could have had explains it", o.ClientId, at(o.Return), describe(o.Input, o.Output))
	if before, found := f.lastWriteBefore(o); found {
		text += fmt.Sprintf(": client %d had been answered before, at %s: %s", before.ClientId, at(before.Return), describe(before.Input, before.Output))
	}
	return text + "."
}

// at formats a time since the beginning of the history.
func at(t int64) string {
	if t == never {
		return "no time"
	}
	return fmt.Sprintf("%.3f s", float64(t)/float64(time.Second))
}

// misfit returns the call that was answered first among those that are missing
// from the longest order found.
func (f Finding) misfit() (porcupine.Operation, bool) {
	type identity struct {
		client int
		call   int64
	}
	longest := map[identity]bool{}
	for _, partition := range f.info.PartialLinearizationsOperations() {
		for _, order := range partition {
			if len(order) <= len(longest) {
				continue
			}
			longest = map[identity]bool{}
			for _, o := range order {
				longest[identity{o.ClientId, o.Call}] = true
			}
		}
	}
	sorted := slices.Clone(f.operations)
	slices.SortFunc(sorted, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	for _, o := range sorted {
		if !longest[identity{o.ClientId, o.Call}] {
			return o, true
		}
	}
	return porcupine.Operation{}, false
}

// lastWriteBefore returns the write with the highest revision that was answered
// before a call began.
func (f Finding) lastWriteBefore(o porcupine.Operation) (last porcupine.Operation, found bool) {
	newest := uint64(0)
	for _, w := range f.operations {
		told := w.Output.(heard)
		if w.Input.(request).action != get && !told.refused && w.Return < o.Call && told.revision > newest {
			newest, last, found = told.revision, w, true
		}
	}
	return last, found
}
