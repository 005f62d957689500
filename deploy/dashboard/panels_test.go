package main

import "testing"

// Goal: a person on call that looks at a panel is told what a good value is and where to
// look next. Method: every panel has a description, every description a panel, and no two
// panels one title, by which descriptions are found.
func TestEveryPanelIsDescribed(t *testing.T) {
	titles := map[string]bool{}
	for _, r := range rows {
		for _, p := range r.panels {
			if titles[p.title] {
				t.Errorf("two panels are called %q", p.title)
			}
			titles[p.title] = true
			if len(descriptions[p.title]) < 20 {
				t.Errorf("the panel %q is not described: %q", p.title, descriptions[p.title])
			}
		}
	}
	for title := range descriptions {
		if !titles[title] {
			t.Errorf("a panel %q is described, and there is none", title)
		}
	}
}
