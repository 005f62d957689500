// Package ui looks at the page of /ui/ in a browser: every view in five states of a
// cluster, wide and narrow, light and dark. It needs Chromium, which make ui-shots
// installs, and is passed over without it.
package ui
